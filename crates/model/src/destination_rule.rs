//! DestinationRule: how connections to a host are made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    Decimal, EndpointAddress, ExportTo, HostPattern, Labels, LoadBalancing, Port, Selector,
    SubsetName,
};

/// `networking.istio.io` DestinationRule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DestinationRule {
    /// `spec.host`, short names resolved.
    pub host: HostPattern,
    /// `spec.exportTo`.
    pub export_to: ExportTo,
    /// `spec.workloadSelector`: the client workloads that it concerns.
    pub workload_selector: Option<Selector>,
    /// `spec.trafficPolicy`.
    pub policy: TrafficPolicy,
    /// `spec.subsets`, in order.
    pub subsets: Arc<[Subset]>,
}

impl DestinationRule {
    /// Every policy in it: of the whole, of ports, of subsets and their ports.
    pub fn policies(&self) -> impl Iterator<Item = &PortPolicy> {
        let subsets = self.subsets.iter().map(|subset| &subset.policy);
        std::iter::once(&self.policy)
            .chain(subsets)
            .flat_map(|policy| std::iter::once(&policy.default).chain(policy.ports.values()))
    }
}

/// `spec.subsets[]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subset {
    /// `name`.
    pub name: SubsetName,
    /// `labels`: the endpoints that belong to it.
    pub labels: Labels,
    /// `trafficPolicy`: overrides the rule's, field by field.
    pub policy: TrafficPolicy,
}

/// `trafficPolicy`, with `portLevelSettings` apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TrafficPolicy {
    /// What holds for every port without settings of its own.
    pub default: PortPolicy,
    /// `portLevelSettings`: replaces `default` for a port, and never merges with it.
    pub ports: BTreeMap<Port, PortPolicy>,
}

/// The settings of a `trafficPolicy` or of one of its ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortPolicy {
    /// `loadBalancer`.
    pub load_balancer: Option<LoadBalancing>,
    /// `connectionPool`.
    pub connection_pool: Option<ConnectionPool>,
    /// `outlierDetection`.
    pub outlier_detection: Option<OutlierDetection>,
    /// `tls`.
    pub tls: Option<ClientTls>,
    /// `tunnel`, which ports have from their policy.
    pub tunnel: Option<Tunnel>,
    /// `proxyProtocol`, which ports have from their policy.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// `retryBudget`, which ports have from their policy.
    pub retry_budget: Option<RetryBudget>,
}

/// `tunnel`: the bytes of a connection go through an HTTP proxy, which is the destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// `protocol`: whether `POST` opens it instead of `CONNECT`.
    pub post: bool,
    /// `targetHost`: an address or a name, for the proxy to reach.
    pub host: EndpointAddress,
    /// `targetPort`.
    pub port: Port,
}

/// `proxyProtocol.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// `V1`: a line of text.
    V1,
    /// `V2`: binary.
    V2,
}

/// `retryBudget`. What is absent is Envoy's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RetryBudget {
    /// `percent` of the requests under way that may be retries; absent: 20.
    pub percent: Option<Decimal>,
    /// `minRetryConcurrency`: so many are always allowed; absent: 3.
    pub min_concurrency: Option<u32>,
    /// `budgetInterval`: requests of this duration count as under way.
    pub interval: Option<Duration>,
}

/// `connectionPool`. What is absent is unlimited, or Envoy's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConnectionPool {
    /// `tcp.maxConnections`.
    pub max_connections: Option<u32>,
    /// `tcp.connectTimeout`; absent: 10 s.
    pub connect_timeout: Option<Duration>,
    /// `tcp.tcpKeepalive`.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `tcp.maxConnectionDuration`.
    pub max_connection_duration: Option<Duration>,
    /// `tcp.idleTimeout`.
    pub tcp_idle_timeout: Option<Duration>,
    /// `http.http1MaxPendingRequests`.
    pub http1_max_pending_requests: Option<u32>,
    /// `http.http2MaxRequests`.
    pub http2_max_requests: Option<u32>,
    /// `http.maxRequestsPerConnection`.
    pub max_requests_per_connection: Option<u32>,
    /// `http.maxRetries`.
    pub max_retries: Option<u32>,
    /// `http.idleTimeout`.
    pub http_idle_timeout: Option<Duration>,
    /// `http.h2UpgradePolicy`: `UPGRADE` is true, `DO_NOT_UPGRADE` false.
    pub h2_upgrade: Option<bool>,
    /// `http.useClientProtocol`.
    pub use_client_protocol: bool,
    /// `http.maxConcurrentStreams`.
    pub max_concurrent_streams: Option<u32>,
    /// `http.http2KeepAlive`: interval and timeout.
    pub http2_keepalive: Option<(Duration, Duration)>,
}

/// `connectionPool.tcp.tcpKeepalive`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpKeepalive {
    /// `probes`.
    pub probes: Option<u32>,
    /// `time`, idle before the first probe.
    pub time: Option<Duration>,
    /// `interval` between probes.
    pub interval: Option<Duration>,
}

/// `outlierDetection`. What is absent is Envoy's default, except that success-rate ejection is off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OutlierDetection {
    /// `consecutive5xxErrors`; 0 switches it off.
    pub consecutive_5xx: Option<u32>,
    /// `consecutiveGatewayErrors`; 0 switches it off.
    pub consecutive_gateway: Option<u32>,
    /// `consecutiveLocalOriginFailures`.
    pub consecutive_local_origin: Option<u32>,
    /// `splitExternalLocalOriginErrors`.
    pub split_local_origin: bool,
    /// `interval`.
    pub interval: Option<Duration>,
    /// `baseEjectionTime`.
    pub base_ejection_time: Option<Duration>,
    /// `maxEjectionPercent`, 0 to 100.
    pub max_ejection_percent: Option<u32>,
    /// `minHealthPercent`, 0 to 100: below it all hosts are used.
    pub min_health_percent: u32,
    /// `outlierDetectionHttpErrorCodes`, ordered: the answers that count as errors; empty: 5xx.
    pub error_codes: Arc<[u16]>,
}

/// `tls` of a traffic policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientTls {
    /// `DISABLE`.
    Disable,
    /// `SIMPLE`.
    Simple(ServerName),
    /// `MUTUAL` with files.
    Mutual {
        /// What is asked of the server.
        server: ServerName,
        /// `clientCertificate`: a file beside the proxy.
        certificate: Arc<str>,
        /// `privateKey`: a file beside the proxy.
        private_key: Arc<str>,
    },
    /// `ISTIO_MUTUAL`: with the workload's own certificate.
    IstioMutual {
        /// `sni`; absent: Istio's `outbound_.80_.subset_.host`.
        sni: Option<Arc<str>>,
        /// `subjectAltNames`; empty: the identities of the service's endpoints.
        subject_alt_names: Arc<[Arc<str>]>,
    },
}

/// Whom the client asks for and whom it trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServerName {
    /// `sni`; absent: the host of the request.
    pub sni: Option<Arc<str>>,
    /// `subjectAltNames`; empty: any name that the certificate authority vouches for.
    pub subject_alt_names: Arc<[Arc<str>]>,
    /// `caCertificates`: a file beside the proxy; absent: the system's.
    pub ca_certificates: Option<Arc<str>>,
    /// `insecureSkipVerify`.
    pub insecure_skip_verify: bool,
    /// `caCrl`: a file beside the proxy.
    pub revoked: Option<Arc<str>>,
}
