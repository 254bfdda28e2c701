//! `headers` of a VirtualService: what becomes of the headers of requests and answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::notes::{At, Notes};
use crate::{HeaderOperations, Headers, format};

/// The longest value of a header that Envoy takes, in bytes.
const MAX_VALUE: usize = 16384;
/// How many headers one list may change: Envoy takes a thousand, of the route and of its destination together.
const MAX_CHANGED: usize = 250;

/// Reads `headers`.
pub(super) fn read(
    wire: Option<istio_api::Headers>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<Headers> {
    let istio_api::Headers { request, response } = wire?;
    let mut authority = None;
    let request = operations(request, &at.field("request"), Some(&mut authority), notes);
    let response = operations(response, &at.field("response"), None, notes);
    Some(Headers {
        authority,
        request,
        response,
    })
}

/// Reads the changes of one direction. Where there is an `authority`, the host goes there.
fn operations(
    wire: Option<istio_api::HeaderOperations>,
    at: &At<'_>,
    mut authority: Option<&mut Option<Arc<str>>>,
    notes: &mut Notes<'_>,
) -> HeaderOperations {
    let istio_api::HeaderOperations { set, add, remove } = wire.unwrap_or_default();
    for (field, count) in [
        ("set", set.len()),
        ("add", add.len()),
        ("remove", remove.len()),
    ] {
        if count > MAX_CHANGED {
            let message = format!("{count} headers are too many");
            notes.refuse(&at.field(field), message, format!("at most {MAX_CHANGED}"));
        }
    }
    let set = values(set, &at.field("set"), authority.as_deref_mut(), notes);
    let add = values(add, &at.field("add"), authority, notes);
    let at = at.field("remove");
    for (index, name) in remove.iter().enumerate() {
        if is_host(name) {
            let hint = "a request cannot be without a host";
            notes.refuse(&at.item(index), format!("{name:?} cannot be removed"), hint);
        } else {
            name_of_header(name, &at.item(index), notes);
        }
    }
    HeaderOperations {
        set,
        add,
        remove: remove.into_iter().map(Arc::from).collect(),
    }
}

/// The headers that get values. The first host is the authority; a second one is refused.
fn values(
    wire: BTreeMap<String, String>,
    at: &At<'_>,
    mut authority: Option<&mut Option<Arc<str>>>,
    notes: &mut Notes<'_>,
) -> Arc<[(Arc<str>, Arc<str>)]> {
    let mut found = Vec::with_capacity(wire.len());
    for (name, value) in wire {
        let at = at.field(&name);
        match (is_host(&name), authority.as_deref_mut()) {
            (true, None) => {
                let hint = "only requests have a host";
                notes.refuse(&at, format!("an answer has no {name:?}"), hint);
            }
            (true, Some(Some(_))) => {
                let hint = "set it once, by `set`";
                notes.refuse(&at, "the host of the request is set twice", hint);
            }
            (true, Some(host)) => *host = notes.header_value(&at, &value),
            (false, _) => {
                name_of_header(&name, &at, notes);
                if let Err(error) = format::check(&value) {
                    let hint =
                        "write `%%` for a percent sign; operators are those of Envoy's access logs";
                    notes.refuse(&at, error, hint);
                }
                let hint = "for older proxies the operator is left out";
                notes.needs_operators(&at, &value, hint);
                let value = notes.header_value(&at, &value);
                found.extend(value.map(|value| (Arc::from(name), value)));
            }
        }
    }
    found.into()
}

fn is_host(name: &str) -> bool {
    ["host", ":authority"]
        .iter()
        .any(|host| name.eq_ignore_ascii_case(host))
}

fn name_of_header(name: &str, at: &At<'_>, notes: &mut Notes<'_>) {
    if name.starts_with(':') {
        let hint = "`rewrite` changes path and authority";
        notes.refuse(
            at,
            format!("the pseudo header {name:?} cannot be changed"),
            hint,
        );
    } else if !is_header_name(name) {
        notes.refuse(at, format!("{name:?} is not a header's name"), "");
    }
}

/// A token of RFC 9110, or a pseudo header such as `:authority`.
pub(super) fn is_header_name(name: &str) -> bool {
    let token = name.strip_prefix(':').unwrap_or(name);
    !token.is_empty()
        && token
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c))
}

impl Notes<'_> {
    /// Text that may stand in a header.
    pub(super) fn header_value(&mut self, at: &At<'_>, text: &str) -> Option<Arc<str>> {
        let is_control = |c: char| c.is_control() && c != '\t';
        if text.len() > MAX_VALUE {
            let message = format!("{} bytes are too many for a header", text.len());
            self.refuse(at, message, format!("at most {MAX_VALUE}"));
        } else if text.contains(is_control) {
            self.refuse(
                at,
                "a header cannot hold control characters",
                "leave them out",
            );
        } else {
            return Some(text.into());
        }
        None
    }

    /// The same for an optional field, where nothing is said by an empty text.
    pub(super) fn header_text(&mut self, at: &At<'_>, text: Option<&str>) -> Option<Arc<str>> {
        let text = text.filter(|text| !text.is_empty())?;
        self.header_value(at, text)
    }
}
