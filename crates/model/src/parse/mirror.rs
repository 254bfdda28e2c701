//! `mirror` and `mirrors` of `spec.http[]`: services that get copies of requests.

use std::sync::Arc;

use super::http_route::read_destination;
use super::notes::{At, Notes, Written};
use super::value::PERCENT;
use crate::{Code, Mirror, Share};

/// The fields of a route that say what is mirrored.
pub(super) struct Wire {
    /// `mirror`.
    pub(super) mirror: Option<istio_api::Destination>,
    /// `mirrors`.
    pub(super) mirrors: Vec<istio_api::HttpMirrorPolicy>,
    /// `mirrorPercentage`.
    pub(super) percentage: Option<istio_api::Percent>,
    /// `mirrorPercent`.
    pub(super) percent: Option<i64>,
    /// `mirror_percent`.
    pub(super) percent_snake: Option<i64>,
}

/// Reads `mirror` with its percentage, and `mirrors`.
pub(super) fn read(
    wire: Wire,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> (Option<Mirror>, Arc<[Mirror]>) {
    let has_mirror = wire.mirror.is_written();
    if has_mirror && wire.mirrors.is_written() {
        let message = "`mirror` and `mirrors` exclude each other";
        notes.refuse(&at.field("mirrors"), message, "name all in `mirrors`");
    }
    let share = share_of_mirror(&wire, at, notes);
    let Wire {
        mirror, mirrors, ..
    } = wire;
    let own = mirror
        .and_then(|wire| read_destination(Some(wire), &at.field("mirror"), notes))
        .map(|destination| Mirror { destination, share });
    let at = at.field("mirrors");
    let mut found = Vec::with_capacity(mirrors.len());
    for (index, wire) in mirrors.into_iter().enumerate() {
        let at = at.item(index);
        let istio_api::HttpMirrorPolicy {
            destination,
            percentage,
        } = wire;
        let share = notes.share(&at.field("percentage"), percentage);
        let destination = read_destination(destination, &at.field("destination"), notes);
        found.extend(destination.map(|destination| Mirror {
            destination,
            share: share.unwrap_or(Share::ALL),
        }));
    }
    (own, found.into())
}

/// How many requests `mirror` gets: the first of its percentages that is written, else all.
fn share_of_mirror(wire: &Wire, at: &At<'_>, notes: &mut Notes<'_>) -> Share {
    const PERCENTAGE: &str = "mirrorPercentage";
    let deprecated = [
        ("mirrorPercent", wire.percent),
        ("mirror_percent", wire.percent_snake),
    ];
    let mut said = wire.percentage.is_some().then_some(PERCENTAGE);
    let mut share = notes.share(&at.field(PERCENTAGE), wire.percentage.clone());
    for (name, number) in deprecated {
        let at = at.field(name);
        let Some(percent) = notes.number(&at, number, &PERCENT) else {
            continue;
        };
        notes.deprecated(&at, PERCENTAGE);
        if let Some(first) = said {
            let message = format!("`{first}` stands beside `{name}` and holds");
            notes.warn(&at, Code::SchemaWarning, message, "leave this one out");
        } else {
            said = Some(name);
            share = Share::of_percent(f64::from(percent));
        }
    }
    if let Some(name) = said.filter(|_| wire.mirror.is_none()) {
        let message = "the percentage is that of `mirror`, and there is none";
        let hint = "each of `mirrors` has a `percentage` of its own";
        notes.warn(&at.field(name), Code::SchemaWarning, message, hint);
    }
    share.unwrap_or(Share::ALL)
}
