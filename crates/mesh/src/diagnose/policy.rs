//! CUSTOM policies whose provider does not exist or is not the only one.

use std::sync::Arc;

use model::{
    AuthorizationAction, AuthorizationPolicy, Code, Finding, Labels, Namespace, Object, ObjectKey,
    PolicyTarget,
};

use super::Found;
use crate::authorization::NoProvider;
use crate::mesh::Mesh;
use crate::workload::Workload;

const FIELD: &str = "spec.provider.name";

/// What is wrong with the provider of a policy.
pub(super) fn of_provider(mesh: &Mesh, object: &Object, policy: &AuthorizationPolicy) -> Found {
    let AuthorizationAction::Custom(name) = &policy.action else {
        return Vec::new();
    };
    if policy.dry_run || policy.target == PolicyTarget::Elsewhere {
        return Vec::new();
    }
    let namespace = &object.key.namespace;
    let missing = mesh.provider(namespace, name).err();
    let missing = missing.map(|why| no_provider(name, why));
    let rival = rival(mesh, &object.key, policy, name).map(|(rival, other)| {
        let message =
            format!("{rival} asks another provider, {other}, about a workload that both guard");
        let hint =
            "ask one provider about each workload; until then what these policies match is refused";
        Finding::warning(Code::Conflict, message, hint)
    });
    let found = missing.into_iter().chain(rival);
    found.map(|finding| (FIELD.to_owned(), finding)).collect()
}

fn no_provider(name: &str, why: NoProvider) -> Finding {
    let (message, hint) = match why {
        NoProvider::Unknown => (
            format!("MeshConfig has no extension provider {name} that authorizes"),
            "add it to `extensionProviders`; until then what the policy matches is refused",
        ),
        NoProvider::NoService => (
            format!(
                "the service of the extension provider {name} is not there, or has no such port"
            ),
            "create it, or correct the provider; until then what the policy matches is refused",
        ),
    };
    Finding::warning(Code::ReferencedResourceNotFound, message, hint)
}

/// A policy that asks another provider about a workload that this one guards as well.
fn rival<'a>(
    mesh: &'a Mesh,
    key: &ObjectKey,
    policy: &AuthorizationPolicy,
    provider: &Arc<str>,
) -> Option<(&'a ObjectKey, Arc<str>)> {
    let in_root = key.namespace == mesh.config().root_namespace;
    let places: Vec<&Namespace> = if in_root {
        mesh.namespaces().into_iter().collect()
    } else {
        mesh.namespaces()
            .into_iter()
            .filter(|namespace| **namespace == key.namespace)
            .collect()
    };
    places.into_iter().find_map(|namespace| {
        let labels: Vec<Labels> = mesh
            .workloads_in(namespace)
            .filter_map(|object| Workload::of(object))
            .map(|workload| workload.labels)
            .filter(|labels| guards(policy, labels))
            .collect();
        mesh.guarding(namespace).find_map(|(other, rival)| {
            let AuthorizationAction::Custom(asked) = &rival.action else {
                return None;
            };
            let shared = labels.iter().any(|labels| guards(rival, labels));
            let differs = asked != provider && !rival.dry_run && shared;
            differs.then(|| (other, Arc::clone(asked)))
        })
    })
}

fn guards(policy: &AuthorizationPolicy, labels: &Labels) -> bool {
    match &policy.target {
        PolicyTarget::Namespace => true,
        PolicyTarget::Workloads(selector) => selector.matches(labels),
        PolicyTarget::Elsewhere => false,
    }
}
