//! Indexes over a snapshot and the semantics of Istio: what applies to whom, what wins, what is missing.
//!
//! [`Mesh::next`] keeps the indexes up and says what may differ; [`select`] looks up what applies to one [`Key`]
//! in one [`Scope`]; [`build`] makes the `ir` node of it; [`endpoints`] is the hot path, apart on purpose.

mod affected;
mod alias;
mod allocate;
mod apart;
mod authorization;
mod build;
mod delegates;
mod diagnose;
mod endpoints;
mod host_index;
mod instance;
mod key;
mod keys;
mod mesh;
mod policies;
mod proximity;
mod registry;
mod routes;
mod rules;
mod scope;
mod select;
mod service;
mod workload;

pub use affected::{Affected, InboundTouch};
pub use apart::Group;
pub use build::{build, build_inbound};
pub use delegates::delegates;
pub use diagnose::{diagnose, diagnose_all, diagnose_refused};
pub use endpoints::{EndpointFacts, endpoints, facts};
pub use host_index::Ranked;
pub use key::{ClusterKey, EndpointsKey, Key, VirtualHostKey};
pub use keys::fixed;
pub use mesh::Mesh;
pub use policies::Policies;
pub use proximity::{Preference, Proximity};
pub use registry::Services;
pub use routes::{destination_hosts, virtual_service_in};
pub use scope::Scope;
pub use select::{InboundInputs, Inputs, Nearby, endpoints_key, nearby, select, select_inbound};
pub use service::{MeshPort, MeshService, ServiceDiscovery};
pub use workload::{TLS_MODE, Workload, pod_key};
