//! What a change costs, counted: 1,000 services in 100 namespaces, 20 classes of proxies. Builds, translations and
//! encodings follow the change, never the mesh.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken expectation fails the test"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use control::{Control, Counts, ProxyId, ProxyInfo, Update};
use model::EnvoyMinor;
use serde_json::json;
use testkit::{
    DestinationRule, Document, EndpointSlice, VirtualService, authorization_policy,
    destination_rule, endpoint_slice, load, pod, route, service, virtual_service,
};
use xds::Kind;

const NAMESPACES: usize = 100;
const SERVICES: usize = 10;
const CLASSES: usize = 20;

/// A mesh of 1,000 services with two pods each, and one proxy of each of 20 classes, two to a namespace.
struct Mesh {
    control: Control,
    proxies: Vec<ProxyId>,
}

fn namespace(number: usize) -> String {
    format!("n{number}")
}

fn documents() -> Vec<Document> {
    let mut all = Vec::new();
    for n in 0..NAMESPACES {
        for s in 0..SERVICES {
            let (namespace, name) = (namespace(n), format!("s{s}"));
            all.push(service(&name).in_namespace(&namespace).port(80).into());
            all.push(slice(&namespace, &name).into());
            for version in ["v1", "v2"] {
                let pod = pod(&format!("{name}-{version}"))
                    .in_namespace(&namespace)
                    .in_mesh()
                    .running_as(&name);
                all.push(
                    pod.labelled("app", &name)
                        .labelled("version", version)
                        .into(),
                );
            }
        }
    }
    all.push(routes(90).into());
    all.push(rule(1).into());
    all
}

/// The slice of a service with its two pods.
fn slice(namespace: &str, name: &str) -> EndpointSlice {
    endpoint_slice(name)
        .in_namespace(namespace)
        .port("http-80", 8080)
        .pod(&format!("{name}-v1"), "10.1.0.1")
        .pod(&format!("{name}-v2"), "10.1.0.2")
}

/// The routes of the host that the tests change.
fn routes(weight: u32) -> VirtualService {
    let split = route()
        .to("s0")
        .subset("v1")
        .weight(weight)
        .to("s0")
        .subset("v2")
        .weight(100 - weight);
    virtual_service("s0")
        .in_namespace("n0")
        .host("s0")
        .route(split)
}

/// Its rule: three clusters.
fn rule(limit: u32) -> DestinationRule {
    destination_rule("s0", "s0")
        .in_namespace("n0")
        .connections(limit)
        .subset("v1")
        .subset("v2")
}

fn proxy(namespace: &str, name: &str) -> ProxyInfo {
    ProxyInfo {
        namespace: namespace.parse().unwrap(),
        name: name.parse().unwrap(),
        labels: model::Labels::default(),
        service_account: "default".parse().unwrap(),
        addresses: Arc::new([]),
        envoy: EnvoyMinor::NEWEST,
    }
}

impl Mesh {
    fn new() -> Self {
        let mut control = Control::new([]);
        control.apply([load(documents())]);
        let class = |n: usize| proxy(&namespace(n / 2), &format!("s{}-v1", n % 2));
        let proxies = (0..CLASSES).map(|n| control.connect(class(n))).collect();
        Self { control, proxies }
    }

    /// What a change costs: builds, translations, encodings.
    fn cost(&mut self, documents: impl IntoIterator<Item = Document>) -> ([u64; 3], Update) {
        let before = self.control.counts();
        let update = self.control.apply([load(documents)]);
        let Counts {
            selects: _,
            builds,
            translations,
            encodings,
        } = self.control.counts() - before;
        ([builds, translations, encodings], update)
    }
}

#[test]
fn an_endpoint_costs_one_encoding() {
    let mut mesh = Mesh::new();
    let more = slice("n7", "s3").pod("s3-v1", "10.1.0.3");
    let (cost, update) = mesh.cost([more.into()]);
    assert_eq!(cost, [0, 0, 1]);
    assert_eq!(update.proxies.len(), CLASSES, "everybody may call it");
}

