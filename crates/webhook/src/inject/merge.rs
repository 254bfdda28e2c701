//! Kubernetes' strategic merge of what a pod has with what it gets: objects field by field, lists by the key that
//! Kubernetes gives them, everything else replaced.

use serde_json::{Map, Value};

/// The field by which Kubernetes tells the items of a list apart; none: the list is replaced as a whole.
fn key_of(list: &str) -> Option<&'static str> {
    match list {
        "containers" | "initContainers" | "volumes" | "env" | "imagePullSecrets" | "claims" => {
            Some("name")
        }
        "ports" => Some("containerPort"),
        "volumeMounts" => Some("mountPath"),
        "volumeDevices" => Some("devicePath"),
        _ => None,
    }
}

/// Lays `patch` over `target`. Null in the patch removes.
pub(super) fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match (target.get_mut(name), value) {
            (_, Value::Null) => drop(target.remove(name)),
            (Some(Value::Object(ours)), Value::Object(theirs)) => merge(ours, theirs),
            (Some(Value::Array(ours)), Value::Array(theirs)) => merge_list(name, ours, theirs),
            (_, value) => drop(target.insert(name.clone(), value.clone())),
        }
    }
}

/// Lays the items of a list over those of another; new ones come behind them.
pub(super) fn merge_list(name: &str, target: &mut Vec<Value>, patch: &[Value]) {
    let Some(key) = key_of(name) else {
        *target = patch.to_vec();
        return;
    };
    for item in patch {
        let id = item.get(key);
        let same = target
            .iter_mut()
            .find(|ours| id.is_some() && ours.get(key) == id);
        match (same, item) {
            // A variable with a value and a source is none.
            (Some(ours), item) if name == "env" => *ours = item.clone(),
            (Some(ours), item) if name == "volumes" => merge_volume(ours, item),
            (Some(Value::Object(ours)), Value::Object(theirs)) => merge(ours, theirs),
            (Some(ours), item) => *ours = item.clone(),
            (None, item) => target.push(item.clone()),
        }
    }
}

/// A volume has one source. Who brings a volume of this name with another source, means it.
fn merge_volume(ours: &mut Value, theirs: &Value) {
    let (Value::Object(ours), Value::Object(theirs)) = (ours, theirs) else {
        return;
    };
    let has_same_source = theirs
        .keys()
        .filter(|key| *key != "name")
        .all(|source| ours.contains_key(source));
    if has_same_source || ours.len() == 1 {
        merge(ours, theirs);
    }
}
