//! Whom a change concerns: no more than may see it.

use mesh::{InboundTouch, Mesh};
use model::Labels;
use serde_json::json;
use store::{Change, ChangeSet, SourceId};
use testkit::{Document, Service, endpoint_slice, pod, service, service_entry};

/// Which of the workloads `a`, `b` and `c` of a namespace are looked at again after an edit.
fn concerned(before: impl Into<Document>, after: impl Into<Document>, namespace: &str) -> String {
    let mut store = testkit::store([before.into()]);
    let mesh = Mesh::new(store.snapshot());
    let delta = store.apply(testkit::load([after.into()]));
    let (_, affected) = mesh.next(store.snapshot(), &delta);
    let is_in = |touch: &InboundTouch| {
        let of = touch.namespace.as_ref();
        of.is_none_or(|of| of.as_str() == namespace)
    };
    let is_concerned = |app: &&str| {
        let labels: Labels = [("app", *app)].into_iter().collect();
        let matches = |touch: &InboundTouch| {
            let selector = touch.selector.as_ref();
            selector.is_none_or(|selector| selector.matches(&labels))
        };
        affected.inbound.iter().filter(|t| is_in(t)).any(matches)
    };
    ["a", "b", "c"].into_iter().filter(is_concerned).collect()
}

fn cart(port: u16) -> Service {
    service("cart").in_namespace("shop").port(port)
}

#[test]
fn an_edit_of_a_service_concerns_those_whom_it_leads_to() {
    let to = |app: &str, port| cart(port).selecting("app", app);
    assert_eq!(concerned(to("a", 80), to("a", 90), "shop"), "a");
    assert_eq!(concerned(to("a", 80), to("b", 80), "shop"), "ab");
    assert_eq!(concerned(to("a", 80), to("b", 80), "web"), "");
    let entry = |port| {
        let entry = service_entry("pay", "pay.example.com").in_namespace("shop");
        entry.port("HTTP", port).resolution("STATIC")
    };
    let selecting = |port| entry(port).selecting("app", "c");
    assert_eq!(concerned(selecting(80), selecting(90), "shop"), "c");
    let listing = |port| entry(port).endpoint(json!({"address": "10.0.0.1"}));
    assert_eq!(concerned(listing(80), listing(90), "shop"), "abc");
}

#[test]
fn without_a_selector_an_edit_of_a_service_concerns_its_namespace() {
    let to_a = || cart(80).selecting("app", "a");
    for (before, after) in [(cart(80), cart(90)), (to_a(), cart(80)), (cart(80), to_a())] {
        assert_eq!(concerned(before.clone(), after.clone(), "shop"), "abc");
        assert_eq!(concerned(before, after, "web"), "");
    }
}

#[test]
fn an_edit_of_a_pod_concerns_the_services_that_list_it() {
    let slice = |name, pod| {
        let slice = endpoint_slice("cart").in_namespace("shop").called(name);
        slice.port("http-80", 80).pod(pod, "10.0.0.1")
    };
    let pod = |version| pod("a").in_namespace("shop").labelled("v", version);
    let mut store = testkit::store([
        Document::from(cart(80)),
        service("pay").in_namespace("shop").port(80).into(),
        slice("one", "a").into(),
        slice("two", "a").into(),
        pod("1").into(),
    ]);
    let mut mesh = Mesh::new(store.snapshot());
    let mut concerned = |changes: ChangeSet| -> Vec<String> {
        let delta = store.apply(changes);
        let (next, affected) = mesh.next(store.snapshot(), &delta);
        mesh = next;
        affected.endpoints.iter().map(ToString::to_string).collect()
    };
    let listed = ["cart.shop.svc.cluster.local"];
    assert_eq!(concerned(testkit::load([pod("2")])), listed);
    let gone = Change::Remove(testkit::object(slice("one", "a")).key.clone());
    concerned(ChangeSet {
        source: SourceId(0),
        changes: vec![gone],
    });
    assert_eq!(concerned(testkit::load([pod("3")])), listed, "by the other");
    concerned(testkit::load([slice("two", "b")]));
    assert!(concerned(testkit::load([pod("4")])).is_empty());
    concerned(testkit::load([slice("two", "a")]));
    assert_eq!(concerned(testkit::load([pod("5")])), listed);
}
