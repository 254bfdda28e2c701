//! Whose pod a pod is: the Deployment behind its ReplicaSet, the CronJob behind its Job, by Istio's rules.

use serde_json::Value;

/// The workload that a pod is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// As `apps/v1`.
    pub api_version: String,
    /// As `Deployment`.
    pub kind: String,
    /// Its name; empty when nothing has a name yet.
    pub name: String,
}

impl Owner {
    /// From the pod's metadata: its controller, looked through where that is itself made by another.
    pub(super) fn of_pod(pod: &Value) -> Self {
        let text = |path: &str| {
            pod.pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let is_generated = !text("/metadata/generateName").is_empty();
        let controller = is_generated.then(|| controller(pod)).flatten();
        controller.unwrap_or_else(|| Self {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: text("/metadata/name").to_owned(),
        })
    }

    /// `kubernetes://apis/apps/v1/namespaces/NAMESPACE/deployments/NAME`
    pub(super) fn uri(&self, namespace: &str) -> String {
        let Self {
            api_version,
            kind,
            name,
        } = self;
        let kind = kind.to_lowercase();
        format!("kubernetes://apis/{api_version}/namespaces/{namespace}/{kind}s/{name}")
    }
}

fn controller(pod: &Value) -> Option<Owner> {
    let references = pod.pointer("/metadata/ownerReferences")?.as_array()?;
    let controller = references
        .iter()
        .find(|reference| reference.get("controller") == Some(&Value::Bool(true)))?;
    let text = |name: &str| controller.get(name)?.as_str();
    let (api_version, kind, name) = (text("apiVersion")?, text("kind")?, text("name")?);
    let owner = |api_version: &str, kind: &str, name: &str| Owner {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
    };
    let without_hash = |label: &str| {
        let hash = pod.get("metadata")?.get("labels")?.get(label)?.as_str()?;
        name.strip_suffix(hash)?.strip_suffix('-')
    };
    let behind = match kind {
        "ReplicaSet" => {
            let rollout = without_hash("rollouts-pod-template-hash")
                .map(|name| owner("argoproj.io/v1alpha1", "Rollout", name));
            rollout.or_else(|| {
                without_hash("pod-template-hash").map(|name| owner("apps/v1", "Deployment", name))
            })
        }
        "Job" => without_time(name).map(|name| owner("batch/v1", "CronJob", name)),
        _ => None,
    };
    Some(behind.unwrap_or_else(|| owner(api_version, kind, name)))
}

/// A CronJob names its Jobs after the minute: `backup-29384756`.
fn without_time(job: &str) -> Option<&str> {
    let (name, time) = job.rsplit_once('-')?;
    let is_time = (8..=10).contains(&time.len()) && time.chars().all(|c| c.is_ascii_digit());
    (is_time && !name.is_empty()).then_some(name)
}
