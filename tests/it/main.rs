//! The one integration test program of the workspace: what only shows when the parts run together, and the rules that
//! keep the tree tidy. Tests of a single crate live in that crate.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod case_rules;
mod cases;
mod dev;
mod envoy_accepts;
mod fields;
mod flips;
mod generator;
mod inside;
mod kube;
mod lateend;
mod mesh;
mod mixed_envoys;
mod mutants;
mod mutated;
mod normalisation;
mod scenes;
mod secure_naming;
mod streams;
mod tidy;
mod wrong;
mod wrong_input;
