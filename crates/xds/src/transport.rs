//! The ADS server on tonic's transport: the only asynchronous part of this crate.
//!
//! Responses do not pass through tonic's codec. The body of the HTTP response asks the session for the next message when
//! the connection has room for it, and writes it as gRPC frames that share the resources' bytes.

mod body;
mod encode;
mod requests;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use envoy_api::envoy::config::core::v3::Node;
use http::{Extensions, HeaderMap, HeaderValue, header};
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::{Event, Mode, View};
use body::Stream;
use requests::Requests;

/// A request may be this long, in bytes. Larger ones end the stream.
pub const MAX_REQUEST: usize = 4 * 1024 * 1024;

/// A stream, by the number that the backend gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// What is known of a client before it has said anything.
#[derive(Debug)]
pub struct Arrival {
    /// What the transport knows: the peer's address and certificates.
    pub extensions: Extensions,
    /// The headers of the HTTP request, with its credentials.
    pub metadata: HeaderMap,
}

/// What is known of a client when its first request has come.
#[derive(Debug)]
pub struct Connect<C> {
    /// Who it is, as [`Backend::admit`] says.
    pub caller: C,
    /// Who the client says it is; empty if it did not say.
    pub node: Node,
    /// The variant of the protocol that it speaks.
    pub mode: Mode,
}

/// What a stream is given.
#[derive(Debug)]
pub struct Subscription {
    /// The view, and each newer one. When the sender is dropped the stream ends.
    pub views: watch::Receiver<View>,
    /// The number under which events are reported.
    pub stream: StreamId,
}

/// Who decides what a client gets, and wants to know what became of it.
pub trait Backend: Clone + Send + Sync + 'static {
    /// Who a client is.
    type Caller: Send + 'static;

    /// Authenticates a client. Nothing that it sends is read before.
    ///
    /// # Errors
    /// The status that ends the stream: `UNAUTHENTICATED`.
    fn admit(&self, arrival: Arrival) -> impl Future<Output = Result<Self::Caller, Status>> + Send;

    /// Chooses a client's view.
    ///
    /// # Errors
    /// The status that ends the stream: `PERMISSION_DENIED`, or `UNAVAILABLE` before there is a view.
    fn connect(
        &self,
        first: Connect<Self::Caller>,
    ) -> impl Future<Output = Result<Subscription, Status>> + Send;

    /// Something happened on a stream. Must not block.
    fn report(&self, stream: StreamId, event: Event);

    /// A stream for which `connect` succeeded has ended.
    fn disconnected(&self, stream: StreamId);
}

/// The aggregated discovery service, both variants, as a service for tonic's router.
#[derive(Clone, Debug)]
pub struct AdsService<B> {
    backend: B,
    identifier: Arc<str>,
}

impl<B: Backend> AdsService<B> {
    /// A service for this backend. `identifier` is sent as `control_plane.identifier` in each response, unless empty.
    pub fn new(backend: B, identifier: impl Into<Arc<str>>) -> Self {
        Self {
            backend,
            identifier: identifier.into(),
        }
    }

    fn answer(&self, request: http::Request<Body>) -> http::Response<Body> {
        let method = request.uri().path().rsplit('/').next();
        let mode = match method {
            Some("StreamAggregatedResources") => Mode::Sotw,
            Some("DeltaAggregatedResources") => Mode::Delta,
            _ => return Status::unimplemented("no such method").into_http(),
        };
        let (parts, body) = request.into_parts();
        let arrival = Arrival {
            extensions: parts.extensions,
            metadata: parts.headers,
        };
        let stream = Stream::new(
            self.backend.clone(),
            Arc::clone(&self.identifier),
            arrival,
            Requests::new(mode, body),
        );
        let mut response = http::Response::new(Body::new(stream));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        );
        response
    }
}

impl<B> NamedService for AdsService<B> {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl<B: Backend> Service<http::Request<Body>> for AdsService<B> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        ready(Ok(self.answer(request)))
    }
}
