//! How callers address services: cluster addresses, allocated ones, headless services, entries, ports of every protocol.

use ir::Discovery;
use serde_json::json;
use testkit::{endpoint_slice, pod, service, service_entry, to, virtual_service, workload_entry};

use crate::kit::scope;

const DB: &str = "cart.shop.svc.cluster.local";

#[test]
fn http_ports_share_a_listener_and_connections_have_one_by_address() {
    let world = mesh![
        service("cart")
            .in_namespace("shop")
            .at("10.0.0.1")
            .port(80)
            .tcp_port(3306)
            .named_port("main", 7000)
            .named_port("https", 443),
    ];
    assert_eq!(world.connect("web", "10.0.0.1:80"), "http 80");
    assert_eq!(world.connect("web", "192.0.2.1:80"), "http 80");
    assert_eq!(
        world.connect("web", "10.0.0.1:3306"),
        format!("tcp outbound|3306||{DB}")
    );
    assert_eq!(
        world.connect("web", "10.0.0.1:443"),
        format!("tcp outbound|443||{DB}")
    );
    assert_eq!(
        world.connect("web", "10.0.0.1:7000"),
        format!("http {DB}:7000 or tcp outbound|7000||{DB}")
    );
    assert_eq!(world.connect("web", "10.0.0.2:3306"), "passthrough");
}

#[test]
fn every_address_of_a_dual_stack_service_has_its_listener() {
    let world = mesh![
        service("cart")
            .in_namespace("shop")
            .at("10.0.0.1")
            .at("fd00::1")
            .tcp_port(3306)
    ];
    let expected = format!("tcp outbound|3306||{DB}");
    assert_eq!(world.connect("web", "10.0.0.1:3306"), expected);
    assert_eq!(world.connect("web", "[fd00::1]:3306"), expected);
}

#[test]
fn a_service_without_address_gets_a_stable_one() {
    let world = mesh![
        service("cart").in_namespace("shop").tcp_port(3306),
        service("pay").in_namespace("shop").tcp_port(3306)
    ];
    let address = |host: &str| {
        let host = host.parse().unwrap();
        let service = &world.0.services().all(&host)[0];
        world.0.services().addresses(service)[0]
    };
    let cart = address(DB);
    assert!(cart.to_string().starts_with("240.240."), "{cart}");
    assert_ne!(cart, address("pay.shop.svc.cluster.local"));
    assert_eq!(
        world.connect("web", &format!("{cart}:3306")),
        format!("tcp outbound|3306||{DB}")
    );
}

#[test]
fn a_headless_service_is_addressed_by_its_endpoints() {
    let world = mesh![
        service("cart")
            .in_namespace("shop")
            .headless()
            .port(80)
            .tcp_port(3306)
            .selecting("app", "cart"),
        pod("cart-0")
            .in_namespace("shop")
            .labelled("app", "cart")
            .in_mesh()
            .at("10.1.0.1"),
        pod("cart-1")
            .in_namespace("shop")
            .labelled("app", "cart")
            .in_mesh()
            .at("10.1.0.2"),
    ];
    assert_eq!(
        world
            .cluster("web", &format!("{DB}:3306"))
            .unwrap()
            .discovery,
        Discovery::OriginalDestination
    );
    for address in ["10.1.0.1:3306", "10.1.0.2:3306"] {
        assert_eq!(
            world.connect("web", address),
            format!("tcp outbound|3306||{DB}")
        );
    }
    assert_eq!(world.connect("web", "10.1.0.3:3306"), "passthrough");
    assert_eq!(
        world.get("web", "cart-0.cart.shop.svc.cluster.local"),
        "outbound|80||cart.shop"
    );
    assert_eq!(
        world.get("web", "cart-0.cart.shop"),
        "outbound|80||cart.shop"
    );
    assert_eq!(world.get("shop", "cart-0.cart"), "outbound|80||cart.shop");
}

#[test]
fn entries_are_found_as_their_resolution_says() {
    let entry = |resolution: &str| {
        service_entry("api", "api.example.com")
            .resolution(resolution)
            .port("TCP", 3306)
            .at("10.0.0.9")
    };
    let endpoint = json!({"address": "10.1.0.9"});
    let discovery = |entry| {
        mesh![entry]
            .cluster("web", "api.example.com:3306")
            .unwrap()
            .discovery
    };
    assert_eq!(discovery(entry("NONE")), Discovery::OriginalDestination);
    assert_eq!(
        discovery(entry("STATIC").endpoint(endpoint)),
        Discovery::Eds
    );
    assert!(matches!(discovery(entry("DNS")), Discovery::StrictDns(..)));
    assert!(matches!(
        discovery(entry("DNS_ROUND_ROBIN")),
        Discovery::LogicalDns(..)
    ));
    let Discovery::StrictDns(endpoints, _) = discovery(entry("DNS")) else {
        return;
    };
    let own = &endpoints.localities[0].endpoints[0];
    assert_eq!(
        own.address,
        model::EndpointAddress::Dns("api.example.com".parse().unwrap()),
        "its own name"
    );
    assert_eq!(
        mesh![entry("NONE")].connect("web", "10.0.0.9:3306"),
        "tcp outbound|3306||api.example.com"
    );
}

#[test]
fn bytes_without_an_address_take_the_whole_port() {
    let world = mesh![
        service_entry("db", "db.example.com")
            .resolution("NONE")
            .port("TCP", 3306)
    ];
    assert_eq!(
        world.connect("web", "192.0.2.7:3306"),
        "tcp outbound|3306||db.example.com"
    );
}

