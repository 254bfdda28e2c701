//! Who may do what, as the API server itself judges it.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

use super::{CallError, Target};

/// Something that one may or may not do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Such as `create`.
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural of a kind.
    pub resource: String,
    /// In one namespace, or in all.
    pub namespace: Option<String>,
    /// On one object, or on all.
    pub name: Option<String>,
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            verb,
            group,
            resource,
            namespace,
            name,
        } = self;
        write!(f, "{verb} {resource}")?;
        if !group.is_empty() {
            write!(f, ".{group}")?;
        }
        if let Some(name) = name {
            write!(f, " {name}")?;
        }
        match namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => Ok(()),
        }
    }
}

/// Whose right is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// Whoever the kubeconfig is of.
    Caller,
    /// A ServiceAccount: its namespace and name.
    Account(&'a str, &'a str),
}

impl Target {
    /// Whether somebody may do something.
    ///
    /// # Errors
    /// [`CallError`]: the API server did not answer, or the caller may not ask about others.
    pub async fn may(&self, who: Who<'_>, right: &Right) -> Result<bool, CallError> {
        let error = |error| CallError::new("ask whether one may", right, error);
        let attributes = ResourceAttributes {
            group: Some(right.group.clone()),
            name: right.name.clone(),
            namespace: right.namespace.clone(),
            resource: Some(right.resource.clone()),
            verb: Some(right.verb.clone()),
            ..ResourceAttributes::default()
        };
        let params = PostParams::default();
        let status = match who {
            Who::Caller => {
                let review = SelfSubjectAccessReview {
                    spec: SelfSubjectAccessReviewSpec {
                        resource_attributes: Some(attributes),
                        ..SelfSubjectAccessReviewSpec::default()
                    },
                    ..SelfSubjectAccessReview::default()
                };
                let api: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
                api.create(&params, &review).await.map_err(error)?.status
            }
            Who::Account(namespace, name) => {
                let group = |name: &str| format!("system:{name}");
                let review = SubjectAccessReview {
                    spec: SubjectAccessReviewSpec {
                        user: Some(format!("system:serviceaccount:{namespace}:{name}")),
                        groups: Some(vec![group("serviceaccounts"), group("authenticated")]),
                        resource_attributes: Some(attributes),
                        ..SubjectAccessReviewSpec::default()
                    },
                    ..SubjectAccessReview::default()
                };
                let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
                api.create(&params, &review).await.map_err(error)?.status
            }
        };
        Ok(status.is_some_and(|status| status.allowed))
    }
}
