//! DestinationRule: its host, its clients and its subsets.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::notes::{At, Notes, SPEC};
use super::traffic_policy;
use crate::{Code, DestinationRule, HostPattern, Subset, SubsetName};

/// Reads `spec`.
pub(super) fn read(
    wire: istio_api::DestinationRuleSpec,
    notes: &mut Notes<'_>,
) -> Option<DestinationRule> {
    let istio_api::DestinationRuleSpec {
        host,
        traffic_policy,
        subsets,
        export_to,
        workload_selector,
    } = wire;
    let at = SPEC.field("host");
    let host = match host.filter(|host| !host.is_empty()) {
        Some(host) => notes.valid(&at, HostPattern::resolve(&host, &notes.namespace())),
        None => {
            notes.missing(&at, "name the service to which the rule applies");
            None
        }
    };
    let policy = traffic_policy::read(traffic_policy, &SPEC.field("trafficPolicy"), notes);
    let subsets = read_subsets(subsets, &SPEC.field("subsets"), notes);
    let export_to = notes.export_to(&SPEC.field("exportTo"), &export_to);
    let workload_selector = notes.match_labels(&SPEC.field("workloadSelector"), workload_selector);
    Some(DestinationRule {
        host: host?,
        export_to,
        workload_selector,
        policy,
        subsets,
    })
}

fn read_subsets(wire: Vec<istio_api::Subset>, at: &At<'_>, notes: &mut Notes<'_>) -> Arc<[Subset]> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::with_capacity(wire.len());
    for (index, wire) in wire.into_iter().enumerate() {
        let at = at.item(index);
        let Some(subset) = read_subset(wire, &at, notes) else {
            continue;
        };
        if seen.insert(subset.name.clone()) {
            found.push(subset);
        } else {
            let message = format!("the subset {} stands here twice", subset.name);
            notes.error(
                &at.field("name"),
                message,
                "the second is dropped; rename one",
            );
        }
    }
    found.into()
}

fn read_subset(wire: istio_api::Subset, at: &At<'_>, notes: &mut Notes<'_>) -> Option<Subset> {
    let istio_api::Subset {
        name,
        labels,
        traffic_policy,
    } = wire;
    let name: Option<SubsetName> = match name.filter(|name| !name.is_empty()) {
        Some(name) => notes.name(&at.field("name"), &name),
        None => {
            notes.missing(&at.field("name"), "routes refer to a subset by its name");
            None
        }
    };
    if labels.is_empty() {
        notes.warn(
            &at.field("labels"),
            Code::SchemaWarning,
            "the subset has no labels, so every endpoint belongs to it",
            "name the labels of its endpoints",
        );
    }
    let labels = notes.labels(&at.field("labels"), labels);
    let policy = traffic_policy::read(traffic_policy, &at.field("trafficPolicy"), notes);
    Some(Subset {
        name: name?,
        labels,
        policy,
    })
}
