//! Objects as JSON: read, written by server-side apply, removed.

use std::fmt;

use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::Target;
use crate::raw::Raw;

/// Who owns the fields that are written.
const MANAGER: &str = "lateen-install";

/// The kinds that an installation consists of, or that tell how it is: group and version, kind, plural.
const KINDS: &[(&str, &str, &str)] = &[
    (
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
    ),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    ),
    (
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
    ),
    ("apps/v1", "Deployment", "deployments"),
    ("coordination.k8s.io/v1", "Lease", "leases"),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    (
        "rbac.authorization.k8s.io/v1",
        "ClusterRole",
        "clusterroles",
    ),
    (
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
    ),
    ("rbac.authorization.k8s.io/v1", "Role", "roles"),
    (
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        "rolebindings",
    ),
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "Namespace", "namespaces"),
    ("v1", "Node", "nodes"),
    ("v1", "Pod", "pods"),
    ("v1", "Secret", "secrets"),
    ("v1", "Service", "services"),
    ("v1", "ServiceAccount", "serviceaccounts"),
];

/// The API server refused a call or did not answer it.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {what}: {}", said(source))]
pub struct CallError {
    step: &'static str,
    what: String,
    source: Box<kube::Error>,
}

/// What an API server says of a refusal, without the whole status around it.
pub(crate) fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl CallError {
    pub(super) fn new(step: &'static str, what: impl fmt::Display, source: kube::Error) -> Self {
        Self {
            step,
            what: what.to_string(),
            source: Box::new(source),
        }
    }

    /// Whether whoever asked may not do that.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(&*self.source, kube::Error::Api(status) if status.code == 403)
    }
}

/// One object by its kind and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    resource: ApiResource,
    namespace: Option<String>,
    name: String,
}

impl Named {
    /// An object of one of the kinds that are known here, such as `Deployment`; other kinds have none.
    #[must_use]
    pub fn new(kind: &str, namespace: Option<&str>, name: &str) -> Option<Self> {
        Some(Self {
            resource: resource(kind)?,
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }

    /// What an object calls itself.
    #[must_use]
    pub fn of(object: &Value) -> Option<Self> {
        let kind = object.get("kind")?.as_str()?;
        let meta = |field: &str| object.get("metadata")?.get(field)?.as_str();
        Self::new(kind, meta("namespace"), meta("name")?)
    }

    /// Its API group; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.resource.group
    }

    /// The name of its kind in rights.
    #[must_use]
    pub fn plural(&self) -> &str {
        &self.resource.plural
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            resource,
            namespace,
            name,
        } = self;
        match namespace {
            Some(namespace) => write!(f, "{} {namespace}/{name}", resource.kind),
            None => write!(f, "{} {name}", resource.kind),
        }
    }
}

fn resource(kind: &str) -> Option<ApiResource> {
    let (version, kind, plural) = KINDS.iter().find(|(_, name, _)| *name == kind)?;
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let kind = GroupVersionKind::gvk(group, version, kind);
    Some(ApiResource::from_gvk_with_plural(&kind, plural))
}

impl Target {
    fn api(&self, named: &Named) -> Api<Raw> {
        let client = self.client.clone();
        match &named.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &named.resource),
            None => Api::all_with(client, &named.resource),
        }
    }

    /// The version of the API server: major, minor, and as it says it.
    ///
    /// # Errors
    /// [`CallError`] when it does not answer.
    pub async fn version(&self) -> Result<(u32, u32, String), CallError> {
        let info = self.client.apiserver_version().await;
        let info = info.map_err(|error| CallError::new("reach", self, error))?;
        let number = |text: &str| {
            let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
            digits.parse().unwrap_or(0)
        };
        Ok((number(&info.major), number(&info.minor), info.git_version))
    }

    /// An object as it is; none if there is no such object.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get(&self, named: &Named) -> Result<Option<Value>, CallError> {
        let found = self.api(named).get_opt(&named.name).await;
        let found = found.map_err(|error| CallError::new("read", named, error))?;
        Ok(found.map(|raw| raw.value))
    }

    /// All objects of a kind with these labels (`app=istiod`), in one namespace or all. An unknown kind has none.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list(
        &self,
        kind: &str,
        namespace: Option<&str>,
        labels: &str,
    ) -> Result<Vec<Value>, CallError> {
        let Some(named) = Named::new(kind, namespace, "") else {
            return Ok(Vec::new());
        };
        let params = ListParams::default().labels(labels);
        let found = self.api(&named).list(&params).await;
        let found = found.map_err(|error| CallError::new("list", named.plural(), error))?;
        Ok(found.items.into_iter().map(|raw| raw.value).collect())
    }

    /// Writes an object, whoever wrote its fields before.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn put(&self, named: &Named, object: &Value) -> Result<(), CallError> {
        let params = PatchParams::apply(MANAGER).force();
        let done = self.api(named);
        let done = done
            .patch(&named.name, &params, &Patch::Apply(object))
            .await;
        done.map(drop)
            .map_err(|error| CallError::new("write", named, error))
    }

    /// Removes an object with what belongs to it. False: there was none.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn remove(&self, named: &Named) -> Result<bool, CallError> {
        match self
            .api(named)
            .delete(&named.name, &DeleteParams::background())
            .await
        {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(CallError::new("remove", named, error)),
        }
    }

    /// Stops all Pods of a Deployment. False: there is no such Deployment.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn stop(&self, deployment: &Named) -> Result<bool, CallError> {
        let api = self.api(deployment);
        let none = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
        match api
            .patch_scale(&deployment.name, &PatchParams::default(), &none)
            .await
        {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(CallError::new("stop", deployment, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_as_it_calls_itself() {
        let object = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": "istiod", "namespace": "istio-system" },
        });
        let named = Named::of(&object).unwrap();
        assert_eq!(named.to_string(), "Deployment istio-system/istiod");
        assert_eq!((named.group(), named.plural()), ("apps", "deployments"));
        let role = Named::new("ClusterRole", None, "a").unwrap();
        assert_eq!(role.to_string(), "ClusterRole a");
        assert_eq!(Named::new("Gateway", None, "a"), None);
    }
}
