//! What users wrote, as tests show it to the loop in this process: every behaviour case before its world, the dev mesh;
//! and what the proxies of their Pods are sent.

use std::path::{Path, PathBuf};

use control::{Control, ProxyId, ProxyInfo};
use model::EnvoyMinor;
use serde_json::{Value, json};
use sources::Memory;
use store::SourceId;

use crate::mesh::top;

/// The folders of all behaviour cases, ordered.
pub fn cases() -> Vec<PathBuf> {
    let cases = std::fs::read_dir(top().join("tests/cases")).unwrap();
    let mut cases: Vec<PathBuf> = cases.map(|case| case.unwrap().path()).collect();
    cases.retain(|case| case.join("calls.yaml").exists());
    cases.sort();
    cases
}

/// The world that a case names.
pub fn world(case: &Path) -> String {
    let calls = std::fs::read_to_string(case.join("calls.yaml")).unwrap();
    let world = calls.lines().find_map(|line| line.strip_prefix("world: "));
    world.unwrap().to_owned()
}

/// The objects of a case and its world: where both have an object, the case's counts.
pub fn case(case: &Path) -> Vec<Value> {
    let mut scene = folder(case);
    for object in folder(&top().join("tests/worlds").join(world(case))) {
        if !scene.iter().any(|own| is_same(own, &object)) {
            scene.push(object);
        }
    }
    addressed(scene)
}

/// The objects of a folder, but for its calls.
pub fn folder(folder: &Path) -> Vec<Value> {
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|file| !file.ends_with("calls.yaml")).collect();
    files.sort();
    files.iter().flat_map(|file| documents(file)).collect()
}

/// The documents of a file, as far as they are objects.
pub fn documents(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    let parts = text.split("\n---\n").filter(|part| !part.trim().is_empty());
    let values = parts.map(serde_saphyr::from_str::<Value>);
    let values =
        values.map(|value| value.unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    values.filter(Value::is_object).collect()
}

fn is_same(one: &Value, other: &Value) -> bool {
    let place = |object: &Value| {
        let meta = &object["metadata"];
        (
            object["kind"].clone(),
            meta["namespace"].clone(),
            meta["name"].clone(),
        )
    };
    place(one) == place(other)
}

/// Gives the Pods addresses, as whoever runs them would.
pub fn addressed(mut scene: Vec<Value>) -> Vec<Value> {
    for (number, object) in scene.iter_mut().enumerate() {
        if object["kind"] == "Pod" {
            let address = format!("198.18.1.{}", number + 1);
            object["status"]["podIPs"] = json!([{ "ip": address }]);
        }
    }
    scene
}

/// A loop that knows these objects.
pub fn control(objects: &[Value]) -> Control {
    let mut memory = Memory::new(SourceId(0));
    for (number, object) in objects.iter().enumerate() {
        memory.put(&format!("{number}.json"), &object.to_string());
    }
    let mut control = Control::new([]);
    control.apply(memory.read());
    control
}

/// Connects a proxy with an Envoy for every Pod.
pub fn connect(control: &mut Control, envoy: EnvoyMinor) -> Vec<ProxyId> {
    let pods = control.mesh().snapshot().of_kind(model::Kind::Pod);
    let keys: Vec<_> = pods.map(|pod| pod.key.clone()).collect();
    let proxies = keys.into_iter().map(|key| {
        let workload = control.mesh().workload(&key).unwrap();
        control.connect(ProxyInfo {
            namespace: key.namespace,
            name: key.name,
            labels: workload.labels,
            service_account: workload.service_account,
            addresses: workload.addresses,
            envoy,
        })
    });
    proxies.collect()
}
