//! What is asked for: `to` of a rule.

use envoy::permission::Rule;
use envoy_api::envoy::config::rbac::v3 as envoy;
use envoy_api::envoy::config::route::v3 as route;
use envoy_api::envoy::r#type::matcher::v3 as matcher;
use ir::model::{Operation, Port, StringPattern};
use matcher::string_matcher::MatchPattern;

use super::{Action, Layer, Outcome};
use crate::proto::{regex, string_matcher};

/// Anything.
pub(super) fn any() -> envoy::Permission {
    permission(Rule::Any(true))
}

/// One of these operations; none given: any. On TCP a rule that asks for something of HTTP, or may do so, is never an
/// ALLOW; a DENY keeps what is left of it.
pub(super) fn any_of(
    operations: &[Operation],
    action: Action,
    layer: Layer,
) -> Outcome<Vec<envoy::Permission>> {
    if operations.is_empty() {
        return Outcome::Is(vec![any()]);
    }
    if layer == Layer::Tcp && action == Action::Allow && operations.iter().any(may_need_http) {
        return Outcome::Never;
    }
    let known: Vec<envoy::Permission> = operations
        .iter()
        .filter(|operation| !operation.unknown || action == Action::Deny)
        .map(|operation| all_of(operation, layer))
        .collect();
    if known.is_empty() {
        Outcome::Never
    } else {
        Outcome::Is(known)
    }
}

fn may_need_http(operation: &Operation) -> bool {
    let Operation {
        paths,
        not_paths,
        methods,
        not_methods,
        ports: _,
        not_ports: _,
        unknown,
    } = operation;
    let of_http = [paths, not_paths, methods, not_methods];
    *unknown || of_http.iter().any(|patterns| !patterns.is_empty())
}

/// Every field that is set must hold.
fn all_of(operation: &Operation, layer: Layer) -> envoy::Permission {
    let Operation {
        paths,
        not_paths,
        methods,
        not_methods,
        ports,
        not_ports,
        unknown: _, // see `any_of`
    } = operation;
    let mut all = Vec::new();
    if layer == Layer::Http {
        all.extend(one_of(paths, path));
        all.extend(one_of(not_paths, path).map(not));
        all.extend(one_of(methods, method));
        all.extend(one_of(not_methods, method).map(not));
    }
    all.extend(one_of(ports, port));
    all.extend(one_of(not_ports, port).map(not));
    match all.len() {
        0 => any(),
        _ => permission(Rule::AndRules(envoy::permission::Set { rules: all })),
    }
}

fn one_of<T>(values: &[T], matches: impl Fn(&T) -> Rule) -> Option<envoy::Permission> {
    let rules: Vec<envoy::Permission> = values
        .iter()
        .map(|value| permission(matches(value)))
        .collect();
    (!rules.is_empty()).then(|| permission(Rule::OrRules(envoy::permission::Set { rules })))
}

fn not(rule: envoy::Permission) -> envoy::Permission {
    permission(Rule::NotRule(Box::new(rule)))
}

/// The path without query and fragment.
fn path(pattern: &StringPattern) -> Rule {
    Rule::UrlPath(matcher::PathMatcher {
        rule: Some(matcher::path_matcher::Rule::Path(text(pattern))),
    })
}

fn method(pattern: &StringPattern) -> Rule {
    Rule::Header(route::HeaderMatcher {
        name: ":method".to_owned(),
        header_match_specifier: Some(route::header_matcher::HeaderMatchSpecifier::StringMatch(
            text(pattern),
        )),
        ..Default::default()
    })
}

/// The port that the connection was made to: the workload's own.
fn port(port: &Port) -> Rule {
    Rule::DestinationPort(port.get().into())
}

fn text(pattern: &StringPattern) -> matcher::StringMatcher {
    string_matcher(match pattern {
        StringPattern::Exact(text) => MatchPattern::Exact(text.to_string()),
        StringPattern::Prefix(text) => MatchPattern::Prefix(text.to_string()),
        StringPattern::Suffix(text) => MatchPattern::Suffix(text.to_string()),
        StringPattern::Present => MatchPattern::SafeRegex(regex(".+")),
    })
}

fn permission(rule: Rule) -> envoy::Permission {
    envoy::Permission { rule: Some(rule) }
}
