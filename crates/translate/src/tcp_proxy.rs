//! The TCP proxy: the bytes of a connection to one cluster.

use std::time::Duration;

use envoy::tcp_proxy::{ClusterSpecifier, TcpAccessLogOptions};
use envoy_api::envoy::config::accesslog::v3::AccessLog;
use envoy_api::envoy::config::listener::v3 as listener;
use envoy_api::envoy::extensions::filters::network::tcp_proxy::v3 as envoy;
use ir::ClusterName;

use crate::listener::network_filter;
use crate::proto::duration;

/// How much a caller may send before the server's connection stands; then it waits.
const EARLY_DATA: u32 = 64 * 1024;

/// The network filter.
pub(crate) fn tcp_proxy(
    cluster: &ClusterName,
    idle_timeout: Option<Duration>,
    access_log: Vec<AccessLog>,
) -> listener::Filter {
    filter(&config(cluster, idle_timeout, access_log))
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
        ..config(cluster, None, access_log)
    })
}

fn filter(config: &envoy::TcpProxy) -> listener::Filter {
    network_filter("envoy.filters.network.tcp_proxy", config)
}

fn config(
    cluster: &ClusterName,
    idle_timeout: Option<Duration>,
    access_log: Vec<AccessLog>,
) -> envoy::TcpProxy {
    let cluster = cluster.to_string();
    envoy::TcpProxy {
        stat_prefix: cluster.clone(),
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)),
        idle_timeout: idle_timeout.map(duration),
        // A log when the connection stands, for the counter of opened ones.
        access_log_options: (!access_log.is_empty()).then_some(TcpAccessLogOptions {
            flush_access_log_on_connected: true,
            ..Default::default()
        }),
        access_log,
        ..Default::default()
    }
}
