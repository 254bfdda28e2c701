//! Rules that hold for every pod, whatever strings stand in it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use webhook::inject::{Decision, Request, Settings, decide, read_annotations};

use crate::cases::{patched, yaml};

/// Where an annotation may show, besides itself: prefixes of paths, whose lists are told apart by name.
fn fields_of(annotation: &str) -> &'static [&'static str] {
    const PROXY: &str = "/spec/containers/istio-proxy";
    match annotation {
        "sidecar.istio.io/agentLogLevel" => &[
            "/spec/containers/istio-proxy/args/6",
            "/spec/initContainers/istio-init/args/17",
        ],
        "sidecar.istio.io/logLevel" => &["/spec/containers/istio-proxy/args/4"],
        "sidecar.istio.io/componentLogLevel" => &["/spec/containers/istio-proxy/args/5"],
        "sidecar.istio.io/bootstrapOverride" => &[
            "/spec/volumes/custom-bootstrap-volume",
            "/spec/containers/istio-proxy/volumeMounts//etc/istio/custom-bootstrap",
            "/spec/containers/istio-proxy/env/ISTIO_BOOTSTRAP_OVERRIDE",
            "/metadata/annotations/sidecar.istio.io/status",
        ],
        "sidecar.istio.io/proxyCPU"
        | "sidecar.istio.io/proxyCPULimit"
        | "sidecar.istio.io/proxyMemory"
        | "sidecar.istio.io/proxyMemoryLimit" => &[
            "/spec/containers/istio-proxy/resources",
            "/spec/initContainers/istio-init/resources",
        ],
        "sidecar.istio.io/proxyImage" | "sidecar.istio.io/proxyImageType" => &[
            "/spec/containers/istio-proxy/image",
            "/spec/initContainers/istio-init/image",
        ],
        "readiness.status.sidecar.istio.io/failureThreshold" => {
            &["/spec/containers/istio-proxy/readinessProbe/failureThreshold"]
        }
        "readiness.status.sidecar.istio.io/initialDelaySeconds" => {
            &["/spec/containers/istio-proxy/readinessProbe/initialDelaySeconds"]
        }
        "readiness.status.sidecar.istio.io/periodSeconds" => {
            &["/spec/containers/istio-proxy/readinessProbe/periodSeconds"]
        }
        "traffic.sidecar.istio.io/includeOutboundIPRanges" => {
            &["/spec/initContainers/istio-init/args/10"]
        }
        "traffic.sidecar.istio.io/excludeOutboundIPRanges" => {
            &["/spec/initContainers/istio-init/args/12"]
        }
        "traffic.sidecar.istio.io/includeInboundPorts" => {
            &["/spec/initContainers/istio-init/args/14"]
        }
        "traffic.sidecar.istio.io/excludeInboundPorts" => {
            &["/spec/initContainers/istio-init/args/16"]
        }
        // A flag more moves the one behind it.
        "traffic.sidecar.istio.io/includeOutboundPorts"
        | "traffic.sidecar.istio.io/excludeOutboundPorts"
        | "traffic.sidecar.istio.io/excludeInterfaces"
        | "traffic.sidecar.istio.io/kubevirtInterfaces"
        | "istio.io/reroute-virtual-interfaces" => &["/spec/initContainers/istio-init/args"],
        "sidecar.istio.io/userVolume" => &[
            "/spec/volumes",
            "/metadata/annotations/sidecar.istio.io/status",
        ],
        "sidecar.istio.io/userVolumeMount" => &["/spec/containers/istio-proxy/volumeMounts"],
        "sidecar.istio.io/interceptionMode" => &[
            "/spec/initContainers",
            "/spec/containers/istio-proxy/env/ISTIO_META_INTERCEPTION_MODE",
            "/metadata/annotations/sidecar.istio.io/status",
        ],
        "prometheus.io/scrape" | "prometheus.io/port" | "prometheus.io/path" => &[
            "/metadata/annotations/prometheus.io",
            "/spec/containers/istio-proxy/env/ISTIO_PROMETHEUS_ANNOTATIONS",
        ],
        "prometheus.istio.io/merge-metrics" => &["/metadata/annotations/prometheus.io"],
        "sidecar.istio.io/rewriteAppHTTPProbers" => &[
            "/spec/containers/app/livenessProbe",
            "/spec/containers/istio-proxy/env/ISTIO_KUBE_APP_PROBERS",
        ],
        "status.sidecar.istio.io/port" => &[
            "/metadata/annotations/prometheus.io",
            "/spec/containers/app/livenessProbe",
            "/spec/containers/istio-proxy/env",
            "/spec/containers/istio-proxy/readinessProbe",
            "/spec/containers/istio-proxy/startupProbe",
            "/spec/initContainers/istio-init/args/16",
        ],
        "proxy.istio.io/config" => &[
            PROXY,
            "/spec/initContainers/istio-init/env",
            "/spec/initContainers/istio-init/args",
        ],
        "proxy.istio.io/overrides" => &[
            PROXY,
            "/spec/initContainers/istio-init",
            "/metadata/annotations/proxy.istio.io",
        ],
        // A status that names the app's container takes it for injection's own.
        "sidecar.istio.io/status" => &["/metadata/annotations", "/spec/containers/istio-proxy/env"],
        "sidecar.istio.io/nativeSidecar" => &[
            "/spec/containers/istio-proxy",
            "/spec/initContainers",
            "/metadata/annotations/sidecar.istio.io/status",
        ],
        _ => &[],
    }
}

