//! Istio's ALPN: tells a server of the mesh before the first byte that a connection is of the mesh and what it carries.

use common::filter_state_value::{Key, SharedWithUpstream, Value};
use std::sync::LazyLock;

use envoy_api::envoy::extensions::filters::common::set_filter_state::v3 as common;
use envoy_api::envoy::extensions::filters::http::set_filter_state::v3::Config;
use envoy_api::{Any, pack};
use ir::{MeshAlpn, UpstreamProtocol};

use crate::proto::format_string;

/// The filter's name, Istio's.
pub(crate) const NAME: &str = "istio.alpn";
/// What Envoy's TLS clients take their ALPN from.
const OBJECT: &str = "envoy.network.application_protocols";

/// HTTP/1.1. The last word is what the server's TLS answers with, and thereby the protocol that Envoy reads.
const HTTP1: [&str; 3] = ["istio-http/1.1", "istio", "http/1.1"];
/// HTTP/2.
const HTTP2: [&str; 3] = ["istio-h2", "istio", "h2"];
/// Bytes. Never `istio-peer-exchange`: a real Istio peer would then prepend some of its own.
const TCP: [&str; 1] = ["istio"];

/// The filter's own configuration: nothing, so that it acts only on routes that say so. Other clusters' TLS (a server
/// outside the mesh, say) would otherwise be offered Istio's words.
pub(crate) fn config() -> Any {
    pack(&Config::default())
}

/// What a route announces to a cluster with Istio's mutual TLS. HTTP/1.1 its cluster announces by itself, which never
/// carries anything else; others may carry bytes too, where a port's protocol is found out per connection.
pub(crate) fn of_route(alpn: MeshAlpn) -> Option<Any> {
    static BY_HTTP2: LazyLock<Any> = LazyLock::new(|| announce(&HTTP2.join(",")));
    static BY_CALLER: LazyLock<Any> = LazyLock::new(|| {
        let (http1, http2) = (HTTP1.join(","), HTTP2.join(","));
        announce(&format!(
            "%CEL(request.protocol == 'HTTP/2' ? '{http2}' : '{http1}')%"
        ))
    });
    match alpn {
        MeshAlpn::Http1 => None,
        MeshAlpn::Http2 => Some(BY_HTTP2.clone()),
        MeshAlpn::FollowCaller => Some(BY_CALLER.clone()),
    }
}

fn announce(protocols: &str) -> Any {
    pack(&Config {
        on_request_headers: vec![common::FilterStateValue {
            key: Some(Key::ObjectKey(OBJECT.to_owned())),
            value: Some(Value::FormatString(format_string(protocols))),
            shared_with_upstream: SharedWithUpstream::Once.into(),
            ..Default::default()
        }],
        ..Default::default()
    })
}

/// What a cluster with Istio's mutual TLS announces unless a route does.
pub(crate) fn of_cluster(protocol: UpstreamProtocol) -> &'static [&'static str] {
    match protocol {
        UpstreamProtocol::Http1 => &HTTP1,
        UpstreamProtocol::Http2 | UpstreamProtocol::Tcp | UpstreamProtocol::FollowCaller => &TCP,
    }
}
