//! Every kind of node passes Envoy's field constraints and is accepted as it stands by each Envoy that is served.

use std::collections::BTreeSet;
use std::sync::Arc;

use envoy_api::Validate as _;
use envoy_api::envoy::config::listener::v3::Listener;
use envoy_api::envoy::config::route::v3::RouteConfiguration;
use ir::model::*;
use ir::*;

use crate::envoy::{Config, loopback, validate};
use crate::nodes::{authorizations, clusters, outbound_listeners, virtual_inbounds};
use crate::route_nodes::virtual_hosts;
use crate::world::*;

/// Every kind of listener.
fn listeners(envoy: EnvoyMinor) -> Vec<Listener> {
    let outbound = outbound_listeners();
    let outbound = outbound
        .iter()
        .map(|listener| translate::outbound_listener(listener, envoy));
    let capturing = translate::virtual_outbound(&virtual_outbound(), envoy);
    let mut listeners: Vec<_> = outbound.chain([capturing]).collect();
    for (inbound, number) in virtual_inbounds().iter().zip(0..) {
        listeners.push(Listener {
            name: format!("virtualInbound-{number}"),
            address: Some(loopback(15106 + number)),
            ..translate::virtual_inbound(inbound, envoy)
        });
    }
    // And with all that authorizes in place.
    for (authorization, number) in authorizations().iter().zip(0..) {
        let inbound = translate::virtual_inbound(&virtual_inbounds()[0], envoy);
        listeners.push(Listener {
            name: format!("authorized-{number}"),
            address: Some(loopback(15306 + number)),
            ..crate::local::authorized(inbound, authorization)
        });
    }
    listeners
}

fn virtual_outbound() -> VirtualOutbound {
    let formats = [
        ("newest", "%DOWNSTREAM_CX_RTT% %PROTOCOL%"),
        ("newer", "%UPSTREAM_SERVER_NAME%"),
    ];
    let formats = formats.map(|(key, format)| (key.into(), format.into()));
    VirtualOutbound {
        families: Families::Dual,
        fallback: OutboundTrafficPolicy::AllowAny,
        settings: logging("/dev/null", AccessLogFormat::Json(Arc::new(formats))),
    }
}

fn routes(envoy: EnvoyMinor) -> RouteConfiguration {
    let hosts = virtual_hosts();
    let hosts = hosts
        .iter()
        .map(|host| translate::virtual_host(host, envoy));
    RouteConfiguration {
        virtual_hosts: hosts.collect(),
        ..translate::route_configuration(&RouteTable {
            name: RouteTableName::Port(port(80)),
        })
    }
}

#[test]
fn envoys_constraints_and_envoy_accept_every_kind_of_node() {
    for envoy in EnvoyMinor::ALL {
        let clusters = clusters();
        let clusters = clusters
            .iter()
            .map(|cluster| translate::cluster(cluster, envoy));
        let clusters: Vec<_> = clusters.collect();
        for cluster in &clusters {
            cluster.validate().unwrap();
        }
        let mut listeners = listeners(envoy);
        for listener in &listeners {
            listener
                .validate()
                .unwrap_or_else(|violation| panic!("{}: {violation}", listener.name));
        }
        let table = routes(envoy);
        table.validate().unwrap();
        // Once more with the routes in place, which Envoy else checks only when they come.
        let listener = translate::outbound_listener(&http_listener(), envoy);
        listeners.push(crate::local::listener(listener, 15199, &table));
        let config = Config {
            clusters,
            listeners,
            remote: true,
            ..Config::default()
        };
        validate(envoy, config).unwrap_or_else(|why| panic!("Envoy {envoy}: {why}"));
    }
}

/// Whether an Envoy takes routes that set headers to these formats, as they are made for some Envoy.
fn takes(envoy: EnvoyMinor, formats: &[String], made_for: EnvoyMinor) -> Result<(), String> {
    let set = formats.iter().zip(0..);
    let set = set.map(|(format, number)| (format!("x-{number}").into(), format.as_str().into()));
    let mut route = forward(vec![to(outbound(""), 1)]);
    route.headers.response.set = set.collect();
    let table = RouteConfiguration {
        virtual_hosts: vec![translate::virtual_host(
            &virtual_host(vec![route]),
            made_for,
        )],
        ..translate::route_configuration(&RouteTable {
            name: RouteTableName::Port(port(80)),
        })
    };
    let listener = translate::outbound_listener(&http_listener(), envoy);
    let config = Config {
        clusters: vec![translate::cluster(&cluster(outbound("")), envoy)],
        listeners: vec![crate::local::listener(listener, 15199, &table)],
        remote: true,
        ..Config::default()
    };
    validate(envoy, config)
}

#[test]
fn every_envoy_takes_every_operator_that_is_not_left_out_for_it() {
    let all: Vec<String> = format::plain().collect();
    for envoy in EnvoyMinor::ALL {
        takes(envoy, &all, envoy).unwrap_or_else(|why| panic!("Envoy {envoy}: {why}"));
        for later in all
            .iter()
            .filter(|operator| format::since(operator) > envoy)
        {
            let needless = takes(envoy, std::slice::from_ref(later), EnvoyMinor::NEWEST).is_ok();
            assert!(!needless, "Envoy {envoy} knows {later}");
        }
    }
}

#[test]
fn what_authorizes_keeps_envoys_constraints() {
    for authorization in authorizations() {
        for name in AuthorizationFilterName::all() {
            let authorization = authorization.clone();
            let filter = AuthorizationFilter {
                name,
                authorization,
            };
            translate::authorization_filter(&filter).validate().unwrap();
        }
    }
}

#[test]
fn an_envoy_is_sent_a_form_of_its_own_only_where_it_must_be() {
    let clusters = clusters().into_iter().map(ir::Node::Cluster);
    let hosts = virtual_hosts().into_iter().map(ir::Node::VirtualHost);
    let outbound = outbound_listeners().into_iter();
    let outbound = outbound.map(ir::Node::OutboundListener);
    let inbound = virtual_inbounds().into_iter().map(ir::Node::VirtualInbound);
    let capturing = ir::Node::VirtualOutbound(virtual_outbound());
    let nodes = clusters.chain(hosts).chain(outbound).chain(inbound);
    let mut first = BTreeSet::new();
    for node in nodes.chain([capturing]) {
        let since = translate::since(&node);
        first.insert(since);
        let newest = translate::encode(&node, EnvoyMinor::NEWEST);
        for envoy in EnvoyMinor::ALL {
            let is_same = translate::encode(&node, envoy) == newest;
            assert_eq!(is_same, envoy >= since, "{envoy}: {node:#?}");
        }
    }
    assert_eq!(first, EnvoyMinor::ALL.into());
}

#[test]
fn endpoints_that_eds_cannot_carry_are_left_out() {
    let assignment = translate::load_assignment(
        "c",
        &endpoints(vec![
            Endpoint {
                address: EndpointAddress::Dns("example.com".parse().unwrap()),
                ..endpoint(80, false)
            },
            endpoint(81, true),
        ]),
    );
    assignment.validate().unwrap();
    assert_eq!(assignment.endpoints[0].lb_endpoints.len(), 1);
}
