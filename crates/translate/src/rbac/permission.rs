//! What is asked for: `to` of a rule, and the conditions of `when` on the destination.

use envoy::permission::Rule;
use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::config::rbac::v3 as envoy;
use envoy_api::envoy::config::route::v3 as route;
use envoy_api::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use envoy_api::envoy::r#type::matcher::v3 as matcher;
use envoy_api::pack;
use ir::AuthorizationLayer as Layer;
use ir::model::{Condition, Operation, PathPattern, Port, StringPattern, Values};
use matcher::string_matcher::MatchPattern;
use route::header_matcher::HeaderMatchSpecifier;

use super::{Outcome, Unknown, metadata};
use crate::proto::{cidr, regex, string_matcher};

/// Anything.
pub(super) fn any() -> envoy::Permission {
    permission(Rule::Any(true))
}

/// One of these operations, or any if there are none, where the conditions hold. On TCP a rule that asks for something of
/// HTTP, or may do so, is never an ALLOW; what refuses keeps what is left of it.
pub(super) fn any_of(
    operations: &[Operation],
    when: &[Condition],
    unknown: Unknown,
    layer: Layer,
) -> Outcome<Vec<envoy::Permission>> {
    let closed = unknown == Unknown::NeverHolds;
    if layer == Layer::Tcp && closed && operations.iter().any(may_need_http) {
        return Outcome::Never;
    }
    let conditions: Vec<envoy::Permission> = when.iter().flat_map(condition).collect();
    if operations.is_empty() {
        return Outcome::Is(vec![all(conditions)]);
    }
    let known: Vec<envoy::Permission> = operations
        .iter()
        .filter(|operation| !(operation.unknown && closed))
        .map(|operation| {
            let mut rules = all_of(operation, layer);
            rules.extend(conditions.iter().cloned());
            all(rules)
        })
        .collect();
    if known.is_empty() {
        Outcome::Never
    } else {
        Outcome::Is(known)
    }
}

fn may_need_http(operation: &Operation) -> bool {
    let Operation {
        hosts,
        ports: _,
        methods,
        paths,
        unknown,
    } = operation;
    *unknown || !(hosts.is_empty() && methods.is_empty() && paths.is_empty())
}

/// Every field that is set must hold.
fn all_of(operation: &Operation, layer: Layer) -> Vec<envoy::Permission> {
    let Operation {
        hosts,
        ports,
        methods,
        paths,
        unknown: _, // see `any_of`
    } = operation;
    let mut all = Vec::new();
    if layer == Layer::Http {
        all.extend(each(hosts, host));
        all.extend(each(methods, method));
        all.extend(each(paths, path));
    }
    all.extend(each(ports, port));
    all
}

/// The conditions that are about the destination; the others are about the caller.
fn condition(condition: &Condition) -> Vec<envoy::Permission> {
    match condition {
        Condition::DestinationIp(values) => each(values, |block| Rule::DestinationIp(cidr(block))),
        Condition::DestinationPort(values) => each(values, port),
        Condition::Sni(values) => each(values, |name| Rule::RequestedServerName(text(name))),
        Condition::Metadata {
            filter,
            key,
            values,
        } => lists(values, |patterns| {
            permission(Rule::SourcedMetadata(metadata::of_filter(
                filter, key, patterns,
            )))
        }),
        Condition::Header(..)
        | Condition::SourceIp(_)
        | Condition::RemoteIp(_)
        | Condition::Namespace(_)
        | Condition::Principal(_)
        | Condition::ServiceAccount(_)
        | Condition::TrustDomain(_)
        | Condition::RequestPrincipal(_)
        | Condition::Claim(..) => Vec::new(),
    }
}

fn each<T>(values: &Values<T>, matches: impl Fn(&T) -> Rule) -> Vec<envoy::Permission> {
    lists(values, |list| {
        let rules = list.iter().map(|value| permission(matches(value)));
        permission(Rule::OrRules(envoy::permission::Set {
            rules: rules.collect(),
        }))
    })
}

/// One of the values must match, if there are any, and none of the others may.
fn lists<T>(
    values: &Values<T>,
    one_of: impl Fn(&[T]) -> envoy::Permission,
) -> Vec<envoy::Permission> {
    let Values { any, none } = values;
    let given = |list: &[T]| (!list.is_empty()).then(|| one_of(list));
    let not = |rule| permission(Rule::NotRule(Box::new(rule)));
    given(any).into_iter().chain(given(none).map(not)).collect()
}

fn all(rules: Vec<envoy::Permission>) -> envoy::Permission {
    if rules.is_empty() {
        return any();
    }
    permission(Rule::AndRules(envoy::permission::Set { rules }))
}

/// The path without query and fragment.
fn path(pattern: &PathPattern) -> Rule {
    match pattern {
        PathPattern::Text(pattern) => Rule::UrlPath(matcher::PathMatcher {
            rule: Some(matcher::path_matcher::Rule::Path(text(pattern))),
        }),
        PathPattern::Template(template) => Rule::UriTemplate(core::TypedExtensionConfig {
            name: "uri-template".to_owned(),
            typed_config: Some(pack(&UriTemplateMatchConfig {
                path_template: template.replace("{**}", "**").replace("{*}", "*"),
            })),
        }),
    }
}

fn method(pattern: &StringPattern) -> Rule {
    Rule::Header(header(":method", pattern, false))
}

fn host(pattern: &StringPattern) -> Rule {
    Rule::Header(header(":authority", pattern, true))
}

/// The port that the connection was made to: the workload's own.
fn port(port: &Port) -> Rule {
    Rule::DestinationPort(port.get().into())
}

/// A header that matches; `*`: any that is there.
pub(super) fn header(
    name: &str,
    pattern: &StringPattern,
    ignore_case: bool,
) -> route::HeaderMatcher {
    let specifier = match pattern {
        StringPattern::Present => HeaderMatchSpecifier::PresentMatch(true),
        StringPattern::Exact(_) | StringPattern::Prefix(_) | StringPattern::Suffix(_) => {
            HeaderMatchSpecifier::StringMatch(matcher::StringMatcher {
                ignore_case,
                ..text(pattern)
            })
        }
    };
    route::HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(specifier),
        ..Default::default()
    }
}

pub(crate) fn text(pattern: &StringPattern) -> matcher::StringMatcher {
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
