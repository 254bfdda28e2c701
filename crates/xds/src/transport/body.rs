//! One stream as an HTTP body: polled when the connection has room, it takes requests and views in and gives the next
//! piece of the newest response out.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::HeaderMap;
use http_body::Frame;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tonic::Status;

use super::encode::Encoder;
use super::requests::Requests;
use super::{Arrival, Backend, Connect, StreamId, Subscription};
use crate::{Event, Request, Session, View};

/// A client that has not said anything by then is not going to.
const FIRST_REQUEST: Duration = Duration::from_secs(15);

/// After this many requests in a row the response has its turn.
const REQUESTS_IN_A_ROW: usize = 64;

/// The view's receiver, given back when there is a new view, or no sender any more.
type NextView = BoxFuture<'static, (watch::Receiver<View>, bool)>;

enum State<C> {
    /// The backend looks at the client's credentials.
    Arriving(BoxFuture<'static, Result<C, Status>>),
    /// Nothing was said yet.
    Silent(Option<C>),
    /// The backend is thinking about the client.
    Connecting(
        BoxFuture<'static, Result<Subscription, Status>>,
        Option<Request>,
    ),
    /// Requests and responses flow.
    Open(Box<Open>),
    /// All is said but how it ended.
    Ending(Status),
    /// Over.
    Ended,
}

struct Open {
    session: Session,
    stream: StreamId,
    views: NextView,
    sending: Option<Encoder>,
}

/// A discovery stream.
pub(super) struct Stream<B: Backend> {
    backend: B,
    identifier: Arc<str>,
    requests: Requests,
    state: State<B::Caller>,
    began: Instant,
    timer: Pin<Box<Sleep>>,
    /// The number under which the stream is known to the backend, until that is told of its end.
    connected: Option<StreamId>,
}

impl<B: Backend> Stream<B> {
    pub fn new(backend: B, identifier: Arc<str>, arrival: Arrival, requests: Requests) -> Self {
        let timer = Box::pin(sleep(FIRST_REQUEST));
        let admitting = backend.clone();
        let state = State::Arriving(Box::pin(async move { admitting.admit(arrival).await }));
        Self {
            backend,
            identifier,
            requests,
            state,
            began: Instant::now(),
            timer,
            connected: None,
        }
    }

    /// Waits for the first request, which says who is there.
    fn poll_silent(&mut self, context: &mut Context<'_>) -> Poll<State<B::Caller>> {
        if self.timer.as_mut().poll(context).is_ready() {
            return Poll::Ready(State::Ending(Status::deadline_exceeded("no request came")));
        }
        let (node, request) = match ready!(self.requests.poll(context)) {
            Some(Ok(request)) => request,
            Some(Err(status)) => return Poll::Ready(State::Ending(status)),
            None => return Poll::Ready(State::Ending(Status::ok(""))),
        };
        let State::Silent(Some(caller)) = std::mem::replace(&mut self.state, State::Silent(None))
        else {
            return Poll::Ready(State::Ended);
        };
        let mode = self.requests.mode();
        let first = Connect {
            caller,
            node: node.unwrap_or_default(),
            mode,
        };
        let backend = self.backend.clone();
        let connecting = Box::pin(async move { backend.connect(first).await });
        tracing::debug!(?mode, "discovery stream");
        Poll::Ready(State::Connecting(connecting, Some(request)))
    }

    fn open(&mut self, subscription: Subscription, first: Option<Request>) -> State<B::Caller> {
        let Subscription { mut views, stream } = subscription;
        self.connected = Some(stream);
        let view = views.borrow_and_update().clone();
        let mut session = Session::new(self.requests.mode(), view);
        for event in first
            .into_iter()
            .flat_map(|request| session.on_request(request))
        {
            self.backend.report(stream, event);
        }
        State::Open(Box::new(Open {
            session,
            stream,
            views: next_view(views),
            sending: None,
        }))
    }

