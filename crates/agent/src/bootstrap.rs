//! Envoy's bootstrap: how it reaches the agent, and all that the control plane does not send.
//!
//! Everything is made as JSON values, never as text, so that no name in it can mean anything else.

use std::net::IpAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::args::PortArguments;
use crate::node::Node;

/// The sockets of the agent that Envoy talks to.
#[derive(Clone, Copy, Debug)]
pub struct Sockets<'a> {
    /// Where the agent relays discovery.
    pub xds: &'a Path,
    /// Where the agent serves secrets.
    pub sds: &'a Path,
}

/// Renders the bootstrap.
#[must_use]
pub fn render(node: &Node, ports: &PortArguments, sockets: Sockets<'_>) -> Value {
    json!({
        "node": {
            "id": node.id(),
            "cluster": node.cluster(),
            "locality": {
                "region": node.locality.region,
                "zone": node.locality.zone,
                "sub_zone": node.locality.sub_zone,
            },
            "metadata": node.metadata(),
        },
        "admin": { "address": address("127.0.0.1", ports.admin_port), "ignore_global_conn_limit": true },
        "layered_runtime": { "layers": [runtime(), { "name": "admin", "admin_layer": {} }] },
        "overload_manager": { "resource_monitors": [downstream_connections()] },
        "stats_config": stats(),
        // For the series of the mesh's metrics that rest: their scope is bounded and evicts, but only when told to.
        "stats_eviction_interval": "3600s",
        "dynamic_resources": discovery(),
        "static_resources": {
            "clusters": [
                local_cluster("prometheus_stats", &address("127.0.0.1", ports.admin_port)),
                local_cluster("agent", &address("127.0.0.1", ports.status_port)),
                grpc_cluster("sds-grpc", sockets.sds),
                grpc_cluster("xds-grpc", sockets.xds),
            ],
            "listeners": [
                listener(node, ports.envoy_prometheus_port, "stats", "/stats/prometheus", "prometheus_stats"),
                listener(node, ports.envoy_status_port, "agent", "/healthz/ready", "agent"),
            ],
        },
    })
}

fn address(host: &str, port: u16) -> Value {
    json!({ "socket_address": { "protocol": "TCP", "address": host, "port_value": port } })
}

/// Istio's limit for RE2: the stock one of 100 refuses `[a-z]{200}`, and with it a whole route table.
fn runtime() -> Value {
    json!({ "name": "global config", "static_layer": { "re2.max_program_size.error_level": 32768 } })
}

/// Istio's limit; without any, Envoy warns at every start.
fn downstream_connections() -> Value {
    json!({
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
            "max_active_downstream_connections": i32::MAX,
        },
    })
}

/// Aggregated discovery through the agent. The control plane may take its time (0s: no limit), and after an outage
/// Envoy comes back at once: with its own back-off that took up to 23 s.
fn discovery() -> Value {
    let ads = json!({ "ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3" });
    json!({
        "lds_config": ads,
        "cds_config": ads,
        "ads_config": {
            "api_type": "DELTA_GRPC",
            "set_node_on_first_message_only": true,
            "transport_api_version": "V3",
            "grpc_services": [{
                "envoy_grpc": {
                    "cluster_name": "xds-grpc",
                    "retry_policy": {
                        "retry_back_off": { "base_interval": "0.2s", "max_interval": "1s" },
                    },
                },
            }],
        },
    })
}

/// Istio's names for the tags of Envoy's own metrics, and Istio's choice of which metrics exist at all: thousands of
/// clusters with all their counters would cost more memory than their configuration.
fn stats() -> Value {
    let tag = |name: &str, regex: &str| json!({ "tag_name": name, "regex": regex });
    let prefixes = [
        "cluster_manager",
        "listener_manager",
        "server",
        "cluster.xds-grpc",
        "cluster.sds-grpc",
        "control_plane",
        "istio",
    ];
    let suffixes = [
        "rbac.allowed",
        "rbac.denied",
        "shadow_allowed",
        "shadow_denied",
        "downstream_cx_active",
    ];
    // Routes have counters where a VirtualService gives them a `statPrefix`.
    let routes = json!({ "safe_regex": { "regex": r"vhost\..*\.route\..*" } });
    let prefixes = prefixes.map(|prefix| json!({ "prefix": prefix }));
    let suffixes = suffixes.map(|suffix| json!({ "suffix": suffix }));
    let patterns = prefixes.into_iter().chain(suffixes).chain([routes]);
    json!({
        "use_all_default_tags": false,
        "stats_tags": [
            tag("cluster_name", r"^cluster\.((.+?(\..+?\.svc\.cluster\.local)?)\.)"),
            tag("tcp_prefix", r"^tcp\.((.*?)\.)\w+?$"),
            tag("response_code", r"_rq(_(\d{3}))$"),
            tag("response_code_class", r"_rq(_(\dxx))$"),
            tag("http_conn_manager_prefix", r"^http\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)"),
            tag("virtual_host", r"^vhost\.((.+?)\.)route\."),
            tag("route", r"^vhost\..+?\.route\.(([^.]+)\.)"),
            tag("listener_address", r"^listener\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)"),
        ],
        "stats_matcher": {
            "inclusion_list": { "patterns": patterns.collect::<Vec<_>>() },
        },
    })
}

fn local_cluster(name: &str, address: &Value) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "0.250s",
        "load_assignment": assignment(name, address),
    })
}

fn grpc_cluster(name: &str, socket: &Path) -> Value {
    // More streams than Envoy's stock thresholds allow: one for every secret.
    let limits = json!({ "max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000 });
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": { "thresholds": [limits] },
        "load_assignment": assignment(name, &json!({ "pipe": { "path": socket.to_string_lossy() } })),
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            },
        },
    })
}

fn assignment(name: &str, address: &Value) -> Value {
    json!({
        "cluster_name": name,
        "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }],
    })
}

/// A listener of the pod's own address that answers one path from a cluster.
fn listener(node: &Node, port: u16, prefix: &str, path: &str, cluster: &str) -> Value {
    let any = match node.addresses.first() {
        Some(IpAddr::V6(_)) => "::",
        Some(IpAddr::V4(_)) | None => "0.0.0.0",
    };
    json!({
        "address": address(any, port),
        "ignore_global_conn_limit": true,
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "codec_type": "AUTO",
                "stat_prefix": prefix,
                "route_config": { "virtual_hosts": [{
                    "name": "backend",
                    "domains": ["*"],
                    "routes": [{ "match": { "prefix": path }, "route": { "cluster": cluster } }],
                }]},
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
                }],
            },
        }]}],
    })
}
