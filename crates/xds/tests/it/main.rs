//! The session's rules one by one, the same rules against a model of Envoy in random worlds, and the transport.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of tests fail the test"
)]

mod model;
mod properties;
mod refusals;
mod staging;
mod subscriptions;
mod transport;
mod world;
