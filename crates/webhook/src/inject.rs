//! Injection: from a pod and what is known of its mesh to the JSON patch that gives it a proxy. Pure: no IO, no clock.
//!
//! A pod is a typed value all the way ([`pod`]), never text, so that no string in it can become anything but itself (SEC
//! 07). [`select`] says whether a pod is injected; [`annotations`] refuses those that are wrong; [`template`] makes the
//! containers and volumes; what the pod brings of its own is laid over them ([`overrides`]); then probes, metrics, labels
//! and the order of containers follow.

mod annotations;
mod check;
mod context;
mod merge;
mod metadata;
mod metrics;
mod overrides;
mod owner;
mod path;
mod pod;
mod probes;
mod proxy_config;
mod read;
mod select;
mod settings;
mod status;
mod template;

use std::collections::BTreeMap;

use json_patch::Patch;
use serde_json::Value;

pub use annotations::read_annotations;
pub use owner::Owner;
pub use path::environment_of_path;
pub use read::Problem;
pub use select::{Labels, Skip, is_selected};
pub use settings::{ReadYaml, Settings};

use annotations::Annotations;
use context::{Context, INIT, PROXY};
use overrides::Overrides;
use pod::{Container, Pod, merge_containers, move_container};
use select::Candidate;
use status::Status;
use template::Template;

/// One pod, and what the API server's question says about it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The pod as it came.
    pub pod: &'a Value,
    /// Its namespace.
    pub namespace: &'a str,
    /// The labels of its namespace; none: they are not asked for, as when a file is injected offline.
    pub namespace_labels: Option<&'a Labels>,
    /// Whose pod it is, where its metadata does not tell: a file has a Deployment, not yet its pods.
    pub owner: Option<&'a Owner>,
    /// Whether every node's kubelet (or that of the pod's node) knows sidecars that are init containers.
    pub nodes_have_native_sidecars: bool,
    /// Variables of the proxy that the webhook's path adds: see [`environment_of_path`].
    pub environment: &'a BTreeMap<String, String>,
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It stays as it is.
    Skip(Skip),
    /// It gets a proxy.
    Inject(Injection),
    /// It is wrong, and must not be created.
    Refuse(Vec<Refusal>),
}

/// How a pod gets its proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    /// What to change, by RFC 6902; empty for a pod that has it all.
    pub patch: Patch,
    /// What its author should know.
    pub warnings: Vec<String>,
}

impl Injection {
    /// Gives the proxy to the pod that the decision was about.
    ///
    /// # Errors
    /// It is another pod.
    pub fn apply(&self, pod: &mut Value) -> Result<(), json_patch::PatchError> {
        json_patch::patch(pod, &self.patch)
    }
}

/// Why a pod is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {value:?} is wrong: write {right}")]
pub struct Refusal {
    /// The annotation or field.
    pub place: String,
    /// What stands there, cut short.
    pub value: String,
    /// What would be right.
    pub right: String,
}

impl Refusal {
    fn annotation(name: &str, value: &str, right: &str) -> Self {
        Self::field(&format!("annotation {name}"), value, right)
    }

    fn field(place: &str, value: &str, right: &str) -> Self {
        const LONGEST: usize = 200;
        let mut shown: String = value.chars().take(LONGEST).collect();
        if shown.len() < value.len() {
            shown.push_str("...");
        }
        Self {
            place: place.to_owned(),
            value: shown,
            right: right.to_owned(),
        }
    }
}

/// Decides what becomes of a pod.
#[must_use]
pub fn decide(settings: &Settings, request: &Request<'_>) -> Decision {
    let pod: Pod = match serde_path_to_error::deserialize(request.pod) {
        Ok(pod) => pod,
        Err(error) => return Decision::Refuse(vec![not_a_pod(&error)]),
    };
    let candidate = Candidate {
        is_on_host_network: pod.spec.host_network,
        namespace: request.namespace,
        namespace_labels: request.namespace_labels,
        labels: &pod.metadata.labels,
        annotation: Annotations::unchecked(request.pod).get(annotations::INJECT),
    };
    if let Some(reason) = select::skip(settings, &candidate) {
        return Decision::Skip(reason);
    }
    match inject(settings, request, &pod) {
        Ok(injection) => Decision::Inject(injection),
        Err(refusals) => Decision::Refuse(refusals),
    }
}

fn not_a_pod(error: &serde_path_to_error::Error<serde_json::Error>) -> Refusal {
    let path = error.path().to_string();
    let place = if path == "." { "the pod" } else { &path };
    Refusal {
        place: place.to_owned(),
        value: error.inner().to_string(),
        right: "what Kubernetes has there".to_owned(),
    }
}

