//! `localityLbSetting`, of a traffic policy and of MeshConfig, and `zoneAwareLbSetting`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::notes::{At, Notes, Written};
use super::value::UNSIGNED;
use crate::{Code, Distribution, Failover, LocalityLb, LocalityPattern, PriorityLabel};

/// What says where an endpoint runs: excluded beside `failover`, which decides by the same.
const TOPOLOGY: [&str; 3] = [
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
];

/// Reads which endpoints are preferred; none: nothing is said. `ejects`: whether endpoints may turn out to be bad.
pub(super) fn read(
    wire: istio_api::LocalityLbSetting,
    ejects: bool,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<LocalityLb> {
    let istio_api::LocalityLbSetting {
        distribute,
        failover,
        failover_priority,
        enabled,
    } = wire;
    let at_distribute = at.field("distribute");
    if distribute.is_written() && failover.is_written() {
        let message = "`distribute` and `failover` exclude each other";
        notes.refuse(&at_distribute, message, "keep one of them");
    }
    if distribute.is_written() && failover_priority.is_written() {
        notes.warn(
            &at.field("failoverPriority"),
            Code::SchemaWarning,
            "`failoverPriority` has no effect beside `distribute`",
            "keep one of them",
        );
    }
    let shares = shares(distribute, &at_distribute, notes);
    let order = order(failover, failover_priority, ejects, at, notes);
    Some(match enabled {
        Some(false) => LocalityLb::Off,
        Some(true) | None if !shares.is_empty() => LocalityLb::Distribute(shares.into()),
        Some(true) | None => LocalityLb::Failover(order),
    })
}

/// What of `zoneAwareLbSetting` stock Envoy can do: the order of the endpoints.
pub(super) fn read_zones(
    wire: istio_api::ZoneAwareLbSetting,
    ejects: bool,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<LocalityLb> {
    let istio_api::ZoneAwareLbSetting {
        enabled,
        failover,
        failover_priority,
        min_cluster_size,
    } = wire;
    let at_size = at.field("minClusterSize");
    notes.number(&at_size, min_cluster_size, &UNSIGNED);
    let order = order(failover, failover_priority, ejects, at, notes);
    if enabled == Some(false) {
        return Some(LocalityLb::Off);
    }
    notes.warn(
        at,
        Code::SchemaWarning,
        "even load among zones needs to know the callers' own cluster, which Envoys of the mesh do not",
        "near endpoints are preferred, as by `localityLbSetting`; write that instead",
    );
    Some(LocalityLb::Failover(order))
}

fn shares(
    wire: Vec<istio_api::LocalityDistribute>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Vec<Distribution> {
    let mut found: Vec<Distribution> = Vec::with_capacity(wire.len());
    for (index, wire) in wire.into_iter().enumerate() {
        let at = at.item(index);
        let istio_api::LocalityDistribute { from, to } = wire;
        let at_from = at.field("from");
        let from = pattern(from.as_deref().unwrap_or(""), &at_from, notes);
        let to = percentages(to, &at.field("to"), notes);
        let Some(from) = from else { continue };
        if found.iter().any(|other| other.from.overlaps(&from)) {
            let message = "an earlier item is for clients of the same locality";
            notes.refuse(&at_from, message, "name each locality once");
        }
        found.push(Distribution { from, to });
    }
    found
}

fn percentages(
    wire: BTreeMap<String, i64>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> BTreeMap<LocalityPattern, u32> {
    let mut found: BTreeMap<LocalityPattern, u32> = BTreeMap::new();
    for (name, percent) in &wire {
        let at = at.field(name);
        let percent = notes.number(&at, Some(*percent), &(1..=100));
        let Some((pattern, percent)) = pattern(name, &at, notes).zip(percent) else {
            continue;
        };
        if found.keys().any(|other| other.overlaps(&pattern)) {
            let message = "another locality here holds some of the same endpoints";
            notes.refuse(&at, message, "name each locality once");
        }
        found.insert(pattern, percent);
    }
    let sum: u32 = found.values().sum();
    if found.len() == wire.len() && sum != 100 {
        notes.refuse(
            at,
            format!("the percentages add up to {sum}"),
            "they must add up to 100",
        );
    }
    found
}

fn pattern(text: &str, at: &At<'_>, notes: &mut Notes<'_>) -> Option<LocalityPattern> {
    let found = LocalityPattern::new(text);
    if found.is_none() {
        let message = format!("{text:?} is not a locality");
        notes.refuse(
            at,
            message,
            "write `region/zone/subzone`, of which the end may be `*`",
        );
    }
    found
}

fn order(
    failover: Vec<istio_api::LocalityFailover>,
    priority: Vec<String>,
    ejects: bool,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Failover {
    let (at_failover, at_priority) = (at.field("failover"), at.field("failoverPriority"));
    if (failover.is_written() || priority.is_written()) && !ejects {
        let at = if failover.is_written() {
            &at_failover
        } else {
            &at_priority
        };
        notes.warn(
            at,
            Code::SchemaWarning,
            "without `outlierDetection` no endpoint is ever bad, so that nothing fails over",
            "add `outlierDetection`; until then the field has no effect",
        );
    }
    if failover.is_written()
        && let Some(topology) = priority
            .iter()
            .find(|label| TOPOLOGY.contains(&label.as_str()))
    {
        let message = format!("`{topology}` stands beside `failover`, which decides by the same");
        notes.refuse(&at_priority, message, "keep one of them");
    }
    Failover {
        labels: labels(&priority, &at_priority, notes),
        regions: regions(failover, &at_failover, notes),
    }
}

fn labels(wire: &[String], at: &At<'_>, notes: &mut Notes<'_>) -> Arc<[PriorityLabel]> {
    let mut found = Vec::with_capacity(wire.len());
    for (index, text) in wire.iter().enumerate() {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.into())),
            None => (text.as_str(), None),
        };
        if key.is_empty() {
            notes.missing(&at.item(index), "write `key` or `key=value`");
            continue;
        }
        found.push(PriorityLabel {
            key: key.into(),
            value,
        });
    }
    found.into()
}

fn regions(
    wire: Vec<istio_api::LocalityFailover>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Arc<[(Arc<str>, Arc<str>)]> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::with_capacity(wire.len());
    for (index, wire) in wire.into_iter().enumerate() {
        let at = at.item(index);
        let istio_api::LocalityFailover { from, to } = wire;
        let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
        for (name, region) in [("from", &from), ("to", &to)] {
            if region.contains(['/', '*']) {
                let message = format!("{region:?} is not a region");
                notes.refuse(&at.field(name), message, "only regions fail over; name one");
            }
        }
        if from == to {
            let message = "`from` and `to` are the same region";
            notes.refuse(&at.field("to"), message, "name another region");
        } else if !seen.insert(from.clone()) {
            notes.warn(
                &at.field("from"),
                Code::SchemaWarning,
                format!("an earlier item already says where {from:?} fails over to"),
                "the first one holds; leave this one out",
            );
        }
        found.push((from.into(), to.into()));
    }
    found.into()
}