    /// The next piece to write, or the state in which the stream ends.
    fn poll_open(
        &mut self,
        open: &mut Open,
        context: &mut Context<'_>,
    ) -> Poll<Result<Bytes, Status>> {
        loop {
            if let Some(chunk) = open.sending.as_mut().and_then(Encoder::next_chunk) {
                return Poll::Ready(Ok(chunk));
            }
            open.sending = None;
            if let Poll::Ready(end) = self.poll_requests(open, context) {
                return Poll::Ready(Err(end));
            }
            while let Poll::Ready((mut views, alive)) = open.views.as_mut().poll(context) {
                if !alive {
                    return Poll::Ready(Err(Status::unavailable(
                        "the control plane is going away",
                    )));
                }
                let view = views.borrow_and_update().clone();
                open.views = next_view(views);
                if let Some(event) = open.session.on_view(view) {
                    self.backend.report(open.stream, event);
                }
            }
            if let Some(response) = open.session.next(self.began.elapsed()) {
                let (kind, nonce, resources) = (
                    response.kind,
                    response.nonce.clone(),
                    response.resources.len(),
                );
                let encoder =
                    Encoder::new(open.session.mode(), response, Arc::clone(&self.identifier));
                let event = Event::Sent {
                    kind,
                    nonce,
                    resources,
                    bytes: encoder.encoded_len(),
                };
                self.backend.report(open.stream, event);
                open.sending = Some(encoder);
                continue;
            }
            let Some(deadline) = open.session.deadline() else {
                return Poll::Pending;
            };
            self.timer.set(sleep_until(self.began + deadline));
            ready!(self.timer.as_mut().poll(context));
        }
    }

    /// Takes in what has arrived. Ready when the stream is to end.
    fn poll_requests(&mut self, open: &mut Open, context: &mut Context<'_>) -> Poll<Status> {
        for _ in 0..REQUESTS_IN_A_ROW {
            match ready!(self.requests.poll(context)) {
                Some(Ok((_, request))) => {
                    for event in open.session.on_request(request) {
                        self.backend.report(open.stream, event);
                    }
                }
                Some(Err(status)) => return Poll::Ready(status),
                None => return Poll::Ready(Status::ok("")),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn disconnect(&mut self) {
        if let Some(stream) = self.connected.take() {
            self.backend.disconnected(stream);
        }
    }
}

// nothing in it is pinned by address: the futures are boxed
impl<B: Backend> Unpin for Stream<B> {}

impl<B: Backend> http_body::Body for Stream<B> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Arriving(arriving) => {
                    this.state = match ready!(arriving.as_mut().poll(context)) {
                        Ok(caller) => State::Silent(Some(caller)),
                        Err(status) => State::Ending(status),
                    };
                }
                State::Silent(_) => this.state = ready!(this.poll_silent(context)),
                State::Connecting(connecting, first) => {
                    let outcome = ready!(connecting.as_mut().poll(context));
                    let first = first.take();
                    this.state = match outcome {
                        Ok(subscription) => this.open(subscription, first),
                        Err(status) => State::Ending(status),
                    };
                }
                State::Open(_) => {
                    let State::Open(mut open) = std::mem::replace(&mut this.state, State::Ended)
                    else {
                        continue;
                    };
                    let polled = this.poll_open(&mut open, context);
                    this.state = State::Open(open);
                    match ready!(polled) {
                        Ok(chunk) => return Poll::Ready(Some(Ok(Frame::data(chunk)))),
                        Err(status) => this.state = State::Ending(status),
                    }
                }
                State::Ending(status) => {
                    let mut trailers = HeaderMap::new();
                    // fails only for text that is no header value, which tonic encodes
                    let written = status.add_header(&mut trailers);
                    this.state = State::Ended;
                    this.disconnect();
                    return Poll::Ready(written.is_ok().then(|| Ok(Frame::trailers(trailers))));
                }
                State::Ended => return Poll::Ready(None),
            }
        }
    }
}

impl<B: Backend> Drop for Stream<B> {
    fn drop(&mut self) {
        self.disconnect();
    }
}

fn next_view(mut views: watch::Receiver<View>) -> NextView {
    Box::pin(async move {
        let alive = views.changed().await.is_ok();
        (views, alive)
    })
}
