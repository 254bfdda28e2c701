//! Formats of access logs and of headers: text with command operators, such as `%START_TIME%` and
//! `%REQ(X-REQUEST-ID?:PATH):20%`.
//!
//! Envoy refuses a whole listener for one operator that it does not know, and every listener has the access log. So each
//! operator is checked against those of Envoy 1.40, and what an older Envoy does not know is left out for it. Expressions
//! (`CEL`) cannot be checked here and are refused.

use crate::EnvoyMinor;

/// Operators without arguments.
const PLAIN: &[&str] = &[
    "ACCESS_LOG_TYPE",
    "BYTES_RECEIVED",
    "BYTES_RETRANSMITTED",
    "BYTES_SENT",
    "CONNECTION_ID",
    "CONNECTION_TERMINATION_DETAILS",
    "CUSTOM_FLAGS",
    "DOWNSTREAM_CX_RTT",
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
    "DOWNSTREAM_DETECTED_CLOSE_TYPE",
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS",
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID",
    "DOWNSTREAM_DIRECT_LOCAL_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_PORT",
    "DOWNSTREAM_HANDSHAKE_DURATION",
    "DOWNSTREAM_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_HEADER_BYTES_SENT",
    "DOWNSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID",
    "DOWNSTREAM_LOCAL_CLOSE_REASON",
    "DOWNSTREAM_LOCAL_DNS_SAN",
    "DOWNSTREAM_LOCAL_EMAIL_SAN",
    "DOWNSTREAM_LOCAL_IP_SAN",
    "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
    "DOWNSTREAM_LOCAL_PORT",
    "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_PEER_CERT",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
    "DOWNSTREAM_PEER_CHAIN_SERIALS",
    "DOWNSTREAM_PEER_DNS_SAN",
    "DOWNSTREAM_PEER_EMAIL_SAN",
    "DOWNSTREAM_PEER_FINGERPRINT_1",
    "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_IP_SAN",
    "DOWNSTREAM_PEER_ISSUER",
    "DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_ISSUER_SERIAL",
    "DOWNSTREAM_PEER_OTHERNAME_SAN",
    "DOWNSTREAM_PEER_SERIAL",
    "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_PORT",
    "DOWNSTREAM_TLS_CIPHER",
    "DOWNSTREAM_TLS_GROUP",
    "DOWNSTREAM_TLS_SESSION_ID",
    "DOWNSTREAM_TLS_VERSION",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "DOWNSTREAM_WIRE_BYTES_RECEIVED",
    "DOWNSTREAM_WIRE_BYTES_SENT",
    "DURATION",
    "FILTER_CHAIN_NAME",
    "GRPC_STATUS_NUMBER",
    "HOSTNAME",
    "LOCAL_REPLY_BODY",
    "PROTOCOL",
    "REQUEST_DURATION",
    "REQUEST_HEADERS_BYTES",
    "REQUEST_TX_DURATION",
    "RESPONSE_CODE",
    "RESPONSE_DURATION",
    "RESPONSE_FLAGS",
    "RESPONSE_FLAGS_LONG",
    "RESPONSE_HEADERS_BYTES",
    "RESPONSE_TRAILERS_BYTES",
    "RESPONSE_TX_DURATION",
    "ROUTE_NAME",
    "ROUTE_RESOLUTION_COUNT",
    "ROUTE_RESOLUTION_TIME_US",
    "SPAN_ID",
    "STREAM_ID",
    "TLS_JA3_FINGERPRINT",
    "TLS_JA4_FINGERPRINT",
    "TRACE_ID",
    "UNIQUE_ID",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_CLUSTER_RAW",
    "UPSTREAM_CONNECTION_ID",
    "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
    "UPSTREAM_CONNECTION_POOL_READY_DURATION",
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
    "UPSTREAM_DETECTED_CLOSE_TYPE",
    "UPSTREAM_HEADER_BYTES_RECEIVED",
    "UPSTREAM_HEADER_BYTES_SENT",
    "UPSTREAM_HOST",
    "UPSTREAM_HOSTS_ATTEMPTED",
    "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT",
    "UPSTREAM_HOST_NAME",
    "UPSTREAM_HOST_NAMES_ATTEMPTED",
    "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT",
    "UPSTREAM_HOST_NAME_WITHOUT_PORT",
    "UPSTREAM_LOCAL_ADDRESS",
    "UPSTREAM_LOCAL_CLOSE_REASON",
    "UPSTREAM_LOCAL_DNS_SAN",
    "UPSTREAM_LOCAL_IP_SAN",
    "UPSTREAM_LOCAL_PORT",
    "UPSTREAM_LOCAL_URI_SAN",
    "UPSTREAM_PEER_CERT",
    "UPSTREAM_PEER_DNS_SAN",
    "UPSTREAM_PEER_IP_SAN",
    "UPSTREAM_PEER_ISSUER",
    "UPSTREAM_PEER_SUBJECT",
    "UPSTREAM_PEER_URI_SAN",
    "UPSTREAM_PROTOCOL",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID",
    "UPSTREAM_REMOTE_PORT",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "UPSTREAM_SERVER_NAME",
    "UPSTREAM_TLS_CIPHER",
    "UPSTREAM_TLS_GROUP",
    "UPSTREAM_TLS_SESSION_ID",
    "UPSTREAM_TLS_VERSION",
    "UPSTREAM_TRANSPORT_FAILURE_REASON",
    "UPSTREAM_WIRE_BYTES_RECEIVED",
    "UPSTREAM_WIRE_BYTES_SENT",
    "VIRTUAL_CLUSTER_NAME",
];

