//! What a policy is attached to: the workloads of a selector, or objects that are no sidecars.

use super::super::RefusedScope;
use super::super::notes::{At, Notes, SPEC, Written};
use crate::{Code, PolicyTarget};

/// What Istio lets policies be attached to: API group and kind.
const ATTACHABLE: &[(&str, &str)] = &[
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("", "Service"),
    ("core", "Service"),
    ("networking.istio.io", "ServiceEntry"),
];

/// The target, and for whom the policy was meant in case that it must be refused.
pub(super) fn read(
    selector: Option<istio_api::WorkloadSelector>,
    target_ref: Option<istio_api::PolicyTargetReference>,
    target_refs: Vec<istio_api::PolicyTargetReference>,
    notes: &mut Notes<'_>,
) -> (PolicyTarget, Option<RefusedScope>) {
    let elsewhere = target_ref.is_written() || target_refs.is_written();
    if elsewhere && selector.is_written() {
        let message = "`selector` and `targetRefs` exclude each other";
        notes.refuse(&SPEC.field("selector"), message, "keep one of them");
    }
    references(target_ref, target_refs, notes);
    let at = SPEC.field("selector");
    let selector = notes.match_labels(&at, selector);
    let readable = !(notes.has_error_under(&at) || notes.has_wrong(&SPEC) || elsewhere);
    let scope = readable.then(|| match &selector {
        Some(selector) => RefusedScope::Workloads(selector.clone()),
        None => RefusedScope::Namespace,
    });
    let target = match selector {
        _ if elsewhere => PolicyTarget::Elsewhere,
        Some(selector) => PolicyTarget::Workloads(selector),
        None => PolicyTarget::Namespace,
    };
    (target, scope)
}

fn references(
    one: Option<istio_api::PolicyTargetReference>,
    several: Vec<istio_api::PolicyTargetReference>,
    notes: &mut Notes<'_>,
) {
    let (one_at, several_at) = (SPEC.field("targetRef"), SPEC.field("targetRefs"));
    if one.is_written() && several.is_written() {
        let message = "`targetRef` and `targetRefs` exclude each other";
        notes.refuse(&one_at, message, "keep `targetRefs`");
    }
    let at = if several.is_written() {
        several_at
    } else {
        one_at
    };
    if one.is_written() || several.is_written() {
        notes.warn(
            &at,
            Code::Ineffective,
            "a policy that is attached to an object guards gateways and waypoints, never sidecars",
            "to guard workloads, select them by `selector`",
        );
    }
    if let Some(one) = one {
        reference(one, &one_at, notes);
    }
    for (index, reference_to) in several.into_iter().enumerate() {
        reference(reference_to, &several_at.item(index), notes);
    }
}

fn reference(wire: istio_api::PolicyTargetReference, at: &At<'_>, notes: &mut Notes<'_>) {
    let istio_api::PolicyTargetReference {
        group,
        kind,
        name,
        namespace,
    } = wire;
    if name.unwrap_or_default().is_empty() {
        notes.missing(&at.field("name"), "name the object");
    }
    if namespace.is_some_and(|namespace| !namespace.is_empty()) {
        let message = "an object of another namespace cannot be meant";
        notes.refuse(&at.field("namespace"), message, "leave it out");
    }
    let (group, kind) = (group.unwrap_or_default(), kind.unwrap_or_default());
    if kind.is_empty() {
        notes.missing(&at.field("kind"), "name the kind of the object");
    } else if !ATTACHABLE.contains(&(group.as_str(), kind.as_str())) {
        notes.refuse(
            &at.field("kind"),
            format!("a policy is not attached to {kind} of {group:?}"),
            "it may be Gateway or GatewayClass of gateway.networking.k8s.io, Service, or ServiceEntry of networking.istio.io",
        );
    }
}
