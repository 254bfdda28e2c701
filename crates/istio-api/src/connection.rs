//! Connection settings of a TrafficPolicy: pools, ejection of failing endpoints, TLS, tunnels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{
    COUNT, PERCENT, PORT, UNSIGNED, duration, nullable, positive_duration, require, within,
};
use crate::wire::{proto_enum, unset};

/// Limits on connections and requests (`connectionPool`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionPoolSettings {
    /// `tcp`: limits for TCP and HTTP alike.
    #[serde(skip_serializing_if = "unset")]
    pub tcp: Option<TcpSettings>,
    /// `http`: limits for HTTP.
    #[serde(skip_serializing_if = "unset")]
    pub http: Option<HttpSettings>,
}

/// Limits of connections (`connectionPool.tcp`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpSettings {
    /// `maxConnections`: most connections to a host; absent means 2^32-1.
    #[serde(skip_serializing_if = "unset", alias = "max_connections")]
    #[schemars(transform = within(COUNT))]
    pub max_connections: Option<i64>,
    /// `connectTimeout`: duration of connecting; absent means 10 s.
    #[serde(skip_serializing_if = "unset", alias = "connect_timeout")]
    #[schemars(transform = positive_duration)]
    pub connect_timeout: Option<String>,
    /// `tcpKeepalive`: keepalive probes of the socket.
    #[serde(skip_serializing_if = "unset", alias = "tcp_keepalive")]
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `maxConnectionDuration`: longest life of a connection; absent means no limit.
    #[serde(skip_serializing_if = "unset", alias = "max_connection_duration")]
    #[schemars(transform = positive_duration)]
    pub max_connection_duration: Option<String>,
    /// `idleTimeout`: duration after which an idle TCP connection is closed; absent means 1 h.
    #[serde(skip_serializing_if = "unset", alias = "idle_timeout")]
    #[schemars(transform = duration)]
    pub idle_timeout: Option<String>,
}

/// Keepalive probes of the socket (`connectionPool.tcp.tcpKeepalive`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpKeepalive {
    /// `probes`: unanswered probes after which a connection is dead.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = within(UNSIGNED))]
    pub probes: Option<i64>,
    /// `time`: idle duration before the first probe.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = positive_duration)]
    pub time: Option<String>,
    /// `interval`: duration between probes.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = positive_duration)]
    pub interval: Option<String>,
}

/// Limits of requests (`connectionPool.http`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpSettings {
    /// `http1MaxPendingRequests`: most requests that wait for a connection; absent means 2^32-1.
    #[serde(skip_serializing_if = "unset", alias = "http1_max_pending_requests")]
    #[schemars(transform = within(COUNT))]
    pub http1_max_pending_requests: Option<i64>,
    /// `http2MaxRequests`: most requests under way; absent means 2^32-1.
    #[serde(skip_serializing_if = "unset", alias = "http2_max_requests")]
    #[schemars(transform = within(COUNT))]
    pub http2_max_requests: Option<i64>,
    /// `maxRequestsPerConnection`: requests after which a connection is closed; 0 means no limit.
    #[serde(skip_serializing_if = "unset", alias = "max_requests_per_connection")]
    #[schemars(transform = within(COUNT))]
    pub max_requests_per_connection: Option<i64>,
    /// `maxRetries`: most retries under way; absent means 2^32-1.
    #[serde(skip_serializing_if = "unset", alias = "max_retries")]
    #[schemars(transform = within(COUNT))]
    pub max_retries: Option<i64>,
    /// `idleTimeout`: duration after which a connection without requests is closed; absent means 1
    /// h.
    #[serde(skip_serializing_if = "unset", alias = "idle_timeout")]
    #[schemars(transform = duration)]
    pub idle_timeout: Option<String>,
    /// `h2UpgradePolicy`: whether HTTP/1.1 is carried over HTTP/2.
    #[serde(skip_serializing_if = "unset", alias = "h2_upgrade_policy")]
    pub h2_upgrade_policy: Option<H2UpgradePolicy>,
    /// `useClientProtocol`: whether the client's HTTP version is kept.
    #[serde(skip_serializing_if = "unset", alias = "use_client_protocol")]
    pub use_client_protocol: Option<bool>,
    /// `maxConcurrentStreams`: most concurrent streams of an HTTP/2 connection.
    #[serde(skip_serializing_if = "unset", alias = "max_concurrent_streams")]
    #[schemars(transform = within(COUNT))]
    pub max_concurrent_streams: Option<i64>,
    /// `http2KeepAlive`: pings on HTTP/2 connections.
    #[serde(skip_serializing_if = "unset", alias = "http2_keep_alive")]
    pub http2_keep_alive: Option<Http2KeepAlive>,
}

