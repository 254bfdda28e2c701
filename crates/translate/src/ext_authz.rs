//! External authorizers: how Envoy asks them, and what it makes of their answers.

use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::extensions::filters::http::ext_authz::v3 as http;
use envoy_api::envoy::extensions::filters::network::ext_authz::v3 as network;
use envoy_api::envoy::r#type::matcher::v3 as matcher;
use envoy_api::envoy::r#type::v3::HttpStatus;
use ir::model::{AuthorizerProtocol, CheckedBody, ExternalAuthorizer, HttpCheck, StringPattern};
use ir::{AuthorizationLayer as Layer, Provider};

use crate::authorization::{ASKED, ASKED_METADATA};
use crate::proto::{positive, string_matcher};
use crate::rbac::text;

/// Whether a provider can say something of what a layer sees. One that is asked by HTTP knows no connections.
pub(crate) fn knows(provider: &Provider, layer: Layer) -> bool {
    match (&provider.authorizer.protocol, layer) {
        (AuthorizerProtocol::Http(_), Layer::Tcp) => false,
        (AuthorizerProtocol::Http(_) | AuthorizerProtocol::Grpc, Layer::Http)
        | (AuthorizerProtocol::Grpc, Layer::Tcp) => true,
    }
}

/// The HTTP filter.
pub(crate) fn http(provider: &Provider) -> http::ExtAuthz {
    let ExternalAuthorizer {
        host: _,
        namespace: _,
        port: _,
        timeout: _,
        fail_open,
        clear_route_cache,
        status_on_error,
        body,
        protocol,
    } = &provider.authorizer;
    let (services, allowed_headers) = match protocol {
        AuthorizerProtocol::Grpc => {
            let services = http::ext_authz::Services::GrpcService(grpc_service(provider));
            (services, None)
        }
        AuthorizerProtocol::Http(check) => {
            let services = http::ext_authz::Services::HttpService(http_service(provider, check));
            (services, headers(&check.request_headers))
        }
    };
    http::ExtAuthz {
        transport_api_version: core::ApiVersion::V3.into(),
        failure_mode_allow: *fail_open,
        clear_route_cache: *clear_route_cache,
        status_on_error: status_on_error.map(|code| HttpStatus { code: code.into() }),
        with_request_body: body.map(buffer),
        allowed_headers,
        filter_enabled_metadata: Some(asked("envoy.filters.http.rbac")),
        services: Some(services),
        ..Default::default()
    }
}

/// The network filter, for a provider that is asked by gRPC.
pub(crate) fn network(provider: &Provider) -> network::ExtAuthz {
    network::ExtAuthz {
        stat_prefix: "tcp.".to_owned(),
        grpc_service: Some(grpc_service(provider)),
        failure_mode_allow: provider.authorizer.fail_open,
        transport_api_version: core::ApiVersion::V3.into(),
        filter_enabled_metadata: Some(asked("envoy.filters.network.rbac")),
        ..Default::default()
    }
}

/// Whether a rule matched about which the provider is asked.
fn asked(filter: &str) -> matcher::MetadataMatcher {
    use matcher::metadata_matcher::{PathSegment, path_segment::Segment};
    let prefix = matcher::string_matcher::MatchPattern::Prefix(ASKED.to_owned());
    matcher::MetadataMatcher {
        filter: filter.to_owned(),
        path: vec![PathSegment {
            segment: Some(Segment::Key(format!(
                "{ASKED_METADATA}shadow_effective_policy_id"
            ))),
        }],
        value: Some(matcher::ValueMatcher {
            match_pattern: Some(matcher::value_matcher::MatchPattern::StringMatch(
                string_matcher(prefix),
            )),
        }),
        invert: false,
    }
}

fn grpc_service(provider: &Provider) -> core::GrpcService {
    let cluster_name = provider.cluster.to_string();
    core::GrpcService {
        timeout: Some(positive(provider.authorizer.timeout)),
        target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(
            core::grpc_service::EnvoyGrpc {
                // Servers refuse an authority with `|` in it, which Envoy would make of the cluster's name.
                authority: cluster_name.replace('|', "_."),
                cluster_name,
                ..Default::default()
            },
        )),
        ..Default::default()
    }
}

fn http_service(provider: &Provider, check: &HttpCheck) -> http::HttpService {
    let HttpCheck {
        path_prefix,
        request_headers: _, // see `http`
        additional_headers,
        to_upstream,
        to_downstream_on_allow,
        to_downstream_on_deny,
    } = check;
    let added = additional_headers
        .iter()
        .map(|(key, value)| core::HeaderValue {
            key: key.to_string(),
            value: value.to_string(),
            ..Default::default()
        });
    http::HttpService {
        server_uri: Some(core::HttpUri {
            uri: format!("http://{}", provider.authorizer.host),
            timeout: Some(positive(provider.authorizer.timeout)),
            http_upstream_type: Some(core::http_uri::HttpUpstreamType::Cluster(
                provider.cluster.to_string(),
            )),
        }),
        path_prefix: path_prefix.as_deref().unwrap_or_default().to_owned(),
        authorization_request: (!additional_headers.is_empty()).then(|| {
            http::AuthorizationRequest {
                headers_to_add: added.collect(),
                ..Default::default()
            }
        }),
        authorization_response: Some(http::AuthorizationResponse {
            allowed_upstream_headers: headers(to_upstream),
            allowed_client_headers: headers(to_downstream_on_deny),
            allowed_client_headers_on_success: headers(to_downstream_on_allow),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn headers(patterns: &[StringPattern]) -> Option<matcher::ListStringMatcher> {
    let patterns: Vec<matcher::StringMatcher> = patterns
        .iter()
        .map(|pattern| matcher::StringMatcher {
            // Envoy takes no expression without regard to case, and the one for any name needs none.
            ignore_case: *pattern != StringPattern::Present,
            ..text(pattern)
        })
        .collect();
    (!patterns.is_empty()).then_some(matcher::ListStringMatcher { patterns })
}

fn buffer(body: CheckedBody) -> http::BufferSettings {
    let CheckedBody {
        max_bytes,
        partial,
        as_bytes,
    } = body;
    http::BufferSettings {
        max_request_bytes: max_bytes,
        allow_partial_message: partial,
        pack_as_bytes: as_bytes,
    }
}
