//! Which of several VirtualServices routes a host, and who sees it.

use testkit::{VirtualService, service, service_entry, to, virtual_service};

use crate::kit::World;

/// Marks what was chosen: each VirtualService leads to a service of its own name.
fn routing(name: &str, host: &str) -> VirtualService {
    virtual_service(name)
        .in_namespace("shop")
        .host(host)
        .route(to(&format!("{name}.marks.svc.cluster.local")))
}

fn world(services: Vec<VirtualService>) -> World {
    let marks = ["a", "b", "c"].map(|name| service(name).in_namespace("marks").port(80).into());
    let cart = service("cart").in_namespace("shop").port(80).into();
    World::of(
        marks
            .into_iter()
            .chain([cart])
            .chain(services.into_iter().map(Into::into)),
    )
}

fn chosen(services: Vec<VirtualService>, from: &str, host: &str) -> String {
    let got = world(services).get(from, host);
    got.replace("outbound|80||", "").replace(".marks", "")
}

const CART: &str = "cart.shop.svc.cluster.local";

#[test]
fn the_most_specific_host_wins_then_the_oldest_then_the_first_by_name() {
    let exact = || routing("a", CART);
    let wide = || routing("b", "*.shop.svc.cluster.local").created(0);
    let wider = || routing("c", "*.svc.cluster.local").created(0);
    let table: [(Vec<VirtualService>, &str); 6] = [
        (vec![wider(), wide(), exact().created(9)], "a"),
        (vec![wider().created(0), wide().created(9)], "b"),
        (vec![wider()], "c"),
        (
            vec![routing("a", CART).created(2), routing("b", CART).created(1)],
            "b",
        ),
        (
            vec![routing("b", CART).created(1), routing("a", CART).created(1)],
            "a",
        ),
        // Without a creation time an object is older than all others.
        (vec![routing("a", CART).created(1), routing("b", CART)], "b"),
    ];
    for (services, expected) in table {
        let described = format!("{services:?}");
        assert_eq!(chosen(services, "web", CART), expected, "{described}");
    }
}

#[test]
fn of_one_name_the_first_namespace_wins() {
    let here = routing("a", CART).in_namespace("bbb");
    let there = virtual_service("a")
        .in_namespace("aaa")
        .host(CART)
        .route(to("b.marks.svc.cluster.local"));
    assert_eq!(chosen(vec![here, there], "web", CART), "b");
}

#[test]
fn a_virtual_service_is_seen_where_it_is_exported_to() {
    let exported = |to: &[&str]| vec![routing("a", CART).exported_to(to)];
    let (seen, unseen) = ("a", "cart.shop");
    let table = [
        (&["*"][..], "web", seen),
        (&["."][..], "web", unseen),
        (&["."][..], "shop", seen),
        (&["web"][..], "web", seen),
        (&["web"][..], "shop", unseen),
        (&["~"][..], "shop", unseen),
    ];
    for (to, from, expected) in table {
        assert_eq!(
            chosen(exported(to), from, CART),
            expected,
            "{to:?} from {from}"
        );
    }
}

#[test]
fn one_that_is_not_seen_leaves_the_host_to_the_next() {
    let services = || {
        vec![
            routing("a", CART).exported_to(&["."]),
            routing("b", "*.local"),
        ]
    };
    assert_eq!(chosen(services(), "shop", CART), "a");
    assert_eq!(chosen(services(), "web", CART), "b");
}

#[test]
fn one_for_gateways_only_routes_no_sidecar() {
    let gateway = routing("a", CART).with("spec.gateways", serde_json::json!(["shop/edge"]));
    assert_eq!(chosen(vec![gateway], "shop", CART), "cart.shop");
    let both = routing("a", CART).with("spec.gateways", serde_json::json!(["shop/edge", "mesh"]));
    assert_eq!(chosen(vec![both], "shop", CART), "a");
}

#[test]
fn short_names_belong_to_the_objects_namespace() {
    let short = || routing("a", "cart");
    assert_eq!(chosen(vec![short()], "web", CART), "a");
    assert_eq!(
        chosen(vec![short().in_namespace("web")], "web", CART),
        "cart.shop"
    );
    for host in ["cart.shop", "cart.shop.svc", CART] {
        assert_eq!(chosen(vec![short()], "web", host), "a", "{host}");
    }
    assert_eq!(chosen(vec![short()], "shop", "cart"), "a");
    assert_eq!(chosen(vec![short()], "web", "cart"), "PassthroughCluster");
}

#[test]
fn a_name_that_somebody_bears_in_full_is_no_alias() {
    let taken = chosen(vec![routing("a", "cart.shop")], "web", "cart.shop");
    assert_eq!(taken, "a");
    assert_eq!(
        chosen(vec![routing("a", "cart.shop")], "web", CART),
        "cart.shop"
    );
    let world = mesh![
        service("cart").in_namespace("shop").port(80),
        service_entry("other", "cart.shop")
            .resolution("DNS")
            .port("HTTP", 80)
            .exported_to(&["web"]),
    ];
    assert_eq!(world.get("web", "cart.shop"), "outbound|80||cart.shop");
    assert_eq!(world.get("web", "cart.shop.svc"), "outbound|80||cart.shop");
    let named = |from: &str| {
        let hosts = world.hosts(
            &crate::kit::scope(from),
            ir::RouteTableName::Port(crate::kit::port_of(80)),
        );
        hosts
            .iter()
            .find(|host| host.domains.iter().any(|d| &**d == "cart.shop"))
            .unwrap()
            .name
            .to_string()
    };
    assert_eq!(named("web"), "cart.shop:80");
    assert_eq!(named("else"), "cart.shop.svc.cluster.local:80");
}

#[test]
fn the_address_of_a_service_leads_to_it_unless_a_host_is_called_so() {
    let vip = || {
        service("cart")
            .in_namespace("shop")
            .port(80)
            .at("10.0.0.1")
            .at("fd00::1")
    };
    let world = mesh![vip()];
    assert_eq!(world.get("web", "10.0.0.1"), "outbound|80||cart.shop");
    let hosts = world.hosts(
        &crate::kit::dual("web"),
        ir::RouteTableName::Port(crate::kit::port_of(80)),
    );
    assert!(
        hosts
            .iter()
            .any(|host| host.domains.iter().any(|domain| &**domain == "[fd00::1]"))
    );
    let marked = mesh![
        vip(),
        service("a").in_namespace("marks").port(80),
        routing("a", "10.0.0.1")
    ];
    assert_eq!(marked.get("web", "10.0.0.1"), "outbound|80||a.marks");
}
