//! The values that conditions compare with: strings with `*` at one end, paths, addresses, ports, accounts.

use std::sync::Arc;

use ipnet::IpNet;

use super::super::notes::{At, Notes};
use crate::{AccountPattern, Code, PathPattern, Port, StringPattern, Values};

/// A field and its `not` form: the lists, and what the fields are called.
pub(super) struct Both<'a> {
    pub(super) any: (&'static str, &'a [String]),
    pub(super) none: (&'static str, &'a [String]),
}

impl Both<'_> {
    /// Reads both lists, which stand at `at`.
    pub(super) fn read<T>(
        &self,
        at: &At<'_>,
        notes: &mut Notes<'_>,
        read: impl Fn(&[String], &At<'_>, &mut Notes<'_>) -> Arc<[T]>,
    ) -> Values<T> {
        let mut list = |(name, list): (&str, &[String])| read(list, &at.field(name), notes);
        Values {
            any: list(self.any),
            none: list(self.none),
        }
    }
}

/// Reads each item of a list; what is refused is left out.
pub(super) fn each<T>(
    list: &[String],
    at: &At<'_>,
    notes: &mut Notes<'_>,
    read: impl Fn(&str, &At<'_>, &mut Notes<'_>) -> Option<T>,
) -> Arc<[T]> {
    let mut found = Vec::with_capacity(list.len());
    for (index, text) in list.iter().enumerate() {
        let at = at.item(index);
        if text.is_empty() {
            notes.refuse(&at, "the value is empty", "write a value, or `*` for any");
        } else {
            found.extend(read(text, &at, notes));
        }
    }
    found.into()
}

/// `abc`, `abc*`, `*abc`, `*`.
pub(in super::super) fn patterns(
    list: &[String],
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Arc<[StringPattern]> {
    each(list, at, notes, |text, at, notes| {
        Some(pattern(text, at, notes))
    })
}

pub(super) fn pattern(text: &str, at: &At<'_>, notes: &mut Notes<'_>) -> StringPattern {
    let inside = text
        .get(1..text.len().saturating_sub(1))
        .unwrap_or_default();
    let both = text.len() > 1 && text.starts_with('*') && text.ends_with('*');
    if inside.contains('*') || both {
        notes.warn(
            at,
            Code::SchemaWarning,
            "`*` is a wildcard at one end only; elsewhere it stands for itself",
            "write abc*, *abc or *",
        );
    }
    StringPattern::new(text)
}

/// Identities without `spiffe://`.
pub(super) fn principals(
    list: &[String],
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Arc<[StringPattern]> {
    each(list, at, notes, |text, at, notes| {
        if text.starts_with("spiffe://") {
            let message = "principals are written without `spiffe://`; this one never matches";
            notes.warn(at, Code::SchemaWarning, message, "leave `spiffe://` out");
        }
        Some(pattern(text, at, notes))
    })
}

/// Identities of tokens. None is read before there are RequestAuthentications.
pub(super) fn of_tokens(
    list: &[String],
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Arc<[StringPattern]> {
    if !list.is_empty() {
        notes.warn(
            at,
            Code::Ineffective,
            "nothing reads the tokens of requests, so no request has what is asked for",
            "until RequestAuthentication is read, guard by what the connection or the headers say",
        );
    }
    patterns(list, at, notes)
}

/// Addresses or CIDRs.
pub(super) fn addresses(list: &[String], at: &At<'_>, notes: &mut Notes<'_>) -> Arc<[IpNet]> {
    each(list, at, notes, |text, at, notes| notes.network(text, at))
}

/// Ports in decimal.
pub(super) fn ports(list: &[String], at: &At<'_>, notes: &mut Notes<'_>) -> Arc<[Port]> {
    each(list, at, notes, |text, at, notes| {
        let port = text.parse().ok().and_then(Port::new);
        if port.is_none() {
            let message = format!("{text:?} is not a port");
            notes.refuse(at, message, "it must be \"1\" to \"65535\"");
        }
        port
    })
}

/// `account` of the policy's namespace, or `namespace/account`.
pub(super) fn accounts(
    list: &[String],
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Arc<[AccountPattern]> {
    each(list, at, notes, |text, at, notes| {
        let (namespace, account) = match text.split_once('/') {
            Some((namespace, account)) => (notes.name(at, namespace), account),
            None => (Some(notes.namespace()), text),
        };
        let account = notes.name(at, account);
        namespace
            .zip(account)
            .map(|(namespace, account)| AccountPattern { namespace, account })
    })
}

/// Paths, some of which may be templates.
pub(super) fn paths(list: &[String], at: &At<'_>, notes: &mut Notes<'_>) -> Arc<[PathPattern]> {
    each(list, at, notes, |text, at, notes| {
        if !(text.contains("{*}") || text.contains("{**}")) {
            return Some(PathPattern::Text(pattern(text, at, notes)));
        }
        if let Err(why) = check_template(text) {
            let message = format!("{text:?} is not a path template: {why}");
            let hint = "such as /users/{*}/orders or /static/{**}";
            notes.refuse(at, message, hint);
            return None;
        }
        Some(PathPattern::Template(text.into()))
    })
}

/// The longest template that Envoy takes, in its own spelling.
const MAX_TEMPLATE: usize = 256;

/// Istio's rules for templates, and what more Envoy needs: at a template that it cannot read, it dies.
fn check_template(text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_TEMPLATE {
        return Err("it is longer than 256 characters");
    }
    let Some(path) = text.strip_prefix('/') else {
        return Err("it does not begin with `/`");
    };
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut ended = false;
    for segment in path.split('/') {
        let operators = segment.matches("{*}").count() + segment.matches("{**}").count();
        let is_literal = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()+,;:@=".contains(c);
        let rest = segment.replacen("{*}", "", 1);
        match (segment, operators) {
            ("", _) => return Err("a segment is empty"),
            ("{**}", _) if ended => return Err("`{**}` stands before another one"),
            ("{**}", _) => ended = true,
            (_, 1) if ended => return Err("`{*}` stands behind `{**}`"),
            (_, 0 | 1) if rest.chars().all(is_literal) => {}
            _ => {
                return Err(
                    "a segment may hold one `{*}`, or be `{**}`, beside characters of a path",
                );
            }
        }
    }
    Ok(())
}
