//! Istio and Kubernetes objects exactly as users write them.
//!
//! The types say what can be read, not what is right: numbers may be out of range, required fields
//! may be absent, exclusive fields may stand together. Reading fails only on a wrong JSON type or
//! an unknown enum value; all else is for the parser, which knows the object and its lines.
//!
//! As in proto JSON, fields of Istio's kinds and of MeshConfig may be written in camelCase or in
//! snake_case, and enums as names or as numbers; they are written back in camelCase and as names.
//! Durations stay strings. Unknown fields are dropped; what a reader should report of them is all
//! outside of `metadata`, and of Istio's kinds and MeshConfig only.

mod authorization_policy;
mod common;
mod connection;
pub mod crd;
mod destination_rule;
mod extension_provider;
mod http_route;
mod kinds;
pub mod mesh_config;
mod object;
mod peer_authentication;
mod pod;
mod schema;
mod service;
mod service_entry;
mod traffic_policy;
mod virtual_service;
mod wire;
mod workload_entry;

pub use authorization_policy::*;
pub use common::*;
pub use connection::*;
pub use destination_rule::*;
pub use extension_provider::*;
pub use http_route::*;
pub use kinds::{KINDS, KindInfo, NETWORKING, SECURITY};
pub use mesh_config::{
    AccessLogEncoding, LabelExpression, LabelSelector, MeshConfig, MeshH2UpgradePolicy,
    NormalizationType, OutboundTrafficPolicy, OutboundTrafficPolicyMode, ProxyPathNormalization,
};
pub use object::{Object, ObjectMeta};
pub use peer_authentication::*;
pub use pod::*;
pub use service::*;
pub use service_entry::*;
pub use traffic_policy::*;
pub use virtual_service::*;
pub use wire::Ignored;
pub use workload_entry::*;
