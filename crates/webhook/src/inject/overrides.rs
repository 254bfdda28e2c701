//! A pod's own `istio-proxy` and `istio-init`: what somebody wrote there wins over what injection makes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::annotations::{self as names, Annotations};
use super::context::{INIT, PROXY};
use super::pod::{Container, Pod, merge_containers};
use super::status::Status;
use super::template::Template;

/// The containers, as the annotation `proxy.istio.io/overrides` keeps them for a second injection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Overrides {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Container>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Container>,
}

impl Overrides {
    /// From the annotation; else from the containers themselves, unless an injection made them.
    pub(super) fn find(pod: &Pod, annotations: Annotations<'_>, previous: &Status) -> Self {
        let kept = annotations.get(names::OVERRIDES);
        let kept: Self = kept
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let own = |name: &str| {
            let of_list = |list: &[Container]| list.iter().find(|one| one.name == name).cloned();
            of_list(&kept.containers)
                .or_else(|| of_list(&kept.init_containers))
                .or_else(|| {
                    (!previous.has(name))
                        .then(|| pod.spec.find(name).cloned())
                        .flatten()
                })
        };
        let is_in_containers = |name: &str| pod.spec.containers.iter().any(|one| one.name == name);
        let mut found = Self::default();
        for container in [own(PROXY), own(INIT)].into_iter().flatten() {
            if container.name == PROXY && (is_in_containers(PROXY) || kept.has_proxy()) {
                found.containers.push(container);
            } else {
                found.init_containers.push(container);
            }
        }
        found
    }

    fn has_proxy(&self) -> bool {
        self.containers
            .iter()
            .any(|container| container.name == PROXY)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.init_containers.is_empty()
    }

    pub(super) fn to_text(&self) -> String {
        // What came from JSON is JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The user that the pod's own proxy runs as, whose traffic the rules must let pass.
    fn user(&self) -> Option<u64> {
        let own = self.all().find(|container| container.name == PROXY)?;
        let user = own
            .fields
            .get("securityContext")?
            .get("runAsUser")?
            .as_u64()?;
        (user != 0).then_some(user)
    }

    fn all(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().chain(&self.init_containers)
    }

    /// Lays the pod's own containers over the injected ones.
    pub(super) fn apply(&self, pod: &mut Pod, template: &Template) {
        for container in self.all() {
            let mut own = container.clone();
            // An image is required, so `auto` is what says nothing.
            if own.fields.get("image").is_some_and(|image| image == "auto") {
                own.fields.remove("image");
            }
            let is_init = template
                .init_containers
                .iter()
                .any(|one| one.name == own.name);
            let is_app = template.containers.iter().any(|one| one.name == own.name);
            if is_init {
                merge_containers(&mut pod.spec.init_containers, &[own]);
            } else if is_app {
                merge_containers(&mut pod.spec.containers, &[own]);
            }
        }
        if let Some(user) = self.user() {
            set_user(pod, user);
        }
    }
}

/// The flag `-u` of the capture.
fn set_user(pod: &mut Pod, user: u64) {
    let init = pod
        .spec
        .init_containers
        .iter_mut()
        .find(|one| one.name == INIT);
    let arguments = init.and_then(|init| init.fields.get_mut("args")?.as_array_mut());
    let Some(arguments) = arguments else {
        return;
    };
    let after = arguments
        .iter()
        .position(|word| word == "-u")
        .map(|at| at + 1);
    if let Some(word) = after.and_then(|at| arguments.get_mut(at)) {
        *word = Value::String(user.to_string());
    }
}
