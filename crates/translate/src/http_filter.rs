//! The HTTP filters of a connection manager, in the order in which `ir::HttpFilter` declares them.

use envoy_api::envoy::extensions::filters::http::{
    cors::v3::Cors, fault::v3::HttpFault, grpc_stats::v3 as grpc_stats, router::v3::Router,
};
use envoy_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_api::{Any, pack};
use ir::{AuthorizationFilterName, AuthorizationLayer, AuthorizationStage, HttpFilter};

use crate::{alpn, authorization, dynamic_dns, peer_metadata};

/// The fault filter's name, by which routes speak to it.
pub(crate) const FAULT: &str = "envoy.filters.http.fault";
/// The CORS filter's name.
pub(crate) const CORS: &str = "envoy.filters.http.cors";

/// Sorts the filters and gives each its configuration.
pub(crate) fn http_filters(mut filters: Vec<HttpFilter>) -> Vec<hcm::HttpFilter> {
    filters.sort();
    filters.iter().map(http_filter).collect()
}

fn http_filter(filter: &HttpFilter) -> hcm::HttpFilter {
    match filter {
        HttpFilter::PeerMetadata(side) => named(peer_metadata::NAME, peer_metadata::config(*side)),
        HttpFilter::Authorization(stage) => authorization_filter(*stage),
        HttpFilter::GrpcStats => named("envoy.filters.http.grpc_stats", pack(&grpc_stats())),
        HttpFilter::Alpn => named(alpn::NAME, alpn::config()),
        HttpFilter::Fault => named(FAULT, pack(&HttpFault::default())),
        HttpFilter::Cors => named(CORS, pack(&Cors::default())),
        HttpFilter::DynamicForwardProxy(families) => {
            named(dynamic_dns::FILTER, dynamic_dns::http_filter(*families))
        }
        HttpFilter::Router => named("envoy.filters.http.router", pack(&Router::default())),
    }
}

/// Reads gRPC's status for the metrics, without counters of Envoy's own for every method that a caller makes up.
fn grpc_stats() -> grpc_stats::FilterConfig {
    grpc_stats::FilterConfig {
        emit_filter_state: true,
        per_method_stat_specifier: Some(
            grpc_stats::filter_config::PerMethodStatSpecifier::StatsForAllMethods(false),
        ),
        ..Default::default()
    }
}

/// A filter that is discovered by its name.
fn authorization_filter(stage: AuthorizationStage) -> hcm::HttpFilter {
    let layer = AuthorizationLayer::Http;
    let name = AuthorizationFilterName { layer, stage };
    hcm::HttpFilter {
        name: name.to_string(),
        config_type: Some(hcm::http_filter::ConfigType::ConfigDiscovery(
            authorization::discovered(name),
        )),
        ..Default::default()
    }
}

fn named(name: &str, config: Any) -> hcm::HttpFilter {
    hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}
