//! Injection from outside: cases written from Istio's reference, and rules that hold for every pod.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod cases;
mod properties;