fn inject(
    settings: &Settings,
    request: &Request<'_>,
    pod: &Pod,
) -> Result<Injection, Vec<Refusal>> {
    let mut warnings = Vec::new();
    let kept = Annotations::unchecked(request.pod).get(annotations::STATUS);
    let known = Status::parse(kept);
    let previous = known.clone().unwrap_or_default();
    let context = Context::new(settings, request, pod, &previous, &mut warnings)?;
    let template = Template::new(&context);
    let overrides = Overrides::find(pod, context.annotations, &previous);
    let mut new = pod.clone();
    lay_over(&mut new, &template);
    overrides.apply(&mut new, &template);
    if known.is_none() && !overrides.is_empty() {
        let annotations = &mut new.metadata.annotations;
        annotations.insert(annotations::OVERRIDES.to_owned(), overrides.to_text());
    }
    metrics::merge(&context, &mut new);
    probes::rewrite(&context, &mut new)?;
    metadata::apply(
        &context,
        &mut new,
        &Status::of(&template, settings.revision()),
    );
    reorder(&context, &mut new);
    warn(&context, &new, &mut warnings);
    let new = serde_json::to_value(&new).map_err(|error| {
        vec![Refusal::field(
            "the pod",
            &error.to_string(),
            "a pod of Kubernetes",
        )]
    })?;
    Ok(Injection {
        patch: json_patch::diff(request.pod, &new),
        warnings,
    })
}

/// Lays the template over a pod. A proxy that is in the other list of containers comes into the right one first.
fn lay_over(pod: &mut Pod, template: &Template) {
    let spec = &mut pod.spec;
    let has = |list: &[Container], name: &str| list.iter().any(|one| one.name == name);
    if has(&template.init_containers, PROXY) {
        take(&mut spec.containers, &mut spec.init_containers);
    } else {
        take(&mut spec.init_containers, &mut spec.containers);
        // What makes an init container a sidecar has no meaning here.
        if let Some(proxy) = spec.find_mut(PROXY) {
            proxy.fields.remove("restartPolicy");
        }
    }
    merge_containers(&mut spec.init_containers, &template.init_containers);
    merge_containers(&mut spec.containers, &template.containers);
    merge::merge_list("volumes", &mut spec.volumes, &template.volumes);
    merge::merge_list(
        "imagePullSecrets",
        &mut spec.image_pull_secrets,
        &template.image_pull_secrets,
    );
}

fn take(from: &mut Vec<Container>, to: &mut Vec<Container>) {
    if let Some(at) = from.iter().position(|container| container.name == PROXY) {
        let proxy = from.remove(at);
        to.push(proxy);
    }
}

/// Istio's order. Classic: the app's init containers run before traffic is captured, for nobody would serve it; the
/// proxy comes last, or first when the app waits for it. Native: capture, the proxy, then everything else.
fn reorder(context: &Context<'_>, pod: &mut Pod) {
    let spec = &mut pod.spec;
    move_container(&mut spec.containers, PROXY, context.holds_application());
    if context.is_native {
        move_container(&mut spec.init_containers, PROXY, true);
    }
    move_container(&mut spec.init_containers, INIT, context.is_native);
}

/// What works, but not as its author may think.
fn warn(context: &Context<'_>, pod: &Pod, warnings: &mut Vec<String>) {
    let image = context.annotations.get(annotations::PROXY_IMAGE);
    if let Some(image) = image.filter(|image| !image.contains('/')) {
        warnings.push(format!(
            "{}: {image:?} is not a whole image (REGISTRY/NAME:TAG); the mesh's image is used",
            annotations::PROXY_IMAGE
        ));
    }
    let before = pod.spec.init_containers.iter().map(|one| one.name.as_str());
    let before: Vec<_> = before
        .filter(|name| ![PROXY, INIT].contains(name))
        .collect();
    if !context.is_native && !before.is_empty() {
        warnings.push(format!(
            "init containers run before the proxy, so without mutual TLS: {}; a native sidecar ({}: \"true\") runs before \
             them",
            before.join(", "),
            annotations::NATIVE_SIDECAR
        ));
    }
    let policy = pod.spec.text("dnsPolicy").unwrap_or("ClusterFirst");
    if !matches!(policy, "ClusterFirst" | "ClusterFirstWithHostNet" | "") {
        warnings.push(format!(
            "dnsPolicy {policy}: the proxy finds the control plane only if the pod's own name servers know it"
        ));
    }
}
