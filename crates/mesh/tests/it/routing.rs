//! What a VirtualService does with a request: conditions, weights, defaults, destinations that are not there.

use ir::RouteTableName;
use mesh::{Mesh, Scope};
use model::Labels;
use serde_json::json;
use testkit::{
    Document, destination_rule, mesh_config, route, service, service_entry, to, virtual_service,
};

use crate::kit::{World, port_of, scope};

const V1: &str = "outbound|80|v1|cart.shop";
const CART: &str = "outbound|80||cart.shop";

#[test]
fn a_request_is_matched_by_path_method_and_headers() {
    let world = mesh![
        service("cart").in_namespace("shop").port(80),
        service("pay").in_namespace("shop").port(80).port(90),
        virtual_service("cart")
            .in_namespace("shop")
            .host("cart")
            .route(to("cart").when(json!({"uri": {"exact": "/exact"}})))
            .route(
                to("pay")
                    .port(90)
                    .when(json!({"uri": {"prefix": "/api/"}, "method": {"exact": "POST"}}))
            )
            .route(
                to("pay")
                    .port(80)
                    .when(json!({"uri": {"regex": "/v[0-9]+"}}))
            )
            .route(
                to("pay")
                    .port(80)
                    .when(json!({"headers": {"X-User": {"exact": "jason"}, "x-any": {}}}))
            )
            .route(to("missing")),
    ];
    let (pay, other) = (
        "outbound|80||pay.shop",
        "503 no service missing.shop exists",
    );
    let user = [("x-user", "jason"), ("x-any", "")];
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let table: [Case<'_>; 9] = [
        ("GET http://cart/exact", &[], CART),
        ("GET http://cart/exact?q=1", &[], CART),
        ("GET http://cart/exact/", &[], other),
        ("POST http://cart/api/x", &[], "outbound|90||pay.shop"),
        ("GET http://cart/api/x", &[], other),
        ("GET http://cart/v12", &[], pay),
        ("GET http://cart/v12/x", &[], other),
        ("GET http://cart/", &user, pay),
        ("GET http://cart/", &user[..1], other),
    ];
    for (request, headers, expected) in table {
        assert_eq!(
            world.call("shop", request, headers),
            expected,
            "{request} {headers:?}"
        );
    }
}

#[test]
fn one_of_several_conditions_is_enough_and_the_port_is_one_of_them() {
    let world = mesh![
        service("cart").in_namespace("shop").port(80).port(90),
        virtual_service("cart")
            .in_namespace("shop")
            .host("cart")
            .route(
                to("cart")
                    .port(90)
                    .when(json!({"port": 90}))
                    .when(json!({"uri": {"prefix": "/both"}}))
            )
            .route(to("cart").port(80)),
    ];
    let both = "outbound|90||cart.shop";
    for (request, expected) in [
        ("GET http://cart:80/", CART),
        ("GET http://cart:90/", both),
        ("GET http://cart:80/both", both),
    ] {
        assert_eq!(world.call("shop", request, &[]), expected, "{request}");
    }
}

#[test]
fn a_condition_that_is_not_understood_matches_nothing() {
    let world = mesh![
        service("cart").in_namespace("shop").port(80),
        virtual_service("cart")
            .in_namespace("shop")
            .host("cart")
            .route(
                to("nowhere").when(json!({"uri": {"prefix": "/"}, "sourceLabels": {"app": "x"}}))
            )
            .route(to("nowhere").when(json!({"gateways": ["edge"]})))
            .route(to("cart")),
    ];
    assert_eq!(world.get("shop", "cart"), CART);
}

#[test]
fn weights_and_subsets_are_those_of_the_route() {
    let world = mesh![
        service("cart").in_namespace("shop").port(80),
        destination_rule("cart", "cart")
            .in_namespace("shop")
            .subset("v1"),
        virtual_service("cart")
            .in_namespace("shop")
            .host("cart")
            .route(
                route()
                    .to("cart")
                    .subset("v1")
                    .weight(90)
                    .to("cart")
                    .subset("v2")
                    .weight(10)
            ),
    ];
    let expected = format!("90 {V1}, 10 503 no DestinationRule makes a subset v2 of cart.shop");
    assert_eq!(world.get("shop", "cart"), expected);
}

#[test]
fn a_destination_without_port_takes_the_only_one_or_the_callers() {
    let routed = |name: &str, target| {
        virtual_service(name)
            .in_namespace("shop")
            .host(name)
            .route(to(target))
    };
    let world = mesh![
        service("one").in_namespace("shop").port(80),
        service("only").in_namespace("shop").port(9080),
        service("two").in_namespace("shop").port(80).port(9080),
        service("other").in_namespace("shop").port(90).port(91),
        service("a").in_namespace("shop").port(80),
        service("b").in_namespace("shop").port(80),
        service("c").in_namespace("shop").port(80),
        routed("a", "only"),
        routed("b", "two"),
        routed("c", "other"),
    ];
    assert_eq!(world.get("shop", "a"), "outbound|9080||only.shop");
    assert_eq!(world.get("shop", "b"), "outbound|80||two.shop");
    assert_eq!(
        world.get("shop", "c"),
        "503 service other.shop has no port 80"
    );
}

