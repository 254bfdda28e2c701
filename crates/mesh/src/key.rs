//! What names one thing that some Envoy may need.

use ir::{ClusterName, ListenerName, RouteTableName};
use model::{Families, HostPattern, Hostname, Labels, ObjectKey, Port, SubsetName};

use crate::proximity::Preference;

/// One outbound thing. Whether it exists, and what it is, depends on the scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A cluster: a port of a service, or a subset of it.
    Cluster(ClusterKey),
    /// A cluster that no service makes: BlackHole, Passthrough, AllowAnyDynamicDns, InboundPassthrough.
    Fixed(ClusterName),
    /// What stands around the virtual hosts of a route table.
    RouteTable(RouteTableName),
    /// A virtual host of a route table.
    VirtualHost(RouteTableName, VirtualHostKey),
    /// A listener that captured connections are handed to.
    Listener(ListenerName),
    /// The listener that captures outbound connections.
    VirtualOutbound,
    /// A host of the agent's name table.
    Name(Hostname),
}

/// A port of a service, or a subset of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterKey {
    /// The service.
    pub host: Hostname,
    /// Its port.
    pub port: Port,
    /// The subset; none: all endpoints.
    pub subset: Option<SubsetName>,
}

impl ClusterKey {
    /// The cluster's name in Envoy.
    #[must_use]
    pub fn name(&self) -> ClusterName {
        ClusterName::Outbound {
            port: self.port,
            subset: self.subset.clone(),
            host: self.host.clone(),
        }
    }
}

/// A virtual host of a route table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VirtualHostKey {
    /// A service, or a host that only a VirtualService names.
    Host(HostPattern),
    /// All other hosts.
    CatchAll,
}

/// What names the endpoints under one cluster: equal keys have equal endpoints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointsKey {
    /// The object that makes the service.
    pub service: ObjectKey,
    /// The service's host.
    pub host: Hostname,
    /// Its port.
    pub port: Port,
    /// The subset's labels; empty: all endpoints.
    pub labels: Labels,
    /// Which of them a client prefers; none: all are alike.
    pub preference: Option<Preference>,
    /// Whether a client reaches those of its own node only.
    pub node_local: bool,
    /// The families of the client's addresses.
    pub families: Families,
}
