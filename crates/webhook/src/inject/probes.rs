//! The app's probes under mutual TLS: the kubelet has no certificate, so it asks the agent, which asks the app.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::context::{Context, PROXY};
use super::pod::{Container, Fields, Pod};
use super::{Refusal, annotations as names};

/// The variable in which the agent finds where the probes lead.
const PROBERS: &str = "ISTIO_KUBE_APP_PROBERS";

/// The probes of a container, and the last part of their paths at the agent.
const PROBES: [(&str, &str); 3] = [
    ("readinessProbe", "readyz"),
    ("livenessProbe", "livez"),
    ("startupProbe", "startupz"),
];
/// What is called around a container's life.
const HOOKS: [(&str, &str); 2] = [("preStop", "prestopz"), ("postStart", "poststartz")];

/// Leads the probes of all containers through the agent, where that is asked for.
pub(super) fn rewrite(context: &Context<'_>, pod: &mut Pod) -> Result<(), Vec<Refusal>> {
    let setting = context.settings.probes.rewrites_apps;
    let rewrites = context
        .annotations
        .flag(names::REWRITE_PROBES)
        .unwrap_or(setting);
    let port = context.status_port();
    if !rewrites || port == 0 {
        return Ok(());
    }
    let mut probers = BTreeMap::new();
    let spec = &mut pod.spec;
    for container in spec.init_containers.iter_mut().chain(&mut spec.containers) {
        if container.name != PROXY {
            rewrite_container(container, port, &mut probers);
        }
    }
    match spec.find_mut(PROXY) {
        Some(proxy) if !probers.is_empty() => tell(proxy, probers),
        Some(_) | None => Ok(()),
    }
}

/// Adds to what an earlier injection told.
fn tell(proxy: &mut Container, probers: BTreeMap<String, Value>) -> Result<(), Vec<Refusal>> {
    let mut all: BTreeMap<String, Value> = match proxy.env(PROBERS) {
        None => BTreeMap::new(),
        Some(told) => serde_json::from_str(&told.replace("$$", "$")).map_err(|error| {
            vec![Refusal::field(
                &format!("the variable {PROBERS} of container {PROXY}"),
                told,
                &format!("nothing: injection sets it ({error})"),
            )]
        })?,
    };
    all.extend(probers);
    let text = json!(all).to_string();
    proxy.set_env(PROBERS, &literal(&text));
    Ok(())
}

/// Kubernetes replaces `$(NAME)` in variables; what a probe says is meant as it stands.
pub(super) fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

fn rewrite_container(container: &mut Container, port: u16, probers: &mut BTreeMap<String, Value>) {
    let ports = named_ports(container);
    let name = container.name.clone();
    let mut rewrite = |folder: &str, action: &mut Fields, last: &str| {
        let path = format!("/{folder}/{name}/{last}");
        if let Some(prober) = rewrite_action(action, &path, port, &ports) {
            probers.insert(path, prober);
        }
    };
    for (probe, last) in PROBES {
        if let Some(Value::Object(action)) = container.fields.get_mut(probe) {
            rewrite("app-health", action, last);
        }
    }
    let Some(Value::Object(lifecycle)) = container.fields.get_mut("lifecycle") else {
        return;
    };
    for (hook, last) in HOOKS {
        if let Some(Value::Object(action)) = lifecycle.get_mut(hook) {
            rewrite("app-lifecycle", action, last);
        }
    }
}

fn named_ports(container: &Container) -> BTreeMap<String, Value> {
    let ports = container.fields.get("ports").and_then(Value::as_array);
    let ports = ports.into_iter().flatten();
    ports
        .filter_map(|port| {
            Some((
                port.get("name")?.as_str()?.to_owned(),
                port.get("containerPort")?.clone(),
            ))
        })
        .collect()
}

/// Leads one probe to the agent, and says what the agent shall do. None: the probe stays as it is.
fn rewrite_action(
    action: &mut Fields,
    path: &str,
    port: u16,
    ports: &BTreeMap<String, Value>,
) -> Option<Value> {
    let timeout = action.get("timeoutSeconds").cloned();
    let (kind, mut target) = ["httpGet", "tcpSocket", "grpc"]
        .into_iter()
        .find_map(|kind| Some((kind, action.get(kind)?.as_object()?.clone())))?;
    // Another host is not the pod: nothing of this mesh stands between.
    let is_elsewhere = target
        .get("host")
        .and_then(Value::as_str)
        .is_some_and(|host| !host.is_empty());
    let number = numeric_port(target.get("port")?, ports)?;
    if is_elsewhere || (number == port && is_rewritten(&target)) {
        return None;
    }
    target.insert("port".to_owned(), number.into());
    let headers = target.get("httpHeaders").cloned();
    let mut get = json!({ "path": path, "port": port });
    if let (Value::Object(get), Some(headers)) = (&mut get, headers) {
        get.insert("httpHeaders".to_owned(), headers);
    }
    if let (Value::Object(get), true) = (&mut get, target.contains_key("scheme")) {
        get.insert("scheme".to_owned(), "HTTP".into());
    }
    action.remove(kind);
    action.insert("httpGet".to_owned(), get);
    let mut prober = Map::from_iter([(kind.to_owned(), Value::Object(target))]);
    if let Some(timeout) = timeout.filter(|timeout| *timeout != 0) {
        prober.insert("timeoutSeconds".to_owned(), timeout);
    }
    Some(Value::Object(prober))
}

/// A port's number; a name is one of the container's ports, or nothing that works.
fn numeric_port(port: &Value, ports: &BTreeMap<String, Value>) -> Option<u16> {
    let number = match port {
        Value::String(name) => match name.parse() {
            Ok(number) => return Some(number),
            Err(_) => ports.get(name)?,
        },
        number => number,
    };
    number
        .as_u64()
        .and_then(|number| u16::try_from(number).ok())
}

/// Whether it already leads to the agent.
fn is_rewritten(target: &Fields) -> bool {
    let path = target
        .get("path")
        .and_then(Value::as_str)
        .unwrap_or_default();
    path.starts_with("/app-health/") || path.starts_with("/app-lifecycle/")
}
