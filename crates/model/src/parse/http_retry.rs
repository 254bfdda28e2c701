//! `spec.http[].retries` of a VirtualService: when a request is tried again, and how often.

use std::sync::Arc;

use super::notes::{At, Notes};
use super::value::{COUNT, MILLISECOND};
use crate::Retries;

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

/// Reads `retries`.
pub(super) fn read(wire: istio_api::HttpRetry, at: &At<'_>, notes: &mut Notes<'_>) -> Retries {
    let istio_api::HttpRetry {
        attempts,
        per_try_timeout,
        retry_on,
        retry_remote_localities,
        retry_ignore_previous_hosts,
        backoff,
    } = wire;
    let attempts = notes
        .number(&at.field("attempts"), attempts, &COUNT)
        .unwrap_or(0);
    let has_settings =
        per_try_timeout.is_some() || retry_on.is_some() || retry_remote_localities.is_some();
    if attempts == 0 && has_settings {
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
        remote_localities: retry_remote_localities.unwrap_or(false),
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
