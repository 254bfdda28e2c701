//! Envoy messages and services generated from one descriptor set.
//!
//! `proto/envoy.binpb` holds the descriptors that the pinned Envoy embeds (see `hack/extract-descriptors.py`). The build
//! script turns them into one module per protobuf package, `envoy_api::envoy::config::cluster::v3::Cluster`, with ordered
//! maps, so that equal messages have equal bytes.

mod any;
pub mod json;
mod validate;

pub use any::{Any, pack, type_url};
pub use validate::{Validate, Violation, validate_any};

include!(concat!(env!("OUT_DIR"), "/envoy.rs"));
