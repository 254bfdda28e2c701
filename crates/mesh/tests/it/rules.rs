//! DestinationRules: where they are looked up, how several become one, and what holds for a port or subset.

use ir::{Discovery, Servers, UpstreamProtocol, UpstreamTls};
use mesh::Scope;
use model::LoadBalancer;
use serde_json::json;
use testkit::{DestinationRule, Document, destination_rule, pod, service, service_entry};

use crate::kit::{World, scope};

const CART: &str = "cart.shop.svc.cluster.local";
const CART80: &str = "cart.shop.svc.cluster.local:80";

fn world(rules: Vec<DestinationRule>) -> World {
    let cart: Document = service("cart")
        .in_namespace("shop")
        .port(80)
        .port(90)
        .into();
    World::of(std::iter::once(cart).chain(rules.into_iter().map(Into::into)))
}

/// The connection limit of a rule tells which one holds.
fn rule(name: &str, namespace: &str, limit: u32) -> DestinationRule {
    destination_rule(name, CART)
        .in_namespace(namespace)
        .connections(limit)
}

fn limit(world: &World, from: &str, cluster: &str) -> Option<u32> {
    world
        .cluster(from, cluster)
        .unwrap()
        .connection_pool
        .max_connections
}

#[test]
fn rules_are_looked_up_at_the_client_then_the_service_then_the_root() {
    let (client, server, root) = (
        rule("a", "web", 1),
        rule("a", "shop", 2),
        rule("a", "istio-system", 3),
    );
    let all = world(vec![client.clone(), server.clone(), root.clone()]);
    assert_eq!(
        [
            limit(&all, "web", CART80),
            limit(&all, "shop", CART80),
            limit(&all, "else", CART80)
        ],
        [Some(1), Some(2), Some(2)]
    );
    let two = world(vec![client, root]);
    assert_eq!(
        [limit(&two, "web", CART80), limit(&two, "shop", CART80)],
        [Some(1), Some(3)]
    );
    assert_eq!(
        limit(&world(vec![rule("a", "else", 1)]), "web", CART80),
        None,
        "a third namespace's rule concerns nobody else"
    );
}

#[test]
fn a_rule_is_seen_where_it_is_exported_to() {
    let private = world(vec![
        rule("a", "shop", 1).exported_to(&["."]),
        rule("a", "istio-system", 3),
    ]);
    assert_eq!(
        [
            limit(&private, "shop", CART80),
            limit(&private, "web", CART80)
        ],
        [Some(1), Some(3)]
    );
    let one = world(vec![rule("a", "shop", 1).exported_to(&["web"])]);
    assert_eq!(
        [limit(&one, "web", CART80), limit(&one, "else", CART80)],
        [Some(1), None]
    );
}

#[test]
fn in_one_namespace_the_most_specific_host_wins() {
    let wide = |host: &str, limit| {
        destination_rule("wide", host)
            .in_namespace("web")
            .connections(limit)
    };
    let exact = world(vec![
        rule("a", "web", 1),
        wide("*.shop.svc.cluster.local", 2),
    ]);
    assert_eq!(limit(&exact, "web", CART80), Some(1));
    let suffix = world(vec![
        wide("*.shop.svc.cluster.local", 2),
        wide("*.local", 3).with("metadata.name", "wider"),
    ]);
    assert_eq!(limit(&suffix, "web", CART80), Some(2));
    let short = world(vec![
        destination_rule("a", "cart")
            .in_namespace("web")
            .connections(1),
    ]);
    assert_eq!(
        limit(&short, "web", CART80),
        None,
        "`cart` of web is another host"
    );
}

#[test]
fn of_several_rules_the_first_policy_holds_and_subsets_are_united() {
    let bare = |name: &str| destination_rule(name, CART).in_namespace("shop");
    let merged = world(vec![
        bare("a").subset("v1"),
        bare("b").subset("v2").connections(7),
        bare("c").subset("v3").connections(8),
    ]);
    assert_eq!(
        limit(&merged, "web", CART80),
        Some(7),
        "one rule may have the subsets, another the policy"
    );
    for subset in ["v1", "v2", "v3"] {
        assert_eq!(
            limit(&merged, "web", &format!("{CART80}/{subset}")),
            Some(7),
            "{subset}"
        );
    }
    assert!(merged.cluster("web", &format!("{CART80}/v4")).is_none());
}

