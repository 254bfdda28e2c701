//! A bidirectional gRPC stream on a connection of its own, with Envoy's windows. Messages stay encoded.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::Result;

/// The length of what stands before each message: a flag, and the message's length as a u32.
pub const PREFIX: usize = 5;

/// The header that says which sidecar this is. The floor reads it; `lateend` reads the node.
pub const SIDECAR: &str = "x-sidecar";

const METHOD: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// Envoy's default receive windows, in bytes.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 24 << 20;

/// A stream, from the client's side. Dropping it ends it and closes its connection.
pub struct Stream {
    requests: mpsc::UnboundedSender<Bytes>,
    responses: Incoming,
    unread: BytesMut,
    _connection: SendRequest<Requests>,
}

impl Stream {
    /// Connects and opens a delta stream with these requests.
    pub async fn open(server: SocketAddr, sidecar: usize, first: &[Bytes]) -> Result<Self> {
        let socket = TcpStream::connect(server).await?;
        socket.set_nodelay(true)?;
        let (mut sender, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(socket))
            .await?;
        // Ends when the stream and the sender are dropped; why a stream failed is told by the stream.
        tokio::spawn(async move { drop(connection.await) });
        let (requests, queue) = mpsc::unbounded_channel();
        for request in first {
            requests.send(request.clone())?;
        }
        let request = http::Request::post(format!("http://{server}{METHOD}"))
            .header(http::header::CONTENT_TYPE, "application/grpc")
            .header(http::header::TE, "trailers")
            .header(SIDECAR, sidecar)
            .body(Requests(queue))?;
        let response = sender.send_request(request).await?;
        if let Some(status) = response.headers().get("grpc-status") {
            return Err(Refused::new(status, response.headers()).into());
        }
        Ok(Self {
            requests,
            responses: response.into_body(),
            unread: BytesMut::new(),
            _connection: sender,
        })
    }

    /// Sends a request.
    pub fn send(&self, request: Bytes) -> Result<()> {
        Ok(self.requests.send(request)?)
    }

    /// The next message with its prefix. Nothing is lost when this is dropped before it is ready.
    pub async fn message(&mut self) -> Result<Bytes> {
        loop {
            if let Some(message) = split(&mut self.unread) {
                return Ok(message);
            }
            let frame = self
                .responses
                .frame()
                .await
                .ok_or("the server ended a stream")??;
            match frame.into_data() {
                Ok(data) => self.unread.put(data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    let status = trailers
                        .get("grpc-status")
                        .ok_or("a stream ended without a status")?;
                    return Err(Refused::new(status, &trailers).into());
                }
            }
        }
    }
}

/// The server does not want the stream.
#[derive(Debug)]
pub struct Refused(String);

impl Refused {
    fn new(status: &http::HeaderValue, headers: &http::HeaderMap) -> Self {
        let message = headers
            .get("grpc-message")
            .map(|text| String::from_utf8_lossy(text.as_bytes()));
        Self(format!(
            "gRPC status {status:?}: {}",
            message.unwrap_or_default()
        ))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Takes one whole message with its prefix off the front.
pub fn split(unread: &mut BytesMut) -> Option<Bytes> {
    let mut prefix = unread.get(1..PREFIX)?;
    let whole = PREFIX + usize::try_from(prefix.get_u32()).ok()?;
    if unread.len() < whole {
        unread.reserve(whole - unread.len());
        return None;
    }
    Some(unread.split_to(whole).freeze())
}

/// A message with its prefix.
pub fn frame(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // Encoding fails only for want of room, and there is room.
    let _ = message.encode(&mut frame);
    frame.freeze()
}

/// The requests of a stream, as the body of its HTTP request.
struct Requests(mpsc::UnboundedReceiver<Bytes>);

impl http_body::Body for Requests {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
    }
}
