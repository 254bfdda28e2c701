//! Which objects apply to a key in a scope, and what of them matters: look-ups apart from building.
//!
//! [`Inputs`] hold exactly what `build` reads, so that equal inputs are built once for all scopes, and an
//! edit that no field of them shows builds nothing.

mod cluster;
mod connections;
mod inbound;
mod listener;
mod name;
mod virtual_host;

pub(crate) use inbound::target_of;
pub(crate) use virtual_host::possible_aliases;

pub use cluster::{ClusterInputs, ClusterSource};
pub use inbound::{InboundInputs, select_inbound};
pub use listener::ListenerInputs;
pub use virtual_host::VirtualHostInputs;

use ir::{ClusterName, Hashed, RouteTableName};
use model::{Families, ListenerSettings, OutboundTrafficPolicy};

use crate::key::{EndpointsKey, Key, VirtualHostKey};
use crate::mesh::Mesh;
use crate::proximity::Proximity;
use crate::scope::Scope;

/// Everything that one node is built from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(
    clippy::large_enum_variant,
    reason = "always behind the pointer of a Hashed"
)]
pub enum Inputs {
    /// A cluster of a service.
    Cluster(ClusterInputs),
    /// A cluster that no service makes, for these families.
    Fixed(ClusterName, Families),
    /// The head of a route table.
    RouteTable(RouteTableName),
    /// A virtual host.
    VirtualHost(VirtualHostInputs),
    /// The virtual host for all other hosts.
    CatchAll(OutboundTrafficPolicy, RouteTableName),
    /// An outbound listener.
    Listener(ListenerInputs),
    /// The listener that captures outbound connections.
    VirtualOutbound(OutboundTrafficPolicy, ListenerSettings, Families),
    /// A host of the name table.
    Name(ir::NameEntry),
}

/// What a scope selects for a key; none: there is no such thing in this scope.
#[must_use]
pub fn select(mesh: &Mesh, scope: &Scope, key: &Key) -> Option<Hashed<Inputs>> {
    let config = mesh.config();
    let inputs = match key {
        Key::Cluster(key) => Inputs::Cluster(cluster::select(mesh, scope, key, None)?),
        Key::Fixed(ClusterName::AllowAnyDynamicDns)
            if config.outbound_traffic_policy != OutboundTrafficPolicy::AllowAnyDynamicDns =>
        {
            return None;
        }
        Key::Fixed(name) => Inputs::Fixed(name.clone(), families_of(name, scope)),
        Key::RouteTable(table) => {
            has_table(mesh, scope, table).then(|| Inputs::RouteTable(table.clone()))?
        }
        Key::VirtualHost(table, VirtualHostKey::CatchAll) => has_table(mesh, scope, table)
            .then(|| Inputs::CatchAll(config.outbound_traffic_policy, table.clone()))?,
        Key::VirtualHost(table, VirtualHostKey::Host(host)) => {
            Inputs::VirtualHost(virtual_host::select(mesh, scope, table, host)?)
        }
        Key::Listener(name) => Inputs::Listener(listener::select(mesh, scope, name)?),
        Key::VirtualOutbound => {
            let settings = config.listeners.clone();
            Inputs::VirtualOutbound(config.outbound_traffic_policy, settings, scope.families)
        }
        Key::Name(host) => Inputs::Name(name::select(mesh, scope, host)?),
    };
    Some(Hashed::new(inputs))
}

/// The endpoints under a cluster, where Lateen sends them.
#[must_use]
pub fn endpoints_key(
    mesh: &Mesh,
    scope: &Scope,
    key: &crate::key::ClusterKey,
) -> Option<EndpointsKey> {
    cluster::endpoints_key(mesh, scope, key)
}

/// What a client has otherwise than its scope because of where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nearby {
    /// Endpoints in another order.
    Endpoints(EndpointsKey),
    /// A cluster that holds its endpoints itself, in another order.
    Cluster(Hashed<Inputs>),
}

/// What a client at a place has otherwise than its scope for a cluster; none: nothing.
#[must_use]
pub fn nearby(
    mesh: &Mesh,
    scope: &Scope,
    key: &crate::key::ClusterKey,
    client: &Proximity,
) -> Option<Nearby> {
    if !cluster::is_choosy(mesh, scope, key) {
        return None;
    }
    if let Some(key) = cluster::endpoints_key(mesh, scope, key) {
        return Some(Nearby::Endpoints(key));
    }
    let inputs = cluster::select(mesh, scope, key, Some(client))?;
    Some(Nearby::Cluster(Hashed::new(Inputs::Cluster(inputs))))
}

/// The families as far as a cluster reads them.
fn families_of(name: &ClusterName, scope: &Scope) -> Families {
    match name {
        ClusterName::InboundPassthrough
        | ClusterName::AllowAnyDynamicDns
        | ClusterName::Inbound(_) => scope.families,
        ClusterName::BlackHole | ClusterName::Passthrough | ClusterName::Outbound { .. } => {
            Families::default()
        }
    }
}

fn has_table(mesh: &Mesh, scope: &Scope, table: &RouteTableName) -> bool {
    match table {
        RouteTableName::Port(port) => listener::http_on(mesh, scope, *port),
        RouteTableName::Service(host, port) => listener::detects(mesh, scope, host, *port),
    }
}
