//! The certificate authority from outside: what it issues is read by x509-parser and by OpenSSL, what
//! it refuses is tried. Tests carry the ids of the security rules that they keep.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests"
)]

mod identity;
mod kit;
mod leaf;
mod plugged_in;
mod refusals;
mod root;
mod service;
mod service_account;
mod serving;
mod token;
