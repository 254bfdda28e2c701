//! A pod as far as injection must know it. Every other field is carried along as it stands.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The fields of an object that is only looked into.
pub(super) type Fields = Map<String, Value>;

/// A pod.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pod {
    #[serde(default)]
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
    #[serde(flatten)]
    rest: Fields,
}

/// Its metadata.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Metadata {
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    rest: Fields,
}

/// What it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) containers: Vec<Container>,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) init_containers: Vec<Container>,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) volumes: Vec<Value>,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) image_pull_secrets: Vec<Value>,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "is_false"
    )]
    pub(super) host_network: bool,
    #[serde(flatten)]
    pub(super) rest: Fields,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Container {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) fields: Fields,
}

/// Kubernetes takes null for absent.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Container {
    /// A container with these fields; anything but an object has none.
    pub(super) fn new(name: &str, fields: Value) -> Self {
        Self {
            name: name.to_owned(),
            fields: match fields {
                Value::Object(fields) => fields,
                _ => Fields::new(),
            },
        }
    }

    /// Sets a variable of the environment.
    pub(super) fn set_env(&mut self, name: &str, value: &str) {
        let variable = serde_json::json!([{ "name": name, "value": value }]);
        let patch = Fields::from_iter([("env".to_owned(), variable)]);
        super::merge::merge(&mut self.fields, &patch);
    }

    /// The text of a variable of the environment.
    pub(super) fn env(&self, name: &str) -> Option<&str> {
        let variables = self.fields.get("env")?.as_array()?;
        let is_it = |variable: &&Value| variable.get("name").is_some_and(|found| found == name);
        variables.iter().find(is_it)?.get("value")?.as_str()
    }
}

impl Spec {
    /// The container of this name, in either list.
    pub(super) fn find(&self, name: &str) -> Option<&Container> {
        let all = self.containers.iter().chain(&self.init_containers);
        all.into_iter().find(|container| container.name == name)
    }

    /// The same, to be changed.
    pub(super) fn find_mut(&mut self, name: &str) -> Option<&mut Container> {
        let all = self.containers.iter_mut().chain(&mut self.init_containers);
        all.into_iter().find(|container| container.name == name)
    }

    /// A text field.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.rest.get(name)?.as_str()
    }
}

/// Lays containers over others, by name; new ones come behind them.
pub(super) fn merge_containers(target: &mut Vec<Container>, patch: &[Container]) {
    for container in patch {
        match target.iter_mut().find(|ours| ours.name == container.name) {
            Some(ours) => super::merge::merge(&mut ours.fields, &container.fields),
            None => target.push(container.clone()),
        }
    }
}

/// Moves a container to the front or to the back of its list.
pub(super) fn move_container(list: &mut Vec<Container>, name: &str, to_front: bool) {
    let Some(at) = list.iter().position(|container| container.name == name) else {
        return;
    };
    let container = list.remove(at);
    list.insert(if to_front { 0 } else { list.len() }, container);
}
