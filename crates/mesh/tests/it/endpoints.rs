//! What stands behind a service: slices joined to pods, ports, subsets, health, and who takes mutual TLS.

use serde_json::json;
use testkit::{
    Document, EndpointSlice, destination_rule, endpoint_slice, pod, service, service_entry,
    workload_entry,
};

use crate::kit::World;

const CART: &str = "cart.shop.svc.cluster.local:80";

fn slice() -> EndpointSlice {
    endpoint_slice("cart")
        .in_namespace("shop")
        .port("http-80", 8080)
}

fn of(slice: EndpointSlice) -> Vec<String> {
    mesh![
        service("cart").in_namespace("shop").port(80),
        slice,
        marked("a"),
        pod("b").in_namespace("shop")
    ]
    .endpoints("web", CART)
}

fn marked(name: &str) -> testkit::Pod {
    pod(name)
        .in_namespace("shop")
        .labelled("app", "cart")
        .in_mesh()
}

#[test]
fn an_endpoint_takes_mutual_tls_if_its_pod_bears_the_mark() {
    assert_eq!(
        of(slice()
            .pod("a", "10.1.0.1")
            .pod("b", "10.1.0.2")
            .address("10.1.0.3")),
        ["10.1.0.1:8080 mtls", "10.1.0.2:8080", "10.1.0.3:8080",]
    );
    let host = mesh![
        service("cart").in_namespace("shop").port(80),
        slice().pod("a", "10.1.0.1"),
        marked("a").with("spec.hostNetwork", true),
    ];
    assert_eq!(
        host.endpoints("web", CART),
        ["10.1.0.1:8080"],
        "hostNetwork pods are not captured"
    );
}

#[test]
fn ready_ones_are_called_terminating_ones_drain_others_are_not_there() {
    let table = [
        ((true, true, false), Some("10.1.0.1:8080")),
        ((false, true, true), Some("10.1.0.1:8080 draining")),
        ((false, false, true), None),
        ((false, true, false), None),
    ];
    for ((ready, serving, terminating), expected) in table {
        let found = of(slice()
            .address("10.1.0.1")
            .conditions(ready, serving, terminating));
        assert_eq!(
            found.first().map(String::as_str),
            expected,
            "{ready} {serving} {terminating}"
        );
    }
    let unready = || slice().address("10.1.0.1").conditions(false, false, false);
    let published = service("cart")
        .in_namespace("shop")
        .port(80)
        .with("spec.publishNotReadyAddresses", true);
    assert_eq!(
        mesh![published, unready()].endpoints("web", CART),
        ["10.1.0.1:8080"]
    );
}

#[test]
fn pods_that_are_not_ready_are_no_endpoints() {
    let cart = || {
        service("cart")
            .in_namespace("shop")
            .port(80)
            .selecting("app", "cart")
    };
    let one = || {
        pod("a")
            .in_namespace("shop")
            .labelled("app", "cart")
            .at("10.1.0.1")
    };
    assert_eq!(mesh![cart(), one()].endpoints("web", CART), ["10.1.0.1:80"]);
    assert!(
        mesh![cart(), one().unready()]
            .endpoints("web", CART)
            .is_empty()
    );
    assert!(
        mesh![cart(), one().with("status.phase", "Succeeded")]
            .endpoints("web", CART)
            .is_empty()
    );
}

#[test]
fn target_ports_are_numbers_or_names_that_each_pod_resolves() {
    let cart = |target: serde_json::Value| {
        let cart: [Document; 4] = [
            service("cart")
                .in_namespace("shop")
                .port(80)
                .leading_to(target)
                .selecting("app", "cart")
                .into(),
            marked("a")
                .at("10.1.0.1")
                .container_port("web", 8080)
                .into(),
            marked("b")
                .at("10.1.0.2")
                .container_port("web", 9090)
                .into(),
            marked("c").at("10.1.0.3").into(),
        ];
        World::of(cart).endpoints("web", CART)
    };
    assert_eq!(
        cart(json!(7000)),
        [
            "10.1.0.1:7000 mtls",
            "10.1.0.2:7000 mtls",
            "10.1.0.3:7000 mtls"
        ]
    );
    assert_eq!(
        cart(json!("web")),
        ["10.1.0.1:8080 mtls", "10.1.0.2:9090 mtls"]
    );
}

