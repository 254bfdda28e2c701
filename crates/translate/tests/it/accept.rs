//! Every kind of node passes Envoy's field constraints and is accepted by Envoy as it stands.

use envoy_api::Validate as _;
use ir::model::*;
use ir::*;

use crate::envoy::{Config, validate};
use crate::nodes::{authorizations, clusters, outbound_listeners, virtual_inbounds};
use crate::route_nodes::virtual_hosts;
use crate::world::*;

#[test]
fn envoys_constraints_and_envoy_accept_every_kind_of_node() {
    let clusters: Vec<_> = clusters().iter().map(translate::cluster).collect();
    for cluster in &clusters {
        cluster.validate().unwrap();
    }
    let mut listeners: Vec<_> = outbound_listeners()
        .iter()
        .map(translate::outbound_listener)
        .collect();
    listeners.push(translate::virtual_outbound(&VirtualOutbound {
        fallback: OutboundTrafficPolicy::AllowAny,
        access_log: access_log("/dev/null", AccessLogFormat::Text("%PROTOCOL%".into())),
    }));
    for (number, inbound) in virtual_inbounds().iter().enumerate() {
        listeners.push(envoy_api::envoy::config::listener::v3::Listener {
            name: format!("virtualInbound-{number}"),
            address: Some(crate::envoy::loopback(
                15106 + u16::try_from(number).unwrap(),
            )),
            ..translate::virtual_inbound(inbound)
        });
    }
    // And with all that authorizes in place.
    for (authorization, number) in authorizations().iter().zip(0..) {
        for name in AuthorizationFilterName::all() {
            let authorization = authorization.clone();
            let filter = AuthorizationFilter {
                name,
                authorization,
            };
            translate::authorization_filter(&filter).validate().unwrap();
        }
        let inbound = translate::virtual_inbound(&virtual_inbounds()[0]);
        listeners.push(envoy_api::envoy::config::listener::v3::Listener {
            name: format!("authorized-{number}"),
            address: Some(crate::envoy::loopback(15306 + number)),
            ..crate::local::authorized(inbound, authorization)
        });
    }
    for listener in &listeners {
        listener
            .validate()
            .unwrap_or_else(|violation| panic!("{}: {violation}", listener.name));
    }
    let mut table = translate::route_configuration(&RouteTable {
        name: RouteTableName::Port(port(80)),
    });
    table.virtual_hosts = virtual_hosts()
        .iter()
        .map(translate::virtual_host)
        .collect();
    table.validate().unwrap();
    // Once more with the routes in place, which Envoy else checks only when they come.
    listeners.push(crate::local::listener(
        translate::outbound_listener(&http_listener()),
        15199,
        &table,
    ));
    validate(Config {
        clusters,
        listeners,
        remote: true,
        ..Config::default()
    })
    .unwrap();
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
