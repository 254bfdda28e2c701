//! Resources of many proxies in one bootstrap, so that one start of Envoy checks them all.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use envoy_api::envoy::config::bootstrap::v3 as bootstrap;
use envoy_api::envoy::config::cluster::v3::{Cluster, cluster};
use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_api::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use envoy_api::envoy::config::route::v3::RouteConfiguration;
use envoy_api::envoy::extensions::filters::http::router::v3::Router;
use envoy_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_api::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use envoy_api::pack;
use prost::Message as _;
use xds::{Kind, Resource};

/// The cluster that aggregated discovery names.
const DISCOVERY: &str = "xds-grpc";
/// The cluster that secrets come from.
const SECRETS: &str = "sds-grpc";

/// A bootstrap with these resources, each under a name and an address of its own.
pub fn bootstrap<'a>(
    resources: impl IntoIterator<Item = (Kind, &'a Resource)>,
) -> bootstrap::Bootstrap {
    let mut all = bootstrap::bootstrap::StaticResources::default();
    let mut named = BTreeSet::from([DISCOVERY, SECRETS].map(str::to_owned));
    for (kind, resource) in resources {
        match standing_alone(kind, &resource.body()) {
            Some(Alone::Cluster(cluster)) => all.clusters.push(cluster),
            Some(Alone::Listener(listener)) => all.listeners.push(listener),
            None => {}
        }
        if kind == Kind::Extension {
            let needs = resource.parts().values().flat_map(|part| &*part.needs);
            named.extend(needs.map(ToString::to_string));
        }
    }
    for (number, cluster) in all.clusters.iter_mut().enumerate() {
        cluster.name = format!("cluster-{number}");
    }
    for (listener, number) in all.listeners.iter_mut().zip(1..) {
        listener.name = format!("listener-{number}");
        listener.address = Some(address(Ipv4Addr::from_bits(0x7F00_0000 + number)));
        listener.additional_addresses.clear();
    }
    all.clusters.extend(named.into_iter().map(nobody));
    bootstrap::Bootstrap {
        node: Some(node()),
        static_resources: Some(all),
        dynamic_resources: Some(bootstrap::bootstrap::DynamicResources {
            ads_config: Some(discovery()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// What can be shown to an Envoy without anything else.
#[allow(
    clippy::large_enum_variant,
    reason = "a test has few of them, and takes each apart at once"
)]
pub enum Alone {
    Cluster(Cluster),
    Listener(Listener),
}

/// A resource in a form that needs no other: Envoy checks what it discovers only where it has it.
pub fn standing_alone(kind: Kind, body: &[u8]) -> Option<Alone> {
    Some(match kind {
        Kind::Cluster => Alone::Cluster(Cluster::decode(body).unwrap()),
        Kind::Endpoint => Alone::Cluster(having(body)),
        Kind::Listener => Alone::Listener(Listener::decode(body).unwrap()),
        Kind::Route => Alone::Listener(routing(body)),
        Kind::Extension => Alone::Listener(filtering(body)),
        Kind::NameTable => return None,
    })
}

fn node() -> core::Node {
    let kind = prost_types::value::Kind::StringValue("Kubernetes".to_owned());
    let cluster = prost_types::Value { kind: Some(kind) };
    core::Node {
        id: "test".to_owned(),
        cluster: "test".to_owned(),
        metadata: Some(prost_types::Struct {
            fields: [("CLUSTER_ID".to_owned(), cluster)].into(),
        }),
        ..Default::default()
    }
}

fn discovery() -> core::ApiConfigSource {
    let grpc = core::grpc_service::EnvoyGrpc {
        cluster_name: DISCOVERY.to_owned(),
        ..Default::default()
    };
    core::ApiConfigSource {
        api_type: core::api_config_source::ApiType::DeltaGrpc.into(),
        transport_api_version: core::ApiVersion::V3.into(),
        grpc_services: vec![core::GrpcService {
            target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(grpc)),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Port 80 of an address.
pub fn address(address: Ipv4Addr) -> core::Address {
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: address.to_string(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(80)),
            ..Default::default()
        })),
    }
}

/// A cluster that is only there to be named.
fn nobody(name: String) -> Cluster {
    Cluster {
        name,
        ..Default::default()
    }
}

/// A cluster that has these endpoints.
fn having(assignment: &[u8]) -> Cluster {
    Cluster {
        load_assignment: Some(ClusterLoadAssignment::decode(assignment).unwrap()),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
            cluster::DiscoveryType::Static.into(),
        )),
        ..Default::default()
    }
}

/// A listener that holds a route table itself.
fn routing(table: &[u8]) -> Listener {
    requests(RouteConfiguration::decode(table).unwrap(), None)
}

/// A listener that holds a discovered filter itself.
fn filtering(filter: &[u8]) -> Listener {
    let filter = core::TypedExtensionConfig::decode(filter).unwrap();
    let config = filter.typed_config.unwrap();
    if config.type_url.contains(".http.") {
        let filter = hcm::HttpFilter {
            name: filter.name,
            config_type: Some(hcm::http_filter::ConfigType::TypedConfig(config)),
            ..Default::default()
        };
        return requests(RouteConfiguration::default(), Some(filter));
    }
    let proxy = TcpProxy {
        stat_prefix: "test".to_owned(),
        cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster(DISCOVERY.to_owned())),
        ..Default::default()
    };
    let last = network("envoy.filters.network.tcp_proxy".to_owned(), pack(&proxy));
    listener(vec![network(filter.name, config), last])
}

fn requests(table: RouteConfiguration, filter: Option<hcm::HttpFilter>) -> Listener {
    let router = hcm::HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(pack(
            &Router::default(),
        ))),
        ..Default::default()
    };
    let manager = hcm::HttpConnectionManager {
        stat_prefix: "test".to_owned(),
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::RouteConfig(
            table,
        )),
        http_filters: filter.into_iter().chain([router]).collect(),
        ..Default::default()
    };
    let name = "envoy.filters.network.http_connection_manager".to_owned();
    listener(vec![network(name, pack(&manager))])
}

fn network(name: String, config: envoy_api::Any) -> Filter {
    Filter {
        name,
        config_type: Some(filter::ConfigType::TypedConfig(config)),
    }
}

fn listener(filters: Vec<Filter>) -> Listener {
    Listener {
        filter_chains: vec![FilterChain {
            filters,
            ..Default::default()
        }],
        ..Default::default()
    }
}
