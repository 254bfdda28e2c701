//! `spec.http[].match[]` of a VirtualService: which requests a route takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::header_operations::is_header_name;
use super::notes::{At, Notes};
use super::value;
use super::virtual_service::MESH;
use crate::{Client, Code, Conditions, HttpMatch, StringMatch};

/// The longest name of a query parameter that Envoy takes, in bytes.
const MAX_PARAM: usize = 1024;

/// Reads one set of conditions. What cannot be checked makes it match nothing, rather than too much.
pub(super) fn read(
    wire: istio_api::HttpMatchRequest,
    in_mesh: bool,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> HttpMatch {
    let istio_api::HttpMatchRequest {
        name,
        uri,
        scheme,
        method,
        authority,
        headers,
        port,
        source_labels,
        gateways,
        query_params,
        ignore_uri_case,
        without_headers,
        source_namespace,
        stat_prefix,
    } = wire;
    let mut never = notes.has_unknown_under(at);
    // Conditions for other gateways than the sidecars' are right as they are: no sidecar meets them.
    let elsewhere = !gateways.is_empty() && !gateways.iter().any(|gateway| gateway == MESH);
    never |= in_mesh && elsewhere;
    let mut of = |field: &str, wire: Option<istio_api::StringMatch>| {
        wire.and_then(|wire| condition(wire, &at.field(field), notes))
    };
    let (scheme, method) = (of("scheme", scheme), of("method", method));
    let authority = of("authority", authority);
    let (headers, of_claims) = read_headers(headers, &at.field("headers"), notes);
    let (without_headers, _) = read_headers(without_headers, &at.field("withoutHeaders"), notes);
    HttpMatch {
        name: value::text(name),
        uri: uri.and_then(|uri| path(uri, &at.field("uri"), notes)),
        ignore_uri_case: ignore_uri_case.unwrap_or(false),
        scheme,
        method,
        authority,
        headers,
        without_headers,
        query_params: read_query(query_params, &at.field("queryParams"), notes),
        port: notes.port(&at.field("port"), port),
        client: notes.client(source_namespace.as_deref(), source_labels, at),
        stat_prefix: value::text(stat_prefix),
        never: never || of_claims,
    }
}

impl Notes<'_> {
    /// `sourceNamespace` and `sourceLabels`; `at` is the path of the condition that has them.
    pub(super) fn client(
        &mut self,
        namespace: Option<&str>,
        labels: BTreeMap<String, String>,
        at: &At<'_>,
    ) -> Client {
        let namespace = namespace.filter(|namespace| !namespace.is_empty());
        Client {
            namespace: namespace.and_then(|name| self.name(&at.field("sourceNamespace"), name)),
            labels: self.labels(&at.field("sourceLabels"), labels),
        }
    }
}

/// The headers' conditions, ordered by name, and whether one of them is on a claim, of which no sidecar knows.
fn read_headers(
    headers: BTreeMap<String, istio_api::StringMatch>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> (Conditions, bool) {
    let mut found: BTreeMap<Arc<str>, StringMatch> = BTreeMap::new();
    let mut of_claims = false;
    for (name, wire) in headers {
        let at = at.field(&name);
        if name.starts_with('@') {
            of_claims = true;
            let message = "claims are known at gateways only, so no request of a sidecar has them";
            let hint = "let the gateway put what it knows into a header";
            notes.warn(&at, Code::Ineffective, message, hint);
            continue;
        }
        if !is_header_name(&name) {
            notes.refuse(&at, format!("{name:?} is not a header's name"), "");
            continue;
        }
        let Some(condition) = header(wire, &at, notes) else {
            continue;
        };
        if found
            .insert(name.to_ascii_lowercase().into(), condition)
            .is_some()
        {
            notes.error(
                &at,
                format!("the header {name} stands here twice"),
                "names of headers have no case; leave one out",
            );
        }
    }
    (found.into_iter().collect(), of_claims)
}

/// The query parameters' conditions, ordered by name. An empty `exact` is a parameter without a value.
fn read_query(
    params: BTreeMap<String, istio_api::StringMatch>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Conditions {
    let mut found = Vec::with_capacity(params.len());
    for (name, wire) in params {
        let at = at.field(&name);
        if name.is_empty() || name.len() > MAX_PARAM {
            let hint = format!("it has 1 to {MAX_PARAM} bytes");
            notes.refuse(
                &at,
                format!("{name:?} is not the name of a parameter"),
                hint,
            );
            continue;
        }
        let condition = if asks_for_presence(&wire) {
            Some(StringMatch::Present)
        } else {
            string_match(wire, &at, notes)
        };
        found.extend(condition.map(|condition| (Arc::from(name), condition)));
    }
    found.into()
}

/// Whether nothing is said of a value, by Istio's word for it `*` too.
fn asks_for_presence(wire: &istio_api::StringMatch) -> bool {
    let istio_api::StringMatch {
        exact,
        prefix,
        regex,
    } = wire;
    exact.is_none() && prefix.is_none() && regex.as_ref().is_none_or(|regex| regex == "*")
}

/// A condition on the path: Envoy's prefixes may be empty.
fn path(wire: istio_api::StringMatch, at: &At<'_>, notes: &mut Notes<'_>) -> Option<StringMatch> {
    match &wire {
        istio_api::StringMatch {
            exact: None,
            prefix: Some(prefix),
            regex: None,
        } if prefix.is_empty() => None,
        _ => condition(wire, at, notes),
    }
}

/// A header's condition: none, and an empty `exact`, ask only for presence (Istio).
fn header(wire: istio_api::StringMatch, at: &At<'_>, notes: &mut Notes<'_>) -> Option<StringMatch> {
    let says_nothing = |wire: &istio_api::StringMatch| {
        let exact = wire.exact.clone().filter(|exact| !exact.is_empty());
        asks_for_presence(&istio_api::StringMatch {
            exact,
            ..wire.clone()
        })
    };
    if says_nothing(&wire) {
        return Some(StringMatch::Present);
    }
    string_match(wire, at, notes)
}

/// A condition on a part of the request line; one that says nothing is no condition.
fn condition(
    wire: istio_api::StringMatch,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<StringMatch> {
    let istio_api::StringMatch {
        exact,
        prefix,
        regex,
    } = &wire;
    if exact.is_none() && prefix.is_none() && regex.is_none() {
        notes.warn(
            at,
            Code::SchemaWarning,
            "the condition says nothing, so everything meets it",
            "write `exact`, `prefix` or `regex`",
        );
        return None;
    }
    string_match(wire, at, notes)
}

/// Reads the one pattern that is written.
pub(super) fn string_match(
    wire: istio_api::StringMatch,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<StringMatch> {
    let istio_api::StringMatch {
        exact,
        prefix,
        regex,
    } = wire;
    match (exact, prefix, regex) {
        (Some(exact), None, None) => Some(StringMatch::Exact(exact.into())),
        (None, Some(prefix), None) if prefix.is_empty() => {
            notes.refuse(
                &at.field("prefix"),
                "the prefix is empty",
                "leave the condition out",
            );
            None
        }
        (None, Some(prefix), None) => Some(StringMatch::Prefix(prefix.into())),
        (None, None, Some(regex)) => notes
            .regex(&at.field("regex"), &regex)
            .map(StringMatch::Regex),
        (None, None, None) => None,
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            notes.refuse(
                at,
                "`exact`, `prefix` and `regex` exclude each other",
                "keep one of them",
            );
            None
        }
    }
}
