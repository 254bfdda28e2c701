//! `HttpProtocolOptions`: which HTTP a cluster speaks to its endpoints, and the limits of those connections.

use envoy_api::envoy::config::common::matcher::v3 as matcher;
use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::extensions::upstreams::http::v3 as upstreams;
use ir::model::{ConnectionPool, OutlierDetection, ServerName, StringMatch};
use ir::{Cluster, UpstreamProtocol, UpstreamTls};
use matcher::match_predicate::Rule;
use upstreams::HttpProtocolOptions;
use upstreams::http_protocol_options as options;
use upstreams::http_protocol_options::explicit_http_config::ProtocolConfig;

use crate::proto::{duration, positive};
use crate::route::header;

/// The key in `typed_extension_protocol_options`.
pub(crate) const NAME: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// How many requests share a connection unless the user says otherwise: Istio's number, which is no limit.
const MAX_STREAMS: u32 = 1 << 30;
/// The most that HTTP/2 can say.
const HTTP2_LIMIT: u32 = (1 << 31) - 1;

/// The options of a cluster; none where bytes are spoken.
pub(crate) fn http_options(cluster: &Cluster) -> Option<HttpProtocolOptions> {
    let pool = &cluster.connection_pool;
    let protocol = match cluster.protocol {
        UpstreamProtocol::Tcp => return None,
        UpstreamProtocol::Http1 => explicit(ProtocolConfig::HttpProtocolOptions(
            core::Http1ProtocolOptions::default(),
        )),
        UpstreamProtocol::Http2 => explicit(ProtocolConfig::Http2ProtocolOptions(http2(pool))),
        UpstreamProtocol::FollowCaller => {
            options::UpstreamProtocolOptions::UseDownstreamProtocolConfig(
                options::UseDownstreamHttpConfig {
                    http_protocol_options: Some(core::Http1ProtocolOptions::default()),
                    http2_protocol_options: Some(http2(pool)),
                    ..Default::default()
                },
            )
        }
    };
    Some(HttpProtocolOptions {
        common_http_protocol_options: common(pool),
        upstream_http_protocol_options: server_name(&cluster.tls),
        upstream_protocol_options: Some(protocol),
        outlier_detection: cluster.outlier_detection.as_ref().and_then(errors),
        ..Default::default()
    })
}

/// The answers that count as errors, where the user names them.
fn errors(ejection: &OutlierDetection) -> Option<options::OutlierDetection> {
    let is_status = |code: &u16| matcher::MatchPredicate {
        rule: Some(Rule::HttpResponseHeadersMatch(matcher::HttpHeadersMatch {
            headers: vec![header(
                ":status",
                &StringMatch::Exact(code.to_string().into()),
            )],
        })),
    };
    let mut rules: Vec<_> = ejection.error_codes.iter().map(is_status).collect();
    let error_matcher = match rules.len() {
        0 => return None,
        1 => rules.pop(),
        // A set of Envoy's has two at least.
        _ => Some(matcher::MatchPredicate {
            rule: Some(Rule::OrMatch(matcher::match_predicate::MatchSet { rules })),
        }),
    };
    Some(options::OutlierDetection { error_matcher })
}

fn explicit(config: ProtocolConfig) -> options::UpstreamProtocolOptions {
    options::UpstreamProtocolOptions::ExplicitHttpConfig(options::ExplicitHttpConfig {
        protocol_config: Some(config),
    })
}

fn http2(pool: &ConnectionPool) -> core::Http2ProtocolOptions {
    let streams = pool.max_concurrent_streams.filter(|&streams| streams > 0);
    core::Http2ProtocolOptions {
        max_concurrent_streams: Some(streams.unwrap_or(MAX_STREAMS).min(HTTP2_LIMIT)),
        connection_keepalive: pool.http2_keepalive.map(|(interval, timeout)| {
            core::KeepaliveSettings {
                interval: Some(positive(interval)),
                timeout: Some(positive(timeout)),
                ..Default::default()
            }
        }),
        ..Default::default()
    }
}

fn common(pool: &ConnectionPool) -> Option<core::HttpProtocolOptions> {
    let common = core::HttpProtocolOptions {
        // As Istio: where HTTP says nothing, the setting for TCP holds.
        idle_timeout: pool
            .http_idle_timeout
            .or(pool.tcp_idle_timeout)
            .map(duration),
        max_connection_duration: pool.max_connection_duration.map(duration),
        max_requests_per_connection: pool.max_requests_per_connection.filter(|&most| most > 0),
        ..Default::default()
    };
    (common != core::HttpProtocolOptions::default()).then_some(common)
}

/// Where the user names no SNI, the request's host is asked for, and the certificate must be for it unless the user
/// names whom to accept (Istio's `VERIFY_CERTIFICATE_AT_CLIENT`).
fn server_name(tls: &UpstreamTls) -> Option<core::UpstreamHttpProtocolOptions> {
    let server: &ServerName = match tls {
        UpstreamTls::Simple(server) | UpstreamTls::Files { server, .. } => server,
        UpstreamTls::Plaintext | UpstreamTls::Auto(_) | UpstreamTls::Mesh(_) => return None,
    };
    server
        .sni
        .is_none()
        .then(|| core::UpstreamHttpProtocolOptions {
            auto_sni: true,
            auto_san_validation: server.subject_alt_names.is_empty()
                && !server.insecure_skip_verify,
            ..Default::default()
        })
}
