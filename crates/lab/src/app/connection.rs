//! A caller's connection: HTTP/1.1, HTTP/2, one stream of gRPC messages, one websocket, or lines of text over TCP.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use http::uri::Authority;
use http::{HeaderName, Request, Response, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf,
};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest};

use crate::app::call::{Call, Failure, Outcome, Protocol};
use crate::app::echo::Answer;
use crate::app::tls;

type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// What a stream must do.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An open connection.
pub enum Connection {
    /// HTTP/1.1.
    Http1(http1::SendRequest<Body>),
    /// HTTP/2.
    Http2(http2::SendRequest<Body>),
    /// An open gRPC stream.
    Grpc(Grpc),
    /// Lines.
    Tcp(Lines),
    /// An open websocket.
    Websocket(Box<Websocket>),
}

/// A websocket on a stream.
type Websocket = WebSocketStream<Box<dyn Stream>>;

/// The two ends of a gRPC stream.
pub struct Grpc {
    send: mpsc::Sender<Result<Frame<Bytes>, std::convert::Infallible>>,
    receive: Incoming,
    /// Dropping it would end the connection.
    _sender: http2::SendRequest<Body>,
}

/// The two ends of a TCP connection.
pub struct Lines {
    read: tokio::io::Lines<BufReader<ReadHalf<Box<dyn Stream>>>>,
    write: WriteHalf<Box<dyn Stream>>,
}

fn closed<E>(_: E) -> Failure {
    Failure::Closed
}

impl Connection {
    /// Connects to the host of the call's URL.
    ///
    /// # Errors
    /// [`Failure`], when the name, the address or the handshake fails.
    pub async fn open(call: &Call) -> Result<Self, Failure> {
        let uri: Uri = call.url.parse().map_err(|_| Failure::Url)?;
        let stream = open_stream(&uri, call.protocol).await?;
        match call.protocol {
            Protocol::Tcp => {
                let (read, write) = tokio::io::split(stream);
                let read = BufReader::new(read).lines();
                Ok(Self::Tcp(Lines { read, write }))
            }
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(TokioIo::new(stream))
                    .await
                    .map_err(closed)?;
                tokio::spawn(connection);
                Ok(Self::Http1(sender))
            }
            Protocol::Http2 => Ok(Self::Http2(open_http2(stream).await?)),
            Protocol::Grpc => open_grpc(call, open_http2(stream).await?).await,
            Protocol::Websocket => open_websocket(call, stream).await,
        }
    }

    /// Whether another call can be made on it.
    pub async fn is_open(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
            Self::Grpc(stream) => !stream.send.is_closed(),
            Self::Tcp(_) | Self::Websocket(_) => true,
        }
    }

    /// Makes one call. None: the connection had been closed before the call was sent.
    pub async fn call(&mut self, call: &Call) -> Option<Result<Outcome, Failure>> {
        let response = match self {
            Self::Tcp(lines) => return Some(lines.call(call).await),
            Self::Websocket(socket) => return Some(exchange(socket).await),
            Self::Grpc(stream) => return Some(stream.call().await),
            Self::Http1(sender) => match request(call, false) {
                Ok(request) => sender.send_request(request).await,
                Err(failure) => return Some(Err(failure)),
            },
            Self::Http2(sender) => match request(call, true) {
                Ok(request) => sender.send_request(request).await,
                Err(failure) => return Some(Err(failure)),
            },
        };
        match response {
            Ok(response) => Some(read(response).await),
            Err(error) if error.is_canceled() => None,
            Err(error) if error.is_parse() => Some(Err(Failure::Protocol)),
            Err(_) => Some(Err(Failure::Closed)),
        }
    }
}

async fn open_stream(uri: &Uri, protocol: Protocol) -> Result<Box<dyn Stream>, Failure> {
    let host = uri.host().ok_or(Failure::Url)?;
    let encrypted = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let mut addresses = tokio::net::lookup_host((host.trim_matches(['[', ']']), port))
        .await
        .map_err(|_| Failure::Name)?;
    let address = addresses.next().ok_or(Failure::Name)?;
    let stream = TcpStream::connect(address).await.map_err(connect_failure)?;
    let _ = stream.set_nodelay(true);
    if !encrypted {
        return Ok(Box::new(stream));
    }
    let alpn: &[u8] = match protocol {
        Protocol::Http2 | Protocol::Grpc => b"h2",
        Protocol::Http1 | Protocol::Tcp | Protocol::Websocket => b"http/1.1",
    };
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Failure::Url)?;
    let connector = tls::connector(alpn).map_err(|_| Failure::Protocol)?;
    let stream = connector.connect(name, stream).await.map_err(closed)?;
    Ok(Box::new(stream))
}

fn connect_failure(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionReset => Failure::Closed,
        _ => Failure::Connect,
    }
}

