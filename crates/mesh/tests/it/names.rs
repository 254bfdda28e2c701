//! The name table: what agents answer for a host.

use ir::{Node, Registry};
use mesh::Key;
use model::HostPattern;
use testkit::{pod, service, service_entry};

use crate::kit::{World, dual};

fn entry(world: &World, from: &str, host: &str) -> Option<ir::NameEntry> {
    let host = HostPattern::literal(host).unwrap().service_host();
    match world.node(&dual(from), &Key::Name(host.unwrap()))? {
        Node::NameEntry(entry) => Some(entry),
        other => panic!("not a name: {other:?}"),
    }
}

#[test]
fn services_have_their_addresses_and_short_names() {
    let world = mesh![
        service("cart").in_namespace("shop").port(80).at("10.0.0.1"),
        service("pods")
            .in_namespace("shop")
            .port(80)
            .headless()
            .selecting("app", "x"),
        pod("a")
            .in_namespace("shop")
            .labelled("app", "x")
            .at("10.1.0.2"),
        pod("b")
            .in_namespace("shop")
            .labelled("app", "x")
            .at("10.1.0.1"),
        service("nobody")
            .in_namespace("shop")
            .port(80)
            .headless()
            .selecting("app", "y"),
        service("private")
            .in_namespace("shop")
            .port(80)
            .exported_to("."),
    ];
    let cart = entry(&world, "web", "cart.shop.svc.cluster.local").unwrap();
    let (short, namespace) = (
        cart.short_name.as_deref(),
        cart.namespace.as_ref().map(model::Namespace::as_str),
    );
    assert_eq!(
        (cart.registry, short, namespace),
        (Registry::Kubernetes, Some("cart"), Some("shop"))
    );
    assert_eq!(
        *cart.addresses,
        ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]
    );
    let pods = entry(&world, "web", "pods.shop.svc.cluster.local").unwrap();
    assert_eq!(
        pods.addresses
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["10.1.0.1", "10.1.0.2"]
    );
    assert!(
        entry(&world, "web", "nobody.shop.svc.cluster.local").is_none(),
        "a name without addresses is no name"
    );
    assert!(entry(&world, "web", "private.shop.svc.cluster.local").is_none());
    assert!(entry(&world, "shop", "private.shop.svc.cluster.local").is_some());
}

#[test]
fn a_headless_service_names_its_pods() {
    let named = |name: &str, subdomain: &str, address: &str| {
        pod(name)
            .in_namespace("shop")
            .labelled("app", "db")
            .with("spec.hostname", name)
            .with("spec.subdomain", subdomain)
            .at(address)
    };
    let world = mesh![
        service("db")
            .in_namespace("shop")
            .tcp_port(3306)
            .headless()
            .selecting("app", "db"),
        named("db-1", "db", "10.1.0.2").at("fd00::2"),
        named("db-0", "db", "10.1.0.1"),
        named("other", "elsewhere", "10.1.0.3"),
    ];
    let db = entry(&world, "web", "db.shop.svc.cluster.local").unwrap();
    let pods: Vec<String> = db
        .pods
        .iter()
        .map(|pod| format!("{} {:?}", pod.hostname, pod.addresses))
        .collect();
    assert_eq!(pods, ["db-0 [10.1.0.1]", "db-1 [10.1.0.2, fd00::2]"]);
    assert_eq!(db.addresses.len(), 4);
}

#[test]
fn a_domain_whose_hosts_are_resolved_later_has_one_address() {
    let world = mesh![
        service_entry("domain", "*.example.com")
            .resolution("DYNAMIC_DNS")
            .port("HTTP", 80),
        service_entry("raw", "*.example.org")
            .resolution("NONE")
            .port("HTTP", 80),
    ];
    let domain = entry(&world, "web", "*.example.com").unwrap();
    assert!(domain.addresses[0].to_string().starts_with("240.240."));
    assert!(
        entry(&world, "web", "*.example.org").is_none(),
        "DNS elsewhere answers for it"
    );
}

#[test]
fn entries_are_external_names() {
    let world = mesh![
        service_entry("api", "api.example.com")
            .resolution("DNS")
            .port("HTTP", 80),
        service_entry("raw", "raw.example.com")
            .resolution("NONE")
            .port("HTTP", 80),
    ];
    let api = entry(&world, "web", "api.example.com").unwrap();
    assert_eq!(
        (api.registry, api.short_name, api.namespace),
        (Registry::External, None, None)
    );
    assert!(api.addresses[0].to_string().starts_with("240.240."));
    assert!(
        entry(&world, "web", "raw.example.com").is_none(),
        "DNS elsewhere answers for it"
    );
}
