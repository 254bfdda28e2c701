//! A cluster: where requests may go, how connections are made, and what the server must prove.

use std::sync::Arc;
use std::time::Duration;

use model::{
    ConnectionPool, Families, LoadBalancer, OutlierDetection, ProxyProtocol, RetryBudget,
    ServerName, SpiffeId, Warmup,
};

use crate::{ClusterName, Endpoints};

/// One Envoy cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// Its name; Envoy's EDS name is the same.
    pub name: ClusterName,
    /// How Envoy learns its endpoints.
    pub discovery: Discovery,
    /// How often names are looked up again where their records do not say; none: every 60 s.
    pub dns_refresh: Option<Duration>,
    /// How one of them is chosen.
    pub load_balancer: LoadBalancer,
    /// Whether localities have shares of their own.
    pub weighs_localities: bool,
    /// `warmup` of the DestinationRule that applies.
    pub warmup: Option<Warmup>,
    /// `connectionPool` of the DestinationRule that applies; the default where none does.
    pub connection_pool: ConnectionPool,
    /// `outlierDetection` of the DestinationRule that applies.
    pub outlier_detection: Option<OutlierDetection>,
    /// `retryBudget` of the DestinationRule that applies.
    pub retry_budget: Option<RetryBudget>,
    /// `proxyProtocol` of the DestinationRule that applies: the header that connections begin with.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// What is spoken upstream.
    pub protocol: UpstreamProtocol,
    /// How connections are secured.
    pub tls: UpstreamTls,
    /// The service behind it, for telemetry; none for inbound and fixed clusters.
    pub service: Option<ServiceRef>,
}

/// The default of `connectionPool.tcp.connectTimeout` (Istio: MeshConfig `connectTimeout`).
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How Envoy learns the endpoints of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Discovery {
    /// By EDS, under the cluster's name.
    Eds,
    /// By DNS, again and again: every address is an endpoint.
    StrictDns(Endpoints, Families),
    /// By DNS, the first address only.
    LogicalDns(Endpoints, Families),
    /// By DNS, one by one: the name that a request's Host or a connection's SNI says, when it is asked for.
    DynamicDns(Families),
    /// None: the connection goes where the caller addressed it.
    OriginalDestination,
    /// None: the app beside the proxy, called on the address that the caller addressed.
    /// Envoy's own side of the connection is 127.0.0.6 or ::6, which the capture rules leave alone.
    Inbound(Families),
    /// None at all: every connection fails.
    Nothing,
}

/// What is spoken to the endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UpstreamProtocol {
    /// Bytes.
    Tcp,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// What the caller speaks.
    FollowCaller,
}

/// How connections to the endpoints are secured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamTls {
    /// Not at all.
    Plaintext,
    /// Mutual TLS to endpoints whose metadata says `tlsMode: istio`, plaintext to the others (auto mTLS).
    Auto(MeshTls),
    /// Mutual TLS with the workload's certificate (`ISTIO_MUTUAL`).
    Mesh(MeshTls),
    /// TLS that the server alone authenticates (`SIMPLE`).
    Simple(ServerName),
    /// Mutual TLS with files (`MUTUAL`).
    Files {
        /// What is asked of the server.
        server: ServerName,
        /// The client's certificate chain: a file beside the proxy.
        certificate: Arc<str>,
        /// Its key: a file beside the proxy.
        private_key: Arc<str>,
    },
}

/// Mutual TLS inside the mesh: secrets `default` and `ROOTCA` of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MeshTls {
    /// The SNI.
    pub sni: Arc<str>,
    /// Who the server may be (secure naming), ordered.
    pub server: Servers,
}

/// Who a server may be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Servers {
    /// One of these identities; none of them known yet: no server is accepted.
    Identities(Arc<[SpiffeId]>),
    /// One of these subject alternative names, as the user wrote them.
    Names(Arc<[Arc<str>]>),
}

/// The service that a cluster or a request belongs to, for telemetry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceRef {
    /// `destination_service`: the host.
    pub host: Arc<str>,
    /// `destination_service_name`.
    pub name: Arc<str>,
    /// `destination_service_namespace`.
    pub namespace: Arc<str>,
    /// Whether it is part of the mesh. What is not is never told who calls.
    pub in_mesh: bool,
}
