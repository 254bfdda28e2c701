//! The vocabulary of the mesh, config objects that cannot be invalid, and `parse`, which makes them.
//!
//! Nothing here knows Envoy, and nothing here does IO. A value of one of these types has already
//! passed every check that concerns it alone; what depends on other objects is `mesh`'s business.

#![warn(clippy::wildcard_enum_match_arm)]

mod authorization_policy;
mod connection_route;
mod decimal;
mod destination_rule;
mod diagnostic;
mod envoy_minor;
mod export;
mod external_authorizer;
mod families;
pub mod format;
mod host;
mod http_action;
mod http_route;
mod kubernetes;
mod label_selector;
mod labels;
mod load_balancer;
mod locality;
mod mesh_config;
mod name;
mod object;
pub mod parse;
mod peer_authentication;
mod port;
mod service_entry;
mod spiffe;
mod virtual_service;
mod workload_entry;

pub use authorization_policy::*;
pub use connection_route::*;
pub use decimal::*;
pub use destination_rule::*;
pub use diagnostic::*;
pub use envoy_minor::*;
pub use export::*;
pub use external_authorizer::*;
pub use families::*;
pub use host::*;
pub use http_action::*;
pub use http_route::*;
pub use kubernetes::*;
pub use label_selector::*;
pub use labels::*;
pub use load_balancer::*;
pub use locality::*;
pub use mesh_config::*;
pub use name::*;
pub use object::*;
pub use parse::{Document, Parsed, Refusal, RefusedScope, parse, parse_mesh_config};
pub use peer_authentication::*;
pub use port::*;
pub use service_entry::*;
pub use spiffe::*;
pub use virtual_service::*;
pub use workload_entry::*;
