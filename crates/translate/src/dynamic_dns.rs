//! Names that are resolved when they are asked for: Envoy's dynamic forward proxy, its cluster and its two filters.

use envoy_api::envoy::config::cluster::v3::cluster as envoy;
use envoy_api::envoy::config::listener::v3 as listener;
use envoy_api::envoy::extensions::clusters::dynamic_forward_proxy::v3 as cluster;
use envoy_api::envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig;
use envoy_api::envoy::extensions::filters::http::dynamic_forward_proxy::v3 as http;
use envoy_api::envoy::extensions::filters::network::sni_dynamic_forward_proxy::v3 as sni;
use envoy_api::{Any, pack};
use ir::model::{Families, Port};

use crate::discovery::DNS_REFRESH;
use crate::listener::network_filter;
use crate::proto::duration;

/// The HTTP filter's name.
pub(crate) const FILTER: &str = "envoy.filters.http.dynamic_forward_proxy";

/// What the proxy has resolved. There is one cache for all services: one filter stands before the clusters of many, and
/// Envoy demands that it names the same cache, in the same words, as each of them. Other families are other words.
fn cache(families: Families) -> DnsCacheConfig {
    DnsCacheConfig {
        name: format!("dynamic_dns_{families:?}").to_lowercase(),
        dns_lookup_family: family(families).into(),
        dns_refresh_rate: Some(duration(DNS_REFRESH)),
        ..Default::default()
    }
}

fn family(families: Families) -> envoy::DnsLookupFamily {
    match families {
        Families::V4 => envoy::DnsLookupFamily::V4Only,
        Families::V6 => envoy::DnsLookupFamily::V6Only,
        Families::Dual => envoy::DnsLookupFamily::All,
    }
}

/// A cluster whose endpoints are what callers ask for.
pub(crate) fn cluster_type(families: Families) -> envoy::ClusterDiscoveryType {
    let config = cluster::ClusterConfig {
        cluster_implementation_specifier: Some(
            cluster::cluster_config::ClusterImplementationSpecifier::DnsCacheConfig(cache(
                families,
            )),
        ),
        // What the server must prove is for the DestinationRule to say, as everywhere.
        allow_insecure_cluster_options: true,
        ..Default::default()
    };
    envoy::ClusterDiscoveryType::ClusterType(envoy::CustomClusterType {
        name: "envoy.clusters.dynamic_forward_proxy".to_owned(),
        typed_config: Some(pack(&config)),
    })
}

/// Resolves a request's Host; looks at no request that goes to another kind of cluster.
pub(crate) fn http_filter(families: Families) -> Any {
    pack(&http::FilterConfig {
        implementation_specifier: Some(
            http::filter_config::ImplementationSpecifier::DnsCacheConfig(cache(families)),
        ),
        ..Default::default()
    })
}

/// Resolves the name that TLS asks for, to be called on this port.
pub(crate) fn sni_filter(port: Port, families: Families) -> listener::Filter {
    network_filter(
        "envoy.filters.network.sni_dynamic_forward_proxy",
        &sni::FilterConfig {
            dns_cache_config: Some(cache(families)),
            port_specifier: Some(sni::filter_config::PortSpecifier::PortValue(
                port.get().into(),
            )),
            ..Default::default()
        },
    )
}
