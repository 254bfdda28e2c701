//! The small pieces that Envoy's messages are made of: durations, addresses, structs, matchers, config sources.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::r#type::matcher::v3 as matcher;
use ir::model::StringMatch;

/// The longest duration that Envoy takes, in whole seconds: it counts nanoseconds in an i64.
const LONGEST: u64 = 9_223_372_035;

/// A duration; what is longer than Envoy takes becomes the longest that it does.
pub(crate) fn duration(duration: Duration) -> prost_types::Duration {
    let seconds = duration.as_secs().min(LONGEST);
    prost_types::Duration {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// A duration where Envoy refuses 0 and counts in milliseconds.
pub(crate) fn positive(length: Duration) -> prost_types::Duration {
    duration(length.max(Duration::from_millis(1)))
}

/// 0 seconds, which switches most of Envoy's timeouts off.
pub(crate) fn never() -> Option<prost_types::Duration> {
    Some(duration(Duration::ZERO))
}

/// An address and a port.
pub(crate) fn socket_address(address: IpAddr, port: u16) -> core::Address {
    address_of(core::SocketAddress {
        address: address.to_string(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
        ..Default::default()
    })
}

/// The address of a socket.
pub(crate) fn address_of(socket: core::SocketAddress) -> core::Address {
    core::Address {
        address: Some(core::address::Address::SocketAddress(socket)),
    }
}

/// A range of addresses.
pub(crate) fn cidr(net: &ir::IpNet) -> core::CidrRange {
    core::CidrRange {
        address_prefix: net.addr().to_string(),
        prefix_len: Some(u32::from(net.prefix_len())),
    }
}

/// A struct of strings; empty ones are left out.
pub(crate) fn strings<'a>(
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> prost_types::Struct {
    prost_types::Struct {
        fields: fields
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_owned(), string_value(value)))
            .collect(),
    }
}

/// A string in a struct.
pub(crate) fn string_value(text: &str) -> prost_types::Value {
    value(prost_types::value::Kind::StringValue(text.to_owned()))
}

/// A value in a struct.
pub(crate) fn value(kind: prost_types::value::Kind) -> prost_types::Value {
    prost_types::Value { kind: Some(kind) }
}

/// Metadata by namespace; empty structs are left out, and metadata without any is none.
pub(crate) fn metadata<'a>(
    namespaces: impl IntoIterator<Item = (&'a str, prost_types::Struct)>,
) -> Option<core::Metadata> {
    let filter_metadata: BTreeMap<String, prost_types::Struct> = namespaces
        .into_iter()
        .filter(|(_, fields)| !fields.fields.is_empty())
        .map(|(namespace, fields)| (namespace.to_owned(), fields))
        .collect();
    (!filter_metadata.is_empty()).then(|| core::Metadata {
        filter_metadata,
        ..Default::default()
    })
}

/// An RE2 expression that must match the whole text.
pub(crate) fn regex(expression: impl Into<String>) -> matcher::RegexMatcher {
    matcher::RegexMatcher {
        regex: expression.into(),
        ..Default::default()
    }
}

/// A string matcher of one pattern.
pub(crate) fn string_matcher(
    pattern: matcher::string_matcher::MatchPattern,
) -> matcher::StringMatcher {
    matcher::StringMatcher {
        match_pattern: Some(pattern),
        ..Default::default()
    }
}

/// Istio's StringMatch. "Present" holds for any text that is not empty.
pub(crate) fn string_match(pattern: &StringMatch) -> matcher::StringMatcher {
    use matcher::string_matcher::MatchPattern;
    string_matcher(match pattern {
        StringMatch::Exact(text) => MatchPattern::Exact(text.to_string()),
        StringMatch::Prefix(text) if text.is_empty() => MatchPattern::SafeRegex(regex(".*")),
        StringMatch::Prefix(text) => MatchPattern::Prefix(text.to_string()),
        StringMatch::Regex(expression) => MatchPattern::SafeRegex(regex(expression.as_str())),
        StringMatch::Present => MatchPattern::SafeRegex(regex(".+")),
    })
}

/// A text of which RE2 takes no character for an operator (SEC 12: the only way to put a literal into an expression).
pub(crate) fn quote(literal: &str) -> String {
    let mut quoted = String::with_capacity(literal.len());
    for c in literal.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

/// Discovery on the stream that everything comes by. A resource that never comes is waited for: Envoy must not serve
/// half of a configuration.
pub(crate) fn ads() -> core::ConfigSource {
    core::ConfigSource {
        initial_fetch_timeout: never(),
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource::default(),
        )),
        ..Default::default()
    }
}

/// A text that Envoy fills in with its command operators.
pub(crate) fn format_string(text: &str) -> core::SubstitutionFormatString {
    core::SubstitutionFormatString {
        format: Some(core::substitution_format_string::Format::TextFormatSource(
            inline_string(text),
        )),
        ..Default::default()
    }
}

/// A text that stands in the configuration.
pub(crate) fn inline_string(text: &str) -> core::DataSource {
    core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineString(text.to_owned())),
        ..Default::default()
    }
}

/// Bytes that stand in the configuration, readable where they are text.
pub(crate) fn inline(bytes: &[u8]) -> core::DataSource {
    match std::str::from_utf8(bytes) {
        Ok(text) => inline_string(text),
        Err(_) => core::DataSource {
            specifier: Some(core::data_source::Specifier::InlineBytes(bytes.to_vec())),
            ..Default::default()
        },
    }
}

/// Weights whose sum Envoy accepts (at most the maximum of u32): scaled down together where it is larger, but none to 0.
pub(crate) fn fit_weights(weights: &[u32]) -> Vec<u32> {
    let sum: u64 = weights.iter().copied().map(u64::from).sum();
    let limit = u64::from(u32::MAX) - weights.len() as u64;
    if sum <= limit {
        return weights.to_vec();
    }
    let divisor = sum / limit.max(1) + 1;
    let scaled = |weight: u32| u64::from(weight) / divisor;
    weights
        .iter()
        .map(|&weight| match weight {
            0 => 0,
            weight => u32::try_from(scaled(weight).max(1)).unwrap_or(u32::MAX),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_12_quoted_literals_match_only_themselves() {
        assert_eq!(quote("a.b"), r"a\.b");
        assert_eq!(
            quote(r"(a|b)*[c]{1}^$\+?"),
            r"\(a\|b\)\*\[c\]\{1\}\^\$\\\+\?"
        );
    }

    #[test]
    fn weights_fit_into_u32() {
        assert_eq!(fit_weights(&[90, 10, 0]), [90, 10, 0]);
        let fitted = fit_weights(&[u32::MAX, u32::MAX, 1, 0]);
        let sum: u64 = fitted.iter().copied().map(u64::from).sum();
        assert!(sum <= u64::from(u32::MAX), "{fitted:?}");
        assert_eq!(fitted[0], fitted[1]);
        assert_eq!(&fitted[2..], [1, 0]);
    }

    #[test]
    fn durations_never_overflow() {
        assert_eq!(duration(Duration::MAX).seconds, 9_223_372_035);
        assert_eq!(duration(Duration::from_millis(1500)).nanos, 500_000_000);
        assert_eq!(positive(Duration::ZERO).nanos, 1_000_000);
    }
}