#[test]
fn a_host_of_several_owners_is_ones_own_then_a_services_then_the_oldest() {
    let entry = |name: &str, namespace: &str| {
        service_entry(name, DB)
            .in_namespace(namespace)
            .resolution("DNS")
            .port("HTTP", 80)
    };
    let world = mesh![
        service("cart")
            .in_namespace("shop")
            .port(80)
            .exported_to("shop,else"),
        entry("younger", "a").created(2),
        entry("older", "b").created(1),
    ];
    let owner = |from: &str| {
        world
            .0
            .services()
            .visible(&scope(from), &DB.parse().unwrap())
            .unwrap()
            .namespace()
            .to_string()
    };
    assert_eq!(owner("a"), "a", "one's own first");
    assert_eq!(owner("else"), "shop", "a Service before entries");
    assert_eq!(owner("web"), "b", "then the oldest that is seen");
}

#[test]
fn services_that_share_an_address_have_one_listener_between_them() {
    let world = mesh![
        service("cart")
            .in_namespace("shop")
            .at("10.0.0.1")
            .at("10.0.0.2")
            .tcp_port(3306),
        service("pay")
            .in_namespace("shop")
            .at("10.0.0.2")
            .tcp_port(3306)
            .named_port("mongo", 27017),
    ];
    assert_eq!(
        world.connect("web", "10.0.0.2:3306"),
        format!("tcp outbound|3306||{DB}"),
        "the first by name"
    );
    assert_eq!(
        world.connect("web", "10.0.0.2:27017"),
        "tcp outbound|27017||pay.shop.svc.cluster.local"
    );
}

#[test]
fn ports_that_capture_connections_are_left_to_envoy() {
    let world = mesh![
        service("cart")
            .in_namespace("shop")
            .at("10.0.0.1")
            .port(15001)
            .port(15006)
    ];
    assert_eq!(world.connect("web", "10.0.0.1:15001"), "passthrough");
    assert_eq!(world.connect("web", "10.0.0.1:15006"), "passthrough");
}

#[test]
fn one_number_is_one_port_and_datagrams_are_none() {
    let world = mesh![
        service("cart")
            .in_namespace("shop")
            .named_port("tcp-a", 80)
            .named_port("http-b", 80),
        service_entry("dns", "dns.example.com")
            .resolution("DNS")
            .port("UDP", 53)
            .port("TCP", 5353),
    ];
    let ports = |host: &str| {
        world.0.services().all(&host.parse().unwrap())[0]
            .ports
            .len()
    };
    assert_eq!([ports(DB), ports("dns.example.com")], [1, 1]);
    assert!(world.cluster("web", "dns.example.com:53").is_none());
}

#[test]
fn workloads_of_a_folder_are_endpoints_without_slices_and_slices_replace_pods() {
    let cart = || {
        service("cart")
            .in_namespace("shop")
            .port(80)
            .selecting("app", "cart")
    };
    let one = || {
        pod("cart")
            .in_namespace("shop")
            .labelled("app", "cart")
            .at("10.1.0.1")
    };
    let vm = || {
        workload_entry("vm", "10.1.0.7")
            .in_namespace("shop")
            .labelled("app", "cart")
    };
    let slice = endpoint_slice("cart")
        .in_namespace("shop")
        .port("http-80", 80)
        .address("10.1.0.9");
    let of = |world: crate::kit::World| world.endpoints("web", &format!("{DB}:80"));
    assert_eq!(
        of(mesh![cart(), one(), vm()]),
        ["10.1.0.1:80", "10.1.0.7:80"]
    );
    assert_eq!(
        of(mesh![cart(), one(), vm(), slice]),
        ["10.1.0.7:80", "10.1.0.9:80"]
    );
}

fn external(name: &str, target: &str) -> testkit::Service {
    service(name)
        .in_namespace("shop")
        .with("spec.type", "ExternalName")
        .with("spec.externalName", target)
}

#[test]
fn an_external_name_is_another_name_of_its_target() {
    let world = mesh![
        external("alias", "cart.shop.svc.cluster.local"),
        external("second", "alias.shop.svc.cluster.local."),
        external("loop", "loop.shop.svc.cluster.local"),
        external("elsewhere", "nobody.example"),
        service("cart").in_namespace("shop").at("10.0.0.1").port(80),
        virtual_service("to-alias")
            .in_namespace("shop")
            .host("routed.example")
            .route(to("second.shop.svc.cluster.local")),
    ];
    let own = "outbound|80||cart.shop";
    for name in [
        "alias",
        "alias.shop",
        "alias.shop.svc.cluster.local",
        "second",
    ] {
        assert_eq!(world.get("shop", name), own, "{name}");
    }
    assert_eq!(world.get("web", "alias"), "PassthroughCluster");
    assert_eq!(world.get("web", "second.shop"), own);
    assert_eq!(world.get("web", "routed.example"), own);
    for name in ["loop", "elsewhere"] {
        assert_eq!(world.get("shop", name), "PassthroughCluster", "{name}");
    }
}

#[test]
fn another_name_may_be_hidden_or_taken() {
    let world = mesh![
        external("alias", "cart.shop.svc.cluster.local").with(
            "metadata.annotations",
            json!({"networking.istio.io/exportTo": "web"})
        ),
        external("taken", "cart.shop.svc.cluster.local"),
        service("cart").in_namespace("shop").at("10.0.0.1").port(80),
        service("pay").in_namespace("shop").at("10.0.0.2").port(80),
        virtual_service("taken")
            .in_namespace("shop")
            .host("taken")
            .route(to("pay.shop.svc.cluster.local")),
    ];
    assert_eq!(world.get("web", "alias.shop"), "outbound|80||cart.shop");
    assert_eq!(world.get("other", "alias.shop"), "PassthroughCluster");
    assert_eq!(
        world.get("web", "taken.shop.svc.cluster.local"),
        "outbound|80||pay.shop"
    );
}