#[test]
fn a_subset_overrides_setting_by_setting_and_a_port_replaces_everything() {
    let rule = destination_rule("a", CART)
        .in_namespace("shop")
        .connections(1)
        .policy("loadBalancer", json!({"simple": "RANDOM"}))
        .policy(
            "portLevelSettings",
            json!([{"port": {"number": 90}, "loadBalancer": {"simple": "ROUND_ROBIN"}}]),
        )
        .subset("v1")
        .with(
            "spec.subsets[0].trafficPolicy.connectionPool.tcp.maxConnections",
            5,
        )
        .with(
            "spec.subsets[0].trafficPolicy.portLevelSettings",
            json!([{"port": {"number": 90}, "connectionPool": {"http": {"http2MaxRequests": 9}}}]),
        )
        .subset("v2")
        .with(
            "spec.subsets[1].trafficPolicy.connectionPool.tcp.maxConnections",
            6,
        );
    let world = world(vec![rule]);
    let of = |name: &str| {
        let cluster = world.cluster("web", &format!("{CART}:{name}")).unwrap();
        (
            cluster.load_balancer.clone(),
            cluster.connection_pool.max_connections,
        )
    };
    assert_eq!(of("80"), (LoadBalancer::Random, Some(1)));
    assert_eq!(of("80/v1"), (LoadBalancer::Random, Some(5)));
    assert_eq!(
        of("90"),
        (LoadBalancer::RoundRobin, None),
        "port-level settings do not merge"
    );
    assert_eq!(of("90/v2"), (LoadBalancer::RoundRobin, Some(6)));
    assert_eq!(
        of("90/v1"),
        (LoadBalancer::default(), None),
        "nor do those of a subset"
    );
}

#[test]
fn a_rule_that_selects_clients_concerns_those_only_and_comes_first() {
    let selecting = rule("b", "web", 2).for_clients("app", "web");
    let world = world(vec![rule("a", "web", 1), selecting.clone()]);
    let key = testkit::object(selecting).key.clone();
    let matched = Scope {
        matched: [key].into(),
        ..scope("web")
    };
    let of = |scope: &Scope| {
        world
            .cluster_in(scope, CART80)
            .unwrap()
            .connection_pool
            .max_connections
    };
    assert_eq!(of(&matched), Some(2));
    assert_eq!(of(&scope("web")), Some(1));
    assert_eq!(of(&scope("shop")), None);
}

#[test]
fn mutual_tls_is_automatic_unless_a_rule_says_otherwise() {
    let tls = |rules: Vec<DestinationRule>| world(rules).cluster("web", CART80).unwrap().tls;
    let mode = |tls| {
        vec![
            destination_rule("a", CART)
                .in_namespace("shop")
                .policy("tls", tls),
        ]
    };
    assert!(
        matches!(tls(vec![]), UpstreamTls::Auto(mesh) if &*mesh.sni == "outbound_.80_._.cart.shop.svc.cluster.local")
    );
    assert_eq!(
        tls(mode(json!({"mode": "DISABLE"}))),
        UpstreamTls::Plaintext
    );
    assert!(
        matches!(tls(mode(json!({"mode": "SIMPLE", "sni": "a.b"}))), UpstreamTls::Simple(name) if name.sni.as_deref() == Some("a.b"))
    );
    let own = json!({"mode": "ISTIO_MUTUAL", "sni": "a.b", "subjectAltNames": ["spiffe://x/y"]});
    let UpstreamTls::Mesh(own) = tls(mode(own)) else {
        panic!("not mutual TLS")
    };
    assert_eq!(
        (&*own.sni, own.server),
        ("a.b", Servers::Names(["spiffe://x/y".into()].into()))
    );
}

#[test]
fn servers_are_those_that_run_the_endpoints() {
    let named = |name: &str, account: &str| {
        pod(name)
            .in_namespace("shop")
            .labelled("app", "cart")
            .in_mesh()
            .at("10.1.0.1")
            .running_as(account)
    };
    let world = mesh![
        service("cart")
            .in_namespace("shop")
            .port(80)
            .selecting("app", "cart"),
        named("b", "two"),
        named("a", "one"),
        named("c", "two"),
    ];
    let UpstreamTls::Auto(tls) = world.cluster("web", CART80).unwrap().tls else {
        panic!("not automatic")
    };
    let Servers::Identities(ids) = tls.server else {
        panic!("not by identity")
    };
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(
        ids,
        [
            "spiffe://cluster.local/ns/shop/sa/one",
            "spiffe://cluster.local/ns/shop/sa/two"
        ]
    );
}

