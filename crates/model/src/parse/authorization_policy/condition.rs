//! `when[]`: conditions on attributes, by Istio's keys.

use std::sync::Arc;

use super::super::notes::{At, Notes};
use super::pattern::{
    Both, accounts, addresses, each, of_tokens, pattern, patterns, ports, principals,
};
use crate::{Condition, MetadataPattern};

/// Reads a condition; none if it is refused.
pub(super) fn read(
    wire: istio_api::Condition,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<Condition> {
    let istio_api::Condition {
        key,
        values,
        not_values,
    } = wire;
    if values.is_empty() && not_values.is_empty() {
        notes.missing(&at.field("values"), "write `values`, `notValues` or both");
    }
    let key = key.unwrap_or_default();
    if key.is_empty() {
        let at = at.field("key");
        notes.missing(&at, "name the attribute that is compared");
        return None;
    }
    let both = Both {
        any: ("values", &values),
        none: ("notValues", &not_values),
    };
    let Some(condition) = by_name(&key, &both, at, notes) else {
        return indexed(&key, &both, at, notes);
    };
    Some(condition)
}

/// The attributes that are named by a word.
fn by_name(key: &str, both: &Both<'_>, at: &At<'_>, notes: &mut Notes<'_>) -> Option<Condition> {
    let claim = |name: &str, notes: &mut Notes<'_>| {
        let path = Arc::from([Arc::from(name)]);
        Condition::Claim(path, both.read(at, notes, of_tokens))
    };
    Some(match key {
        "source.ip" => Condition::SourceIp(both.read(at, notes, addresses)),
        "remote.ip" => Condition::RemoteIp(both.read(at, notes, addresses)),
        "source.namespace" => Condition::Namespace(both.read(at, notes, patterns)),
        "source.principal" => Condition::Principal(both.read(at, notes, principals)),
        "source.serviceAccount" => Condition::ServiceAccount(both.read(at, notes, accounts)),
        "source.trustDomain" => Condition::TrustDomain(both.read(at, notes, patterns)),
        "request.auth.principal" => Condition::RequestPrincipal(both.read(at, notes, of_tokens)),
        "request.auth.audiences" => claim("aud", notes),
        "request.auth.presenter" => claim("azp", notes),
        "destination.ip" => Condition::DestinationIp(both.read(at, notes, addresses)),
        "destination.port" => Condition::DestinationPort(both.read(at, notes, ports)),
        "connection.sni" => Condition::Sni(both.read(at, notes, patterns)),
        _ => return None,
    })
}

/// The attributes that are named by a word and what stands in brackets.
fn indexed(key: &str, both: &Both<'_>, at: &At<'_>, notes: &mut Notes<'_>) -> Option<Condition> {
    let Some((name, index)) = key.split_once('[').filter(|_| key.ends_with(']')) else {
        return refuse(key, at, notes);
    };
    let index = index.strip_suffix(']').unwrap_or(index);
    if index.is_empty() {
        return refuse(key, at, notes);
    }
    match (name, name.strip_prefix("experimental.")) {
        ("request.headers", _) if is_header(index) => {
            let name = index.to_ascii_lowercase().into();
            Some(Condition::Header(name, both.read(at, notes, patterns)))
        }
        ("request.auth.claims", _) => {
            let path: Arc<[Arc<str>]> = index.split("][").map(Arc::from).collect();
            if path.iter().any(|claim| claim.is_empty()) {
                return refuse(key, at, notes);
            }
            Some(Condition::Claim(path, both.read(at, notes, of_tokens)))
        }
        (_, Some(filter))
            if filter.len() > "envoy.filters.".len() && filter.starts_with("envoy.filters.") =>
        {
            Some(Condition::Metadata {
                filter: filter.into(),
                key: index.into(),
                values: both.read(at, notes, metadata),
            })
        }
        _ => refuse(key, at, notes),
    }
}

/// What may stand in the name of a header.
fn is_header(name: &str) -> bool {
    name.bytes()
        .all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:".contains(&c))
}

/// `value`, or `[value]` for an item of a list.
fn metadata(list: &[String], at: &At<'_>, notes: &mut Notes<'_>) -> Arc<[MetadataPattern]> {
    each(list, at, notes, |text, at, notes| {
        let inside = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        match inside {
            Some("") => {
                notes.refuse(at, "the value is empty", "write a value, or `[*]` for any");
                None
            }
            Some(item) => Some(MetadataPattern::Item(pattern(item, at, notes))),
            None => Some(MetadataPattern::Text(pattern(text, at, notes))),
        }
    })
}

fn refuse(key: &str, at: &At<'_>, notes: &mut Notes<'_>) -> Option<Condition> {
    let hint = match key {
        "destination.namespace" => "a policy holds in its own namespace; leave it out",
        "destination.user" | "destination.name" => "name workloads by `spec.selector`",
        key if key.starts_with("destination.labels") => "name workloads by `spec.selector`",
        _ => "such as request.headers[x-token], source.ip, destination.port",
    };
    let message = format!("{key:?} is not an attribute");
    notes.refuse(&at.field("key"), message, hint);
    None
}