/// Operators that may have an argument.
const EITHER: &[&str] = &[
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_PEER_CERT_V_END",
    "DOWNSTREAM_PEER_CERT_V_START",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "EMIT_TIME",
    "EMIT_TIME_LOCAL",
    "RESPONSE_CODE_DETAILS",
    "START_TIME",
    "START_TIME_LOCAL",
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_PEER_CERT_V_END",
    "UPSTREAM_PEER_CERT_V_START",
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
];

/// Operators of one header, or of one header or another: `REQ(X-REQUEST-ID?:PATH)`. They may be cut: `REQ(:PATH):20`.
const HEADERS: &[&str] = &[
    "REQ",
    "REQUEST_HEADER",
    "RESP",
    "RESPONSE_HEADER",
    "RESPONSE_TRAILER",
    "STREAM_INFO_REQ",
    "TRAILER",
];

/// Operators that must have an argument.
const NAMED: &[&str] = &["DYNAMIC_METADATA", "ENVIRONMENT", "QUERY_PARAM"];

/// The same, but never cut.
const UNCUT: &[&str] = &["CLUSTER_METADATA", "UPSTREAM_METADATA"];

/// Where `METADATA` looks.
const METADATA: &[&str] = &[
    "CLUSTER",
    "DYNAMIC",
    "LISTENER",
    "ROUTE",
    "UPSTREAM_HOST",
    "VIRTUAL_HOST",
];

/// The operators that not all served Envoys know, as they stand in a format, and the first that does.
const LATER: &[(&str, EnvoyMinor)] = &[
    ("%DOWNSTREAM_CX_RTT%", EnvoyMinor::V1_40),
    ("%DOWNSTREAM_TLS_GROUP%", EnvoyMinor::V1_39),
    ("%ROUTE_RESOLUTION_COUNT%", EnvoyMinor::V1_40),
    ("%ROUTE_RESOLUTION_TIME_US%", EnvoyMinor::V1_40),
    ("%UPSTREAM_SERVER_NAME%", EnvoyMinor::V1_39),
    ("%UPSTREAM_TLS_GROUP%", EnvoyMinor::V1_39),
];

/// Every operator that stands without an argument, as it stands in a format.
pub fn plain() -> impl Iterator<Item = String> {
    let names = PLAIN.iter().chain(EITHER);
    names.map(|name| format!("%{name}%"))
}

/// Checks a format.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(crate) fn check(format: &str) -> Result<(), String> {
    let mut rest = format;
    while let Some((part, after)) = next_part(rest) {
        if after_operator(part).is_none() && part.starts_with('%') && part != "%%" {
            return Err(wrong(part));
        }
        rest = after;
    }
    Ok(())
}