#[test]
fn a_route_costs_one_of_each_for_the_base_and_for_the_owners_namespace() {
    let mut mesh = Mesh::new();
    let (cost, _) = mesh.cost([routes(80).into()]);
    assert_eq!(cost, [2, 2, 2]);
}

#[test]
fn a_destination_rule_costs_its_hosts_clusters_and_no_assignment() {
    let mut mesh = Mesh::new();
    let (cost, _) = mesh.cost([rule(2).into()]);
    let why = "the host, v1 and v2, alike for everybody, and how a server calls its app";
    assert_eq!(cost, [4, 4, 4], "{why}");
    // Another namespace has a rule of its own: one more selection.
    let own = destination_rule("s0", "s0.n0.svc.cluster.local")
        .in_namespace("n3")
        .connections(7);
    let (cost, update) = mesh.cost([own.into()]);
    assert_eq!(
        cost[0], 2,
        "the cluster without subsets, and a route whose subsets are gone"
    );
    assert_eq!(update.proxies.len(), 2, "the proxies of n3");
}

#[test]
fn an_edit_without_effect_costs_nothing() {
    let mut mesh = Mesh::new();
    let nothing = [0, 0, 0];
    let silent: [(&str, Vec<Document>); 6] = [
        ("the same again", vec![routes(90).into(), rule(1).into()]),
        (
            "an annotation",
            vec![
                routes(90).annotated("note", "x").into(),
                rule(1).annotated("note", "x").into(),
            ],
        ),
        (
            "an annotation of a service",
            vec![
                service("s0")
                    .in_namespace("n0")
                    .port(80)
                    .annotated("note", "x")
                    .into(),
            ],
        ),
        (
            "a tunnel for bytes, where all is HTTP",
            vec![
                rule(1)
                    .policy("tunnel", json!({"targetHost": "a.b", "targetPort": 1}))
                    .into(),
            ],
        ),
        (
            "a port that the service does not have",
            vec![
                rule(1)
                    .policy(
                        "portLevelSettings",
                        json!([{"port": {"number": 81}, "loadBalancer": {"simple": "RANDOM"}}]),
                    )
                    .into(),
            ],
        ),
        (
            "a rule for a host that is not there",
            vec![
                destination_rule("gone", "gone")
                    .in_namespace("n0")
                    .connections(1)
                    .into(),
            ],
        ),
    ];
    for (what, documents) in silent {
        let (cost, update) = mesh.cost(documents);
        assert_eq!(cost, nothing, "{what}");
        assert!(update.proxies.is_empty(), "{what}");
    }
}

#[test]
fn a_policy_costs_the_workloads_that_it_selects() {
    let mut mesh = Mesh::new();
    let policy = authorization_policy("s0")
        .in_namespace("n0")
        .selecting("app", "s0")
        .rule(json!({}));
    let inbound = |mesh: &Mesh, kind| -> BTreeMap<String, xds::Version> {
        let half = mesh.control.view(mesh.proxies[0]).unwrap().inbound;
        let all = half.resources(kind).values();
        all.map(|found| (found.name().to_string(), found.version()))
            .collect()
    };
    let [listeners, filters] = [Kind::Listener, Kind::Extension].map(|kind| inbound(&mesh, kind));
    let (cost, update) = mesh.cost([policy.into()]);
    assert_eq!(
        cost,
        [1, 2, 2],
        "one inbound half, of which the filters for requests and for connections change"
    );
    assert!(update.proxies.iter().eq([&mesh.proxies[0]]));
    let now = inbound(&mesh, Kind::Listener);
    assert_eq!(now, listeners, "so that no connection is drained");
    let mut now = inbound(&mesh, Kind::Extension);
    now.retain(|name, version| filters.get(name) != Some(version));
    let allow = ["istio.authorization.allow", "istio.authorization.tcp.allow"];
    assert!(now.keys().eq(allow), "only what the policy is about");
}

