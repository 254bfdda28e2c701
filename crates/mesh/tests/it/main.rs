//! What objects mean together, in behaviour: a call in, the cluster that it reaches out.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a broken expectation fails the test"
)]

#[macro_use]
mod kit;

mod affected;
mod authorization;
mod connections;
mod diagnoses;
mod endpoints;
mod exports;
mod families;
mod inbound;
mod names;
mod peer_authentication;
mod precedence;
mod rejected;
mod routing;
mod rules;
mod services;
