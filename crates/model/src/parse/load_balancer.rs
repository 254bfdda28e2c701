//! `loadBalancer` of a traffic policy.

use std::ops::RangeInclusive;
use std::time::Duration;

use istio_api::SimpleLb;

use super::locality;
use super::notes::{At, Notes, Written};
use super::value::{MILLISECOND, PERCENT, text};
use crate::{
    Code, ConsistentHash, HashCookie, HashKey, HashTable, LoadBalancer, LoadBalancing, LocalityLb,
    Warmup,
};

/// What Envoy's rings may be at least: its own limit is the largest that it builds.
const RING: RangeInclusive<i64> = 0..=8_388_608;
/// What Envoy's Maglev tables may be.
const TABLE: RangeInclusive<i64> = 1..=5_000_010;

/// Reads how endpoints are chosen. `ejects`: whether `outlierDetection` stands beside.
pub(super) fn read(
    wire: istio_api::LoadBalancerSettings,
    ejects: bool,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> LoadBalancing {
    let istio_api::LoadBalancerSettings {
        simple,
        consistent_hash,
        locality_lb_setting: near,
        zone_aware_lb_setting: zones,
        warmup_duration_secs: deprecated,
        warmup,
    } = wire;
    if simple.is_some() && consistent_hash.is_some() {
        let message = "`simple` and `consistentHash` exclude each other";
        notes.refuse(at, message, "keep one of them");
    }
    if near.is_some() && zones.is_some() {
        let message = "`localityLbSetting` and `zoneAwareLbSetting` exclude each other";
        notes.refuse(at, message, "keep one of them");
    }
    let policy = match (consistent_hash, simple) {
        (Some(wire), _) => {
            LoadBalancer::ConsistentHash(hash(wire, &at.field("consistentHash"), notes))
        }
        (None, Some(simple)) => of_word(simple, &at.field("simple"), notes),
        (None, None) => LoadBalancer::default(),
    };
    let near =
        near.and_then(|wire| locality::read(wire, ejects, &at.field("localityLbSetting"), notes));
    let zones = zones.and_then(|wire| {
        locality::read_zones(wire, ejects, &at.field("zoneAwareLbSetting"), notes)
    });
    if let (LoadBalancer::ConsistentHash(_), Some(near)) = (&policy, &near) {
        by_place(near, &at.field("localityLbSetting"), notes);
    }
    LoadBalancing {
        warmup: read_warmup(warmup, deprecated, &policy, at, notes),
        locality: near.or(zones),
        policy,
    }
}

/// A key means one endpoint only where all callers choose among the same.
fn by_place(near: &LocalityLb, at: &At<'_>, notes: &mut Notes<'_>) {
    if *near != LocalityLb::Off {
        let message = "the key chooses among the endpoints that a caller prefers, so callers of other places find another endpoint";
        let hint = "write `enabled: false` if all callers of a key must meet";
        notes.info(at, Code::SchemaWarning, message, hint);
    }
}

fn of_word(simple: SimpleLb, at: &At<'_>, notes: &mut Notes<'_>) -> LoadBalancer {
    match simple {
        SimpleLb::Unspecified | SimpleLb::LeastRequest => LoadBalancer::LeastRequest,
        SimpleLb::LeastConn => {
            let message = "`LEAST_CONN` is deprecated";
            notes.warn(at, Code::Deprecated, message, "write `LEAST_REQUEST`");
            LoadBalancer::LeastRequest
        }
        SimpleLb::Random => LoadBalancer::Random,
        SimpleLb::Passthrough => LoadBalancer::Passthrough,
        SimpleLb::RoundRobin => LoadBalancer::RoundRobin,
    }
}

fn hash(wire: istio_api::ConsistentHashLb, at: &At<'_>, notes: &mut Notes<'_>) -> ConsistentHash {
    let istio_api::ConsistentHashLb {
        http_header_name: header,
        http_cookie: cookie,
        use_source_ip: source,
        http_query_parameter_name: parameter,
        ring_hash,
        maglev,
        minimum_ring_size: smallest,
    } = wire;
    let written = [
        header.is_some(),
        cookie.is_some(),
        source.is_some(),
        parameter.is_some(),
    ];
    if written.into_iter().filter(|written| *written).count() > 1 {
        let message = "only one of `httpHeaderName`, `httpCookie`, `useSourceIp` and `httpQueryParameterName` may be set";
        notes.refuse(at, message, "keep the one that tells the callers apart");
    }
    let key = text(header)
        .map(HashKey::Header)
        .or_else(|| text(parameter).map(HashKey::QueryParameter))
        .or_else(|| {
            Some(HashKey::Cookie(read_cookie(
                cookie?,
                &at.field("httpCookie"),
                notes,
            )?))
        })
        .or_else(|| source.unwrap_or(false).then_some(HashKey::SourceIp));
    if key.is_none() && !notes.has_error_under(at) {
        notes.warn(
            at,
            Code::SchemaWarning,
            "nothing is hashed, so any endpoint is chosen",
            "set `httpHeaderName`, `httpCookie`, `useSourceIp` or `httpQueryParameterName`",
        );
    }
    ConsistentHash {
        key,
        table: table(ring_hash, maglev, smallest, at, notes),
    }
}

fn read_cookie(
    wire: istio_api::HttpCookie,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<HashCookie> {
    let istio_api::HttpCookie {
        name,
        path,
        ttl,
        attributes,
    } = wire;
    let name = text(name);
    if name.is_none() {
        notes.missing(&at.field("name"), "name the cookie");
    }
    let at_attributes = at.field("attributes");
    let mut read = Vec::with_capacity(attributes.len());
    for (index, wire) in attributes.into_iter().enumerate() {
        let istio_api::HttpCookieAttribute { name, value } = wire;
        match text(name) {
            Some(name) => read.push((name, text(value).unwrap_or_default())),
            None => {
                let at = at_attributes.item(index);
                notes.missing(&at.field("name"), "name the attribute, such as `SameSite`");
            }
        }
    }
    Some(HashCookie {
        name: name?,
        path: text(path),
        ttl: notes.duration(&at.field("ttl"), ttl.as_deref(), Duration::ZERO),
        attributes: read.into(),
    })
}

fn table(
    ring: Option<istio_api::RingHash>,
    maglev: Option<istio_api::Maglev>,
    smallest: Option<i64>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> HashTable {
    if ring.is_some() && maglev.is_some() {
        let message = "`ringHash` and `maglev` exclude each other";
        notes.refuse(at, message, "keep one of them");
    }
    let at_smallest = at.field("minimumRingSize");
    let smallest = smallest.filter(|&size| size != 0);
    if smallest.is_some() {
        let message = "`minimumRingSize` is deprecated";
        let hint = "write `ringHash: {minimumRingSize: ...}`";
        notes.warn(&at_smallest, Code::Deprecated, message, hint);
        if ring.is_some() || maglev.is_some() {
            let message = "`minimumRingSize` stands beside `ringHash` or `maglev`";
            notes.refuse(&at_smallest, message, "leave it out");
        }
    }
    let given = |size: Option<u32>| size.filter(|&size| size > 0);
    if let Some(istio_api::Maglev { table_size }) = maglev {
        let at = at.field("maglev");
        return HashTable::Maglev(prime(table_size, &at.field("tableSize"), notes));
    }
    if let Some(istio_api::RingHash { minimum_ring_size }) = ring {
        let at = at.field("ringHash");
        let at = at.field("minimumRingSize");
        return HashTable::Ring(given(notes.number(&at, minimum_ring_size, &RING)));
    }
    HashTable::Ring(given(notes.number(&at_smallest, smallest, &RING)))
}

/// The size of a Maglev table, which Istio demands.
fn prime(size: Option<i64>, at: &At<'_>, notes: &mut Notes<'_>) -> u32 {
    let hint = "write a prime below 5000011, such as 65537";
    if size.is_none() {
        notes.missing(at, hint);
    }
    let size = notes.number(at, size, &TABLE);
    if let Some(size) = size.filter(|&size| !is_prime(size)) {
        notes.refuse(at, format!("{size} is no prime"), hint);
    }
    size.unwrap_or(65_537)
}

fn is_prime(number: u32) -> bool {
    let divides = |factor: u32| number.checked_rem(factor) == Some(0);
    let small = (2..).take_while(|&factor: &u32| u64::from(factor).pow(2) <= u64::from(number));
    number > 0 && !small.into_iter().any(divides)
}

fn read_warmup(
    wire: Option<istio_api::WarmupConfiguration>,
    deprecated: Option<String>,
    policy: &LoadBalancer,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<Warmup> {
    let at_old = at.field("warmupDurationSecs");
    let at_warmup = at.field("warmup");
    let old = notes.duration(&at_old, deprecated.as_deref(), Duration::ZERO);
    if deprecated.is_written() {
        let message = "`warmupDurationSecs` is deprecated";
        let hint = "write `warmup: {duration: ...}`";
        notes.warn(&at_old, Code::Deprecated, message, hint);
    }
    let (field, found) = match wire {
        Some(wire) => (&at_warmup, of_warmup(wire, &at_warmup, notes)),
        None => {
            let of_old = |duration| Warmup {
                duration,
                minimum_percent: None,
                aggression: None,
            };
            let old = old.filter(|duration| *duration >= MILLISECOND);
            (&at_old, old.map(of_old))
        }
    };
    let knows = match policy {
        LoadBalancer::LeastRequest | LoadBalancer::RoundRobin => true,
        LoadBalancer::Random | LoadBalancer::Passthrough | LoadBalancer::ConsistentHash(_) => false,
    };
    if found.is_some() && !knows {
        notes.warn(
            field,
            Code::SchemaWarning,
            "only `LEAST_REQUEST` and `ROUND_ROBIN` know new endpoints",
            "the field has no effect; leave it out, or choose one of them",
        );
    }
    found
}

fn of_warmup(
    wire: istio_api::WarmupConfiguration,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<Warmup> {
    let istio_api::WarmupConfiguration {
        duration,
        minimum_percent,
        aggression,
    } = wire;
    if duration.is_none() {
        notes.missing(&at.field("duration"), "say how long an endpoint is new");
    }
    let at_percent = at.field("minimumPercent");
    let minimum_percent = notes.decimal(&at_percent, minimum_percent, &PERCENT);
    let steepest = 1..=i64::from(u32::MAX);
    let aggression = notes.decimal(&at.field("aggression"), aggression, &steepest);
    let at = at.field("duration");
    Some(Warmup {
        duration: notes.duration(&at, duration.as_deref(), MILLISECOND)?,
        minimum_percent,
        aggression,
    })
}
