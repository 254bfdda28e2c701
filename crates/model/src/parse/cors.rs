//! `spec.http[].corsPolicy` of a VirtualService: which other origins a browser may call from.

use std::sync::Arc;
use std::time::Duration;

use super::header_operations::is_header_name;
use super::http_match::string_match;
use super::notes::{At, Notes, Written};
use crate::{Code, CorsPolicy, StringMatch};

/// The methods that Istio takes for `allowMethods`.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*",
];

/// Reads `corsPolicy`.
pub(super) fn read(
    wire: Option<istio_api::CorsPolicy>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<Arc<CorsPolicy>> {
    let istio_api::CorsPolicy {
        allow_origin,
        allow_origins,
        allow_methods,
        allow_headers,
        expose_headers,
        max_age,
        allow_credentials,
        unmatched_preflights,
    } = wire?;
    let is_method = |method: &str| METHODS.contains(&method);
    let methods_at = at.field("allowMethods");
    let methods = words(allow_methods, &methods_at, "method", is_method, notes);
    let headers = words(
        allow_headers,
        &at.field("allowHeaders"),
        "header",
        is_header_name,
        notes,
    );
    let exposed = words(
        expose_headers,
        &at.field("exposeHeaders"),
        "header",
        is_header_name,
        notes,
    );
    let forwards_unmatched = match unmatched_preflights {
        Some(istio_api::UnmatchedPreflights::Ignore) => false,
        Some(
            istio_api::UnmatchedPreflights::Unspecified | istio_api::UnmatchedPreflights::Forward,
        )
        | None => true,
    };
    Some(Arc::new(CorsPolicy {
        allow_origins: origins(allow_origin, allow_origins, at, notes),
        allow_methods: methods,
        allow_headers: headers,
        expose_headers: exposed,
        max_age: seconds(max_age.as_deref(), &at.field("maxAge"), notes),
        allow_credentials,
        forwards_unmatched,
    }))
}

/// `allowOrigins`; where there is none, the deprecated `allowOrigin`.
fn origins(
    deprecated: Vec<String>,
    origins: Vec<istio_api::StringMatch>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Arc<[StringMatch]> {
    if deprecated.is_written() {
        notes.deprecated(&at.field("allowOrigin"), "allowOrigins");
        if origins.is_written() {
            let message = "`allowOrigins` stands beside `allowOrigin` and holds";
            let hint = "leave this one out";
            notes.warn(&at.field("allowOrigin"), Code::SchemaWarning, message, hint);
        } else {
            let exact = |origin: String| StringMatch::Exact(origin.into());
            return deprecated.into_iter().map(exact).collect();
        }
    }
    let at = at.field("allowOrigins");
    let mut found = Vec::with_capacity(origins.len());
    for (index, wire) in origins.into_iter().enumerate() {
        let at = at.item(index);
        let says = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        if says(&wire.exact) || says(&wire.prefix) || says(&wire.regex) {
            found.extend(string_match(wire, &at, notes));
        } else {
            let hint = "write `exact`, `prefix` or `regex`";
            notes.refuse(&at, "the origin says nothing", hint);
        }
    }
    found.into()
}

fn words(
    list: Vec<String>,
    at: &At<'_>,
    what: &str,
    is_good: impl Fn(&str) -> bool,
    notes: &mut Notes<'_>,
) -> Arc<[Arc<str>]> {
    for (index, word) in list.iter().enumerate() {
        if !is_good(word) {
            let message = format!("{word:?} is not the name of a {what}");
            notes.refuse(&at.item(index), message, "");
        }
    }
    list.into_iter().map(Arc::from).collect()
}

fn seconds(text: Option<&str>, at: &At<'_>, notes: &mut Notes<'_>) -> Option<u64> {
    let age = notes.duration(at, text, Duration::ZERO)?;
    if age.subsec_nanos() > 0 {
        let message = "browsers count it in whole seconds";
        notes.refuse(at, message, "write whole seconds");
    }
    Some(age.as_secs())
}
