//! Which pods are injected: by the labels of their namespace as the webhook's selectors have it, then by Istio's rules in
//! Istio's order.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use model::{LabelExpression, LabelSelector};
use serde_json::Value;

use super::settings::{Policy, Settings};

/// Labels as they stand in metadata.
pub type Labels = BTreeMap<String, String>;

/// The namespace's label.
const NAMESPACE: &str = "istio-injection";
/// The label of namespaces and pods that names a revision.
const REVISION: &str = "istio.io/rev";
/// The label and annotation of pods.
const POD: &str = "sidecar.istio.io/inject";

/// Namespaces whose pods are never injected, besides the control plane's own.
const NEVER: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];

/// Why a pod is left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Its network is the node's, which must not be captured.
    HostNetwork,
    /// It stands in a namespace of the cluster's own.
    Namespace(String),
    /// Neither its namespace nor the pod asks for injection by this revision.
    NotSelected,
    /// Its label or annotation says so.
    Disabled,
    /// A selector of `neverInjectSelector` matches.
    NeverSelected,
    /// It does not ask for injection, and `global.proxy.autoInject` is `disabled`.
    Policy,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostNetwork => f.write_str("the pod has host networking enabled"),
            Self::Namespace(name) => write!(f, "pods of namespace {name} are never injected"),
            Self::NotSelected => f.write_str("no label of the namespace or of the pod asks for it"),
            Self::Disabled => write!(f, "{POD} is \"false\""),
            Self::NeverSelected => f.write_str("neverInjectSelector matches the pod"),
            Self::Policy => {
                f.write_str("global.proxy.autoInject is disabled, and the pod does not ask for it")
            }
        }
    }
}

/// Whether the webhook of `settings`' revision asks for a pod with these labels, in a namespace with those.
#[must_use]
pub fn is_selected(settings: &Settings, namespace: (&str, &Labels), pod: &Labels) -> bool {
    let (name, namespace) = namespace;
    let revision = settings.revision();
    if pod.get(POD).is_some_and(|value| value == "false") {
        return false;
    }
    match (namespace.get(NAMESPACE), namespace.get(REVISION)) {
        // A namespace's `istio-injection` beats its revision.
        (Some(value), _) => revision == "default" && value == "enabled",
        (None, Some(wanted)) => wanted == revision,
        (None, None) => match pod.get(REVISION) {
            Some(wanted) => wanted == revision,
            None if revision != "default" => false,
            None => {
                pod.get(POD).is_some_and(|value| value == "true")
                    || (settings.policy.has_every_namespace && !NEVER.contains(&name))
            }
        },
    }
}

/// A pod's part of the question.
pub(super) struct Candidate<'a> {
    pub(super) is_on_host_network: bool,
    pub(super) namespace: &'a str,
    pub(super) namespace_labels: Option<&'a Labels>,
    pub(super) labels: &'a Labels,
    /// The annotation `sidecar.istio.io/inject`.
    pub(super) annotation: Option<&'a str>,
}

/// Decides in Istio's order.
pub(super) fn skip(settings: &Settings, pod: &Candidate<'_>) -> Option<Skip> {
    if pod.is_on_host_network {
        return Some(Skip::HostNetwork);
    }
    let own = settings.mesh.istio_namespace.as_str();
    if NEVER.contains(&pod.namespace) || pod.namespace == own {
        return Some(Skip::Namespace(pod.namespace.to_owned()));
    }
    if let Some(labels) = pod.namespace_labels
        && !is_selected(settings, (pod.namespace, labels), pod.labels)
    {
        return Some(Skip::NotSelected);
    }
    // The label beats the annotation, also where it says nothing that is understood.
    let label = pod.labels.get(POD).map(String::as_str);
    match label.or(pod.annotation) {
        Some("true") => None,
        Some("false") => Some(Skip::Disabled),
        Some(_) | None => by_policy(&settings.policy, pod.labels),
    }
}

fn by_policy(policy: &Policy, labels: &Labels) -> Option<Skip> {
    let label = |key: &str| labels.get(key).map(String::as_str);
    // An empty one selects nothing here, as in Istio.
    let selects = |one: &LabelSelector| *one != LabelSelector::default() && one.matches(label);
    let any = |selectors: &[LabelSelector]| selectors.iter().any(selects);
    if any(&policy.never) {
        Some(Skip::NeverSelected)
    } else if any(&policy.always) || policy.is_enabled {
        None
    } else {
        Some(Skip::Policy)
    }
}

/// Reads Kubernetes' label selector.
///
/// # Errors
/// What is wrong with it.
pub(super) fn selector(value: &Value) -> Result<LabelSelector, String> {
    let fields = value
        .as_object()
        .ok_or_else(|| format!("{value} is not a label selector"))?;
    let mut labels = Vec::new();
    let mut expressions = Vec::new();
    for (name, value) in fields {
        match (name.as_str(), value) {
            (_, Value::Null) => {}
            ("matchLabels", Value::Object(wanted)) => {
                for (key, value) in wanted {
                    let value = value
                        .as_str()
                        .ok_or_else(|| format!("matchLabels.{key}: {value} is not a text"))?;
                    labels.push((key.as_str(), value));
                }
            }
            ("matchExpressions", Value::Array(items)) => {
                for item in items {
                    expressions.push(expression(item)?);
                }
            }
            (name, value) => {
                return Err(format!("{name}: {value} is no part of a label selector"));
            }
        }
    }
    Ok(LabelSelector {
        labels: labels.into_iter().collect(),
        expressions: expressions.into(),
    })
}

fn expression(value: &Value) -> Result<LabelExpression, String> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let wrong = || format!("{value} is not a requirement: write key, operator and values");
    let key = text("key").ok_or_else(wrong)?.into();
    let values = value.get("values").and_then(Value::as_array);
    let values: Option<Arc<[Arc<str>]>> = values.map_or(Some(Arc::new([])), |values| {
        let texts = values.iter().map(|value| value.as_str().map(Arc::from));
        texts.collect()
    });
    let values = values.ok_or_else(wrong)?;
    match (text("operator"), values.is_empty()) {
        (Some("In"), false) => Ok(LabelExpression::In(key, values)),
        (Some("NotIn"), false) => Ok(LabelExpression::NotIn(key, values)),
        (Some("Exists"), true) => Ok(LabelExpression::Exists(key)),
        (Some("DoesNotExist"), true) => Ok(LabelExpression::DoesNotExist(key)),
        _ => Err(wrong()),
    }
}
