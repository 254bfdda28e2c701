//! The TCP proxy: the bytes of a connection to a cluster, or to one of several by weight.

use std::net::IpAddr;

use envoy::tcp_proxy::weighted_cluster::ClusterWeight;
use envoy::tcp_proxy::{ClusterSpecifier, TcpAccessLogOptions, WeightedCluster};
use envoy_api::envoy::config::accesslog::v3::AccessLog;
use envoy_api::envoy::config::listener::v3 as listener;
use envoy_api::envoy::extensions::filters::network::tcp_proxy::v3 as envoy;
use ir::model::{EndpointAddress, Tunnel};
use ir::{ClusterName, TcpBackend};

use crate::hash_policy::source_address;
use crate::listener::network_filter;
use crate::proto::{duration, positive};

/// How much a caller may send before the server's connection stands; then it waits.
const EARLY_DATA: u32 = 64 * 1024;

/// The network filter.
pub(crate) fn tcp_proxy(backend: &TcpBackend, access_log: Vec<AccessLog>) -> listener::Filter {
    filter(&config(backend, access_log))
}

/// The network filter of connections that lead nowhere.
pub(crate) fn black_hole() -> listener::Filter {
    tcp_proxy(&TcpBackend::to(ClusterName::BlackHole), Vec::new())
}

/// The network filter behind mutual TLS: the server hears of no caller before the caller has shown its certificate,
/// and neither does the counter of opened connections, whose labels name it.
pub(crate) fn tcp_proxy_after_handshake(
    cluster: &ClusterName,
    access_log: Vec<AccessLog>,
) -> listener::Filter {
    filter(&envoy::TcpProxy {
        upstream_connect_mode: envoy::UpstreamConnectMode::OnDownstreamTlsHandshake.into(),
        max_early_data_bytes: Some(EARLY_DATA),
        ..config(&TcpBackend::to(cluster.clone()), access_log)
    })
}

fn filter(config: &envoy::TcpProxy) -> listener::Filter {
    network_filter("envoy.filters.network.tcp_proxy", config)
}

fn config(backend: &TcpBackend, access_log: Vec<AccessLog>) -> envoy::TcpProxy {
    let TcpBackend {
        clusters,
        idle_timeout,
        max_duration,
        hashes_source,
        tunnel: through,
        resolved_on: _, // a filter in front
    } = backend;
    let first = clusters.first().map(|share| share.cluster.to_string());
    envoy::TcpProxy {
        stat_prefix: first.unwrap_or_default(),
        cluster_specifier: Some(specifier(clusters)),
        idle_timeout: idle_timeout.map(duration),
        max_downstream_connection_duration: max_duration.map(positive),
        hash_policy: hashes_source.then(source_address).into_iter().collect(),
        tunneling_config: through.as_ref().map(tunnel),
        // A log when the connection stands, for the counter of opened ones.
        access_log_options: (!access_log.is_empty()).then_some(TcpAccessLogOptions {
            flush_access_log_on_connected: true,
            ..Default::default()
        }),
        access_log,
        ..Default::default()
    }
}

/// The bytes go through an HTTP proxy, which is told where to.
fn tunnel(tunnel: &Tunnel) -> envoy::tcp_proxy::TunnelingConfig {
    let Tunnel { post, host, port } = tunnel;
    let host = match host {
        EndpointAddress::Ip(IpAddr::V6(address)) => format!("[{address}]"),
        EndpointAddress::Ip(address) => address.to_string(),
        EndpointAddress::Dns(name) => name.to_string(),
        EndpointAddress::Unix(path) => path.to_string(),
    };
    envoy::tcp_proxy::TunnelingConfig {
        hostname: format!("{host}:{port}"),
        use_post: *post,
        ..Default::default()
    }
}

fn specifier(clusters: &[ir::WeightedCluster]) -> ClusterSpecifier {
    if let [only] = clusters {
        return ClusterSpecifier::Cluster(only.cluster.to_string());
    }
    // Envoy refuses the weight 0.
    let shares = clusters.iter().filter(|share| share.weight > 0);
    let clusters = shares.map(|share| ClusterWeight {
        name: share.cluster.to_string(),
        weight: share.weight,
        ..Default::default()
    });
    ClusterSpecifier::WeightedClusters(WeightedCluster {
        clusters: clusters.collect(),
    })
}
