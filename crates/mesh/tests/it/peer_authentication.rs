//! Who demands mutual TLS: workload over namespace over mesh, port by port, and what broken objects close.

use model::MtlsMode::{self, Disable, Permissive, Strict};
use serde_json::json;
use testkit::{Document, PeerAuthentication, mesh_config, peer_authentication, pod, service};

use crate::kit::{World, port_of};

fn world(policies: Vec<PeerAuthentication>) -> World {
    let cart: Document = pod("cart")
        .in_namespace("shop")
        .labelled("app", "cart")
        .in_mesh()
        .at("10.1.0.1")
        .into();
    World::of(std::iter::once(cart).chain(policies.into_iter().map(Into::into)))
}

/// The modes of ports 8080 and 9090 of the pod.
fn modes(world: &World) -> [MtlsMode; 2] {
    let workload = world.workload("shop/cart");
    [8080, 9090].map(|port| {
        world
            .0
            .mtls_mode(&workload.namespace, &workload.labels, port_of(port))
    })
}

fn of(namespace: &str, mode: &str) -> PeerAuthentication {
    peer_authentication("default")
        .in_namespace(namespace)
        .mode(mode)
}

fn own(mode: &str) -> PeerAuthentication {
    peer_authentication("own")
        .in_namespace("shop")
        .mode(mode)
        .selecting("app", "cart")
}

/// Refused: `mode` is no mode.
fn broken(policy: PeerAuthentication) -> PeerAuthentication {
    policy.with("spec.mtls.mode", "SECURE")
}

#[test]
fn the_nearest_policy_that_says_something_holds() {
    let table: Vec<(Vec<PeerAuthentication>, [MtlsMode; 2])> = vec![
        (vec![], [Permissive; 2]),
        (vec![of("istio-system", "STRICT")], [Strict; 2]),
        (
            vec![of("istio-system", "STRICT"), of("shop", "DISABLE")],
            [Disable; 2],
        ),
        (
            vec![of("istio-system", "STRICT"), of("shop", "UNSET")],
            [Strict; 2],
        ),
        (
            vec![of("shop", "STRICT"), own("PERMISSIVE")],
            [Permissive; 2],
        ),
        (vec![of("shop", "STRICT"), own("UNSET")], [Strict; 2]),
        (
            vec![
                of("shop", "STRICT"),
                own("UNSET").port_mode(8080, "DISABLE"),
            ],
            [Disable, Strict],
        ),
        (
            vec![
                of("shop", "STRICT"),
                own("PERMISSIVE").port_mode(8080, "UNSET"),
            ],
            [Permissive; 2],
        ),
        (
            vec![own("DISABLE").port_mode(9090, "STRICT")],
            [Disable, Strict],
        ),
        (vec![of("web", "STRICT")], [Permissive; 2]),
        (
            vec![own("STRICT").in_namespace("istio-system")],
            [Permissive; 2],
        ),
        (
            vec![own("STRICT").with("spec.selector.matchLabels", json!({"app": "pay"}))],
            [Permissive; 2],
        ),
        (
            vec![
                own("STRICT").created(2),
                own("DISABLE").with("metadata.name", "older").created(1),
            ],
            [Disable; 2],
        ),
        (
            vec![
                of("shop", "STRICT").created(1),
                of("shop", "DISABLE").with("metadata.name", "a").created(2),
            ],
            [Strict; 2],
        ),
    ];
    for (policies, expected) in table {
        let described = format!("{policies:?}");
        assert_eq!(modes(&world(policies)), expected, "{described}");
    }
}

#[test]
fn a_refused_policy_without_a_good_version_closes_its_own_workloads() {
    let table: Vec<(Vec<PeerAuthentication>, [MtlsMode; 2])> = vec![
        (vec![broken(of("shop", ""))], [Strict; 2]),
        (vec![broken(own(""))], [Strict; 2]),
        (
            vec![broken(
                own("").with("spec.selector.matchLabels", json!({"app": "pay"})),
            )],
            [Permissive; 2],
        ),
        (vec![broken(of("web", ""))], [Permissive; 2]),
        // In the root namespace it would close the mesh; without a readable selector nobody knows whom.
        (vec![broken(of("istio-system", ""))], [Permissive; 2]),
        (
            vec![broken(own("")).with("spec.selector", json!(["app"]))],
            [Permissive; 2],
        ),
        // What another policy opens may be what the refused one closed.
        (
            vec![
                broken(own("")),
                own("DISABLE")
                    .with("metadata.name", "other")
                    .port_mode(8080, "DISABLE"),
            ],
            [Strict; 2],
        ),
    ];
    for (policies, expected) in table {
        let described = format!("{policies:?}");
        assert_eq!(modes(&world(policies)), expected, "{described}");
    }
}

#[test]
fn a_refused_policy_with_a_good_version_keeps_it() {
    let mut store = testkit::store([own("DISABLE")]);
    store.apply(testkit::load([broken(own(""))]));
    store.apply(testkit::load([pod("cart")
        .in_namespace("shop")
        .labelled("app", "cart")]));
    assert_eq!(
        modes(&World(mesh::Mesh::new(store.snapshot()))),
        [Disable; 2]
    );
}

#[test]
fn the_root_namespace_is_what_mesh_config_says() {
    let moved = mesh![
        pod("cart").in_namespace("shop"),
        of("istio-system", "DISABLE"),
        of("root", "STRICT"),
        mesh_config().with("rootNamespace", "root"),
    ];
    assert_eq!(modes(&moved), [Strict; 2]);
}

#[test]
fn a_policy_of_the_root_namespace_that_selects_workloads_holds_for_nobody() {
    let selecting = of("istio-system", "STRICT").selecting("app", "cart");
    let world = mesh![
        pod("cart").in_namespace("shop").labelled("app", "cart"),
        pod("cart")
            .in_namespace("istio-system")
            .labelled("app", "cart"),
        selecting,
    ];
    assert_eq!(modes(&world), [Permissive; 2]);
    let labels = [("app", "cart")].into_iter().collect();
    let root = "istio-system".parse().unwrap();
    assert_eq!(world.0.default_mtls_mode(&root, &labels), Permissive);
    let said = "LAT0009 PeerAuthentication/default spec.selector";
    assert_eq!(world.diagnoses(), [said]);
}

#[test]
fn clients_call_in_plaintext_where_servers_disable_it() {
    let cart = |policy: Option<PeerAuthentication>| {
        let documents: [Document; 2] = [
            service("cart")
                .in_namespace("shop")
                .port(80)
                .leading_to(8080)
                .selecting("app", "cart")
                .into(),
            pod("cart")
                .in_namespace("shop")
                .labelled("app", "cart")
                .in_mesh()
                .at("10.1.0.1")
                .into(),
        ];
        let world = World::of(documents.into_iter().chain(policy.map(Into::into)));
        world.endpoints("web", "cart.shop.svc.cluster.local:80")
    };
    assert_eq!(cart(None), ["10.1.0.1:8080 mtls"]);
    assert_eq!(cart(Some(own("DISABLE"))), ["10.1.0.1:8080"]);
    assert_eq!(
        cart(Some(own("STRICT").port_mode(8080, "DISABLE"))),
        ["10.1.0.1:8080"]
    );
    assert_eq!(
        cart(Some(own("DISABLE").port_mode(8080, "PERMISSIVE"))),
        ["10.1.0.1:8080 mtls"]
    );
    assert_eq!(cart(Some(of("web", "DISABLE"))), ["10.1.0.1:8080 mtls"]);
}
