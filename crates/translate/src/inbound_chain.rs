//! The filter chains of one inbound port: PeerAuthentication's modes by what is spoken, as in Istio.
//!
//! Which chain takes a connection is decided by its first bytes: TLS or not (transport protocol), then Istio's ALPN in
//! TLS, or what the HTTP inspector found in plaintext (application protocols).

use envoy_api::envoy::config::listener::v3 as envoy;
use envoy_api::envoy::config::route::v3 as route;
use envoy_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use hcm::http_connection_manager::RouteSpecifier;
use ir::model::{MtlsMode, Port, TrustDomains};
use ir::{
    AuthorizationFilterName, AuthorizationLayer, AuthorizationStage, ClusterName, HttpFilter,
    InboundTraffic, ListenerName, PeerMetadata, Retry, RouteMatch, ServiceRef, TcpBackend,
};

use crate::common::Common;
use crate::forward::send;
use crate::http_connection::{ClientCertificate, HttpConnection, http_connection};
use crate::listener::{HTTP_PROTOCOLS, RAW, TLS};
use crate::route::{around, decorator, route_match};
use crate::tcp_proxy::{tcp_proxy, tcp_proxy_after_handshake};
use crate::telemetry::Reporter;
use crate::{authorization, tls};

/// What clients of the mesh announce for HTTP.
const MESH_HTTP: [&str; 3] = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// What clients of the mesh announce for bytes.
const MESH_TCP: [&str; 1] = ["istio"];
/// All that clients of the mesh announce.
const MESH: [&str; 4] = ["istio-http/1.0", "istio-http/1.1", "istio-h2", "istio"];

/// Where the connections of a port go, and who may make them.
pub(crate) struct Target<'a> {
    /// The port; none: every port without chains of its own.
    pub port: Option<Port>,
    pub cluster: ClusterName,
    pub service: Option<&'a ServiceRef>,
    pub trust_domains: &'a TrustDomains,
    pub common: Common<'a>,
}

/// What one chain takes and what it does.
#[derive(Clone, Copy)]
struct Case {
    transport: &'static str,
    applications: &'static [&'static str],
    spoken: Spoken,
    mutual_tls: bool,
}

#[derive(Clone, Copy)]
enum Spoken {
    Http,
    Tcp,
}

/// The chains of a port.
pub(crate) fn chains(
    target: &Target<'_>,
    traffic: InboundTraffic,
    mode: MtlsMode,
) -> Vec<envoy::FilterChain> {
    cases(traffic, mode)
        .into_iter()
        .map(|case| chain(target, case))
        .collect()
}

/// Istio's matrix. In PERMISSIVE, TLS that is not the mesh's own reaches the app untouched, but not on a port that is
/// declared HTTP.
fn cases(traffic: InboundTraffic, mode: MtlsMode) -> Vec<Case> {
    use InboundTraffic::{Detect, Http, Tcp};
    let mesh = |applications, spoken| Case {
        transport: TLS,
        applications,
        spoken,
        mutual_tls: true,
    };
    let plain = |applications, spoken| Case {
        transport: RAW,
        applications,
        spoken,
        mutual_tls: false,
    };
    let apps_own_tls = Case {
        transport: TLS,
        applications: &[],
        spoken: Spoken::Tcp,
        mutual_tls: false,
    };
    match (mode, traffic) {
        (MtlsMode::Strict, Http) => vec![mesh(&[], Spoken::Http)],
        (MtlsMode::Strict, Tcp) => vec![mesh(&[], Spoken::Tcp)],
        (MtlsMode::Strict, Detect) => {
            vec![mesh(&MESH_HTTP, Spoken::Http), mesh(&[], Spoken::Tcp)]
        }
        (MtlsMode::Permissive, Http) => {
            vec![mesh(&MESH, Spoken::Http), plain(&[], Spoken::Http)]
        }
        (MtlsMode::Permissive, Tcp) => vec![
            mesh(&MESH, Spoken::Tcp),
            plain(&[], Spoken::Tcp),
            apps_own_tls,
        ],
        (MtlsMode::Permissive, Detect) => vec![
            mesh(&MESH_HTTP, Spoken::Http),
            plain(&HTTP_PROTOCOLS, Spoken::Http),
            mesh(&MESH_TCP, Spoken::Tcp),
            plain(&[], Spoken::Tcp),
            apps_own_tls,
        ],
        (MtlsMode::Disable, Http) => vec![plain(&[], Spoken::Http)],
        // No inspector looks at these, so that the app's own TLS is raw too.
        (MtlsMode::Disable, Tcp) => vec![plain(&[], Spoken::Tcp)],
        (MtlsMode::Disable, Detect) => vec![
            plain(&HTTP_PROTOCOLS, Spoken::Http),
            plain(&[], Spoken::Tcp),
            apps_own_tls,
        ],
    }
}

