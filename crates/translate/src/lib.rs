//! From ir to Envoy messages and the name table, in total functions: one file an Envoy concept.
//!
//! Nothing is looked up here and nothing can fail. What Envoy could not take (weights that overflow, an SNI that is too
//! long) is fitted where it is said, so that a value of `ir` always becomes something that Envoy accepts. Which Envoy that is
//! comes in as an argument where it matters: most resources are the same for all that are served ([`since`]). Equal values
//! give equal bytes, on every machine.

#![warn(clippy::wildcard_enum_match_arm)]

mod access_log;
mod alpn;
mod authorization;
mod cluster;
mod common;
mod discovery;
mod dynamic_dns;
mod encode;
mod endpoint;
mod ext_authz;
mod forward;
mod hash_policy;
mod header_operations;
mod http_connection;
mod http_filter;
mod http_options;
mod inbound;
mod inbound_chain;
mod listener;
mod load_balancer;
mod name_table;
mod outbound;
mod outlier_detection;
mod path_rewrite;
mod peer_metadata;
mod proto;
mod proxy_protocol;
mod rbac;
mod redirect;
mod route;
mod route_filters;
mod since;
mod tcp_proxy;
mod telemetry;
mod tls;

pub use authorization::authorization_filter;
pub use cluster::cluster;
pub use encode::{Encoded, encode};
pub use endpoint::{encode_endpoints, load_assignment};
pub use inbound::virtual_inbound;
pub use listener::{INBOUND_PORT, OUTBOUND_PORT};
pub use name_table::name_table;
pub use outbound::{outbound_listener, virtual_outbound};
pub use route::{route_configuration, virtual_host};
pub use since::since;
pub use telemetry::env;
pub use tls::{ROOT_SECRET, SDS_CLUSTER, WORKLOAD_SECRET};
