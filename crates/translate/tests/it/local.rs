//! Makes a configuration that a control plane would serve stand alone on loopback, and changes nothing else in it:
//! endpoints, routes and secrets stand in the bootstrap, and listeners bind ports of their own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use envoy_api::envoy::config::cluster::v3::Cluster;
use envoy_api::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, LbPolicy,
};
use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_api::envoy::config::listener::v3::{self as listener, Listener};
use envoy_api::envoy::config::route::v3::RouteConfiguration;
use envoy_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_api::envoy::extensions::transport_sockets::tls::v3 as tls;
use envoy_api::{Any, pack};
use hcm::http_connection_manager::RouteSpecifier;
use ir::{Authorization, AuthorizationFilter, AuthorizationFilterName};
use tls::common_tls_context::ValidationContextType;

use crate::envoy::loopback;

/// A port of loopback that nobody else is given: below those that the system gives to port 0.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(61);
    loop {
        let number = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let port = 20_000 + u16::try_from(number).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

pub fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// The cluster with endpoints of its own.
pub fn cluster(mut cluster: Cluster, mut assignment: ClusterLoadAssignment) -> Cluster {
    cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into()));
    cluster.eds_cluster_config = None;
    if cluster.lb_policy == i32::from(LbPolicy::ClusterProvided) {
        cluster.lb_policy = LbPolicy::RoundRobin.into();
    }
    assignment.cluster_name.clone_from(&cluster.name);
    cluster.load_assignment = Some(assignment);
    let sockets = cluster
        .transport_socket_matches
        .iter_mut()
        .map(|choice| &mut choice.transport_socket)
        .chain([&mut cluster.transport_socket]);
    sockets.flatten().for_each(socket);
    cluster
}

/// The listener on a port of loopback, with these routes.
pub fn listener(mut listener: Listener, port: u16, routes: &RouteConfiguration) -> Listener {
    listener.address = Some(loopback(port));
    listener.bind_to_port = None;
    let chains = listener
        .filter_chains
        .iter_mut()
        .chain(listener.default_filter_chain.iter_mut());
    for chain in chains {
        chain.transport_socket.iter_mut().for_each(socket);
        for filter in &mut chain.filters {
            let Some(listener::filter::ConfigType::TypedConfig(config)) = &mut filter.config_type
            else {
                panic!("a filter without configuration");
            };
            inline(config, routes);
        }
    }
    listener
}

/// The listener with the filters that authorize standing in it.
pub fn authorized(mut listener: Listener, authorization: &Authorization) -> Listener {
    let known: BTreeMap<String, Any> = AuthorizationFilterName::all()
        .map(|name| AuthorizationFilter {
            name,
            authorization: authorization.clone(),
        })
        .map(|filter| translate::authorization_filter(&filter))
        .map(|config| (config.name, config.typed_config.unwrap()))
        .collect();
    let chains = listener.filter_chains.iter_mut();
    for filter in chains.flat_map(|chain| &mut chain.filters) {
        match &mut filter.config_type {
            Some(listener::filter::ConfigType::TypedConfig(config)) => of_requests(config, &known),
            discovered => {
                let config = known[&filter.name].clone();
                *discovered = Some(listener::filter::ConfigType::TypedConfig(config));
            }
        }
    }
    listener
}

fn of_requests(config: &mut Any, known: &BTreeMap<String, Any>) {
    use hcm::http_filter::ConfigType;
    let Some(mut manager) = config.unpack::<hcm::HttpConnectionManager>().unwrap() else {
        return;
    };
    for filter in &mut manager.http_filters {
        if let Some(ConfigType::ConfigDiscovery(_)) = filter.config_type {
            let config = known[&filter.name].clone();
            filter.config_type = Some(ConfigType::TypedConfig(config));
        }
    }
    *config = pack(&manager);
}

fn inline(config: &mut Any, routes: &RouteConfiguration) {
    let Some(mut manager) = config.unpack::<hcm::HttpConnectionManager>().unwrap() else {
        return;
    };
    if let Some(RouteSpecifier::Rds(_)) = manager.route_specifier {
        manager.route_specifier = Some(RouteSpecifier::RouteConfig(routes.clone()));
        *config = pack(&manager);
    }
}

/// Secrets without a server are those of the bootstrap.
fn socket(socket: &mut core::TransportSocket) {
    let Some(core::transport_socket::ConfigType::TypedConfig(config)) = &mut socket.config_type
    else {
        panic!("a socket without configuration");
    };
    if let Some(mut client) = config.unpack::<tls::UpstreamTlsContext>().unwrap() {
        client.common_tls_context.iter_mut().for_each(secrets);
        *config = pack(&client);
    } else if let Some(mut server) = config.unpack::<tls::DownstreamTlsContext>().unwrap() {
        server.common_tls_context.iter_mut().for_each(secrets);
        *config = pack(&server);
    }
}

fn secrets(context: &mut tls::CommonTlsContext) {
    for secret in &mut context.tls_certificate_sds_secret_configs {
        secret.sds_config = None;
    }
    if let Some(ValidationContextType::CombinedValidationContext(combined)) =
        &mut context.validation_context_type
    {
        combined
            .validation_context_sds_secret_config
            .as_mut()
            .unwrap()
            .sds_config = None;
    }
}