fn chain(target: &Target<'_>, case: Case) -> envoy::FilterChain {
    let Case {
        transport,
        applications,
        spoken,
        mutual_tls,
    } = case;
    let filters = match spoken {
        Spoken::Http => vec![http(target, mutual_tls)],
        Spoken::Tcp => tcp(target, mutual_tls),
    };
    envoy::FilterChain {
        name: name(target, spoken),
        filter_chain_match: Some(envoy::FilterChainMatch {
            destination_port: target.port.map(|port| port.get().into()),
            transport_protocol: transport.to_owned(),
            application_protocols: applications.iter().map(|&word| word.to_owned()).collect(),
            ..Default::default()
        }),
        transport_socket: mutual_tls.then(|| tls::mesh_server(target.trust_domains)),
        filters,
        ..Default::default()
    }
}

/// Istio's names: a declared port's is its own, the others' say what they carry.
fn name(target: &Target<'_>, spoken: Spoken) -> String {
    match (target.service, target.port, spoken) {
        (Some(_), Some(port), Spoken::Http | Spoken::Tcp) => listener_name(port),
        (_, _, Spoken::Http) => "virtualInbound-catchall-http".to_owned(),
        (_, _, Spoken::Tcp) => "virtualInbound".to_owned(),
    }
}

fn listener_name(port: Port) -> String {
    ListenerName {
        address: None,
        port,
    }
    .to_string()
}

fn http(target: &Target<'_>, mutual_tls: bool) -> envoy::Filter {
    let (peer, client_certificate) = if mutual_tls {
        (PeerMetadata::Trust, ClientCertificate::Appended)
    } else {
        (PeerMetadata::Drop, ClientCertificate::Removed)
    };
    http_connection(HttpConnection {
        stat_prefix: match (target.service, target.port) {
            (Some(_), Some(port)) => format!("inbound_{};", listener_name(port)),
            _ => target.cluster.to_string(),
        },
        routes: RouteSpecifier::RouteConfig(routes(target)),
        filters: [
            HttpFilter::PeerMetadata(peer),
            HttpFilter::GrpcStats,
            HttpFilter::Fault,
            HttpFilter::Cors,
            HttpFilter::Router,
        ]
        .into_iter()
        .chain(AuthorizationStage::ALL.map(HttpFilter::Authorization))
        .collect(),
        access_log: target.common.of_requests(reporter(target, mutual_tls)),
        paths: target.common.settings.path_normalization,
        client_certificate,
    })
}

/// Everything to the app, tried again only where it cannot have seen the request.
fn routes(target: &Target<'_>) -> route::RouteConfiguration {
    let port = target.port.map_or(0, Port::get);
    let cluster = target.cluster.to_string();
    let retry = Retry {
        attempts: 2,
        on: "reset-before-request".into(),
        status_codes: [].into(),
        per_try_timeout: None,
        backoff: None,
        avoid_previous_hosts: false,
        remote_localities: false,
    };
    let specifier = route::route_action::ClusterSpecifier::Cluster(cluster.clone());
    let action = route::route::Action::Route(send(specifier, None, Some(&retry)));
    let operation = target.service.map_or_else(
        || format!(":{port}"),
        |service| format!("{}:{port}", service.host),
    );
    let everything = route::Route {
        name: "default".to_owned(),
        r#match: Some(route_match(&RouteMatch::default())),
        decorator: decorator(&operation, &action),
        action: Some(action),
        ..Default::default()
    };
    route::RouteConfiguration {
        virtual_hosts: vec![route::VirtualHost {
            name: format!("inbound|http|{port}"),
            domains: vec!["*".to_owned()],
            routes: vec![everything],
            ..Default::default()
        }],
        ..around(cluster)
    }
}

fn tcp(target: &Target<'_>, mutual_tls: bool) -> Vec<envoy::Filter> {
    let access_log = target.common.of_connections(reporter(target, mutual_tls));
    let layer = AuthorizationLayer::Tcp;
    let mut filters: Vec<envoy::Filter> = AuthorizationStage::ALL
        .into_iter()
        .map(|stage| discovered(AuthorizationFilterName { layer, stage }))
        .collect();
    filters.push(if mutual_tls {
        tcp_proxy_after_handshake(&target.cluster, access_log)
    } else {
        tcp_proxy(&TcpBackend::to(target.cluster.clone()), access_log)
    });
    filters
}

/// A filter that is discovered by its name.
fn discovered(name: AuthorizationFilterName) -> envoy::Filter {
    envoy::Filter {
        name: name.to_string(),
        config_type: Some(envoy::filter::ConfigType::ConfigDiscovery(
            authorization::discovered(name),
        )),
    }
}

fn reporter<'a>(target: &Target<'a>, mutual_tls: bool) -> Reporter<'a> {
    Reporter::Destination {
        service: target.service,
        mutual_tls,
    }
}
