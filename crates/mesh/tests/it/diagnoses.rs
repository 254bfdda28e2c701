//! What objects say together: each code with its field, and worlds in which it is not said.

use testkit::{
    authorization_policy, deployment, destination_rule, peer_authentication, pod, service, to,
    virtual_service, workload_entry,
};

const NONE: [&str; 0] = [];

#[test]
fn destinations_that_are_not_there_are_named() {
    let world = mesh![
        service("cart").in_namespace("shop").port(80).port(90),
        virtual_service("cart")
            .in_namespace("shop")
            .host("cart")
            .route(
                to("cart")
                    .port(80)
                    .subset("v1")
                    .when(serde_json::json!({"uri": {"prefix": "/a"}}))
            )
            .route(
                to("cart")
                    .port(81)
                    .when(serde_json::json!({"uri": {"prefix": "/b"}}))
            )
            .route(to("cart").when(serde_json::json!({"uri": {"prefix": "/c"}})))
            .route(to("gone")),
    ];
    assert_eq!(
        world.diagnoses(),
        [
            "IST0101 VirtualService/cart spec.http[0].route[0].destination.subset",
            "IST0101 VirtualService/cart spec.http[1].route[0].destination.port.number",
            "IST0101 VirtualService/cart spec.http[3].route[0].destination.host",
            "IST0112 VirtualService/cart spec.http[2].route[0].destination.host",
        ]
    );
}

#[test]
fn what_is_there_is_not_reported() {
    let world = mesh![
        service("cart")
            .in_namespace("shop")
            .port(80)
            .selecting("app", "cart"),
        pod("cart")
            .in_namespace("shop")
            .labelled("app", "cart")
            .labelled("version", "v1")
            .at("10.1.0.1"),
        destination_rule("cart", "cart")
            .in_namespace("shop")
            .subset("v1"),
        virtual_service("cart")
            .in_namespace("shop")
            .host("cart")
            .route(to("cart").subset("v1")),
        peer_authentication("cart")
            .in_namespace("shop")
            .mode("STRICT")
            .selecting("app", "cart"),
        authorization_policy("cart")
            .in_namespace("istio-system")
            .selecting("app", "cart"),
    ];
    assert_eq!(world.diagnoses(), NONE);
}

#[test]
fn the_younger_of_two_that_route_a_host_is_told() {
    let routes = |name: &str, second| {
        virtual_service(name)
            .in_namespace("shop")
            .host("cart")
            .route(to("cart"))
            .created(second)
    };
    let cart = || service("cart").in_namespace("shop").port(80);
    let two = mesh![cart(), routes("old", 1), routes("young", 2)];
    assert_eq!(
        two.diagnoses(),
        ["LAT0006 VirtualService/young spec.hosts[0]"]
    );
    let apart = mesh![
        cart(),
        routes("old", 1).exported_to(&["web"]),
        routes("young", 2)
    ];
    assert_eq!(apart.diagnoses(), NONE, "shop does not see the older one");
    let gateway = mesh![
        cart(),
        routes("old", 1).with("spec.gateways", serde_json::json!(["shop/edge"])),
        routes("young", 2)
    ];
    assert_eq!(gateway.diagnoses(), NONE);
}

#[test]
fn rules_for_nothing_are_told() {
    let world = mesh![
        service("cart")
            .in_namespace("shop")
            .port(80)
            .selecting("app", "cart"),
        pod("cart")
            .in_namespace("shop")
            .labelled("app", "cart")
            .labelled("version", "v1")
            .at("10.1.0.1"),
        destination_rule("gone", "gone").in_namespace("shop"),
        destination_rule("cart", "cart")
            .in_namespace("shop")
            .subset("v1")
            .subset("v2"),
        destination_rule("wide", "*.example.com").in_namespace("shop"),
    ];
    assert_eq!(
        world.diagnoses(),
        [
            "IST0173 DestinationRule/cart spec.subsets[1].labels",
            "IST0174 DestinationRule/gone spec.host"
        ]
    );
}

#[test]
fn selectors_that_match_nothing_are_told_and_templates_are_explained() {
    let world = mesh![
        service("lonely")
            .in_namespace("shop")
            .port(80)
            .selecting("app", "lonely"),
        service("templated")
            .in_namespace("shop")
            .port(80)
            .selecting("app", "templated"),
        deployment("templated")
            .in_namespace("shop")
            .template("app", "templated"),
        service("vm")
            .in_namespace("shop")
            .port(80)
            .selecting("app", "vm"),
        workload_entry("vm", "10.1.0.1")
            .in_namespace("shop")
            .labelled("app", "vm"),
        peer_authentication("strict")
            .in_namespace("shop")
            .mode("STRICT")
            .selecting("app", "lonely"),
        authorization_policy("elsewhere")
            .in_namespace("web")
            .selecting("app", "vm"),
        authorization_policy("everywhere")
            .in_namespace("istio-system")
            .selecting("app", "vm"),
    ];
    assert_eq!(
        world.diagnoses(),
        [
            "IST0127 AuthorizationPolicy/elsewhere spec.selector.matchLabels",
            "IST0127 PeerAuthentication/strict spec.selector.matchLabels",
            "IST0127 Service/lonely spec.selector",
            "LAT0007 Service/templated spec.selector",
        ]
    );
}

#[test]
fn providers_that_cannot_be_asked_are_told() {
    let custom = |name: &str, provider: &str| {
        authorization_policy(name)
            .in_namespace("shop")
            .action("CUSTOM")
            .with("spec.provider.name", provider)
            .rule(serde_json::json!({}))
    };
    let provider = |name: &str, host: &str| serde_json::json!({"name": name, "envoyExtAuthzHttp": {"service": host, "port": 80}});
    let providers = [
        provider("good", "authz.shop.svc.cluster.local"),
        provider("gone", "gone.shop.svc.cluster.local"),
    ];
    let world = mesh![
        testkit::mesh_config().with("extensionProviders", serde_json::json!(providers)),
        service("authz").in_namespace("shop").port(80),
        pod("cart")
            .in_namespace("shop")
            .labelled("app", "cart")
            .at("10.1.0.1"),
        custom("good", "good").selecting("app", "cart"),
        custom("unknown", "unknown").in_namespace("web"),
        custom("gone", "gone").selecting("app", "cart"),
    ];
    assert_eq!(
        world.diagnoses(),
        [
            "IST0101 AuthorizationPolicy/gone spec.provider.name",
            "IST0101 AuthorizationPolicy/unknown spec.provider.name",
            "LAT0006 AuthorizationPolicy/gone spec.provider.name",
            "LAT0006 AuthorizationPolicy/good spec.provider.name",
        ]
    );
}

#[test]
fn a_diagnosis_stands_at_its_line() {
    let world = mesh![destination_rule("gone", "gone").in_namespace("shop")];
    let object = world.object(destination_rule("gone", "gone").in_namespace("shop"));
    let found = mesh::diagnose(&world.0, &object);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].severity, model::Severity::Warning);
    assert!(
        found[0]
            .message
            .contains("no service gone.shop.svc.cluster.local exists"),
        "{}",
        found[0]
    );
}
