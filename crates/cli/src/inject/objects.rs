//! Where pods stand in the objects of a file, and whose they are.

use std::collections::BTreeMap;

use model::Place;
use serde_json::Value;
use webhook::inject::{Decision, Owner, Refusal, Request, Settings, decide};

/// How deep lists stand in lists.
const MAX_LISTS: usize = 4;

/// Injects the pods of one file.
pub(super) struct Injector<'a> {
    settings: &'a Settings,
    file: &'a str,
    /// What is worth saying.
    pub(super) said: Vec<String>,
    /// Why pods are refused.
    pub(super) refused: Vec<String>,
}

/// A field by its names, from the object down.
type Steps = &'static [&'static str];

/// Where the pod of a kind is described.
fn template_of(api_version: &str, kind: &str) -> Option<Steps> {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    match (group, kind) {
        ("", "Pod") => Some(&[]),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => Some(&["spec", "template"]),
        ("batch", "CronJob") => Some(&["spec", "jobTemplate", "spec", "template"]),
        _ => None,
    }
}

impl<'a> Injector<'a> {
    pub(super) fn new(settings: &'a Settings, file: &'a str) -> Self {
        Self {
            settings,
            file,
            said: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Injects an object, or the objects of a list.
    pub(super) fn inject(&mut self, object: &mut Value, place: &Place) {
        self.inject_at(object, place, "", 0);
    }

    fn inject_at(&mut self, object: &mut Value, place: &Place, path: &str, depth: usize) {
        let text = |name: &str| object.get(name).and_then(Value::as_str);
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let (api_version, kind) = (api_version.unwrap_or_default(), kind.unwrap_or_default());
        if kind == "List" && depth < MAX_LISTS {
            let items = object.get_mut("items").and_then(Value::as_array_mut);
            for (number, item) in items.into_iter().flatten().enumerate() {
                let path = join(path, &format!("items[{number}]"));
                self.inject_at(item, place, &path, depth + 1);
            }
        } else if let Some(steps) = template_of(api_version, kind) {
            let workload = Workload::new(object, api_version, kind);
            let path = steps
                .iter()
                .fold(path.to_owned(), |path, step| join(&path, step));
            let pod = steps
                .iter()
                .try_fold(object, |value, step| value.get_mut(*step));
            let file = self.file;
            let about =
                |field: &str| format!("{}: {workload}", line(file, place, &join(&path, field)));
            match pod {
                Some(pod) => self.inject_pod(pod, &workload, about),
                None => {
                    let missing = steps.join(".");
                    self.refused.push(format!("{} has no {missing}", about("")));
                }
            }
        }
    }

    /// `about` says what a message is about: a field of this pod.
    fn inject_pod(&mut self, pod: &mut Value, workload: &Workload, about: impl Fn(&str) -> String) {
        match self.decide(pod, workload) {
            Decision::Skip(reason) => {
                self.said
                    .push(format!("{} is not injected: {reason}", about("")));
            }
            Decision::Refuse(refusals) => {
                let refused = refusals.iter();
                self.refused.extend(
                    refused.map(|refusal| format!("{}: {refusal}", about(&field(refusal)))),
                );
            }
            Decision::Inject(injection) => {
                let warnings = injection.warnings.iter();
                self.said
                    .extend(warnings.map(|warning| format!("{}: {warning}", about(""))));
                if let Err(error) = injection.apply(pod) {
                    self.refused.push(format!("{}: {error}", about("")));
                }
            }
        }
    }

    fn decide(&self, pod: &Value, workload: &Workload) -> Decision {
        let namespace = pod.pointer("/metadata/namespace").and_then(Value::as_str);
        let request = Request {
            pod,
            namespace: namespace.unwrap_or(&workload.namespace),
            namespace_labels: None,
            owner: workload.owner.as_ref(),
            nodes_have_native_sidecars: false,
            environment: &BTreeMap::new(),
        };
        decide(self.settings, &request)
    }
}

/// `FILE:LINE`
fn line(file: &str, place: &Place, path: &str) -> String {
    match place.line_of(path) {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    }
}

fn join(path: &str, field: &str) -> String {
    match (path, field) {
        ("", field) => field.to_owned(),
        (path, "") => path.to_owned(),
        (path, field) => format!("{path}.{field}"),
    }
}

/// The field that a refusal is about.
fn field(refusal: &Refusal) -> String {
    match refusal.place.strip_prefix("annotation ") {
        Some(name) => format!("metadata.annotations.{name}"),
        None => refusal.place.clone(),
    }
}

/// An object with pods.
struct Workload {
    kind: String,
    namespace: String,
    name: String,
    /// None: the pod's own metadata tells.
    owner: Option<Owner>,
}

impl Workload {
    fn new(object: &Value, api_version: &str, kind: &str) -> Self {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str);
        let name = text("/metadata/name").or_else(|| text("/metadata/generateName"));
        let name = name.unwrap_or_default().to_owned();
        let owner = Owner {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            name: name.clone(),
        };
        Self {
            kind: kind.to_owned(),
            namespace: text("/metadata/namespace").unwrap_or("default").to_owned(),
            name,
            owner: (kind != "Pod").then_some(owner),
        }
    }
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}
