//! `spec.http[].rewrite` of a VirtualService: another path or host for the request that is sent on.

use std::sync::Arc;

use super::notes::{At, Notes};
use crate::{HttpRewrite, PathRewrite, Regex};

/// Reads `rewrite`; at least one of its fields must say something.
pub(super) fn read(
    wire: Option<istio_api::HttpRewrite>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<HttpRewrite> {
    let istio_api::HttpRewrite {
        uri,
        authority,
        uri_regex_rewrite,
    } = wire?;
    let uri = notes.header_text(&at.field("uri"), uri.as_deref());
    let authority = notes.header_text(&at.field("authority"), authority.as_deref());
    let path = match (uri, uri_regex_rewrite) {
        (Some(_), Some(_)) => {
            let message = "`uri` and `uriRegexRewrite` exclude each other";
            notes.refuse(at, message, "keep one of them");
            None
        }
        (Some(uri), None) => Some(PathRewrite::Matched(uri)),
        (None, Some(wire)) => by_regex(wire, &at.field("uriRegexRewrite"), notes),
        (None, None) if authority.is_none() && !notes.has_error_under(at) => {
            let hint = "write `uri`, `uriRegexRewrite` or `authority`, or leave `rewrite` out";
            notes.refuse(at, "the rewrite says nothing", hint);
            None
        }
        (None, None) => None,
    };
    Some(HttpRewrite { path, authority })
}

fn by_regex(
    wire: istio_api::RegexRewrite,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<PathRewrite> {
    let istio_api::RegexRewrite { r#match, rewrite } = wire;
    let (match_at, rewrite_at) = (at.field("match"), at.field("rewrite"));
    let pattern = match r#match.filter(|text| !text.is_empty()) {
        Some(text) => notes.regex(&match_at, &text),
        None => {
            notes.missing(&match_at, "write an expression of RE2's syntax");
            None
        }
    };
    let Some(rewrite) = rewrite.filter(|text| !text.is_empty()) else {
        notes.missing(&rewrite_at, "write what stands for what is matched");
        return None;
    };
    let pattern = pattern?;
    let substitution = substitution(&rewrite, &pattern, &rewrite_at, notes)?;
    Some(PathRewrite::Regex {
        pattern,
        substitution,
    })
}

/// The replacement: a backslash may stand before a backslash or the number of a group that exists. Envoy refuses the
/// whole table for another.
fn substitution(
    text: &str,
    pattern: &Regex,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<Arc<str>> {
    let groups = pattern.groups();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            continue;
        }
        let next = rest.next();
        let group = next.and_then(|c| c.to_digit(10));
        let exists = |group: u32| usize::try_from(group).is_ok_and(|group| group <= groups);
        if next != Some('\\') && !group.is_some_and(exists) {
            let message = format!("{text:?} names a group that the expression does not have");
            let hint = format!("`\\1` is the first of its {groups} groups, `\\\\` is a backslash");
            notes.refuse(at, message, hint);
            return None;
        }
    }
    notes.header_value(at, text)
}

impl Notes<'_> {
    /// An RE2 expression.
    pub(super) fn regex(&mut self, at: &At<'_>, text: &str) -> Option<Regex> {
        let refuse = |error| self.refuse(at, error, "write an expression of RE2's syntax");
        Regex::new(text).map_err(refuse).ok()
    }
}
