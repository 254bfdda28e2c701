//! `spec.http[]` of a VirtualService: what is done with a request.

use std::sync::Arc;

use super::http_match;
use super::notes::{At, Notes, Written};
use super::value::{self, COUNT, MILLISECOND};
use super::virtual_service::unavailable;
use crate::{
    Destination, HttpAction, HttpMatch, HttpRoute, Retries, StringMatch, WeightedDestination,
};

/// The conditions that Envoy knows for `retryOn`, besides status codes.
const RETRY_ON: &[&str] = &[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

/// Reads one route.
pub(super) fn read(
    wire: istio_api::HttpRoute,
    in_mesh: bool,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> HttpRoute {
    let istio_api::HttpRoute {
        name,
        r#match,
        route,
        redirect,
        direct_response,
        delegate,
        rewrite,
        timeout,
        retries,
        fault,
        mirror,
        mirrors,
        mirror_percent,
        mirror_percent_snake,
        mirror_percentage,
        cors_policy,
        headers,
    } = wire;
    notes.not_yet(&at.field("rewrite"), &rewrite);
    notes.not_yet(&at.field("fault"), &fault);
    notes.not_yet(&at.field("mirror"), &mirror);
    notes.not_yet(&at.field("mirrors"), &mirrors);
    notes.not_yet(&at.field("mirrorPercent"), &mirror_percent);
    notes.not_yet(&at.field("mirror_percent"), &mirror_percent_snake);
    notes.not_yet(&at.field("mirrorPercentage"), &mirror_percentage);
    notes.not_yet(&at.field("corsPolicy"), &cors_policy);
    notes.not_yet(&at.field("headers"), &headers);
    let match_at = at.field("match");
    let mut matches = Vec::with_capacity(r#match.len());
    for (index, wire) in r#match.into_iter().enumerate() {
        matches.push(http_match::read(
            wire,
            in_mesh,
            &match_at.item(index),
            notes,
        ));
    }
    let actions = Actions {
        route,
        redirect,
        direct_response,
        delegate,
    };
    HttpRoute {
        name: value::text(name),
        matches: matches.into(),
        action: action(actions, at, notes),
        timeout: notes
            .duration(
                &at.field("timeout"),
                timeout.as_deref(),
                std::time::Duration::ZERO,
            )
            .filter(|timeout| !timeout.is_zero()),
        retries: retries.map(|retries| read_retries(retries, &at.field("retries"), notes)),
    }
}

/// Whether a set of conditions holds for every request.
pub(super) fn takes_every_request(conditions: &HttpMatch) -> bool {
    let HttpMatch {
        name: _,
        uri,
        method,
        headers,
        port,
        never,
    } = conditions;
    let any_path = match uri {
        None => true,
        Some(StringMatch::Prefix(prefix)) => &**prefix == "/",
        Some(StringMatch::Regex(regex)) => matches!(regex.as_str(), ".*" | "/.*"),
        Some(StringMatch::Exact(_) | StringMatch::Present) => false,
    };
    any_path && method.is_none() && headers.is_empty() && port.is_none() && !never
}

/// The fields of a route that exclude each other.
struct Actions {
    route: Vec<istio_api::HttpRouteDestination>,
    redirect: Option<istio_api::HttpRedirect>,
    direct_response: Option<istio_api::HttpDirectResponse>,
    delegate: Option<istio_api::Delegate>,
}

fn action(actions: Actions, at: &At<'_>, notes: &mut Notes<'_>) -> HttpAction {
    let Actions {
        route,
        redirect,
        direct_response,
        delegate,
    } = actions;
    let written: Vec<&str> = [
        ("route", route.is_written()),
        ("redirect", redirect.is_written()),
        ("directResponse", direct_response.is_written()),
        ("delegate", delegate.is_written()),
    ]
    .into_iter()
    .filter_map(|(name, written)| written.then_some(name))
    .collect();
    if written.len() > 1 {
        let message = format!("{} exclude each other", value::listed(&written));
        notes.refuse(at, message, "keep one of them");
    }
    let answers_503 = "requests that match are answered with 503";
    notes.not_yet_with(&at.field("redirect"), &redirect, answers_503);
    notes.not_yet_with(&at.field("directResponse"), &direct_response, answers_503);
    notes.not_yet_with(&at.field("delegate"), &delegate, answers_503);
    match written.first() {
        None => {
            notes.missing(
                &at.field("route"),
                "name a destination, or a redirect or direct response",
            );
            HttpAction::Unavailable("the route has no destination".into())
        }
        Some(&"route") => HttpAction::Route(destinations(route, &at.field("route"), notes)),
        Some(action) => unavailable(action),
    }
}

fn destinations(
    wire: Vec<istio_api::HttpRouteDestination>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Arc<[WeightedDestination]> {
    let single = wire.len() == 1;
    let mut found = Vec::with_capacity(wire.len());
    let mut sum = 0_u64;
    for (index, wire) in wire.into_iter().enumerate() {
        let at = at.item(index);
        let istio_api::HttpRouteDestination {
            destination,
            weight,
            headers,
        } = wire;
        notes.not_yet(&at.field("headers"), &headers);
        let weight = notes.number(&at.field("weight"), weight, &COUNT);
        // Istio: the only destination gets everything, whatever its weight.
        let weight = if single { 100 } else { weight.unwrap_or(0) };
        sum += u64::from(weight);
        let destination = read_destination(destination, &at.field("destination"), notes);
        found.extend(destination.map(|destination| WeightedDestination {
            destination,
            weight,
        }));
    }
    if sum == 0 {
        notes.refuse(
            at,
            "the weights sum to 0",
            "give at least one destination a weight",
        );
    }
    if sum > u64::from(u32::MAX) {
        notes.refuse(
            at,
            "the weights sum to more than 4294967295",
            "use smaller weights",
        );
    }
    found.into()
}

pub(super) fn read_destination(
    wire: Option<istio_api::Destination>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<Destination> {
    let Some(istio_api::Destination { host, subset, port }) = wire else {
        notes.missing(at, "name the host that requests go to");
        return None;
    };
    let subset = subset.filter(|subset| !subset.is_empty());
    let port_at = at.field("port");
    let port = port.and_then(|istio_api::PortSelector { number }| {
        if number.is_none() {
            notes.missing(
                &port_at.field("number"),
                "give the number of the service's port",
            );
        }
        notes.port(&port_at.field("number"), number)
    });
    let subset = match subset {
        Some(subset) => Some(notes.name(&at.field("subset"), &subset)?),
        None => None,
    };
    Some(Destination {
        host: notes.host(&at.field("host"), host.as_deref())?,
        subset,
        port,
    })
}

fn read_retries(wire: istio_api::HttpRetry, at: &At<'_>, notes: &mut Notes<'_>) -> Retries {
    let istio_api::HttpRetry {
        attempts,
        per_try_timeout,
        retry_on,
        retry_remote_localities,
        retry_ignore_previous_hosts,
        backoff,
    } = wire;
    notes.not_yet(&at.field("retryRemoteLocalities"), &retry_remote_localities);
    let attempts = notes
        .number(&at.field("attempts"), attempts, &COUNT)
        .unwrap_or(0);
    if attempts == 0 && (per_try_timeout.is_some() || retry_on.is_some()) {
        notes.error(
            &at.field("attempts"),
            "there are settings for retries, but `attempts` is 0: retries are off",
            "set `attempts`, or leave the other settings out",
        );
    }
    let (retry_on, status_codes) = read_retry_on(retry_on.as_deref(), &at.field("retryOn"), notes);
    let per_try_timeout = per_try_timeout.as_deref();
    Retries {
        attempts,
        per_try_timeout: notes.duration(&at.field("perTryTimeout"), per_try_timeout, MILLISECOND),
        retry_on,
        status_codes,
        backoff: notes.duration(&at.field("backoff"), backoff.as_deref(), MILLISECOND),
        ignore_previous_hosts: retry_ignore_previous_hosts,
    }
}

/// Takes `retryOn` apart. Status codes take effect by a condition of their own, which Istio adds.
fn read_retry_on(
    text: Option<&str>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> (Option<Arc<str>>, Arc<[u32]>) {
    const BY_CODE: &str = "retriable-status-codes";
    let mut conditions = Vec::new();
    let mut codes = std::collections::BTreeSet::new();
    let words = text.into_iter().flat_map(|text| text.split(','));
    for word in words.map(str::trim).filter(|word| !word.is_empty()) {
        match word.parse::<u32>() {
            Ok(code) if (100..600).contains(&code) => {
                codes.insert(code);
            }
            Ok(_) => notes.refuse(
                at,
                format!("{word:?} is not a status code"),
                "it must be 100 to 599",
            ),
            Err(_) if RETRY_ON.contains(&word) => conditions.push(word),
            Err(_) => {
                let hint = format!(
                    "the conditions are {} and status codes",
                    RETRY_ON.join(", ")
                );
                notes.refuse(at, format!("{word:?} is not a condition for retries"), hint);
            }
        }
    }
    if !codes.is_empty() && !conditions.contains(&BY_CODE) {
        conditions.push(BY_CODE);
    }
    let conditions = (!conditions.is_empty()).then(|| conditions.join(",").into());
    (conditions, codes.into_iter().collect())
}
