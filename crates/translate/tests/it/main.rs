//! What `translate` makes is taken by the real Envoy and does what it says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must say so"
)]

mod accept;
mod envoy;
mod local;
mod nodes;
mod peers;
mod policies;
mod route_nodes;
mod routing;
mod world;
