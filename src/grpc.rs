//! The gRPC ports: discovery and the certificate service.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ca::CertificateService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;
use tonic::transport::{Error, Server};
use tower::Service;
use xds::AdsService;

use crate::accept::{Connection, Peer};
use crate::backend::Discovery;

/// Connections of one port: one for each proxy, and some for the restarting.
pub const CONNECTIONS: usize = 32_768;
/// Streams of one connection: a proxy needs two.
const STREAMS: u32 = 256;
/// What a client may send before it is read, in bytes. Requests are small.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// A client that says nothing for so long is asked whether it is there, and has so long to answer.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);
/// How long a call of the certificate service may take, its request included.
const DEADLINE: Duration = Duration::from_secs(15);
const HEADERS: u32 = 32 << 10;

/// The services of a port.
#[must_use]
pub fn routes(discovery: Discovery, certificates: CertificateService, identifier: &str) -> Routes {
    let mut routes = Routes::builder();
    routes.add_service(AdsService::new(discovery, identifier));
    routes.add_service(Deadline(certificates.into_server()));
    routes.routes()
}

/// Serves until `stop`, and until all connections have ended after that.
///
/// # Errors
/// When the transport fails as a whole.
pub async fn serve(
    connections: mpsc::Receiver<io::Result<Connection>>,
    routes: Routes,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADERS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        .layer(tower::util::MapRequestLayer::new(introduce))
        .add_routes(routes)
        .serve_with_incoming_shutdown(ReceiverStream::new(connections), stop)
        .await
}

/// Says who calls in the words of the CA and of tonic.
fn introduce(mut request: http::Request<Body>) -> http::Request<Body> {
    if let Some(Peer {
        remote,
        local,
        certificates,
    }) = request.extensions_mut().remove()
    {
        let info = TcpConnectInfo {
            local_addr: Some(local),
            remote_addr: Some(remote),
        };
        request.extensions_mut().insert(info);
        request.extensions_mut().insert(certificates);
    }
    request
}

/// A service whose calls end in time (SEC 29). Not for streams.
#[derive(Clone, Debug)]
struct Deadline<S>(S);

impl<S: NamedService> NamedService for Deadline<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Deadline<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let call = tokio::time::timeout(DEADLINE, self.0.call(request));
        let late =
            || Ok(Status::deadline_exceeded("the request took too long to arrive").into_http());
        Box::pin(async move { call.await.unwrap_or_else(|_| late()) })
    }
}
