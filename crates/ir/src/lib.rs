//! What one Envoy must do, in mesh words, fully resolved. `mesh` builds these values, `translate` turns
//! them into Envoy's messages and looks at nothing else, so what a resource depends on is complete by
//! construction. Every node is a plain value with `Eq` and `Hash`: equal nodes need no push.

mod authorization;
mod cluster;
mod endpoint;
mod filter;
mod hashed;
mod listener;
mod name;
mod name_table;
mod route;

pub use authorization::*;
pub use cluster::*;
pub use endpoint::*;
pub use filter::*;
pub use hashed::*;
pub use listener::*;
pub use name::*;
pub use name_table::*;
pub use route::*;

/// The vocabulary that the values are written in, for `translate`, which sees only this crate.
pub use ipnet::IpNet;
pub use model;

/// One thing that some Envoy needs: the unit of building, hashing, encoding and sharing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(
    clippy::large_enum_variant,
    reason = "always behind the pointer of a Hashed"
)]
pub enum Node {
    /// A cluster, outbound or inbound.
    Cluster(Cluster),
    /// What stands around the virtual hosts of a route table.
    RouteTable(RouteTable),
    /// One virtual host of a route table.
    VirtualHost(VirtualHost),
    /// A listener that captured outbound connections are handed to.
    OutboundListener(OutboundListener),
    /// The listener that captures outbound connections.
    VirtualOutbound(VirtualOutbound),
    /// The listener that captures inbound connections.
    VirtualInbound(VirtualInbound),
    /// What a filter of the inbound chains does that authorizes.
    AuthorizationFilter(AuthorizationFilter),
    /// One host of the agent's name table.
    NameEntry(NameEntry),
}
