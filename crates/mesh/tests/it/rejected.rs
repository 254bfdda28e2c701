//! VirtualServices that were rejected: without a good version their hosts answer 503 with the reason.

use mesh::Mesh;
use model::Kind;
use serde_json::json;
use store::{Change, ChangeSet, SourceId, Store};
use testkit::{
    VirtualService, authorization_policy, destination_rule, mesh_config, peer_authentication,
    service, to, virtual_service,
};

use crate::kit::World;

const CART: &str = "outbound|80||cart.shop";
const PAY: &str = "outbound|80||pay.shop";

/// Leads from cart to pay, unless it is rejected.
fn routes(name: &str) -> VirtualService {
    virtual_service(name)
        .in_namespace("shop")
        .host("cart")
        .route(to("pay"))
}

fn broken(routes: VirtualService) -> VirtualService {
    routes.with("spec.http[0].timeout", "secret")
}

fn reason(name: &str) -> String {
    format!(
        "503 VirtualService shop/{name} is rejected: spec.http[0].timeout: \"...\" is not a duration"
    )
}

fn world(services: Vec<VirtualService>) -> World {
    let hosts = ["cart", "pay"].map(|name| service(name).in_namespace("shop").port(80).into());
    World::of(
        hosts
            .into_iter()
            .chain(services.into_iter().map(Into::into)),
    )
}

#[test]
fn the_hosts_of_a_rejected_virtual_service_answer_503_with_the_reason() {
    let world = world(vec![broken(routes("a").host("api.example.com"))]);
    assert_eq!(world.get("web", "cart.shop.svc.cluster.local"), reason("a"));
    assert_eq!(
        world.call("shop", "POST http://cart/x", &[("x", "y")]),
        reason("a")
    );
    assert_eq!(world.get("web", "api.example.com"), reason("a"));
    assert_eq!(world.get("shop", "pay"), PAY);
}

#[test]
fn a_rejected_virtual_service_takes_its_place_among_the_others() {
    let bad = |created| broken(routes("bad").created(created));
    let good = |created| routes("good").created(created);
    let wide = |name| virtual_service(name).host("*.shop.svc.cluster.local");
    let wide = |name| wide(name).in_namespace("shop").route(to("pay"));
    let table: Vec<(Vec<VirtualService>, &str, String)> = vec![
        // A bad object stops no other: it comes after all good ones.
        (vec![bad(1), good(2)], "shop", PAY.to_owned()),
        (vec![bad(2), good(1)], "shop", PAY.to_owned()),
        (vec![broken(wide("bad"))], "web", reason("bad")),
        (vec![broken(wide("bad")), good(2)], "shop", PAY.to_owned()),
        (vec![bad(1).exported_to(&["."])], "shop", reason("bad")),
        (vec![bad(1).exported_to(&["."])], "web", CART.to_owned()),
        (
            vec![bad(1).with("spec.gateways", json!(["edge"]))],
            "shop",
            CART.to_owned(),
        ),
        (
            vec![bad(1).with("spec.gateways", json!(["edge", "mesh"]))],
            "shop",
            reason("bad"),
        ),
    ];
    for (services, from, expected) in table {
        let described = format!("{from} {services:?}");
        let got = world(services).get(from, "cart.shop.svc.cluster.local");
        assert_eq!(got, expected, "{described}");
    }
}

#[test]
fn what_cannot_be_read_claims_nothing() {
    let unread = [
        ("spec.hosts", json!(5)),
        ("spec.hosts", json!(["not a host"])),
        ("spec.hosts", json!(["*"])),
        ("spec.gateways", json!("mesh")),
        ("spec.exportTo", json!({})),
        ("spec.exportTo", json!(["Not A Namespace"])),
        ("spec", json!([])),
    ];
    for (field, value) in unread {
        let world = world(vec![broken(routes("a")).with(field, value.clone())]);
        assert_eq!(world.get("shop", "cart"), CART, "{field} {value}");
        let said = world.diagnoses();
        assert_eq!(said, ["LAT0011 VirtualService/a spec.hosts"], "{value}");
    }
}

#[test]
fn a_host_that_can_be_read_answers_beside_one_that_cannot() {
    let partly = |hosts| broken(routes("a")).with("spec.hosts", hosts);
    for hosts in [
        json!(["not a host", "cart"]),
        json!(["cart", 5]),
        json!(["*", "cart"]),
    ] {
        let got = world(vec![partly(hosts.clone())]).get("shop", "cart");
        assert!(
            got.starts_with("503 VirtualService shop/a is"),
            "{hosts} {got}"
        );
    }
}

#[test]
fn one_that_says_nothing_of_http_answers_nothing() {
    let tcp = routes("a").with("spec.http", json!(null));
    let tcp = tcp.with(
        "spec.tcp",
        json!([{"route": [{"destination": {"host": "pay"}}]}]),
    );
    let twice = tcp.with("spec.exportTo", json!(["*"]));
    let unread = twice.clone().with("spec.http", json!(5));
    let got = world(vec![unread]).get("shop", "cart");
    assert!(got.starts_with("503 "), "{got}");
    let broken = twice.with("spec.tcp[0].match", json!(5));
    assert_eq!(world(vec![broken]).get("shop", "cart"), CART);
}

/// A store that is followed step by step, and compared with a mesh made anew.
struct Story {
    store: Store,
    mesh: Mesh,
}