#[test]
fn workloads_that_the_same_selectors_match_share_their_outbound_half() {
    let mut mesh = Mesh::new();
    let outbound = |control: &Control, id| control.view(id).unwrap().outbound;
    let [a, b, other] = [0, 1, 2].map(|n| outbound(&mesh.control, mesh.proxies[n]));
    assert!(Arc::ptr_eq(&a, &b));
    assert!(!Arc::ptr_eq(&a, &other), "of another namespace");
    // A rule that selects both keeps them together, one that selects one tells them apart.
    let selecting = |label: &str, value: &str| {
        destination_rule("own", "s5")
            .in_namespace("n0")
            .connections(9)
            .for_clients(label, value)
    };
    mesh.cost([selecting("version", "v1").into()]);
    let [c, d] = [0, 1].map(|n| outbound(&mesh.control, mesh.proxies[n]));
    assert!(Arc::ptr_eq(&c, &d) && !Arc::ptr_eq(&a, &c));
    mesh.cost([selecting("app", "s0").into()]);
    let [e, f] = [0, 1].map(|n| outbound(&mesh.control, mesh.proxies[n]));
    assert!(!Arc::ptr_eq(&e, &f));
}

#[test]
fn scopes_share_what_they_have_in_common_after_an_edit_too() {
    let mut mesh = Mesh::new();
    mesh.cost([
        rule(2).into(),
        slice("n7", "s3").pod("s3-v1", "10.1.0.3").into(),
    ]);
    let [near, far] = [0, CLASSES - 1].map(|n| mesh.control.view(mesh.proxies[n]).unwrap());
    for (kind, name) in [
        (Kind::Cluster, "outbound|80|v1|s0.n0.svc.cluster.local"),
        (Kind::Endpoint, "outbound|80||s3.n7.svc.cluster.local"),
    ] {
        let [near, far] = [&near, &far].map(|view| view.get(kind, name).unwrap());
        assert!(Arc::ptr_eq(near, far), "{name}");
    }
}

#[test]
fn a_thousand_sidecars_of_a_class_share_one_encoded_set() {
    let mut mesh = Mesh::new();
    let before = mesh.control.counts();
    let ids: Vec<ProxyId> = (0..1000)
        .map(|_| mesh.control.connect(proxy("n0", "s0-v1")))
        .collect();
    let cost = mesh.control.counts() - before;
    assert_eq!(
        [cost.builds, cost.translations, cost.encodings],
        [0, 0, 0],
        "the class exists already"
    );
    let first = mesh.control.view(ids[0]).unwrap();
    for id in &ids {
        let view = mesh.control.view(*id).unwrap();
        assert!(
            Arc::ptr_eq(&view.outbound, &first.outbound)
                && Arc::ptr_eq(&view.inbound, &first.inbound)
        );
    }
    assert!(first.outbound.resources(Kind::Cluster).len() > 1000);
}

#[test]
fn an_older_envoy_costs_its_listeners_and_shares_all_else() {
    let mut mesh = Mesh::new();
    let mut connect = |envoy| {
        let before = mesh.control.counts();
        let info = ProxyInfo {
            envoy,
            ..proxy("n0", "s0-v1")
        };
        let id = mesh.control.connect(info);
        let cost = mesh.control.counts() - before;
        (mesh.control.view(id).unwrap(), cost.translations)
    };
    let (newest, _) = connect(EnvoyMinor::V1_40);
    let (newer, cost) = connect(EnvoyMinor::V1_39);
    assert_eq!(cost, 0, "it takes what the newest takes");
    let (old, cost) = connect(EnvoyMinor::V1_38);
    assert_eq!(cost, 3, "the two outbound listeners and the inbound one");
    for kind in [Kind::Cluster, Kind::Endpoint, Kind::Route, Kind::Extension] {
        let [newest, newer, old] = [&newest, &newer, &old].map(|view| view.resources(kind));
        for ((newest, newer), old) in newest.zip(newer).zip(old) {
            assert_eq!(newest.version(), newer.version());
            assert_eq!(newest.version(), old.version());
            let outbound = newest.name().starts_with("outbound|");
            assert!(!outbound || Arc::ptr_eq(newest, old));
        }
    }
    for (newest, old) in newest
        .resources(Kind::Listener)
        .zip(old.resources(Kind::Listener))
    {
        assert_eq!(newest.name(), old.name());
        assert_ne!(newest.version(), old.version());
    }
    let (cost, _) = mesh.cost([routes(80).into()]);
    assert_eq!(cost, [2, 2, 2], "as without them");
}
