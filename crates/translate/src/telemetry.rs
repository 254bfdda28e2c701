//! Istio's standard metrics from stock Envoy's stats access logger.
//!
//! What stands here is the same for every proxy: its own side of a request it reads from its environment at run time.
//! Values that Envoy does not know come out empty; the agent's metrics endpoint writes `unknown` for them, and takes
//! Envoy's `envoy_` from the names.

use std::sync::LazyLock;

use envoy_api::envoy::config::accesslog::v3 as accesslog;
use envoy_api::envoy::data::accesslog::v3::AccessLogType;
use envoy_api::envoy::extensions::access_loggers::stats::v3 as stats;
use envoy_api::envoy::r#type::v3::Scope;
use envoy_api::pack;
use ir::ServiceRef;
use ir::model::EnvoyMinor;
use stats::config::{Counter, Histogram, Stat, Tag, histogram::Unit};

use crate::access_log::{logger, only};

/// What the agent sets in Envoy's environment, for [`crate`]'s resources to read.
pub mod env {
    /// `source_workload` or `destination_workload`: the Deployment, say.
    pub const WORKLOAD_NAME: &str = "ISTIO_META_WORKLOAD_NAME";
    /// The workload's namespace.
    pub const NAMESPACE: &str = "POD_NAMESPACE";
    /// Istio's canonical service of the workload.
    pub const CANONICAL_SERVICE: &str = "CANONICAL_SERVICE";
    /// Istio's canonical revision of the workload.
    pub const CANONICAL_REVISION: &str = "CANONICAL_REVISION";
    /// The cluster's name, `Kubernetes` by default.
    pub const CLUSTER_ID: &str = "ISTIO_META_CLUSTER_ID";
}

/// Where the facts about the other side stand.
pub(crate) mod key {
    /// The metadata of clusters and endpoints.
    pub const NAMESPACE: &str = "istio";
    /// The dynamic metadata of a request that tells who calls.
    pub const PEER: &str = "istio.peer";
    pub const SERVICE: &str = "destination_service";
    pub const SERVICE_NAME: &str = "destination_service_name";
    pub const SERVICE_NAMESPACE: &str = "destination_service_namespace";
    pub const WORKLOAD: &str = "workload";
    pub const WORKLOAD_NAMESPACE: &str = "namespace";
    pub const CANONICAL_SERVICE: &str = "canonical_service";
    pub const CANONICAL_REVISION: &str = "canonical_revision";
    pub const CLUSTER: &str = "cluster";
}

/// The first Envoy whose stats access logger keeps its metrics in a scope with limits; before, they have none.
pub(crate) const METRICS_HAVE_SCOPES_SINCE: EnvoyMinor = EnvoyMinor::V1_39;
/// What stands before every name: `istio.requests_total` is `istio_requests_total` for Prometheus.
const PREFIX: &str = "istio";
/// How many series of each kind one proxy keeps; beyond it, Envoy drops new ones and evicts those that rest.
const MAX_SERIES: u32 = 20_000;
/// gRPC is told from HTTP as Istio does it.
const HTTP_OR_GRPC: &str = "%CEL('content-type' in request.headers && request.headers['content-type'].startsWith('application/grpc') ? 'grpc' : 'http')%";
/// A workload that the control plane knows is of the same cluster as the proxy, whose node says which.
const SERVERS_CLUSTER: &str = "%CEL('istio' in xds.upstream_host_metadata.filter_metadata ? xds.node.metadata['CLUSTER_ID'] : 'unknown')%";
/// What is not known of the other side.
const UNKNOWN: &str = "unknown";

/// Who reports.
#[derive(Clone, Copy)]
pub(crate) enum Reporter<'a> {
    /// The client's proxy.
    Source,
    /// The server's proxy.
    Destination {
        /// The service that the connection came for.
        service: Option<&'a ServiceRef>,
        /// Whether it came by mutual TLS.
        mutual_tls: bool,
    },
}

/// The metrics of requests.
pub(crate) fn http(reporter: Reporter<'_>, envoy: EnvoyMinor) -> Vec<accesslog::AccessLog> {
    static SOURCE: LazyLock<Vec<accesslog::AccessLog>> =
        LazyLock::new(|| of_requests(Reporter::Source, EnvoyMinor::NEWEST));
    match (reporter, envoy) {
        (Reporter::Source, EnvoyMinor::NEWEST) => SOURCE.clone(),
        (reporter, envoy) => of_requests(reporter, envoy),
    }
}

