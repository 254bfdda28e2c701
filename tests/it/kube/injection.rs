//! The pods of injection's own cases, started by a real kubelet.

use std::path::Path;

use serde_json::{Value, json};
use sources::yaml;

use super::apps::app;
use super::installed::injected;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/webhook/tests/cases");

/// The pods that a kubelet can start, each under a name of its own.
fn pods() -> Vec<(String, Value)> {
    let mut files: Vec<_> = Path::new(CASES)
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "yaml"))
        .collect();
    files.sort();
    let cases = files.iter().flat_map(|file| {
        let text = std::fs::read_to_string(file).unwrap();
        yaml::documents(&text, None)
    });
    let starting = cases
        .map(|case| case.unwrap().document.value)
        .filter(|case| case["starts"] == true);
    let pod = |(index, case): (usize, Value)| {
        let mut pod = case["pod"].clone();
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["name"] = format!("case-{index}").into();
        for container in pod["spec"]["containers"].as_array_mut().unwrap() {
            if container["name"] != "istio-proxy" {
                run(container);
            }
        }
        (case["name"].to_string(), pod)
    };
    starting.enumerate().map(pod).collect()
}

/// What is in the container of a case: the echo server, unless the case says.
fn run(container: &mut Value) {
    let ours = app("case").port(8080).pod();
    let fields = container.as_object_mut().unwrap();
    if !fields.contains_key("command") && !fields.contains_key("args") {
        for field in ["args", "env"] {
            fields.insert(field.to_owned(), ours["containers"][0][field].clone());
        }
    }
    fields
        .entry("resources")
        .or_insert(json!({ "requests": { "cpu": "1m", "memory": "8Mi" } }));
}

#[test]
fn injected_pods_start() {
    let space = injected("cases");
    let pods = pods();
    assert!(pods.len() >= 10, "{}", pods.len());
    for (_, pod) in &pods {
        space.apply(&pod.to_string());
    }
    for (name, pod) in &pods {
        let pod = pod["metadata"]["name"].as_str().unwrap();
        println!("{pod}: {name}");
        space.wait("Ready", &format!("pod/{pod}"));
        let status = r"jsonpath={.metadata.annotations.sidecar\.istio\.io/status}";
        let status = space.kubectl_ok(&["get", "pod", pod, "-o", status]);
        assert!(status.contains("istio-proxy"), "{name}: {status}");
    }
}
