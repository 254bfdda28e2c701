//! What Envoy says, with the two variants of the protocol made alike where they are alike.

use std::collections::HashMap;

use envoy_api::envoy::config::core::v3::Node;
use envoy_api::envoy::service::discovery::v3::DiscoveryRequest;
use envoy_api::google::rpc;

/// A request on a stream, without the node, which only says who is speaking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The type of the resources that it is about.
    pub type_url: String,
    /// The nonce of the response that it answers; empty if it answers none.
    pub nonce: String,
    /// Why that response was refused, if it was.
    pub error: Option<String>,
    /// What it asks for.
    pub ask: Ask,
}

/// The part in which the two variants differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// State of the world: all names that Envoy is interested in.
    Names(Vec<String>),
    /// Delta: what changes in Envoy's interest.
    Changes {
        /// The names to subscribe to; `*` is everything.
        subscribe: Vec<String>,
        /// The names to forget.
        unsubscribe: Vec<String>,
        /// What Envoy still has from an earlier stream: name and version.
        initial: HashMap<String, String>,
    },
}

impl From<DiscoveryRequest> for Request {
    fn from(request: DiscoveryRequest) -> Self {
        Self {
            type_url: request.type_url,
            nonce: request.response_nonce,
            error: request
                .error_detail
                .map(|error| without_markers(&error.message)),
            ask: Ask::Names(request.resource_names),
        }
    }
}

/// A `DeltaDiscoveryRequest` whose versions are not put in order: a proxy that reconnects names thousands.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DeltaRequest {
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    #[prost(string, tag = "2")]
    type_url: String,
    #[prost(string, repeated, tag = "3")]
    subscribe: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    unsubscribe: Vec<String>,
    #[prost(map = "string, string", tag = "5")]
    initial: HashMap<String, String>,
    #[prost(string, tag = "6")]
    nonce: String,
    #[prost(message, optional, tag = "7")]
    error: Option<rpc::Status>,
}

impl From<DeltaRequest> for Request {
    fn from(request: DeltaRequest) -> Self {
        Self {
            type_url: request.type_url,
            nonce: request.nonce,
            error: request.error.map(|error| without_markers(&error.message)),
            ask: Ask::Changes {
                subscribe: request.subscribe,
                unsubscribe: request.unsubscribe,
                initial: request.initial,
            },
        }
    }
}

/// Protobuf's C++ library marks text that must not be matched on with words such as `goo.gle/debugproto`. They change
/// from build to build and mean nothing to a user.
fn without_markers(text: &str) -> String {
    const MARKER: &str = "goo.gle/";
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, marker)) = rest.split_once(MARKER) {
        clean.push_str(before);
        rest = marker
            .split_once(char::is_whitespace)
            .map_or("", |(_, after)| after.trim_start());
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::without_markers;

    #[test]
    fn debug_markers_are_stripped() {
        assert_eq!(
            without_markers("goo.gle/debugproto  Proto constraint"),
            "Proto constraint"
        );
        assert_eq!(
            without_markers("bad goo.gle/debugonly  x: 1 goo.gle/debugstr y"),
            "bad x: 1 y"
        );
        assert_eq!(without_markers("goo.gle/debugproto"), "");
        assert_eq!(without_markers("plain"), "plain");
    }
}