fn of_requests(reporter: Reporter<'_>, envoy: EnvoyMinor) -> Vec<accesslog::AccessLog> {
    let mut tags = tags(reporter, Some(key::PEER));
    tags.extend([
        tag("request_protocol", HTTP_OR_GRPC),
        tag("response_code", "%RESPONSE_CODE%"),
        tag("grpc_response_status", "%GRPC_STATUS_NUMBER%"),
        tag("response_flags", "%RESPONSE_FLAGS%"),
    ]);
    let histogram = |name, value: &str, unit: Unit| Histogram {
        stat: stat(name, &tags),
        unit: unit.into(),
        value_format: value.to_owned(),
    };
    let metrics = stats::Config {
        counters: vec![one("requests_total", &tags)],
        histograms: vec![
            histogram(
                "request_duration_milliseconds",
                "%DURATION%",
                Unit::Milliseconds,
            ),
            histogram("request_bytes", "%BYTES_RECEIVED%", Unit::Bytes),
            histogram("response_bytes", "%BYTES_SENT%", Unit::Bytes),
        ],
        ..Default::default()
    };
    vec![stats_logger(None, metrics, envoy)]
}

/// The metrics of connections. Bytes count when a connection ends: Envoy's periodic logs are cumulative.
pub(crate) fn tcp(reporter: Reporter<'_>, envoy: EnvoyMinor) -> Vec<accesslog::AccessLog> {
    static SOURCE: LazyLock<Vec<accesslog::AccessLog>> =
        LazyLock::new(|| of_connections(Reporter::Source, EnvoyMinor::NEWEST));
    match (reporter, envoy) {
        (Reporter::Source, EnvoyMinor::NEWEST) => SOURCE.clone(),
        (reporter, envoy) => of_connections(reporter, envoy),
    }
}

fn of_connections(reporter: Reporter<'_>, envoy: EnvoyMinor) -> Vec<accesslog::AccessLog> {
    let mut tags = tags(reporter, None);
    tags.extend([
        tag("request_protocol", "tcp"),
        tag("response_flags", "%RESPONSE_FLAGS%"),
    ]);
    let bytes = |name, value: &str| Counter {
        stat: stat(name, &tags),
        value_format: value.to_owned(),
        ..Default::default()
    };
    let opened = stats::Config {
        counters: vec![one("tcp_connections_opened_total", &tags)],
        ..Default::default()
    };
    let ended = stats::Config {
        counters: vec![
            one("tcp_connections_closed_total", &tags),
            bytes("tcp_sent_bytes_total", "%BYTES_SENT%"),
            bytes("tcp_received_bytes_total", "%BYTES_RECEIVED%"),
        ],
        ..Default::default()
    };
    vec![
        stats_logger(
            Some(only(AccessLogType::TcpUpstreamConnected)),
            opened,
            envoy,
        ),
        stats_logger(Some(only(AccessLogType::TcpConnectionEnd)), ended, envoy),
    ]
}

fn stats_logger(
    filter: Option<accesslog::AccessLogFilter>,
    metrics: stats::Config,
    envoy: EnvoyMinor,
) -> accesslog::AccessLog {
    let config = if envoy >= METRICS_HAVE_SCOPES_SINCE {
        scoped(metrics)
    } else {
        prefixed(metrics)
    };
    logger("envoy.access_loggers.stats", filter, pack(&config))
}

fn scoped(metrics: stats::Config) -> stats::Config {
    let scope = Scope {
        prefix: PREFIX.to_owned(),
        max_counters: Some(MAX_SERIES),
        max_histograms: Some(MAX_SERIES),
        enable_eviction: true,
        ..Default::default()
    };
    stats::Config {
        stats_scope: Some(scope),
        ..metrics
    }
}

#[allow(deprecated, reason = "what older Envoys have in place of a scope")]
fn prefixed(metrics: stats::Config) -> stats::Config {
    stats::Config {
        stat_prefix: PREFIX.to_owned(),
        ..metrics
    }
}