/// The operators of a format that only newer Envoys than the oldest served one know, and the first that does.
pub fn later(format: &str) -> impl Iterator<Item = (&'static str, EnvoyMinor)> {
    let known = |part: &str| LATER.iter().find(|(operator, _)| *operator == part);
    parts(format).filter_map(known).copied()
}

/// The oldest Envoy that takes a format as it stands.
#[must_use]
pub fn since(format: &str) -> EnvoyMinor {
    let minors = later(format).map(|(_, minor)| minor);
    minors.max().unwrap_or(EnvoyMinor::OLDEST)
}

/// A format as an Envoy takes it: in the place of each operator that it does not know stands something else.
#[must_use]
pub fn fitted(format: &str, envoy: EnvoyMinor, instead: &str) -> String {
    let fit = |part| if since(part) > envoy { instead } else { part };
    parts(format).map(fit).collect()
}

/// A format in parts: text, percent signs as they are written (`%%`), operators. What is no operator is the last part.
fn parts(format: &str) -> impl Iterator<Item = &str> {
    let mut rest = format;
    std::iter::from_fn(move || {
        let (part, after) = next_part(rest)?;
        rest = after;
        Some(part)
    })
}

/// The first part of a format, and what follows it; none: nothing is left.
fn next_part(format: &str) -> Option<(&str, &str)> {
    let rest = match format.find('%') {
        None => "",
        Some(0) if format.starts_with("%%") => format.get(2..)?,
        Some(0) => after_operator(format).unwrap_or_default(),
        Some(at) => format.get(at..)?,
    };
    let part = format.strip_suffix(rest)?;
    (!part.is_empty()).then_some((part, rest))
}

fn wrong(operator: &str) -> String {
    let shown: String = operator.chars().take(40).collect();
    format!("{shown:?} does not begin with a command operator that Envoy knows")
}

/// What follows the operator with which a text begins; none if it begins with none.
fn after_operator(text: &str) -> Option<&str> {
    let text = text.strip_prefix('%')?;
    let end = text.find(|c: char| !matches!(c, 'A'..='Z' | '0'..='9' | '_'))?;
    let (name, mut rest) = text.split_at(end);
    let Some(arguments) = rest.strip_prefix('(') else {
        let (cut, rest) = after_length(rest)?;
        return fits(name, None, cut).then_some(rest);
    };
    // An argument ends with the first parenthesis behind which the operator ends.
    rest = arguments;
    loop {
        let (_, behind) = rest.split_once(')')?;
        if let Some((cut, after)) = after_length(behind) {
            let length = arguments.len() - behind.len() - 1;
            let argument = arguments.get(..length)?;
            return fits(name, Some(argument), cut).then_some(after);
        }
        rest = behind;
    }
}

/// Whether a text goes on with a length, and what follows the operator's end.
fn after_length(text: &str) -> Option<(bool, &str)> {
    if let Some(rest) = text.strip_prefix('%') {
        return Some((false, rest));
    }
    let (length, rest) = text.strip_prefix(':')?.split_once('%')?;
    // Envoy reads it as a number of 32 bits.
    length.parse::<u32>().ok().map(|_| (true, rest))
}

fn fits(name: &str, argument: Option<&str>, cut: bool) -> bool {
    let is_one_of = |names: &[&str]| names.contains(&name);
    match (argument, name) {
        (Some(argument), _) if argument.is_empty() || argument.contains('\n') => false,
        (None, "PATH" | "QUERY_PARAMS") => true,
        (None, "GRPC_STATUS" | "REQUESTED_SERVER_NAME") => !cut,
        (None, _) => !cut && (is_one_of(PLAIN) || is_one_of(EITHER)),
        (Some("CAMEL_STRING" | "SNAKE_STRING" | "NUMBER"), "GRPC_STATUS") => !cut,
        (Some(argument), "FILTER_STATE" | "UPSTREAM_FILTER_STATE") => is_filter_state(argument),
        (Some(argument), "METADATA") => {
            let kind = argument.split_once(':').map(|(kind, _)| kind);
            kind.is_some_and(|kind| METADATA.contains(&kind))
        }
        (Some(argument), "COMMON_DURATION") => {
            let parts: Vec<&str> = argument.split(':').collect();
            !cut && matches!(*parts, [from, to, "ms" | "us" | "ns"] if !from.is_empty() && !to.is_empty())
        }
        (Some(argument), "REQ_WITHOUT_QUERY") => is_header(argument),
        (Some(argument), _) if is_one_of(HEADERS) => is_header(argument),
        (Some(_), _) if is_one_of(NAMED) => true,
        (Some(_), _) => !cut && (is_one_of(EITHER) || is_one_of(UNCUT)),
    }
}

