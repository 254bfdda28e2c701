//! `spec.http[].match[]` of a VirtualService: which requests a route takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::notes::{At, Notes};
use super::value;
use super::virtual_service::MESH;
use crate::{Code, HttpMatch, Regex, StringMatch};

const NEVER: &str = "the condition cannot be checked, so it matches no request";

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
    never |= notes.not_yet_with(&at.field("scheme"), &scheme, NEVER);
    never |= notes.not_yet_with(&at.field("authority"), &authority, NEVER);
    never |= notes.not_yet_with(&at.field("sourceLabels"), &source_labels, NEVER);
    never |= notes.not_yet_with(&at.field("queryParams"), &query_params, NEVER);
    never |= notes.not_yet_with(
        &at.field("ignoreUriCase"),
        &ignore_uri_case.filter(|on| *on),
        NEVER,
    );
    never |= notes.not_yet_with(&at.field("withoutHeaders"), &without_headers, NEVER);
    never |= notes.not_yet_with(&at.field("sourceNamespace"), &source_namespace, NEVER);
    notes.not_yet(&at.field("statPrefix"), &stat_prefix);
    // Conditions for other gateways than the sidecars' are right as they are: no sidecar meets them.
    let elsewhere = !gateways.is_empty() && !gateways.iter().any(|gateway| gateway == MESH);
    never |= in_mesh && elsewhere;
    let (headers, unread) = read_headers(headers, &at.field("headers"), notes);
    HttpMatch {
        name: value::text(name),
        uri: uri.and_then(|uri| condition(uri, &at.field("uri"), notes)),
        method: method.and_then(|method| condition(method, &at.field("method"), notes)),
        headers,
        port: notes.port(&at.field("port"), port),
        never: never || unread,
    }
}

/// Conditions on headers, by name.
type Headers = Arc<[(Arc<str>, StringMatch)]>;

/// The headers' conditions, ordered by name, and whether one of them cannot be checked.
fn read_headers(
    headers: BTreeMap<String, istio_api::StringMatch>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> (Headers, bool) {
    let mut found: BTreeMap<Arc<str>, StringMatch> = BTreeMap::new();
    let mut unread = false;
    for (name, wire) in headers {
        let at = at.field(&name);
        if name.starts_with('@') {
            unread |= notes.not_yet_with(&at, &Some(()), NEVER);
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
    (found.into_iter().collect(), unread)
}

/// A header's condition: none, and an empty `exact`, ask only for presence (Istio).
fn header(wire: istio_api::StringMatch, at: &At<'_>, notes: &mut Notes<'_>) -> Option<StringMatch> {
    let istio_api::StringMatch {
        exact,
        prefix,
        regex,
    } = &wire;
    let says_nothing = exact.as_ref().is_none_or(String::is_empty)
        && prefix.is_none()
        && regex.as_ref().is_none_or(|regex| regex == "*");
    if says_nothing {
        return Some(StringMatch::Present);
    }
    string_match(wire, at, notes)
}

/// A condition on the path or the method; one that says nothing is no condition.
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

fn string_match(
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
        (None, None, Some(regex)) => {
            let made = Regex::new(&regex);
            made.map_err(|error| {
                let hint = "write an expression of RE2's syntax";
                notes.refuse(&at.field("regex"), error, hint);
            })
            .ok()
            .map(StringMatch::Regex)
        }
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

/// A token of RFC 9110, or a pseudo header such as `:authority`.
fn is_header_name(name: &str) -> bool {
    let token = name.strip_prefix(':').unwrap_or(name);
    !token.is_empty()
        && token
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c))
}
