//! Listeners: the two that capture connections, and those that outbound ones are handed to.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use model::{
    Families, ListenerSettings, MtlsMode, OutboundTrafficPolicy, Port, TrustDomains, Tunnel,
};

use crate::{ClusterName, ListenerName, RouteTableName, ServiceRef};

/// A listener that captured outbound connections are handed to by their original destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OutboundListener {
    /// Its name and address; it binds no port.
    pub name: ListenerName,
    /// Of which families it takes every address, where it is for every address.
    pub families: Families,
    /// Connections that are told apart before anything else. No connection can meet the conditions of two equally.
    pub chosen: Arc<[ChosenConnections]>,
    /// What it does with all others.
    pub traffic: OutboundTraffic,
    /// What happens to what it cannot route.
    pub fallback: OutboundTrafficPolicy,
    /// Whether some of its requests go to the addresses of the host that they name.
    pub resolves_hosts: bool,
    /// What holds for every listener.
    pub settings: ListenerSettings,
}

/// Connections that an outbound listener tells apart, and where their bytes go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChosenConnections {
    /// What the caller asks TLS for, ordered; a wildcard begins with `*.`. Empty: anything, TLS or not.
    pub sni: Arc<[Arc<str>]>,
    /// What the caller addressed, ordered; empty: anything.
    pub destinations: Arc<[IpNet]>,
    /// Where to.
    pub backend: TcpBackend,
}

/// What an outbound listener does with a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OutboundTraffic {
    /// HTTP by this route table. On the shared `0.0.0.0_80`, what is not HTTP falls back.
    Http(RouteTableName),
    /// Bytes to this cluster.
    Tcp(TcpBackend),
    /// HTTP by this route table if the first bytes are HTTP, else bytes to this cluster.
    Detect(RouteTableName, TcpBackend),
    /// Nothing: it falls back.
    Fallback,
}

/// Where the bytes of a connection go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TcpBackend {
    /// The clusters, in the VirtualService's order; never empty, weights never all 0.
    pub clusters: Arc<[WeightedCluster]>,
    /// `tcp.idleTimeout` of the DestinationRule that applies; absent: Envoy's hour.
    pub idle_timeout: Option<Duration>,
    /// `tcp.maxConnectionDuration` of the DestinationRule that applies; absent: no limit.
    pub max_duration: Option<Duration>,
    /// Whether the endpoint is found by the caller's address (`consistentHash.useSourceIp`).
    pub hashes_source: bool,
    /// `tunnel` of the DestinationRule that applies.
    pub tunnel: Option<Tunnel>,
    /// Where some cluster is found by the name that TLS asks for: the port that is called at its addresses, and of
    /// which families those are.
    pub resolved_on: Option<(Port, Families)>,
}

impl TcpBackend {
    /// All bytes to one cluster.
    #[must_use]
    pub fn to(cluster: ClusterName) -> Self {
        Self {
            clusters: Arc::new([WeightedCluster { cluster, weight: 1 }]),
            idle_timeout: None,
            max_duration: None,
            hashes_source: false,
            tunnel: None,
            resolved_on: None,
        }
    }
}

/// A cluster and its share of the connections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WeightedCluster {
    /// The cluster.
    pub cluster: ClusterName,
    /// Its share of the sum of weights.
    pub weight: u32,
}

/// The listener that captures outbound connections (15001) and hands them on by original destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualOutbound {
    /// Of which families it takes every address.
    pub families: Families,
    /// What happens to connections that no other listener takes.
    pub fallback: OutboundTrafficPolicy,
    /// What holds for every listener.
    pub settings: ListenerSettings,
}

/// The listener that captures inbound connections (15006): one set of chains a port of the workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualInbound {
    /// Of which families it takes every address.
    pub families: Families,
    /// The trust domains to one of which callers must belong under mutual TLS.
    pub trust_domains: TrustDomains,
    /// The ports that services declare on this workload, ordered.
    pub ports: Arc<[InboundPort]>,
    /// Whether mutual TLS is demanded, accepted or not offered on every other port.
    pub passthrough: MtlsMode,
    /// Further ports with a `portLevelMtls` of their own that no service declares, ordered.
    pub passthrough_ports: Arc<[(Port, MtlsMode)]>,
    /// What holds for every listener.
    pub settings: ListenerSettings,
}

/// One port of the workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InboundPort {
    /// The workload's own port, as the packet's destination says.
    pub port: Port,
    /// What is spoken on it.
    pub traffic: InboundTraffic,
    /// Whether mutual TLS is demanded, accepted or not offered.
    pub mtls: MtlsMode,
    /// The oldest service that leads here, for telemetry.
    pub service: ServiceRef,
}

/// What is spoken on an inbound port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InboundTraffic {
    /// HTTP, both versions, declared.
    Http,
    /// Bytes, declared.
    Tcp,
    /// Found out per connection.
    Detect,
}
