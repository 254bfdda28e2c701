//! The environment of `istio-proxy`, under the names that Istio's agent reads.

use serde_json::{Map, Value, json};

use crate::inject::annotations as names;
use crate::inject::context::Context;

/// All variables, in Istio's order.
pub(super) fn variables(context: &Context<'_>) -> Vec<Value> {
    let mesh = &context.settings.mesh;
    let mut all = vec![
        text("PILOT_CERT_PROVIDER", &mesh.cert_provider),
        text("CA_ADDR", &ca_address(context)),
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("INSTANCE_IP", "status.podIP"),
        field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field("HOST_IP", "status.hostIP"),
        resource("ISTIO_CPU_LIMIT", "limits.cpu"),
        text("PROXY_CONFIG", &proxy_config(context)),
        text("ISTIO_META_POD_PORTS", &pod_ports(context)),
        text("ISTIO_META_APP_CONTAINERS", &app_containers(context)),
        text("ISTIO_META_CLUSTER_ID", &context.cluster),
        field("ISTIO_META_NODE_NAME", "spec.nodeName"),
        text("ISTIO_META_INTERCEPTION_MODE", context.interception_mode()),
    ];
    let optional = [
        ("ISTIO_META_NETWORK", context.network.clone()),
        ("ISTIO_META_WORKLOAD_NAME", context.owner.name.clone()),
        ("ISTIO_META_OWNER", owner(context)),
        ("ISTIO_BOOTSTRAP_OVERRIDE", bootstrap_override(context)),
        ("ISTIO_META_MESH_ID", mesh_id(context)),
        ("TRUST_DOMAIN", mesh.trust_domain.clone()),
    ];
    let set = optional.into_iter().filter(|(_, value)| !value.is_empty());
    all.extend(set.map(|(name, value)| text(name, &value)));
    // Cluster and network are decided already: a pod's label beats the path.
    let decided = ["ISTIO_META_CLUSTER_ID", "ISTIO_META_NETWORK"];
    let path = context.environment.iter();
    let path = path
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| !decided.contains(name));
    let more = context.config.metadata().chain(path);
    for (name, value) in more {
        replace(&mut all, text(name, value));
    }
    all
}

fn text(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value })
}

fn field(name: &str, path: &str) -> Value {
    json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } })
}

fn resource(name: &str, resource: &str) -> Value {
    json!({ "name": name, "valueFrom": { "resourceFieldRef": { "resource": resource } } })
}

/// A variable that is named twice has its last value.
fn replace(all: &mut Vec<Value>, variable: Value) {
    let name = variable.get("name");
    match all.iter_mut().find(|found| found.get("name") == name) {
        Some(found) => *found = variable,
        None => all.push(variable),
    }
}

fn ca_address(context: &Context<'_>) -> String {
    let mesh = &context.settings.mesh;
    if !mesh.ca_address.is_empty() {
        return mesh.ca_address.clone();
    }
    if let Some(address) = context.config.discovery_address() {
        return address.to_owned();
    }
    let dash = if mesh.revision.is_empty() { "" } else { "-" };
    format!(
        "istiod{dash}{}.{}.svc:15012",
        mesh.revision, mesh.istio_namespace
    )
}

/// The agent reads the port of another annotation here.
fn proxy_config(context: &Context<'_>) -> String {
    let config = context.config.clone();
    let config = match context.status_port() {
        0 => config,
        port => config.with_status_port(port),
    };
    config.to_json().to_string()
}

fn pod_ports(context: &Context<'_>) -> String {
    let ports = context
        .apps
        .iter()
        .filter_map(|app| app.fields.get("ports")?.as_array());
    Value::Array(ports.flatten().map(known_port).collect()).to_string()
}

/// What Kubernetes has of a port.
fn known_port(port: &Value) -> Value {
    let known = ["name", "hostPort", "containerPort", "protocol", "hostIP"];
    let fields = known
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), port.get(name)?.clone())));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn app_containers(context: &Context<'_>) -> String {
    let names: Vec<&str> = context.apps.iter().map(|app| app.name.as_str()).collect();
    names.join(",")
}

fn owner(context: &Context<'_>) -> String {
    if context.owner.name.is_empty() {
        return String::new();
    }
    context.owner.uri(context.namespace)
}

fn bootstrap_override(context: &Context<'_>) -> String {
    let is_set = context.annotations.get(names::BOOTSTRAP_OVERRIDE).is_some();
    let path = "/etc/istio/custom-bootstrap/custom_bootstrap.json";
    if is_set {
        path.to_owned()
    } else {
        String::new()
    }
}

fn mesh_id(context: &Context<'_>) -> String {
    let mesh = &context.settings.mesh;
    let id = if mesh.mesh_id.is_empty() {
        &mesh.trust_domain
    } else {
        &mesh.mesh_id
    };
    id.clone()
}
