//! What objects say together: references to what is not there, selectors that match nothing, hosts that two claim.
//! At most warnings, unless an object was refused: no other is wrong by itself.

mod authentication;
mod conditions;
mod destination;
mod entries;
mod hosts;
mod policy;
mod refused;
mod routes;
mod rules;
mod served;
mod shared_ports;

pub use refused::diagnose_refused;

use std::collections::BTreeSet;

use model::{Code, Diagnostic, Finding, Kind, Namespace, Object, Selector, Spec, VirtualService};

use crate::mesh::Mesh;
use crate::workload::Workload;

/// The cross-object diagnostics of every object, good or refused.
pub fn diagnose_all(mesh: &Mesh) -> impl Iterator<Item = Diagnostic> {
    let (good, refused) = (&mesh.snapshot().objects, &mesh.snapshot().refused);
    let of_good = good.values().flat_map(|object| diagnose(mesh, object));
    let of_refused = refused.values();
    of_good.chain(of_refused.flat_map(|refusal| diagnose_refused(mesh, refusal)))
}

/// The cross-object diagnostics of one object.
#[must_use]
pub fn diagnose(mesh: &Mesh, object: &Object) -> Vec<Diagnostic> {
    let findings = match &object.spec {
        Spec::VirtualService(service) => of_virtual_service(mesh, object, service),
        Spec::DestinationRule(rule) => rules::of_rule(mesh, object, rule),
        Spec::AuthorizationPolicy(policy) => {
            let mut found = match &policy.target {
                model::PolicyTarget::Workloads(selector) => {
                    of_policy_selector(mesh, object, selector)
                }
                model::PolicyTarget::Namespace | model::PolicyTarget::Elsewhere => Vec::new(),
            };
            found.extend(policy::of_provider(mesh, object, policy));
            found.extend(conditions::of_policy(mesh, &object.key.namespace, policy));
            found
        }
        Spec::PeerAuthentication(policy) => authentication::of_policy(mesh, object, policy),
        Spec::Service(service) => {
            let selector = service
                .selector
                .as_ref()
                .map(|s| unmatched(mesh, &object.key.namespace, s, "spec.selector"));
            let mut found: Found = selector.into_iter().flatten().collect();
            found.extend(shared_ports::of_service(mesh, object, service));
            found
        }
        Spec::ServiceEntry(entry) => {
            let namespace = &object.key.namespace;
            let selector = entry
                .selector
                .as_ref()
                .map(|s| unmatched(mesh, namespace, s, "spec.workloadSelector"));
            let mut found: Found = selector.into_iter().flatten().collect();
            found.extend(entries::of_entry(mesh, object, entry));
            found
        }
        Spec::WorkloadEntry(entry) => entries::of_workload(mesh, object, entry),
        Spec::EndpointSlice(_)
        | Spec::Pod(_)
        | Spec::Node(_)
        | Spec::Namespace
        | Spec::ServiceAccount
        | Spec::Deployment(_)
        | Spec::MeshConfig(_) => Vec::new(),
    };
    let at = |(field, finding): (String, Finding)| {
        Diagnostic::at(&object.key, &object.place, &field, finding)
    };
    findings.into_iter().map(at).collect()
}

type Found = Vec<(String, Finding)>;

fn of_virtual_service(mesh: &Mesh, object: &Object, service: &VirtualService) -> Found {
    let namespace = &object.key.namespace;
    let mut found = routes::of_routes(mesh, namespace, service);
    for (index, finding) in hosts::conflicts(mesh, &object.key, service) {
        found.push((format!("spec.hosts[{index}]"), finding));
    }
    found.extend(hosts::unused_delegate(mesh, &object.key, service));
    found.extend(hosts::unserved(mesh, namespace, service));
    found
}

fn of_policy_selector(mesh: &Mesh, object: &Object, selector: &Selector) -> Found {
    let in_root = object.key.namespace == mesh.config().root_namespace;
    let everywhere: BTreeSet<&Namespace> = if in_root {
        mesh.namespaces()
    } else {
        [&object.key.namespace].into()
    };
    if everywhere
        .iter()
        .any(|namespace| matched(mesh, namespace, selector))
    {
        return Vec::new();
    }
    unmatched(
        mesh,
        &object.key.namespace,
        selector,
        "spec.selector.matchLabels",
    )
    .into_iter()
    .collect()
}

fn matched(mesh: &Mesh, namespace: &Namespace, selector: &Selector) -> bool {
    let workloads = mesh
        .workloads_in(namespace)
        .filter_map(|object| Workload::of(object));
    workloads
        .into_iter()
        .any(|workload| selector.matches(&workload.labels))
}

/// A selector that matches no workload; where only Deployment templates match it, that is said.
fn unmatched(
    mesh: &Mesh,
    namespace: &Namespace,
    selector: &Selector,
    field: &str,
) -> Option<(String, Finding)> {
    if matched(mesh, namespace, selector) {
        return None;
    }
    let template = mesh.snapshot().of_kind(Kind::Deployment).find(|object| {
        let labels = match &object.spec {
            Spec::Deployment(deployment) => &deployment.template_labels,
            _ => return false,
        };
        object.key.namespace == *namespace && selector.matches(labels)
    });
    let finding = match template {
        Some(deployment) => Finding::warning(
            Code::OnlyTemplates,
            format!(
                "only the template of {} bears these labels, and nothing here makes pods of it",
                deployment.key
            ),
            "without Kubernetes, describe each instance as a Pod or a WorkloadEntry",
        ),
        None => Finding::warning(
            Code::NoMatchingWorkloads,
            format!("no workload of namespace {namespace} bears these labels"),
            "correct the labels, or create the workload",
        ),
    };
    Some((field.to_owned(), finding))
}
