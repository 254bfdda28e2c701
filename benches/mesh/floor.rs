//! The floor: the transport of `xds`, replaying what `lateend` sent to each sidecar, byte for byte. No configuration, no
//! session, no encoding, no sleep: what it costs is tonic's HTTP/2, with the settings of `lateend`, and the kernel.
//!
//! A message goes out when its phase has begun and the sidecar has subscribed as often as it had when `lateend` sent it.
//! Acknowledgements are read and not waited for. Phases begin by a line on stdin.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::{Body, Frame};
use prost::Message as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tower::service_fn;

use crate::Result;
use crate::grpc::{PREFIX, SIDECAR, split};
use crate::recording::Recording;

/// Connections that may wait to be accepted: all sidecars come at once.
const BACKLOG: u32 = 4096;
/// What `lateend` tells tonic.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
const KEEPALIVE: Duration = Duration::from_secs(30);

/// As much of a request as tells a subscription from an acknowledgement.
#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(string, tag = "6")]
    response_nonce: String,
}

struct Floor {
    recording: Recording,
    now: Mutex<Now>,
}

/// The phase, and who is told of the next.
struct Now {
    phase: usize,
    streams: Vec<Option<mpsc::UnboundedSender<usize>>>,
}

impl Floor {
    /// Begins the next phase, and wakes the streams that have something to send in it.
    fn advance(&self) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.phase += 1;
        for (sidecar, stream) in now.streams.iter().enumerate() {
            let concerned = !self.recording.steps(now.phase, sidecar).is_empty();
            if let Some(stream) = stream.as_ref().filter(|_| concerned) {
                let _ = stream.send(now.phase); // the stream may have ended
            }
        }
    }

    fn open(self: &Arc<Self>, request: http::Request<tonic::body::Body>) -> Replay {
        let header = request.headers().get(SIDECAR).map(|value| value.as_bytes());
        let number = header.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        let sidecar = number.unwrap_or_default();
        let (sender, phases) = mpsc::unbounded_channel();
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = sender.send(now.phase); // the receiver is here
        if let Some(place) = now.streams.get_mut(sidecar) {
            *place = Some(sender);
        }
        Replay {
            floor: Arc::clone(self),
            sidecar,
            requests: request.into_body(),
            unread: BytesMut::new(),
            subscriptions: 0,
            phases,
            steps: VecDeque::new(),
            chunks: VecDeque::new(),
        }
    }
}

/// The body of a response: one stream.
struct Replay {
    floor: Arc<Floor>,
    sidecar: usize,
    requests: tonic::body::Body,
    unread: BytesMut,
    subscriptions: u32,
    phases: mpsc::UnboundedReceiver<usize>,
    /// What is still to be sent: phase and step.
    steps: VecDeque<(usize, usize)>,
    /// What is left of the message that is being sent.
    chunks: VecDeque<Bytes>,
}

impl Replay {
    /// Counts the subscriptions that have come. False at the end of the stream.
    fn read(&mut self, context: &mut Context<'_>) -> bool {
        while let Poll::Ready(next) = Pin::new(&mut self.requests).poll_frame(context) {
            let Some(Ok(frame)) = next else { return false };
            self.unread.put(frame.into_data().unwrap_or_default());
            while let Some(message) = split(&mut self.unread) {
                let request = Request::decode(message.slice(PREFIX..));
                self.subscriptions +=
                    u32::from(request.is_ok_and(|request| request.response_nonce.is_empty()));
            }
        }
        true
    }
}

impl Body for Replay {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let floor = Arc::clone(&this.floor);
        let recording = &floor.recording;
        loop {
            if let Some(chunk) = this.chunks.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            if !this.read(context) {
                return Poll::Ready(None);
            }
            while let Poll::Ready(Some(phase)) = this.phases.poll_recv(context) {
                let steps = 0..recording.steps(phase, this.sidecar).len();
                this.steps.extend(steps.map(|step| (phase, step)));
            }
            let Some((phase, step)) = this.steps.front() else {
                return Poll::Pending;
            };
            let step = recording.steps(*phase, this.sidecar).get(*step);
            let Some(step) = step.filter(|step| step.after <= this.subscriptions) else {
                return Poll::Pending;
            };
            this.chunks = recording.bytes(step).collect();
            this.steps.pop_front();
        }
    }
}

async fn accept(listener: TcpListener, floor: Arc<Floor>) -> Result<()> {
    let answer = service_fn(move |request| {
        let response = http::Response::builder().header("content-type", "application/grpc");
        std::future::ready(response.body(floor.open(request)))
    });
    let sockets = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(KEEPALIVE));
    Ok(server.serve_with_incoming(answer, sockets).await?)
}

/// Serves a recording until stdin ends. The address is the first line on stdout; each phase that
/// has begun is another.
pub fn serve(recording: &Path) -> Result<()> {
    let recording = Recording::decode(Bytes::from(std::fs::read(recording)?))?;
    let sidecars = recording.sidecars();
    let now = Mutex::new(Now {
        phase: 0,
        streams: vec![None; sidecars],
    });
    let floor = Arc::new(Floor { recording, now });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let inside = runtime.enter();
    let listener = socket.listen(BACKLOG)?;
    drop(inside);
    println!("{}", listener.local_addr()?);
    let told = Arc::clone(&floor);
    std::thread::spawn(move || {
        for _ in std::io::stdin().lines().map_while(std::io::Result::ok) {
            told.advance();
            println!("begun");
        }
        std::process::exit(0);
    });
    runtime.block_on(accept(listener, floor))
}