/// Every leaf by its path; items of lists by what Kubernetes tells them apart by.
fn leaves(value: &Value, path: &str, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                leaves(value, &format!("{path}/{name}"), into);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (number, item) in items.iter().enumerate() {
                let key = ["mountPath", "name"]
                    .into_iter()
                    .find_map(|key| item.get(key)?.as_str());
                let key = key.map_or_else(|| number.to_string(), str::to_owned);
                leaves(item, &format!("{path}/{key}"), into);
            }
        }
        leaf => drop(into.insert(path.to_owned(), leaf.clone())),
    }
}

fn pod(annotation: Option<(&str, &str)>) -> Value {
    let annotations: BTreeMap<_, _> = annotation.into_iter().collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "web", "labels": { "app": "web" }, "annotations": annotations },
        "spec": {
            "serviceAccountName": "web",
            "containers": [{
                "name": "app",
                "image": "app:1",
                "livenessProbe": { "httpGet": { "path": "/live", "port": 8080 } },
                "securityContext": { "runAsUser": 1000 },
            }],
        },
    })
}

fn inject(pod: &Value) -> Decision {
    let (settings, problems) = Settings::parse(&Value::Null, &Value::Null, yaml);
    assert_eq!(problems, []);
    let request = Request {
        pod,
        namespace: "shop",
        namespace_labels: None,
        owner: None,
        nodes_have_native_sidecars: false,
        environment: &BTreeMap::new(),
    };
    decide(&settings, &request)
}

fn changed(one: &Value, other: &Value) -> BTreeSet<String> {
    let (mut ones, mut others) = (BTreeMap::new(), BTreeMap::new());
    leaves(one, "", &mut ones);
    leaves(other, "", &mut others);
    let differs = |path: &&String| ones.get(*path) != others.get(*path);
    ones.keys()
        .chain(others.keys())
        .filter(differs)
        .cloned()
        .collect()
}

fn assert_only_its_own(name: &str, value: &str) -> bool {
    let with = pod(Some((name, value)));
    let Decision::Inject(injection) = inject(&with) else {
        return false;
    };
    let Decision::Inject(plain) = inject(&pod(None)) else {
        panic!("a plain pod is injected");
    };
    let with = patched(&with, &injection.patch);
    let without = patched(&pod(None), &plain.patch);
    let own = format!("/metadata/annotations/{name}");
    for path in changed(&with, &without) {
        let is_own = path == own
            || fields_of(name)
                .iter()
                .any(|prefix| path.starts_with(prefix));
        assert!(is_own, "{name}: {value:?} changes {path}");
    }
    true
}

/// Strings that mean something to YAML, JSON, shells, templates, Kubernetes and Envoy, and any others.
fn strings() -> impl Strategy<Value = String> {
    let hostile = prop::sample::select(vec![
        "\"",
        "'",
        "\n",
        "{{",
        "}}",
        "$(POD_NAME)",
        "$(",
        ": ",
        "- ",
        "\\",
        ",",
        "/",
        "..",
        "*",
        "true",
        "0",
        "1",
        "80",
        "10.0.0.0/8",
        "{",
        "}",
        "[",
        "]",
        "name",
        "image: evil",
        "privileged: true",
        "debug",
        "100m",
        "\u{0}",
        "\u{2028}",
        " ",
        "#",
        "&a",
        "*a",
        "!!",
        "sidecar",
        "REDIRECT",
        "NONE",
        "a:b",
        "info",
        "\"a\":{}",
        "concurrency: 1",
        "emptyDir",
        "mountPath",
        "1Gi",
        "default:info",
    ]);
    prop_oneof![
        prop::collection::vec(hostile, 0..6).prop_map(|parts| parts.concat()),
        any::<String>(),
        "[a-z0-9.:/,*-]{0,20}",
    ]
}

