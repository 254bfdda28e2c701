//! Every field of the six kinds does something: taken out of some case it changes what proxies are sent. Those that do
//! nothing for sidecars stand in `tests/fields.toml`, each with its reason.

pub mod leaves;

use std::collections::{BTreeMap, BTreeSet};

use model::EnvoyMinor;
use serde_json::{Value, json};

use crate::mesh::top;
use crate::scenes;
use leaves::{Leaf, Schemas};

/// At most so many fields may do nothing.
const MOST_WITHOUT_EFFECT: usize = 40;

/// What each proxy is sent: by proxy, type and name, its version.
type Sent = BTreeMap<(usize, &'static str, String), String>;

/// The scenes of the policies, each in all places of a DestinationRule; routes lead to their subsets.
fn policies() -> Vec<Vec<Value>> {
    let folder = top().join("tests/fields");
    let world = scenes::documents(&folder.join("world.yaml"));
    let [policies] = scenes::documents(&folder.join("policies.yaml"))
        .try_into()
        .unwrap();
    let policies = policies.as_object().unwrap().values();
    policies
        .map(|policy| {
            let of_port = |number: u16| {
                let mut of_port = policy.clone();
                of_port["port"] = json!({ "number": number });
                of_port
            };
            let by_port = json!({ "portLevelSettings": [of_port(80), of_port(90)] });
            let subset = |policy: &Value| {
                json!([{ "name": "v1", "labels": { "version": "v1" }, "trafficPolicy": policy }])
            };
            let mut scene = world.clone();
            for (host, place, said) in [
                ("all", "trafficPolicy", policy.clone()),
                ("port", "trafficPolicy", by_port.clone()),
                ("subset", "subsets", subset(policy)),
                ("subset-port", "subsets", subset(&by_port)),
            ] {
                scene.extend(ruled(host, place, said));
            }
            scene
        })
        .collect()
}

/// A Service with a DestinationRule that says something in a place.
fn ruled(host: &str, place: &str, said: Value) -> Vec<Value> {
    let subset = (place == "subsets").then_some("v1");
    let meta = json!({ "name": host, "namespace": "shop" });
    let route = json!([{ "destination": { "host": host, "subset": subset } }]);
    let ports = json!([{ "name": "http", "port": 80 }, { "name": "tcp", "port": 90 }]);
    let mut rule = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": meta,
        "spec": { "host": host },
    });
    rule["spec"][place] = said;
    vec![
        rule,
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": meta,
            "spec": { "selector": { "app": "server" }, "ports": ports },
        }),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": meta,
            "spec": { "hosts": [host], "http": [{ "route": route }], "tcp": [{ "route": route }] },
        }),
    ]
}

/// What the proxies of all Pods are sent.
fn sent(objects: &[Value]) -> Sent {
    let mut control = scenes::control(objects);
    let mut sent = Sent::new();
    for (number, proxy) in scenes::connect(&mut control, EnvoyMinor::NEWEST)
        .into_iter()
        .enumerate()
    {
        let view = control.view(proxy).unwrap_or_default();
        for kind in xds::Kind::ALL {
            for resource in view.resources(kind) {
                let place = (number, kind.type_url(), resource.name().to_string());
                sent.insert(place, resource.version().to_string());
            }
        }
    }
    sent
}

/// The fields of a scene that do something, beside those that are known to.
fn with_effect(schemas: &Schemas, scene: &[Value], known: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut before = None;
    for (number, object) in scene.iter().enumerate() {
        for Leaf { field, pointer, .. } in schemas.leaves_of(object) {
            if known.contains(&field) || found.contains(&field) {
                continue;
            }
            let before = before.get_or_insert_with(|| sent(scene));
            let mut without = scene.to_vec();
            leaves::remove(&mut without[number], &pointer);
            if sent(&without) != *before {
                found.insert(field);
            }
        }
    }
    found
}

/// Fields without effect, each with its reason.
fn without_effect() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(top().join("tests/fields.toml")).unwrap();
    let kinds: BTreeMap<String, BTreeMap<String, String>> = toml::from_str(&text).unwrap();
    let fields = kinds.into_iter().flat_map(|(kind, fields)| {
        fields
            .into_iter()
            .map(move |(field, reason)| (format!("{kind} {field}"), reason))
    });
    fields.collect()
}

/// The schemas of the six kinds.
pub fn chart_schemas() -> Schemas {
    Schemas::read(&top().join("charts/lateen/files/crds"))
}

/// Every behaviour case, and scenes for the fields that no case can tell apart at a server.
pub fn scenes() -> Vec<Vec<Value>> {
    let cases = scenes::cases();
    let cases = cases.iter().map(|case| scenes::case(case));
    cases.chain(of_fields()).collect()
}

/// The scenes for the fields that no case can tell apart at a server.
pub fn of_fields() -> impl Iterator<Item = Vec<Value>> {
    let more = scenes::documents(&top().join("tests/fields/more.yaml"));
    policies().into_iter().chain([more]).map(scenes::addressed)
}

#[test]
fn every_field_does_something_or_says_why_not() {
    let schemas = chart_schemas();
    let scenes = scenes();
    let mut effective = BTreeSet::new();
    for scene in &scenes {
        let more = with_effect(&schemas, scene, &effective);
        effective.extend(more);
    }
    let all = schemas.all();
    let excused = without_effect();
    println!(
        "{} fields of the six kinds: {} do something in {} scenes, {} are excused",
        all.len(),
        effective.len(),
        scenes.len(),
        excused.len()
    );
    let wrong: Vec<&String> = excused
        .keys()
        .filter(|field| !all.contains(*field))
        .collect();
    assert!(wrong.is_empty(), "there are no such fields: {wrong:#?}");
    let stale: Vec<&String> = excused
        .keys()
        .filter(|field| effective.contains(*field))
        .collect();
    assert!(stale.is_empty(), "these do something: {stale:#?}");
    let silent: Vec<&String> = all
        .iter()
        .filter(|field| !effective.contains(*field) && !excused.contains_key(*field))
        .collect();
    assert!(
        silent.is_empty(),
        "{} fields do nothing in any case: {silent:#?}",
        silent.len()
    );
    assert!(
        excused.len() <= MOST_WITHOUT_EFFECT,
        "{} are excused",
        excused.len()
    );
}
