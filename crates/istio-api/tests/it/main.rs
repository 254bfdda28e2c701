//! The types against Istio's list of fields, and against objects as users write them.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a broken expectation fails the test"
)]

mod crds;
mod fields;
mod kubernetes;
mod objects;
mod schema;