#[test]
fn a_number_is_the_target_even_where_a_container_port_is_called_as_the_services() {
    let world = mesh![
        service("cart")
            .in_namespace("shop")
            .port(80)
            .leading_to(7000)
            .selecting("app", "cart"),
        marked("a").at("10.1.0.1").container_port("http-80", 8080),
    ];
    assert_eq!(world.endpoints("web", CART), ["10.1.0.1:7000 mtls"]);
    assert_eq!(
        world.inbound("shop/a").ports[0].port.get(),
        7000,
        "clients and server agree"
    );
}

#[test]
fn a_slice_says_which_ports_there_are() {
    let two = mesh![
        service("cart").in_namespace("shop").port(80).port(90),
        slice().address("10.1.0.1"),
    ];
    assert_eq!(two.endpoints("web", CART), ["10.1.0.1:8080"]);
    assert!(
        two.endpoints("web", "cart.shop.svc.cluster.local:90")
            .is_empty()
    );
    let unnamed = mesh![
        service("cart")
            .in_namespace("shop")
            .with("spec.ports", json!([{"port": 80}])),
        endpoint_slice("cart")
            .in_namespace("shop")
            .port("", 8080)
            .address("10.1.0.1"),
    ];
    assert_eq!(unnamed.endpoints("web", CART), ["10.1.0.1:8080"]);
}

#[test]
fn a_subset_has_the_endpoints_with_its_labels() {
    let version = |name: &str, version: &str, address: &str| {
        marked(name).labelled("version", version).at(address)
    };
    let world = mesh![
        service("cart")
            .in_namespace("shop")
            .port(80)
            .selecting("app", "cart"),
        version("a", "v1", "10.1.0.1"),
        version("b", "v2", "10.1.0.2"),
        destination_rule("cart", "cart")
            .in_namespace("shop")
            .subset("v1")
            .subset("v3"),
    ];
    assert_eq!(
        world.endpoints("web", &format!("{CART}/v1")),
        ["10.1.0.1:80 mtls"]
    );
    assert!(world.endpoints("web", &format!("{CART}/v3")).is_empty());
    assert_eq!(world.endpoints("web", CART).len(), 2);
}

#[test]
fn entries_list_their_endpoints_or_select_them() {
    let entry = || {
        service_entry("db", "db.example.com")
            .in_namespace("shop")
            .in_mesh()
            .resolution("STATIC")
            .port("HTTP", 80)
    };
    let listed = mesh![
        entry()
            .endpoint(json!({"address": "10.1.0.1", "serviceAccount": "db", "weight": 3}))
            .endpoint(json!({"address": "10.1.0.2", "ports": {"http-80": 8080}})),
    ];
    assert_eq!(
        listed.endpoints("web", "db.example.com:80"),
        ["10.1.0.1:80 mtls x3", "10.1.0.2:8080"]
    );
    let selected = mesh![
        entry().selecting("app", "db"),
        workload_entry("vm", "10.1.0.3")
            .in_namespace("shop")
            .labelled("app", "db")
            .running_as("db"),
        pod("db")
            .in_namespace("shop")
            .labelled("app", "db")
            .at("10.1.0.4"),
        pod("other")
            .in_namespace("web")
            .labelled("app", "db")
            .at("10.1.0.5"),
    ];
    assert_eq!(
        selected.endpoints("web", "db.example.com:80"),
        ["10.1.0.3:80 mtls", "10.1.0.4:80"]
    );
}