/// Pings on HTTP/2 connections (`connectionPool.http.http2KeepAlive`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Http2KeepAlive {
    /// `interval`: duration between pings.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = positive_duration)]
    pub interval: Option<String>,
    /// `timeout`: duration to wait for an answer before the connection is closed.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = positive_duration)]
    pub timeout: Option<String>,
}

proto_enum! {
    /// Whether HTTP/1.1 is carried over HTTP/2
    /// (`ConnectionPoolSettings.HTTPSettings.H2UpgradePolicy`).
    H2UpgradePolicy {
        /// As MeshConfig says.
        Default = 0 => "DEFAULT",
        /// HTTP/1.1 stays HTTP/1.1.
        DoNotUpgrade = 1 => "DO_NOT_UPGRADE",
        /// HTTP/1.1 becomes HTTP/2.
        Upgrade = 2 => "UPGRADE",
    }
}

/// When a failing endpoint is left out (`outlierDetection`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OutlierDetection {
    /// `consecutiveErrors`: errors in a row. Deprecated: `consecutive5xxErrors`.
    #[serde(skip_serializing_if = "unset", alias = "consecutive_errors")]
    #[schemars(transform = within(COUNT))]
    pub consecutive_errors: Option<i64>,
    /// `splitExternalLocalOriginErrors`: whether failures to connect are counted apart from
    /// answers.
    #[serde(
        skip_serializing_if = "unset",
        alias = "split_external_local_origin_errors"
    )]
    pub split_external_local_origin_errors: Option<bool>,
    /// `consecutiveLocalOriginFailures`: failures to connect in a row, when they are counted apart;
    /// absent means 5.
    #[serde(
        skip_serializing_if = "unset",
        alias = "consecutive_local_origin_failures"
    )]
    #[schemars(transform = within(UNSIGNED))]
    #[schemars(transform = nullable)]
    pub consecutive_local_origin_failures: Option<i64>,
    /// `consecutiveGatewayErrors`: answers 502, 503, 504 in a row; 0 or absent switches it off.
    #[serde(skip_serializing_if = "unset", alias = "consecutive_gateway_errors")]
    #[schemars(transform = within(UNSIGNED))]
    #[schemars(transform = nullable)]
    pub consecutive_gateway_errors: Option<i64>,
    /// `consecutive5xxErrors`: answers 5xx in a row; absent means 5, 0 switches it off.
    #[serde(skip_serializing_if = "unset", alias = "consecutive_5xx_errors")]
    #[schemars(transform = within(UNSIGNED))]
    #[schemars(transform = nullable)]
    pub consecutive_5xx_errors: Option<i64>,
    /// `interval`: duration between checks; absent means 10 s.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = positive_duration)]
    pub interval: Option<String>,
    /// `baseEjectionTime`: shortest duration out; it grows with each ejection. Absent means 30 s.
    #[serde(skip_serializing_if = "unset", alias = "base_ejection_time")]
    #[schemars(transform = positive_duration)]
    pub base_ejection_time: Option<String>,
    /// `maxEjectionPercent`: largest percentage of endpoints that may be out; absent means 10.
    #[serde(skip_serializing_if = "unset", alias = "max_ejection_percent")]
    #[schemars(transform = within(PERCENT))]
    pub max_ejection_percent: Option<i64>,
    /// `minHealthPercent`: percentage of healthy endpoints below which all are used again; absent
    /// means 0.
    #[serde(skip_serializing_if = "unset", alias = "min_health_percent")]
    #[schemars(transform = within(PERCENT))]
    pub min_health_percent: Option<i64>,
    /// `outlierDetectionHttpErrorCodes`: status codes that count as errors.
    #[serde(
        skip_serializing_if = "unset",
        alias = "outlier_detection_http_error_codes"
    )]
    pub outlier_detection_http_error_codes: Vec<i64>,
}

