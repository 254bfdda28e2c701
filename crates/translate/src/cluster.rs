//! Clusters: how connections are made, what the server must prove, and what telemetry says of them.

use std::time::Duration;

use envoy_api::envoy::config::cluster::v3 as envoy;
use envoy_api::envoy::config::cluster::v3::circuit_breakers::thresholds;
use envoy_api::envoy::config::cluster::v3::cluster::common_lb_config::{
    LocalityConfigSpecifier, LocalityWeightedLbConfig,
};
use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::r#type::v3::Percent;
use envoy_api::pack;
use ir::model::{ConnectionPool, EnvoyMinor, RetryBudget, TcpKeepalive};
use ir::{Cluster, ClusterName, ServiceRef, UpstreamProtocol, UpstreamTls};
use prost_types::value::Kind;

use crate::discovery::Way;
use crate::outlier_detection::outlier_detection;
use crate::proto::{duration, metadata, positive, string_value, strings, value};
use crate::telemetry::key;
use crate::tls;
use crate::{http_options, load_balancer, proxy_protocol};

/// The first Envoy whose retry budgets count over an interval.
pub(crate) const BUDGETS_HAVE_INTERVALS_SINCE: EnvoyMinor = EnvoyMinor::V1_39;

/// The cluster.
#[must_use]
pub fn cluster(cluster: &Cluster, envoy: EnvoyMinor) -> envoy::Cluster {
    let name = cluster.name.to_string();
    let way = Way::of(cluster, &name);
    let connect_timeout = cluster
        .connection_pool
        .connect_timeout
        .filter(|timeout| !timeout.is_zero())
        .unwrap_or(ir::DEFAULT_CONNECT_TIMEOUT);
    let (transport_socket, transport_socket_matches) =
        proxy_protocol::wrap(cluster, transport_sockets(&cluster.tls, cluster.protocol));
    envoy::Cluster {
        cluster_discovery_type: Some(way.kind),
        eds_cluster_config: way.eds,
        load_assignment: way.assignment,
        upstream_bind_config: way.bind,
        lb_policy: way.load_balancer.into(),
        lb_config: load_balancer::config(cluster),
        connect_timeout: Some(duration(connect_timeout)),
        circuit_breakers: Some(circuit_breakers(cluster, envoy)),
        upstream_connection_options: cluster
            .connection_pool
            .tcp_keepalive
            .as_ref()
            .map(keepalive),
        outlier_detection: cluster.outlier_detection.as_ref().map(outlier_detection),
        common_lb_config: Some(common_lb_config(cluster)),
        typed_extension_protocol_options: http_options::http_options(cluster)
            .map(|options| (http_options::NAME.to_owned(), pack(&options)))
            .into_iter()
            .collect(),
        transport_socket,
        transport_socket_matches,
        metadata: telemetry_metadata(cluster),
        name,
        ..Default::default()
    }
}

