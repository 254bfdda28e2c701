//! The inbound half of a workload: its ports, what is spoken on them, and the rules of all others.

use ir::InboundTraffic::{Detect, Http, Tcp};
use model::MtlsMode;
use serde_json::json;
use testkit::{endpoint_slice, peer_authentication, pod, service, service_entry};

use crate::kit::World;

fn cart() -> testkit::Pod {
    pod("cart")
        .in_namespace("shop")
        .labelled("app", "cart")
        .at("10.1.0.1")
        .container_port("web", 8080)
}

fn ports(world: &World) -> Vec<(u16, ir::InboundTraffic, String)> {
    let inbound = world.inbound("shop/cart");
    inbound
        .ports
        .iter()
        .map(|port| (port.port.get(), port.traffic, port.service.name.to_string()))
        .collect()
}

#[test]
fn ports_are_the_targets_of_the_services_that_lead_here() {
    let world = mesh![
        cart(),
        service("cart")
            .in_namespace("shop")
            .selecting("app", "cart")
            .port(80)
            .leading_to("web")
            .tcp_port(3306)
            .named_port("main", 7000)
            .named_port("http-gone", 7001)
            .leading_to("no-such-port"),
        service("pay")
            .in_namespace("shop")
            .selecting("app", "pay")
            .port(81),
        service("cart")
            .in_namespace("web")
            .selecting("app", "cart")
            .port(82),
    ];
    let cart = || "cart".to_owned();
    assert_eq!(
        ports(&world),
        [
            (3306, Tcp, cart()),
            (7000, Detect, cart()),
            (8080, Http, cart())
        ]
    );
}

#[test]
fn of_two_services_on_one_port_the_oldest_decides() {
    let lead = |name: &str, port: &str, second| {
        service(name)
            .in_namespace("shop")
            .selecting("app", "cart")
            .named_port(port, 80)
            .leading_to(8080)
            .created(second)
    };
    let world = mesh![
        cart(),
        lead("a", "tcp", 2),
        lead("b", "http", 1),
        lead("c", "main", 3)
    ];
    assert_eq!(ports(&world), [(8080, Http, "b".to_owned())]);
}

#[test]
fn slices_and_entries_lead_to_workloads_too() {
    let world = mesh![
        cart(),
        service("by-pod").in_namespace("shop").port(80),
        endpoint_slice("by-pod")
            .in_namespace("shop")
            .port("http-80", 8081)
            .pod("cart", "10.9.9.9"),
        service("by-address").in_namespace("shop").port(80),
        endpoint_slice("by-address")
            .in_namespace("shop")
            .port("http-80", 8082)
            .address("10.1.0.1"),
        service("elsewhere").in_namespace("shop").port(80),
        endpoint_slice("elsewhere")
            .in_namespace("shop")
            .port("http-80", 8083)
            .address("10.1.0.2"),
        service_entry("entry", "e.example.com")
            .in_namespace("shop")
            .resolution("STATIC")
            .port("TCP", 90)
            .endpoint(json!({"address": "10.1.0.1", "ports": {"tcp-90": 8084}})),
    ];
    let found: Vec<u16> = ports(&world).into_iter().map(|(port, ..)| port).collect();
    assert_eq!(found, [8081, 8082, 8084]);
}

#[test]
fn modes_of_ports_are_by_target_port_and_hold_without_a_service_too() {
    let world = mesh![
        cart(),
        service("cart")
            .in_namespace("shop")
            .selecting("app", "cart")
            .port(80)
            .leading_to(8080),
        peer_authentication("cart")
            .in_namespace("shop")
            .selecting("app", "cart")
            .mode("STRICT")
            .port_mode(8080, "DISABLE")
            .port_mode(80, "PERMISSIVE"),
    ];
    let inbound = world.inbound("shop/cart");
    assert_eq!(inbound.ports[0].mtls, MtlsMode::Disable);
    assert_eq!(inbound.passthrough, MtlsMode::Strict);
    let others: Vec<(u16, MtlsMode)> = inbound
        .passthrough_ports
        .iter()
        .map(|(port, mtls)| (port.get(), *mtls))
        .collect();
    assert_eq!(others, [(80, MtlsMode::Permissive)]);
}

#[test]
fn workloads_that_are_guarded_alike_have_equal_inbound_halves() {
    let world = mesh![
        cart(),
        cart()
            .with("metadata.name", "twin")
            .with("status.podIPs", json!([{"ip": "10.1.0.2"}])),
        cart().with("metadata.name", "odd").labelled("app", "odd"),
        service("cart")
            .in_namespace("shop")
            .selecting("app", "cart")
            .port(80),
    ];
    assert_eq!(world.inbound("shop/cart"), world.inbound("shop/twin"));
    assert_ne!(world.inbound("shop/cart"), world.inbound("shop/odd"));
}