impl Story {
    fn tell(&mut self, changes: ChangeSet) -> String {
        let delta = self.store.apply(changes);
        let (next, affected) = self.mesh.next(self.store.snapshot(), &delta);
        let anew = World(Mesh::new(self.store.snapshot()));
        let host = "cart.shop.svc.cluster.local";
        let (before, scratch) = (World(self.mesh.clone()), anew.get("shop", host));
        self.mesh = next;
        let now = World(self.mesh.clone()).get("shop", host);
        assert_eq!(now, scratch);
        assert!(
            before.get("shop", host) == now || !affected.keys.is_empty(),
            "a change that nobody looks at"
        );
        now
    }
}

#[test]
fn the_host_serves_again_once_the_object_is_corrected_or_deleted() {
    let hosts = ["cart", "pay"].map(|name| service(name).in_namespace("shop").port(80));
    let store = testkit::store(hosts);
    let mesh = Mesh::new(store.snapshot());
    let mut story = Story { store, mesh };
    let remove = || {
        let key = testkit::object(routes("a")).key.clone();
        ChangeSet {
            source: SourceId(0),
            changes: vec![Change::Remove(key)],
        }
    };
    let load = |routes: VirtualService| testkit::load([routes]);
    assert_eq!(story.tell(load(broken(routes("a")))), reason("a"));
    assert_eq!(story.tell(remove()), CART);
    assert_eq!(story.tell(load(broken(routes("a")))), reason("a"));
    assert_eq!(story.tell(load(routes("a"))), PAY);
    assert_eq!(story.tell(load(broken(routes("a")))), PAY, "the last good");
    assert_eq!(story.tell(remove()), CART);
    assert_eq!(story.tell(load(broken(routes("a")))), reason("a"));
    // Another reason is said.
    let other = routes("a").with("spec.http[0].route", json!([]));
    let got = story.tell(load(other));
    assert!(got.contains("spec.http[0].route"), "{got}");
    // A good one comes first, whatever their ages, also while both change.
    assert_eq!(story.tell(load(routes("b").created(5))), PAY);
    for age in [4, 6] {
        assert_eq!(story.tell(load(broken(routes("a").created(age)))), PAY);
    }
    assert_eq!(
        story.tell(load(broken(routes("b").created(5)))),
        PAY,
        "its last good"
    );
}

/// What is said of the one rejected object: severity, code and message.
fn said(world: &World, kind: Kind) -> Vec<String> {
    let all = mesh::diagnose_all(&world.0);
    let own = all.filter(|d| d.object.as_ref().is_some_and(|key| key.kind == kind));
    own.map(|d| format!("{} {} {}", d.severity, d.code, d.message))
        .collect()
}

#[test]
fn it_is_said_what_closes_in_the_place_of_a_rejected_object() {
    const NO_GOOD: &str = "error LAT0011 no good version of the object is known: ";
    let vs = world(vec![
        broken(routes("a").created(2)).host("pay"),
        routes("b").created(1),
    ]);
    let said_of = |kind, world: World| said(&world, kind);
    assert_eq!(
        said(&vs, Kind::VirtualService),
        [
            "warning LAT0006 VirtualService shop/b routes cart.shop.svc.cluster.local already; this \
             VirtualService is ignored for it"
                .to_owned(),
            format!(
                "{NO_GOOD}HTTP requests of sidecars to pay.shop.svc.cluster.local are answered with 503, other \
                 connections are as before: {}",
                reason("a").trim_start_matches("503 ")
            ),
        ]
    );
    let policy = |namespace: &str| {
        let policy = authorization_policy("a").in_namespace(namespace);
        policy.with("spec.action", "PERMIT")
    };
    let strict = |namespace: &str| {
        let strict = peer_authentication("a").in_namespace(namespace);
        strict.with("spec.mtls.mode", "SECURE")
    };
    let (of_policy, of_peers) = (Kind::AuthorizationPolicy, Kind::PeerAuthentication);
    let table = [
        (
            said_of(of_policy, mesh![policy("shop")]),
            "the workloads of namespace shop refuse every request",
        ),
        (
            said_of(of_policy, mesh![policy("shop").selecting("app", "cart")]),
            "the workloads of namespace shop that it selects refuse every request",
        ),
        (
            said_of(of_policy, mesh![policy("shop").with("spec.selector", 5)]),
            "it cannot be read which sidecars it is for, so it denies nothing",
        ),
        (
            said_of(of_policy, mesh![policy("istio-system")]),
            "in the root namespace it would close the whole mesh, so it denies nothing",
        ),
        (
            said_of(
                of_policy,
                mesh![policy("root"), mesh_config().with("rootNamespace", "root")],
            ),
            "in the root namespace it would close the whole mesh, so it denies nothing",
        ),
        (
            said_of(of_peers, mesh![strict("shop")]),
            "the workloads of namespace shop accept mutual TLS only",
        ),
        (
            said_of(of_peers, mesh![strict("istio-system")]),
            "in the root namespace it would close the whole mesh, so it denies nothing",
        ),
        (
            said_of(
                Kind::DestinationRule,
                mesh![destination_rule("a", "cart").with("spec.subsets", 5)],
            ),
            "its host is served as if there were no such rule, and it makes no subset",
        ),
    ];
    for (said, expected) in table {
        assert_eq!(said, [format!("{NO_GOOD}{expected}")]);
    }
}

#[test]
fn a_rejected_object_with_a_good_version_is_said_to_be_stale() {
    let mut store = testkit::store([routes("a")]);
    store.apply(testkit::load([broken(routes("a"))]));
    let world = World(Mesh::new(store.snapshot()));
    let stale = "warning LAT0008 this version is rejected, so the last good version of the object still holds";
    let of_routes = said(&world, Kind::VirtualService);
    assert!(of_routes.contains(&stale.to_owned()), "{of_routes:?}");
}