async fn open_http2(stream: Box<dyn Stream>) -> Result<http2::SendRequest<Body>, Failure> {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(closed)?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn open_grpc(
    call: &Call,
    mut sender: http2::SendRequest<Body>,
) -> Result<Connection, Failure> {
    let (send, frames) = mpsc::channel(1);
    let mut request = request(call, true)?;
    *request.method_mut() = http::Method::POST;
    let headers = request.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/grpc"),
    );
    headers.insert(header::TE, header::HeaderValue::from_static("trailers"));
    *request.body_mut() = BodyExt::boxed_unsync(StreamBody::new(frames));
    let response = sender.send_request(request).await.map_err(closed)?;
    if response.status() != http::StatusCode::OK || response.headers().contains_key("grpc-status") {
        return Err(Failure::Protocol);
    }
    Ok(Connection::Grpc(Grpc {
        send,
        receive: response.into_body(),
        _sender: sender,
    }))
}

async fn open_websocket(call: &Call, stream: Box<dyn Stream>) -> Result<Connection, Failure> {
    let mut request = call
        .url
        .as_str()
        .into_client_request()
        .map_err(|_| Failure::Url)?;
    for (name, value) in &call.headers {
        let name: HeaderName = name.parse().map_err(|_| Failure::Url)?;
        let value = value.parse().map_err(|_| Failure::Url)?;
        request.headers_mut().insert(name, value);
    }
    let opened = tokio_tungstenite::client_async(request, stream).await;
    let (socket, _) = opened.map_err(|error| match error {
        tungstenite::Error::Http(_) => Failure::Protocol,
        _ => Failure::Closed,
    })?;
    Ok(Connection::Websocket(Box::new(socket)))
}

/// Sends a message and waits for the next.
async fn exchange(socket: &mut Websocket) -> Result<Outcome, Failure> {
    socket.send("hello".into()).await.map_err(closed)?;
    let message = socket.next().await.ok_or(Failure::Closed)?;
    let message = message.map_err(closed)?;
    let text = message.to_text().map_err(|_| Failure::Protocol)?;
    let answer = serde_json::from_str(text).map_err(|_| Failure::Protocol)?;
    Ok(ok(Some(answer)))
}

/// The message of every gRPC call: not compressed, two bytes.
const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";

impl Grpc {
    async fn call(&mut self) -> Result<Outcome, Failure> {
        let frame = Frame::data(Bytes::from_static(MESSAGE));
        self.send.send(Ok(frame)).await.map_err(closed)?;
        let mut read = 0;
        while read < MESSAGE.len() {
            let frame = self
                .receive
                .frame()
                .await
                .ok_or(Failure::Closed)?
                .map_err(closed)?;
            read += frame.into_data().map_err(|_| Failure::Closed)?.len();
        }
        Ok(ok(None))
    }
}

impl Lines {
    async fn call(&mut self, call: &Call) -> Result<Outcome, Failure> {
        let said = if call.method.is_empty() {
            "hello"
        } else {
            &call.method
        };
        let line = format!("{said}\n");
        self.write
            .write_all(line.as_bytes())
            .await
            .map_err(closed)?;
        let answer = self
            .read
            .next_line()
            .await
            .map_err(closed)?
            .ok_or(Failure::Closed)?;
        let answer = serde_json::from_str(&answer).map_err(|_| Failure::Protocol)?;
        Ok(ok(Some(answer)))
    }
}

fn ok(answer: Option<Answer>) -> Outcome {
    Outcome {
        status: Some(200),
        failure: None,
        answer,
        headers: BTreeMap::new(),
        body: String::new(),
        began: 0,
        micros: 0,
        connection: 0,
    }
}

fn request(call: &Call, absolute: bool) -> Result<Request<Body>, Failure> {
    let uri: Uri = call.url.parse().map_err(|_| Failure::Url)?;
    let own = uri.authority().map(Authority::as_str).unwrap_or_default();
    let host = call
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("host"));
    let host = host.map_or(own, |(_, value)| value.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let method = if call.method.is_empty() {
        "GET"
    } else {
        &call.method
    };
    let mut builder = Request::builder().method(method);
    builder = if absolute {
        builder.uri(format!("http://{host}{path}"))
    } else {
        builder.uri(path).header(header::HOST, host)
    };
    for (name, value) in &call.headers {
        if !name.eq_ignore_ascii_case("host") {
            builder = builder.header(name, value);
        }
    }
    let sent = "x".repeat(usize::try_from(call.sends).unwrap_or(0));
    builder
        .body(Full::from(sent).boxed_unsync())
        .map_err(|_| Failure::Url)
}

async fn read(response: Response<Incoming>) -> Result<Outcome, Failure> {
    let (head, body) = response.into_parts();
    let mut bytes = Vec::new();
    let mut data = body.into_data_stream();
    while let Some(part) = data.next().await {
        bytes.extend_from_slice(&part.map_err(closed)?);
    }
    let answer: Option<Answer> = serde_json::from_slice(&bytes).ok();
    let is_echo = answer
        .as_ref()
        .is_some_and(|answer| !answer.workload.is_empty());
    let headers = head.headers.iter().map(|(name, value)| {
        (
            name.to_string(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    });
    Ok(Outcome {
        status: Some(head.status.as_u16()),
        failure: None,
        headers: headers.collect(),
        body: if is_echo {
            String::new()
        } else {
            String::from_utf8_lossy(&bytes).into_owned()
        },
        answer: answer.filter(|_| is_echo),
        began: 0,
        micros: 0,
        connection: 0,
    })
}
