//! PeerAuthentications that hold for nobody, and of which an older one takes the place.

use model::{Code, Finding, Kind, Object, ObjectKey, PeerAuthentication, Spec};

use super::served::{Served, selected};
use super::{Found, of_policy_selector};
use crate::mesh::Mesh;

/// What is to be said of a policy.
pub(super) fn of_policy(mesh: &Mesh, object: &Object, policy: &PeerAuthentication) -> Found {
    let namespace = &object.key.namespace;
    let in_root = *namespace == mesh.config().root_namespace;
    let Some(selector) = &policy.selector else {
        let place = if in_root {
            "the mesh".to_owned()
        } else {
            format!("namespace {namespace}")
        };
        let holds = |older: &PeerAuthentication| older.selector.is_none();
        return older(mesh, &object.key, holds, "spec", &place);
    };
    if in_root {
        return vec![selects_in_root()];
    }
    let mut found = of_policy_selector(mesh, object, selector);
    let workloads = selected(mesh, namespace, Some(selector));
    for workload in &workloads {
        let holds = |older: &PeerAuthentication| {
            let selector = older.selector.as_ref();
            selector.is_some_and(|selector| selector.matches(&workload.labels))
        };
        let rivals = older(mesh, &object.key, holds, "spec.selector", &workload.name);
        if !rivals.is_empty() {
            found.extend(rivals);
            break;
        }
    }
    let served = Served::of(mesh, &workloads);
    for port in policy.ports.keys() {
        if let Some(finding) = served.mistaken(Code::NoEffect, *port) {
            found.push((format!("spec.portLevelMtls.{port}"), finding));
        }
    }
    found
}

/// A PeerAuthentication of the root namespace is the mesh's, or nobody's.
fn selects_in_root() -> (String, Finding) {
    let message = "in the root namespace a PeerAuthentication holds for the mesh; with a selector it holds for nobody";
    let hint = "leave the selector out, or put the policy into the namespace of the workloads";
    let finding = Finding::warning(Code::Ineffective, message, hint);
    ("spec.selector".to_owned(), finding)
}

/// An older policy of the namespace that takes the place of this one.
fn older(
    mesh: &Mesh,
    key: &ObjectKey,
    holds: impl Fn(&PeerAuthentication) -> bool,
    field: &str,
    place: &str,
) -> Found {
    let policies = mesh.policies().of(Kind::PeerAuthentication, &key.namespace);
    let mut older = policies.take_while(|other| *other != key);
    let rival = older.find(
        |other| match mesh.object(other).map(|object| &object.spec) {
            Some(Spec::PeerAuthentication(policy)) => holds(policy),
            _ => false,
        },
    );
    let finding = rival.map(|rival| {
        let message = format!("{rival} holds for {place} already; this one is ignored there");
        let hint = "keep one of them";
        Finding::warning(Code::Conflict, message, hint)
    });
    finding
        .map(|finding| (field.to_owned(), finding))
        .into_iter()
        .collect()
}