/// Istio's standard labels of both sides. Istio's `app` and `version` are the canonical service and revision.
fn tags(reporter: Reporter<'_>, peer: Option<&str>) -> Vec<Tag> {
    let own = Side {
        workload: environment(env::WORKLOAD_NAME),
        namespace: environment(env::NAMESPACE),
        service: environment(env::CANONICAL_SERVICE),
        revision: environment(env::CANONICAL_REVISION),
        cluster: environment(env::CLUSTER_ID),
    };
    match reporter {
        Reporter::Source => {
            let cluster = |field| format!("%CLUSTER_METADATA({}:{field})%", key::NAMESPACE);
            let server = Side {
                cluster: SERVERS_CLUSTER.to_owned(),
                ..Side::of(|field| format!("%UPSTREAM_METADATA({}:{field})%", key::NAMESPACE))
            };
            let mut tags = vec![tag("reporter", "source")];
            tags.extend(own.tags("source", "%UPSTREAM_LOCAL_URI_SAN%"));
            tags.extend(server.tags("destination", "%UPSTREAM_PEER_URI_SAN%"));
            tags.extend([
                tag("destination_service", &cluster(key::SERVICE)),
                tag("destination_service_name", &cluster(key::SERVICE_NAME)),
                tag(
                    "destination_service_namespace",
                    &cluster(key::SERVICE_NAMESPACE),
                ),
                tag("connection_security_policy", UNKNOWN),
            ]);
            tags
        }
        Reporter::Destination {
            service,
            mutual_tls,
        } => {
            let client = Side::of(|field| {
                peer.map_or_else(
                    || UNKNOWN.to_owned(),
                    |peer| format!("%DYNAMIC_METADATA({peer}:{field})%"),
                )
            });
            let (host, name, namespace) = service
                .map_or((UNKNOWN, "InboundPassthroughCluster", UNKNOWN), |service| {
                    (&*service.host, &*service.name, &*service.namespace)
                });
            let mut tags = vec![tag("reporter", "destination")];
            tags.extend(client.tags("source", "%DOWNSTREAM_PEER_URI_SAN%"));
            tags.extend(own.tags("destination", "%DOWNSTREAM_LOCAL_URI_SAN%"));
            tags.extend([
                tag("destination_service", host),
                tag("destination_service_name", name),
                tag("destination_service_namespace", namespace),
                tag(
                    "connection_security_policy",
                    if mutual_tls { "mutual_tls" } else { "none" },
                ),
            ]);
            tags
        }
    }
}

/// One side of a request, as formats of Envoy.
struct Side {
    workload: String,
    namespace: String,
    service: String,
    revision: String,
    cluster: String,
}

impl Side {
    fn of(format: impl Fn(&str) -> String) -> Self {
        Self {
            workload: format(key::WORKLOAD),
            namespace: format(key::WORKLOAD_NAMESPACE),
            service: format(key::CANONICAL_SERVICE),
            revision: format(key::CANONICAL_REVISION),
            cluster: format(key::CLUSTER),
        }
    }

    fn tags(&self, side: &str, principal: &str) -> Vec<Tag> {
        [
            ("workload", &*self.workload),
            ("workload_namespace", &self.namespace),
            ("principal", principal),
            ("app", &self.service),
            ("version", &self.revision),
            ("canonical_service", &self.service),
            ("canonical_revision", &self.revision),
            ("cluster", &self.cluster),
        ]
        .map(|(label, format)| tag(&format!("{side}_{label}"), format))
        .into()
    }
}

/// Envoy's own environment, read at run time: a proxy states itself without its name in the config.
pub(crate) fn environment(variable: &str) -> String {
    format!("%ENVIRONMENT({variable})%")
}

fn tag(name: &str, value: &str) -> Tag {
    Tag {
        name: name.to_owned(),
        value_format: value.to_owned(),
        ..Default::default()
    }
}

fn stat(name: &str, tags: &[Tag]) -> Option<Stat> {
    Some(Stat {
        name: name.to_owned(),
        tags: tags.to_vec(),
    })
}

fn one(name: &str, tags: &[Tag]) -> Counter {
    Counter {
        stat: stat(name, tags),
        value_fixed: Some(1),
        ..Default::default()
    }
}
