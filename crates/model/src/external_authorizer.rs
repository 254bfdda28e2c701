//! External authorizers: whom AuthorizationPolicies with action CUSTOM ask.

use std::sync::Arc;
use std::time::Duration;

use crate::{Hostname, Namespace, Port, StringPattern};

/// A provider of MeshConfig's `extensionProviders` that authorizes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExternalAuthorizer {
    /// `service` without its namespace.
    pub host: Hostname,
    /// The namespace in `service`; none: whoever bears the host.
    pub namespace: Option<Namespace>,
    /// `port`.
    pub port: Port,
    /// `timeout`.
    pub timeout: Duration,
    /// `failOpen`.
    pub fail_open: bool,
    /// `clearRouteCache`.
    pub clear_route_cache: bool,
    /// `statusOnError`; none: 403.
    pub status_on_error: Option<u16>,
    /// `includeRequestBodyInCheck`; none: without the body.
    pub body: Option<CheckedBody>,
    /// How it is asked.
    pub protocol: AuthorizerProtocol,
}

/// How an external authorizer is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthorizerProtocol {
    /// `envoyExtAuthzGrpc`.
    Grpc,
    /// `envoyExtAuthzHttp`, which knows no connections, only requests.
    Http(HttpCheck),
}

/// What only an authorizer has that is asked by HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpCheck {
    /// `pathPrefix`.
    pub path_prefix: Option<Arc<str>>,
    /// `includeRequestHeadersInCheck` and the older `includeHeadersInCheck`.
    pub request_headers: Arc<[StringPattern]>,
    /// `includeAdditionalHeadersInCheck`, ordered by name.
    pub additional_headers: Arc<[(Arc<str>, Arc<str>)]>,
    /// `headersToUpstreamOnAllow`.
    pub to_upstream: Arc<[StringPattern]>,
    /// `headersToDownstreamOnAllow`.
    pub to_downstream_on_allow: Arc<[StringPattern]>,
    /// `headersToDownstreamOnDeny`.
    pub to_downstream_on_deny: Arc<[StringPattern]>,
}

/// `includeRequestBodyInCheck`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckedBody {
    /// `maxRequestBytes`.
    pub max_bytes: u32,
    /// `allowPartialMessage`.
    pub partial: bool,
    /// `packAsBytes`.
    pub as_bytes: bool,
}
