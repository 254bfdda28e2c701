//! The HTTP filters of a connection manager. Their order is the order of declaration here.

use model::Families;

use crate::AuthorizationStage;

/// One HTTP filter. A chain holds each value at most once, ordered as declared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HttpFilter {
    /// Who calls. First, so that everything behind it, telemetry above all, knows.
    PeerMetadata(PeerMetadata),
    /// A filter that authorizes: before anything that the app or its quotas would notice. Providers of CUSTOM policies
    /// come before tokens are read, so that they may bring some.
    Authorization(AuthorizationStage),
    /// gRPC status for telemetry; behind the policies, so that refused calls count as they were answered.
    GrpcStats,
    /// Istio's ALPN for the upstream connection; before any filter that may choose the route's cluster anew.
    Alpn,
    /// Faults stand behind the policies: an injected answer must not reach who may not call.
    Fault,
    /// CORS preflights are answered last, by the route that would have been taken.
    Cors,
    /// Resolves the host of a request whose cluster is found by it: when nothing in front answers any more, and just
    /// before the request is sent there.
    DynamicForwardProxy(Families),
    /// Sends the request on. Always there, always last.
    Router,
}

/// What the peer metadata filter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerMetadata {
    /// The client's side: drops what the app said; the routes to mesh services add the truth.
    Send,
    /// The server's side of mutual TLS: reads it, then takes it out before the app.
    Trust,
    /// The server's side of plaintext: takes it out unread.
    Drop,
}