/// A key, and perhaps how its value is written.
fn is_filter_state(argument: &str) -> bool {
    let (key, form) = argument.split_once(':').unwrap_or((argument, "PLAIN"));
    !key.is_empty() && matches!(form, "PLAIN" | "TYPED")
}

/// One header, or two with a question mark between them.
fn is_header(argument: &str) -> bool {
    let is_name = |name: &str| {
        let token = name.strip_prefix(':').unwrap_or(name);
        !token.is_empty()
            && token
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "!#$&'*+-.^_`|~".contains(c))
    };
    let mut names = argument.split('?');
    names.clone().count() <= 2 && names.all(is_name)
}

#[cfg(test)]
mod tests {
    use super::{check, fitted, later, since};
    use crate::EnvoyMinor;

    #[test]
    fn what_envoy_takes_is_taken() {
        for format in [
            "",
            "no operator, 100 %%",
            "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH):20%\"",
            "%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%",
            "%DYNAMIC_METADATA(istio.mixer:status)% %FILTER_STATE(a:PLAIN)%",
            "%REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH)% %GRPC_STATUS(NUMBER)% %PATH:10%",
            "%UPSTREAM_TRANSPORT_FAILURE_REASON%%DURATION%",
            "%METADATA(ROUTE:a:b)% %COMMON_DURATION(DS_RX_BEG:DS_TX_END:ms)%",
        ] {
            assert_eq!(check(format), Ok(()), "{format}");
        }
    }

    #[test]
    fn what_envoy_refuses_is_refused() {
        for format in [
            "%",
            "100 %",
            "%NOT",
            "%NOT%",
            "%req(a)%",
            "%REQ%",
            "%REQ()%",
            "%REQ(a?b?c)%",
            "%REQ(a):x%",
            "%PROTOCOL(a)%",
            "%DURATION:3%",
            "%FILTER_STATE(a:OTHER)%",
            "%REQ(a b)%",
            "%REQ(a?)%",
            "%FILTER_STATE(:PLAIN)%",
            "%FILTER_STATE(a:b:TYPED)%",
            "%METADATA(a)%",
            "%COMMON_DURATION(a:b)%",
            "%CEL(1 +)%",
        ] {
            assert!(check(format).is_err(), "{format}");
        }
    }

    #[test]
    fn what_an_older_envoy_does_not_know_is_left_out_for_it() {
        let format = "%%DOWNSTREAM_CX_RTT%%, %DOWNSTREAM_CX_RTT% %UPSTREAM_TLS_GROUP%%PROTOCOL%.";
        assert_eq!(check(format), Ok(()));
        assert_eq!(fitted(format, EnvoyMinor::V1_40, "-"), format);
        assert_eq!(
            fitted(format, EnvoyMinor::V1_39, "-"),
            "%%DOWNSTREAM_CX_RTT%%, - %UPSTREAM_TLS_GROUP%%PROTOCOL%."
        );
        assert_eq!(
            fitted(format, EnvoyMinor::V1_38, ""),
            "%%DOWNSTREAM_CX_RTT%%,  %PROTOCOL%."
        );
        assert_eq!(since(format), EnvoyMinor::V1_40);
        assert_eq!(later(format).count(), 2);
        assert_eq!(
            since("%PROTOCOL%DOWNSTREAM_CX_RTT%PROTOCOL%"),
            EnvoyMinor::OLDEST
        );
    }
}