#[test]
fn servers_of_all_trust_domains_of_the_mesh_are_its_own() {
    let world = mesh![
        testkit::mesh_config().with("trustDomainAliases", json!(["old.example"])),
        service("cart")
            .in_namespace("shop")
            .port(80)
            .selecting("app", "cart"),
        pod("cart")
            .in_namespace("shop")
            .labelled("app", "cart")
            .in_mesh()
            .at("10.1.0.1")
            .running_as("one"),
    ];
    let UpstreamTls::Auto(tls) = world.cluster("web", CART80).unwrap().tls else {
        panic!("not automatic")
    };
    let Servers::Identities(ids) = tls.server else {
        panic!("not by identity")
    };
    let domains: Vec<&str> = ids.iter().map(|id| id.trust_domain.as_str()).collect();
    assert_eq!(domains, ["cluster.local", "old.example"]);
}

#[test]
fn protocols_upstream_follow_the_port_and_the_rule() {
    use UpstreamProtocol::{FollowCaller, Http1, Http2, Tcp};
    let http = |field: &str, value: serde_json::Value| {
        Some(
            destination_rule("a", CART)
                .in_namespace("shop")
                .policy(&format!("connectionPool.http.{field}"), value),
        )
    };
    let table = [
        ("http-a", None, Http1),
        ("http2-a", None, Http2),
        ("grpc", None, Http2),
        ("main", None, FollowCaller),
        ("tcp-a", None, Tcp),
        ("https", None, Tcp),
        ("http-a", http("h2UpgradePolicy", json!("UPGRADE")), Http2),
        ("main", http("h2UpgradePolicy", json!("UPGRADE")), Http2),
        (
            "http-a",
            http("h2UpgradePolicy", json!("DO_NOT_UPGRADE")),
            Http1,
        ),
        (
            "http-a",
            http("useClientProtocol", json!(true)),
            FollowCaller,
        ),
        ("tcp-a", http("h2UpgradePolicy", json!("UPGRADE")), Tcp),
    ];
    for (port, rule, expected) in table {
        let cart: Document = service("cart")
            .in_namespace("shop")
            .named_port(port, 80)
            .into();
        let described = format!("{port} {rule:?}");
        let world = World::of(std::iter::once(cart).chain(rule.map(Into::into)));
        assert_eq!(
            world.cluster("web", CART80).unwrap().protocol,
            expected,
            "{described}"
        );
    }
}

#[test]
fn passthrough_goes_where_the_caller_addressed_with_mutual_tls_if_all_take_it() {
    let rule = || {
        destination_rule("a", CART)
            .in_namespace("shop")
            .policy("loadBalancer", json!({"simple": "PASSTHROUGH"}))
    };
    let cart = || {
        service("cart")
            .in_namespace("shop")
            .port(80)
            .selecting("app", "cart")
    };
    let backend = |name: &str| {
        pod(name)
            .in_namespace("shop")
            .labelled("app", "cart")
            .at("10.1.0.1")
    };
    let all = mesh![cart(), rule(), backend("a").in_mesh()]
        .cluster("web", CART80)
        .unwrap();
    assert_eq!(all.discovery, Discovery::OriginalDestination);
    assert!(matches!(all.tls, UpstreamTls::Mesh(_)));
    let some = mesh![cart(), rule(), backend("a").in_mesh(), backend("b")]
        .cluster("web", CART80)
        .unwrap();
    assert_eq!(some.tls, UpstreamTls::Plaintext);
}

#[test]
fn what_is_outside_the_mesh_gets_no_mutual_tls() {
    let entry = || {
        service_entry("api", "api.example.com")
            .resolution("DNS")
            .port("HTTP", 80)
    };
    let tls = |world: World| world.cluster("web", "api.example.com:80").unwrap().tls;
    assert_eq!(tls(mesh![entry()]), UpstreamTls::Plaintext);
    assert!(matches!(
        tls(mesh![entry().in_mesh()]),
        UpstreamTls::Auto(_)
    ));
}
