//! The agent against a control plane of the tests' own, real sockets, a real Envoy and real iptables.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod bootstrap;
mod capture;
mod certificate;
mod control_plane;
mod dns;
mod injected;
mod network;
mod probes;
mod proxy;
mod relay;
mod rotation;
mod secrets;
mod sidecar;
