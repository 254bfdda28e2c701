//! Whether a rule of a policy holds for a call: yes, no, or nobody knows from here.

use model::{
    AccountPattern, AuthorizationRule, Condition, Operation, PathPattern, Port, Source, SpiffeId,
    StringPattern, Values,
};

use super::Request;

/// What a policy can see of a call.
pub(super) struct Seen<'a> {
    pub identity: Option<&'a SpiffeId>,
    pub request: &'a Request,
    pub port: u16,
}

/// Whether something holds; none: nobody knows.
type Holds = Option<bool>;

/// `unknown` is what a condition counts as that is not understood: met by what refuses, missed by what allows.
pub(super) fn matches(rule: &AuthorizationRule, seen: &Seen<'_>, unknown: bool) -> Holds {
    let AuthorizationRule {
        from,
        to,
        when,
        unknown: strange,
    } = rule;
    let sources = from.iter().map(|source| comes_from(source, seen, unknown));
    let operations = to.iter().map(|operation| goes_to(operation, seen, unknown));
    all([
        Some(!strange || unknown),
        any_if_given(from.is_empty(), sources),
        any_if_given(to.is_empty(), operations),
        all(when.iter().map(|condition| is_met(condition, seen))),
    ]
    .into_iter())
}

fn comes_from(source: &Source, seen: &Seen<'_>, unknown: bool) -> Holds {
    let Source {
        principals,
        request_principals,
        namespaces,
        service_accounts,
        trust_domains,
        ip_blocks,
        remote_ip_blocks,
        unknown: strange,
    } = source;
    all([
        Some(!strange || unknown),
        of_text(principals, principal(seen).as_deref()),
        of_text(namespaces, namespace(seen).as_deref()),
        of(service_accounts, |account| is_account(account, seen)),
        unseen(request_principals),
        unseen(trust_domains),
        unseen(ip_blocks),
        unseen(remote_ip_blocks),
    ]
    .into_iter())
}

fn goes_to(operation: &Operation, seen: &Seen<'_>, unknown: bool) -> Holds {
    let Operation {
        hosts,
        ports,
        methods,
        paths,
        unknown: strange,
    } = operation;
    let path = seen.request.path.split('?').next().unwrap_or_default();
    let has_template = |list: &[PathPattern]| {
        let mut all = list.iter();
        all.any(|path| matches!(path, PathPattern::Template(_)))
    };
    let of_paths = if has_template(&paths.any) || has_template(&paths.none) {
        None
    } else {
        of(paths, |pattern| match pattern {
            PathPattern::Text(pattern) => holds(pattern, path),
            PathPattern::Template(_) => false,
        })
    };
    all([
        Some(!strange || unknown),
        of_paths,
        of_text(methods, Some(&seen.request.method)),
        of(ports, |port| is_port(port, seen)),
        unseen(hosts),
    ]
    .into_iter())
}

fn is_met(condition: &Condition, seen: &Seen<'_>) -> Holds {
    match condition {
        Condition::Namespace(values) => of_text(values, namespace(seen).as_deref()),
        Condition::Principal(values) => of_text(values, principal(seen).as_deref()),
        Condition::ServiceAccount(values) => of(values, |account| is_account(account, seen)),
        Condition::DestinationPort(values) => of(values, |port| is_port(port, seen)),
        Condition::Header(name, values) => of_text(
            values,
            seen.request.headers.get(&**name).map(String::as_str),
        ),
        Condition::SourceIp(_)
        | Condition::RemoteIp(_)
        | Condition::TrustDomain(_)
        | Condition::RequestPrincipal(_)
        | Condition::Claim(..)
        | Condition::DestinationIp(_)
        | Condition::Sni(_)
        | Condition::Metadata { .. } => None,
    }
}

fn principal(seen: &Seen<'_>) -> Option<String> {
    seen.identity
        .map(|id| id.to_string().trim_start_matches("spiffe://").to_owned())
}

fn namespace(seen: &Seen<'_>) -> Option<String> {
    seen.identity.map(|id| id.namespace.to_string())
}

fn is_account(account: &AccountPattern, seen: &Seen<'_>) -> bool {
    seen.identity.is_some_and(|id| {
        id.namespace == account.namespace && id.service_account == account.account
    })
}

fn is_port(port: &Port, seen: &Seen<'_>) -> bool {
    port.get() == seen.port
}

/// One of the values must match, if there are any, and none of the others may.
fn of<T>(values: &Values<T>, is: impl Fn(&T) -> bool) -> Holds {
    let Values { any, none } = values;
    Some((any.is_empty() || any.iter().any(&is)) && !none.iter().any(&is))
}

fn of_text(values: &Values<StringPattern>, value: Option<&str>) -> Holds {
    of(values, |pattern| {
        value.is_some_and(|value| holds(pattern, value))
    })
}

/// What is not seen from here.
fn unseen<T>(values: &Values<T>) -> Holds {
    values.is_empty().then_some(true)
}

fn any_if_given(none_given: bool, of: impl Iterator<Item = Holds>) -> Holds {
    if none_given { Some(true) } else { any(of) }
}

/// Whether one holds; what is not known matters only if none is known to.
pub(super) fn any(mut of: impl Iterator<Item = Holds>) -> Holds {
    let mut found = Some(false);
    loop {
        match of.next() {
            None => return found,
            Some(Some(true)) => return Some(true),
            Some(None) => found = None,
            Some(Some(false)) => {}
        }
    }
}

/// Whether all hold; what is not known matters only if none is known not to.
fn all(of: impl Iterator<Item = Holds>) -> Holds {
    any(of.map(|holds| holds.map(|holds| !holds))).map(|some_fails| !some_fails)
}

fn holds(pattern: &StringPattern, value: &str) -> bool {
    match pattern {
        StringPattern::Exact(exact) => value == &**exact,
        StringPattern::Prefix(prefix) => value.starts_with(&**prefix),
        StringPattern::Suffix(suffix) => value.ends_with(&**suffix),
        StringPattern::Present => !value.is_empty(),
    }
}