#[test]
fn timeouts_and_retries_have_istios_defaults() {
    let routed = |route| {
        mesh![
            service("cart").in_namespace("shop").port(80),
            virtual_service("cart")
                .in_namespace("shop")
                .host("cart")
                .route(route),
        ]
    };
    let forward = |world: &crate::kit::World| match world.route("shop", "cart").action {
        ir::RouteAction::Forward(forward) => forward,
        ir::RouteAction::Redirect(_) | ir::RouteAction::Respond { .. } => {
            panic!("it answers by itself")
        }
    };
    let plain = forward(&routed(to("cart")));
    let retry = plain.retry.unwrap();
    assert_eq!(
        (plain.timeout, retry.attempts, retry.avoid_previous_hosts),
        (None, 2, true)
    );
    assert_eq!(
        &*retry.on,
        "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
    );

    let own =
        json!({"attempts": 3, "retryOn": "5xx,503", "perTryTimeout": "1s", "backoff": "50ms"});
    let own = forward(&routed(
        to("cart").with("timeout", "2s").with("retries", own),
    ));
    let retry = own.retry.unwrap();
    assert_eq!(own.timeout.unwrap().as_millis(), 2000);
    assert_eq!(
        (retry.attempts, &*retry.on, &*retry.status_codes),
        (3, "5xx,retriable-status-codes", &[503][..])
    );
    assert_eq!(
        (
            retry.per_try_timeout.unwrap().as_millis(),
            retry.backoff.unwrap().as_millis()
        ),
        (1000, 50)
    );

    let off = forward(&routed(
        to("cart")
            .with("timeout", "0s")
            .with("retries", json!({"attempts": 0})),
    ));
    assert_eq!((off.timeout, off.retry), (None, None));
}

#[test]
fn a_delegate_that_is_not_there_answers_503_with_the_reason_until_it_comes() {
    let root = || {
        virtual_service("cart")
            .in_namespace("shop")
            .host("cart")
            .route(route().with("delegate", json!({"name": "of-cart"})))
    };
    let cart = || service("cart").in_namespace("shop").port(80);
    let missing = "503 no delegate VirtualService shop/of-cart exists";
    assert_eq!(mesh![cart(), root()].get("shop", "cart"), missing);
    let mut store = testkit::store([Document::from(cart()), root().into()]);
    let mesh = Mesh::new(store.snapshot());
    let delegate = virtual_service("of-cart")
        .in_namespace("shop")
        .route(to("cart"));
    let delta = store.apply(testkit::load([delegate]));
    let (next, affected) = mesh.next(store.snapshot(), &delta);
    assert_eq!(World(next).get("shop", "cart"), CART);
    assert!(!affected.keys.is_empty(), "the root's host is affected");
}

#[test]
fn a_condition_on_the_client_concerns_only_those_whom_it_names() {
    let routes = |labels: serde_json::Value| {
        let one = json!({"sourceLabels": labels, "sourceNamespace": "web"});
        virtual_service("cart")
            .in_namespace("shop")
            .host("cart")
            .route(to("web").when(one))
            .route(to("cart"))
    };
    let world = mesh![
        service("cart").in_namespace("shop").port(80),
        service("web").in_namespace("shop").port(80),
        routes(json!({"app": "web"})),
    ];
    let labels: Labels = [("app", "web")].into_iter().collect();
    let of = |namespace: &str, labels: &[Labels]| {
        let scope = Scope {
            labels: labels.into(),
            ..scope(namespace)
        };
        let hosts = world.hosts(&scope, RouteTableName::Port(port_of(80)));
        let routes = hosts.iter().map(|host| host.routes.len());
        routes.max().unwrap()
    };
    assert_eq!(of("web", std::slice::from_ref(&labels)), 2);
    assert_eq!(of("shop", std::slice::from_ref(&labels)), 1);
    assert_eq!(of("web", &[]), 1);
    let seen: Vec<_> = world.0.source_labels(&"web".parse().unwrap()).collect();
    assert_eq!(seen, [&labels]);
}

#[test]
fn unknown_hosts_follow_the_outbound_traffic_policy() {
    let mode = |mode: &str| {
        mesh![
            service("cart").in_namespace("shop").port(80),
            mesh_config().with("outboundTrafficPolicy.mode", mode),
        ]
    };
    assert_eq!(
        mode("ALLOW_ANY").get("shop", "example.com"),
        "PassthroughCluster"
    );
    assert_eq!(mode("REGISTRY_ONLY").get("shop", "example.com"), "502");
    assert_eq!(
        mode("ALLOW_ANY_DYNAMIC_DNS").get("shop", "example.com"),
        "AllowAnyDynamicDNSCluster"
    );
    assert_eq!(
        mode("REGISTRY_ONLY").get("web", "cart"),
        "502",
        "a short name of another namespace"
    );
}

#[test]
fn a_host_without_service_exists_where_a_virtual_service_names_it() {
    let world = mesh![
        service("cart").in_namespace("shop").port(80),
        service_entry("api", "api.example.com")
            .resolution("DNS")
            .port("HTTP", 8080),
        virtual_service("web")
            .in_namespace("shop")
            .host("www.example.com")
            .host("*.example.org")
            .route(to("cart")),
    ];
    assert_eq!(world.get("web", "www.example.com"), CART);
    assert_eq!(world.get("web", "a.b.example.org"), CART);
    assert_eq!(world.get("web", "example.org"), "PassthroughCluster");
    assert_eq!(
        world.call("web", "GET http://www.example.com:8080/", &[]),
        CART,
        "on every HTTP port"
    );
    assert_eq!(
        world.call("web", "GET http://api.example.com:8080/", &[]),
        "outbound|8080||api.example.com"
    );
}