/// TLS towards a service (`tls`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientTlsSettings {
    /// `mode`: what kind of TLS; absent means `DISABLE`.
    #[serde(skip_serializing_if = "unset")]
    pub mode: Option<ClientTlsMode>,
    /// `clientCertificate`: file of the client's certificate; required for `MUTUAL` without
    /// `credentialName`.
    #[serde(skip_serializing_if = "unset", alias = "client_certificate")]
    pub client_certificate: Option<String>,
    /// `privateKey`: file of the client's key; required for `MUTUAL` without `credentialName`.
    #[serde(skip_serializing_if = "unset", alias = "private_key")]
    pub private_key: Option<String>,
    /// `caCertificates`: file of the authorities that may sign the server's certificate; absent
    /// means the system's.
    #[serde(skip_serializing_if = "unset", alias = "ca_certificates")]
    pub ca_certificates: Option<String>,
    /// `credentialName`: Secret that holds key, certificate and authorities. Exclusive with the
    /// files.
    #[serde(skip_serializing_if = "unset", alias = "credential_name")]
    pub credential_name: Option<String>,
    /// `subjectAltNames`: names of which the server's certificate must have one.
    #[serde(skip_serializing_if = "unset", alias = "subject_alt_names")]
    pub subject_alt_names: Vec<String>,
    /// `sni`: server name that is sent.
    #[serde(skip_serializing_if = "unset")]
    pub sni: Option<String>,
    /// `insecureSkipVerify`: whether the server's certificate goes unchecked.
    #[serde(skip_serializing_if = "unset", alias = "insecure_skip_verify")]
    #[schemars(transform = nullable)]
    pub insecure_skip_verify: Option<bool>,
    /// `caCrl`: file of revoked certificates.
    #[serde(skip_serializing_if = "unset", alias = "ca_crl")]
    pub ca_crl: Option<String>,
}

proto_enum! {
    /// What kind of TLS a client uses (`ClientTLSSettings.TLSmode`).
    ClientTlsMode {
        /// Plaintext.
        Disable = 0 => "DISABLE",
        /// The server shows a certificate.
        Simple = 1 => "SIMPLE",
        /// Both show certificates, the client's from the settings.
        Mutual = 2 => "MUTUAL",
        /// Both show the mesh's own certificates.
        IstioMutual = 3 => "ISTIO_MUTUAL",
    }
}

/// An HTTP tunnel (`trafficPolicy.tunnel`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = require("targetHost, targetPort"))]
pub struct TunnelSettings {
    /// `protocol`: method that opens the tunnel, `CONNECT` or `POST`; absent means `CONNECT`.
    #[serde(skip_serializing_if = "unset")]
    pub protocol: Option<String>,
    /// `targetHost`: host at the tunnel's end. Required.
    #[serde(skip_serializing_if = "unset", alias = "target_host")]
    pub target_host: Option<String>,
    /// `targetPort`: port at the tunnel's end. Required.
    #[serde(skip_serializing_if = "unset", alias = "target_port")]
    #[schemars(transform = within(PORT))]
    pub target_port: Option<i64>,
}
