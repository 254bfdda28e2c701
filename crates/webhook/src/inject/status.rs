//! The annotation `sidecar.istio.io/status`: what injection put into a pod, so that a second injection knows its own.

use serde::{Deserialize, Serialize};

use super::template::Template;

/// What stands in the annotation, in Istio's order. Nothing is null, as Istio has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    init_containers: Option<Vec<String>>,
    containers: Option<Vec<String>>,
    volumes: Option<Vec<String>>,
    image_pull_secrets: Option<Vec<String>>,
    revision: String,
}

impl Status {
    /// Reads the annotation. One that cannot be read is of no injection.
    pub(super) fn parse(annotation: Option<&str>) -> Option<Self> {
        serde_json::from_str(annotation?).ok()
    }

    /// Of what is injected now.
    pub(super) fn of(template: &Template, revision: &str) -> Self {
        let list = |names: Vec<&str>| {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            (!names.is_empty()).then_some(names)
        };
        let named = |items: &[serde_json::Value]| {
            let names = items.iter().filter_map(|item| item.get("name")?.as_str());
            list(names.collect())
        };
        let containers = |items: &[super::pod::Container]| {
            list(
                items
                    .iter()
                    .map(|container| container.name.as_str())
                    .collect(),
            )
        };
        Self {
            init_containers: containers(&template.init_containers),
            containers: containers(&template.containers),
            volumes: named(&template.volumes),
            image_pull_secrets: named(&template.image_pull_secrets),
            revision: revision.to_owned(),
        }
    }

    pub(super) fn has_container(&self, name: &str) -> bool {
        has(self.containers.as_ref(), name)
    }

    pub(super) fn has_init_container(&self, name: &str) -> bool {
        has(self.init_containers.as_ref(), name)
    }

    /// Whether a container of this name came from an injection.
    pub(super) fn has(&self, name: &str) -> bool {
        self.has_container(name) || self.has_init_container(name)
    }

    pub(super) fn to_text(&self) -> String {
        // Texts and lists of texts are always JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn has(list: Option<&Vec<String>>, name: &str) -> bool {
    list.is_some_and(|names| names.iter().any(|found| found == name))
}