proptest! {
    #[test]
    fn sec_07_an_annotation_changes_only_its_own_field(value in strings()) {
        for name in read_annotations() {
            assert_only_its_own(name, &value);
        }
    }

    #[test]
    fn sec_07_strings_of_the_app_stay_its_own(text in strings(), other in strings()) {
        let mut pod = pod(None);
        let app = &mut pod["spec"]["containers"][0];
        app["livenessProbe"]["httpGet"]["path"] = json!(text);
        app["args"] = json!([other]);
        app["image"] = json!(text);
        let Decision::Inject(injection) = inject(&pod) else {
            panic!("the app's strings are its own matter");
        };
        let injected = patched(&pod, &injection.patch);
        let app = &injected["spec"]["containers"][0];
        prop_assert_eq!(&app["image"], &json!(text));
        prop_assert_eq!(&app["args"], &json!([other]));
        let proxy = &injected["spec"]["containers"][1];
        let probers = proxy["env"].as_array().unwrap().iter().find(|one| one["name"] == "ISTIO_KUBE_APP_PROBERS");
        let probers = probers.unwrap()["value"].as_str().unwrap().replace("$$", "$");
        let probers: Value = serde_json::from_str(&probers).unwrap();
        prop_assert_eq!(&probers["/app-health/app/livez"]["httpGet"]["path"], &json!(text));
    }
}

/// The property would hold of injection that refuses everything: these must be taken.
#[test]
fn right_values_of_every_annotation_change_their_own_fields() {
    let right = [
        ("sidecar.istio.io/agentLogLevel", "default:debug"),
        ("sidecar.istio.io/bootstrapOverride", "boot"),
        ("sidecar.istio.io/componentLogLevel", "http:debug"),
        ("traffic.sidecar.istio.io/excludeInboundPorts", "80"),
        ("traffic.sidecar.istio.io/excludeInterfaces", "eth1"),
        ("traffic.sidecar.istio.io/excludeOutboundPorts", "443"),
        (
            "traffic.sidecar.istio.io/excludeOutboundIPRanges",
            "10.0.0.0/8",
        ),
        ("readiness.status.sidecar.istio.io/failureThreshold", "7"),
        ("traffic.sidecar.istio.io/includeInboundPorts", "80"),
        ("traffic.sidecar.istio.io/includeOutboundPorts", "443"),
        (
            "traffic.sidecar.istio.io/includeOutboundIPRanges",
            "10.0.0.0/8",
        ),
        ("readiness.status.sidecar.istio.io/initialDelaySeconds", "7"),
        ("sidecar.istio.io/interceptionMode", "NONE"),
        ("traffic.sidecar.istio.io/kubevirtInterfaces", "eth1"),
        ("sidecar.istio.io/logLevel", "debug"),
        ("prometheus.istio.io/merge-metrics", "false"),
        ("sidecar.istio.io/nativeSidecar", "true"),
        ("readiness.status.sidecar.istio.io/periodSeconds", "7"),
        ("proxy.istio.io/config", "concurrency: 7"),
        ("sidecar.istio.io/proxyCPU", "1500m"),
        ("sidecar.istio.io/proxyMemory", "1.5Gi"),
        ("sidecar.istio.io/proxyImage", "r.example.com/p:1"),
        ("sidecar.istio.io/proxyImageType", "debug"),
        ("istio.io/reroute-virtual-interfaces", "eth1"),
        ("sidecar.istio.io/rewriteAppHTTPProbers", "false"),
        ("status.sidecar.istio.io/port", "16020"),
        ("sidecar.istio.io/userVolume", r#"{"a":{"emptyDir":{}}}"#),
        (
            "sidecar.istio.io/userVolumeMount",
            r#"{"a":{"mountPath":"/a"}}"#,
        ),
        ("prometheus.io/port", "9100"),
    ];
    for (name, value) in right {
        assert!(
            assert_only_its_own(name, value),
            "{name}: {value:?} is right"
        );
        let with = pod(Some((name, value)));
        let Decision::Inject(injection) = inject(&with) else {
            unreachable!()
        };
        let Decision::Inject(plain) = inject(&pod(None)) else {
            unreachable!()
        };
        let changed = changed(
            &patched(&with, &injection.patch),
            &patched(&pod(None), &plain.patch),
        );
        let own = format!("/metadata/annotations/{name}");
        assert!(
            changed.iter().any(|path| *path != own),
            "{name} does something"
        );
    }
}

#[test]
fn sec_36_deep_and_large_annotations_are_only_refused() {
    let deep = "[".repeat(100_000);
    let nested = format!("{}{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
    let aliases = format!("a: &a [1]\nb: [{}]", "*a,".repeat(100_000));
    for name in read_annotations() {
        for value in [&deep, &nested, &aliases] {
            match inject(&pod(Some((name, value)))) {
                Decision::Refuse(refusals) => {
                    assert!(refusals[0].to_string().len() < 2_000, "{name}")
                }
                Decision::Inject(_) | Decision::Skip(_) => {}
            }
        }
    }
}
