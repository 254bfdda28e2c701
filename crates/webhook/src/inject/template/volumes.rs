//! The volumes of a pod with a proxy, and where the proxy has them.

use serde_json::{Map, Value, json};

use crate::inject::annotations::{self as names, Annotations};

/// How long a token is good that proves the pod to the control plane, in seconds.
const TOKEN_LIFETIME: u32 = 43200;

/// The volumes.
pub(super) fn volumes(annotations: Annotations<'_>) -> Vec<Value> {
    let item =
        |path: &str, field: &str| json!({ "path": path, "fieldRef": { "fieldPath": field } });
    let token = json!({
        "path": "istio-token", "expirationSeconds": TOKEN_LIFETIME, "audience": "istio-ca",
    });
    let mut volumes = vec![
        json!({ "name": "workload-socket", "emptyDir": {} }),
        json!({ "name": "credential-socket", "emptyDir": {} }),
        json!({ "name": "workload-certs", "emptyDir": {} }),
        json!({ "name": "istio-envoy", "emptyDir": { "medium": "Memory" } }),
        json!({ "name": "istio-data", "emptyDir": {} }),
        json!({ "name": "istio-podinfo", "downwardAPI": { "items": [
            item("labels", "metadata.labels"),
            item("annotations", "metadata.annotations"),
        ]}}),
        json!({ "name": "istio-token", "projected": { "sources": [{ "serviceAccountToken": token }] } }),
        json!({ "name": "istiod-ca-cert", "configMap": { "name": "istio-ca-root-cert" } }),
    ];
    if let Some(name) = annotations.get(names::BOOTSTRAP_OVERRIDE) {
        volumes.push(json!({ "name": "custom-bootstrap-volume", "configMap": { "name": name } }));
    }
    volumes.extend(of_user(annotations, names::USER_VOLUME));
    volumes
}

/// Where they are.
pub(super) fn mounts(annotations: Annotations<'_>) -> Vec<Value> {
    let mount = |name: &str, path: &str| json!({ "name": name, "mountPath": path });
    let mut mounts = vec![
        mount("workload-socket", "/var/run/secrets/workload-spiffe-uds"),
        mount("credential-socket", "/var/run/secrets/credential-uds"),
        mount(
            "workload-certs",
            "/var/run/secrets/workload-spiffe-credentials",
        ),
        mount("istiod-ca-cert", "/var/run/secrets/istio"),
        mount("istio-data", "/var/lib/istio/data"),
        mount("istio-envoy", "/etc/istio/proxy"),
        mount("istio-token", "/var/run/secrets/tokens"),
        mount("istio-podinfo", "/etc/istio/pod"),
    ];
    if annotations.get(names::BOOTSTRAP_OVERRIDE).is_some() {
        mounts.push(mount(
            "custom-bootstrap-volume",
            "/etc/istio/custom-bootstrap",
        ));
    }
    mounts.extend(of_user(annotations, names::USER_VOLUME_MOUNT));
    mounts
}

/// What an annotation has by name. The name is the key's, whatever the value says.
fn of_user<'a>(annotations: Annotations<'a>, name: &str) -> impl Iterator<Item = Value> + use<> {
    annotations
        .objects(name)
        .into_iter()
        .filter_map(|(name, value)| match value {
            Value::Object(fields) => {
                let mut named: Map<String, Value> = fields;
                named.insert("name".to_owned(), name.into());
                Some(Value::Object(named))
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => None,
        })
}
