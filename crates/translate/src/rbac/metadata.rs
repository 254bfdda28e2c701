//! Conditions on dynamic metadata: what the tokens of requests say, and what other filters wrote.

use std::sync::Arc;

use envoy::value_matcher::MatchPattern;
use envoy_api::envoy::config::rbac::v3 as rbac;
use envoy_api::envoy::r#type::matcher::v3 as envoy;
use ir::model::{MetadataPattern, StringPattern};

use super::permission::text;

/// Where the filter that verifies tokens writes their claims.
const TOKENS: &str = "envoy.filters.http.jwt_authn";
/// The key under which it does.
const PAYLOAD: &str = "payload";

/// A claim that is one of these strings, or a list that has one of them.
pub(super) fn claim(path: &[Arc<str>], patterns: &[StringPattern]) -> rbac::SourcedMetadata {
    let strings = any_of(patterns.iter().map(string).collect());
    let value = any_of(vec![item(strings.clone()), strings]);
    let path = [PAYLOAD]
        .into_iter()
        .chain(path.iter().map(|claim| &**claim));
    matcher(TOKENS, path, value)
}

/// One claim that matches.
pub(super) fn claim_is(name: &str, pattern: &StringPattern) -> rbac::SourcedMetadata {
    matcher(TOKENS, [PAYLOAD, name], string(pattern))
}

/// A key of a filter's metadata that is one of these.
pub(super) fn of_filter(
    filter: &str,
    key: &str,
    patterns: &[MetadataPattern],
) -> rbac::SourcedMetadata {
    let value = |pattern: &MetadataPattern| match pattern {
        MetadataPattern::Text(pattern) => string(pattern),
        MetadataPattern::Item(pattern) => item(string(pattern)),
    };
    matcher(filter, [key], any_of(patterns.iter().map(value).collect()))
}

fn matcher<'a>(
    filter: &str,
    path: impl IntoIterator<Item = &'a str>,
    value: envoy::ValueMatcher,
) -> rbac::SourcedMetadata {
    use envoy::metadata_matcher::{PathSegment, path_segment::Segment};
    let segment = |key: &str| PathSegment {
        segment: Some(Segment::Key(key.to_owned())),
    };
    rbac::SourcedMetadata {
        metadata_matcher: Some(envoy::MetadataMatcher {
            filter: filter.to_owned(),
            path: path.into_iter().map(segment).collect(),
            value: Some(value),
            invert: false,
        }),
        metadata_source: rbac::MetadataSource::Dynamic.into(),
    }
}

fn string(pattern: &StringPattern) -> envoy::ValueMatcher {
    value(MatchPattern::StringMatch(text(pattern)))
}

fn item(inside: envoy::ValueMatcher) -> envoy::ValueMatcher {
    value(MatchPattern::ListMatch(Box::new(envoy::ListMatcher {
        match_pattern: Some(envoy::list_matcher::MatchPattern::OneOf(Box::new(inside))),
    })))
}

/// Envoy takes alternatives of two and more.
fn any_of(mut values: Vec<envoy::ValueMatcher>) -> envoy::ValueMatcher {
    match (values.len(), values.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            values.extend(last);
            value(MatchPattern::OrMatch(envoy::OrMatcher {
                value_matchers: values,
            }))
        }
    }
}

fn value(pattern: MatchPattern) -> envoy::ValueMatcher {
    envoy::ValueMatcher {
        match_pattern: Some(pattern),
    }
}