/// Unlimited unless the user says otherwise, as Istio: Envoy's own limits of 1,024 and 3 surprise.
fn circuit_breakers(cluster: &Cluster, envoy: EnvoyMinor) -> envoy::CircuitBreakers {
    let pool: &ConnectionPool = &cluster.connection_pool;
    let budget = cluster.retry_budget.as_ref();
    let retry_budget = budget.map(|budget| retry_budget(budget, envoy));
    let most = |limit: Option<u32>| Some(limit.filter(|&limit| limit > 0).unwrap_or(u32::MAX));
    envoy::CircuitBreakers {
        thresholds: vec![envoy::circuit_breakers::Thresholds {
            max_connections: most(pool.max_connections),
            max_pending_requests: most(pool.http1_max_pending_requests),
            max_requests: most(pool.http2_max_requests),
            max_retries: most(pool.max_retries),
            retry_budget,
            track_remaining: true,
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn retry_budget(budget: &RetryBudget, envoy: EnvoyMinor) -> thresholds::RetryBudget {
    let RetryBudget {
        percent,
        min_concurrency,
        interval,
    } = budget;
    thresholds::RetryBudget {
        budget_percent: percent.map(|percent| Percent {
            value: percent.get(),
        }),
        budget_interval: interval
            .filter(|_| envoy >= BUDGETS_HAVE_INTERVALS_SINCE)
            .map(positive),
        min_retry_concurrency: *min_concurrency,
    }
}

fn keepalive(keepalive: &TcpKeepalive) -> envoy::UpstreamConnectionOptions {
    let seconds = |length: Duration| u32::try_from(length.as_secs()).unwrap_or(u32::MAX).max(1);
    envoy::UpstreamConnectionOptions {
        tcp_keepalive: Some(core::TcpKeepalive {
            keepalive_probes: keepalive.probes,
            keepalive_time: keepalive.time.map(seconds),
            keepalive_interval: keepalive.interval.map(seconds),
        }),
        ..Default::default()
    }
}

/// Istio has no panic threshold unless `minHealthPercent` asks for one: services have few endpoints.
fn common_lb_config(cluster: &Cluster) -> envoy::cluster::CommonLbConfig {
    let percent = cluster
        .outlier_detection
        .as_ref()
        .map_or(0, |outliers| outliers.min_health_percent.min(100));
    envoy::cluster::CommonLbConfig {
        healthy_panic_threshold: Some(Percent {
            value: f64::from(percent),
        }),
        locality_config_specifier: cluster.weighs_localities.then_some(
            LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig {}),
        ),
        ..Default::default()
    }
}

/// One way for all endpoints, or several by what an endpoint's metadata says.
pub(crate) type TransportSockets = (
    Option<core::TransportSocket>,
    Vec<envoy::cluster::TransportSocketMatch>,
);

/// One way for all endpoints, or Istio's two by what an endpoint's metadata says (auto mTLS).
fn transport_sockets(security: &UpstreamTls, protocol: UpstreamProtocol) -> TransportSockets {
    match security {
        UpstreamTls::Plaintext => (None, Vec::new()),
        UpstreamTls::Mesh(mesh) => (Some(tls::mesh_client(mesh, protocol)), Vec::new()),
        UpstreamTls::Simple(server) => (Some(tls::file_client(server, None)), Vec::new()),
        UpstreamTls::Files {
            server,
            certificate,
            private_key,
        } => {
            let files = Some((&**certificate, &**private_key));
            (Some(tls::file_client(server, files)), Vec::new())
        }
        UpstreamTls::Auto(mesh) => (
            None,
            vec![
                envoy::cluster::TransportSocketMatch {
                    name: "tlsMode-istio".to_owned(),
                    r#match: Some(strings([("tlsMode", "istio")])),
                    transport_socket: Some(tls::mesh_client(mesh, protocol)),
                },
                envoy::cluster::TransportSocketMatch {
                    name: "tlsMode-disabled".to_owned(),
                    r#match: Some(prost_types::Struct::default()),
                    transport_socket: Some(tls::plaintext_socket()),
                },
            ],
        ),
    }
}

/// `services` as Istio writes it, and the same flat, because the stats logger reads no lists.
fn telemetry_metadata(cluster: &Cluster) -> Option<core::Metadata> {
    let fields = match (&cluster.name, &cluster.service) {
        (_, Some(service)) => service_fields(service),
        // What Istio calls calls to nowhere and to anywhere.
        (
            name @ (ClusterName::BlackHole
            | ClusterName::Passthrough
            | ClusterName::AllowAnyDynamicDns),
            None,
        ) => strings([(key::SERVICE_NAME, name.to_string().as_str())]),
        (
            ClusterName::Outbound { .. }
            | ClusterName::Inbound(_)
            | ClusterName::InboundPassthrough,
            None,
        ) => return None,
    };
    metadata([(key::NAMESPACE, fields)])
}

fn service_fields(service: &ServiceRef) -> prost_types::Struct {
    let ServiceRef {
        host,
        name,
        namespace,
        in_mesh: _,
    } = service;
    let listed = prost_types::Struct {
        fields: [("host", host), ("name", name), ("namespace", namespace)]
            .into_iter()
            .map(|(key, text)| (key.to_owned(), string_value(text)))
            .collect(),
    };
    let list = prost_types::ListValue {
        values: vec![value(Kind::StructValue(listed))],
    };
    let mut fields = strings([
        (key::SERVICE, &**host),
        (key::SERVICE_NAME, &**name),
        (key::SERVICE_NAMESPACE, &**namespace),
    ]);
    fields
        .fields
        .insert("services".to_owned(), value(Kind::ListValue(list)));
    fields
}
