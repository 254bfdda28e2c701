//! What objects say together: references to what is not there, selectors that match nothing, hosts that two claim.
//! At most warnings, unless an object was refused: no other is wrong by itself.

mod policy;
mod refused;
mod routes;

pub use refused::diagnose_refused;

use std::collections::BTreeSet;

use model::{
    Code, Diagnostic, Finding, HostPattern, Kind, Labels, Namespace, Object, ObjectKey, Selector,
    Spec, VirtualService,
};

use crate::instance::instances;
use crate::mesh::Mesh;
use crate::scope::Scope;
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
        Spec::DestinationRule(rule) => of_destination_rule(mesh, object, rule),
        Spec::AuthorizationPolicy(policy) => {
            let mut found = match &policy.target {
                model::PolicyTarget::Workloads(selector) => {
                    of_policy_selector(mesh, object, selector)
                }
                model::PolicyTarget::Namespace | model::PolicyTarget::Elsewhere => Vec::new(),
            };
            found.extend(policy::of_provider(mesh, object, policy));
            found
        }
        Spec::PeerAuthentication(policy) => match &policy.selector {
            Some(_) if object.key.namespace == mesh.config().root_namespace => {
                vec![policy::selects_in_root()]
            }
            Some(selector) => of_policy_selector(mesh, object, selector),
            None => Vec::new(),
        },
        Spec::Service(service) => {
            let selector = service
                .selector
                .as_ref()
                .map(|s| unmatched(mesh, &object.key.namespace, s, "spec.selector"));
            selector.into_iter().flatten().collect()
        }
        Spec::ServiceEntry(entry) => {
            let namespace = &object.key.namespace;
            let selector = entry
                .selector
                .as_ref()
                .map(|s| unmatched(mesh, namespace, s, "spec.workloadSelector"));
            selector.into_iter().flatten().collect()
        }
        Spec::WorkloadEntry(_)
        | Spec::EndpointSlice(_)
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
    let mut found = routes::of_routes(mesh, &object.key.namespace, service);
    for (index, finding) in conflicts(mesh, &object.key, service) {
        found.push((format!("spec.hosts[{index}]"), finding));
    }
    found
}

/// The hosts of a VirtualService, by index, that an older one routes already.
fn conflicts(mesh: &Mesh, key: &ObjectKey, service: &VirtualService) -> Vec<(usize, Finding)> {
    let scope = Scope::of(key.namespace.clone());
    let rival_for = |pattern: &HostPattern| {
        let under = mesh.virtual_services().under(pattern);
        let mut older = under.take_while(|other| *other != key);
        older.find(|other| {
            let rival = mesh.virtual_service(other);
            rival.is_some_and(|rival| rival.in_mesh && scope.sees(&rival.export_to))
        })
    };
    let mut found = Vec::new();
    for (index, pattern) in service.hosts.iter().enumerate() {
        if let Some(rival) = rival_for(pattern).filter(|_| service.in_mesh) {
            let finding = Finding::warning(
                Code::Conflict,
                format!("{rival} routes {pattern} already; this VirtualService is ignored for it"),
                "put the routes of one host into one VirtualService",
            );
            found.push((index, finding));
        }
    }
    found
}

fn of_destination_rule(mesh: &Mesh, object: &Object, rule: &model::DestinationRule) -> Found {
    let scope = Scope::of(object.key.namespace.clone());
    let HostPattern::Exact(host) = &rule.host else {
        return Vec::new();
    };
    let Some(service) = mesh.services().visible(&scope, host) else {
        return vec![(
            "spec.host".to_owned(),
            Finding::warning(
                Code::UnknownDestinationRuleHost,
                format!("no service {host} exists"),
                "create the Service or ServiceEntry, or correct the host",
            ),
        )];
    };
    let labels: Vec<Labels> = instances(mesh, service)
        .into_iter()
        .map(|instance| instance.labels)
        .collect();
    let mut found = Vec::new();
    for (index, subset) in rule.subsets.iter().enumerate() {
        if !labels.is_empty() && !labels.iter().any(|labels| labels.contain(&subset.labels)) {
            found.push((
                format!("spec.subsets[{index}].labels"),
                Finding::warning(
                    Code::SubsetSelectsNothing,
                    format!(
                        "no endpoint of {host} bears the labels of subset {}",
                        subset.name
                    ),
                    "label the pods, or correct the subset; until then requests to it get 503",
                ),
            ));
        }
    }
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
