//! Calls and what came of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::MissedTickBehavior;

use crate::app::connection::Connection;
use crate::app::echo::Answer;

/// What a caller speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1, keep-alive.
    #[default]
    Http1,
    /// HTTP/2, without TLS in `http` URLs.
    Http2,
    /// One HTTP/2 stream of content type `application/grpc` for all calls, a message each.
    Grpc,
    /// One TCP connection for all calls, a line each.
    Tcp,
    /// One websocket for all calls, a message each.
    Websocket,
}

/// One call, or many equal ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Call {
    /// `http://`, `https://` (any certificate is taken), `tcp://` or `ws://`, host, port and path.
    pub url: String,
    /// The method; empty: GET.
    pub method: String,
    /// Headers; `host` is what the request is addressed to, when that is not the URL's host.
    pub headers: BTreeMap<String, String>,
    /// How many bytes of body a request has.
    pub sends: u32,
    /// What is spoken.
    pub protocol: Protocol,
    /// Whether every call has a connection of its own.
    pub fresh: bool,
    /// How long a call may take, in milliseconds; 0: five seconds.
    pub timeout_ms: u64,
}

impl Call {
    /// A GET.
    #[must_use]
    pub fn get(url: &str) -> Self {
        let protocol = match url.split_once("://") {
            Some(("tcp", _)) => Protocol::Tcp,
            Some(("ws", _)) => Protocol::Websocket,
            _ => Protocol::Http1,
        };
        Self {
            url: url.to_owned(),
            protocol,
            ..Self::default()
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(if self.timeout_ms == 0 {
            5000
        } else {
            self.timeout_ms
        })
    }
}

/// Why a call has no response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Failure {
    /// The URL cannot be used.
    Url,
    /// The name is not known.
    Name,
    /// Nobody takes the connection.
    Connect,
    /// The connection was reset or closed before the response.
    Closed,
    /// There was no response in time.
    Timeout,
    /// What came back is not what is spoken.
    Protocol,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The status; none when there was no response. 200 for lines and messages that came back.
    pub status: Option<u16>,
    /// Why there was no response.
    pub failure: Option<Failure>,
    /// What the echo server said.
    pub answer: Option<Answer>,
    /// The response's headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, when an echo server did not write it.
    #[serde(default)]
    pub body: String,
    /// When it began, in microseconds since 1970.
    #[serde(default)]
    pub began: u64,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// The connection that it went over, counted by its caller.
    #[serde(default)]
    pub connection: u32,
}

impl Outcome {
    /// The outcome of a call without a response.
    #[must_use]
    pub fn failed(failure: Failure) -> Self {
        Self {
            status: None,
            failure: Some(failure),
            answer: None,
            headers: BTreeMap::new(),
            body: String::new(),
            began: 0,
            micros: 0,
            connection: 0,
        }
    }
}

/// Calls `count` times, `parallel` at a time.
#[must_use]
pub fn times(call: Call, count: u32, parallel: u32) -> Receiver<Outcome> {
    let (send, receive) = mpsc::channel(64);
    let parallel = parallel.clamp(1, count.max(1));
    for worker in 0..parallel {
        let share = count / parallel + u32::from(worker < count % parallel);
        let (call, send) = (call.clone(), send.clone());
        tokio::spawn(async move {
            let mut caller = Caller::new(call);
            for _ in 0..share {
                if send.send(caller.once().await).await.is_err() {
                    return;
                }
            }
        });
    }
    receive
}

/// Calls again and again, one call each `every_ms` milliseconds.
#[must_use]
pub fn load(call: Call, every_ms: u64) -> Receiver<Outcome> {
    let (send, receive) = mpsc::channel(64);
    tokio::spawn(pace(call, Duration::from_millis(every_ms.max(1)), send));
    receive
}

async fn pace(call: Call, every: Duration, send: Sender<Outcome>) {
    let mut caller = Caller::new(call);
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if send.send(caller.once().await).await.is_err() {
            return;
        }
    }
}

/// Makes equal calls on one connection, as long as it lasts.
struct Caller {
    call: Call,
    connection: Option<Connection>,
    connections: u32,
}

impl Caller {
    fn new(call: Call) -> Self {
        Self {
            call,
            connection: None,
            connections: 0,
        }
    }

    async fn once(&mut self) -> Outcome {
        let start = Instant::now();
        let began = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let timeout = self.call.timeout();
        let mut outcome = match tokio::time::timeout(timeout, self.attempt()).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(failure)) => Outcome::failed(failure),
            Err(_) => Outcome::failed(Failure::Timeout),
        };
        if self.call.fresh || outcome.failure.is_some() {
            self.connection = None;
        }
        outcome.connection = self.connections;
        outcome.began = u64::try_from(began.as_micros()).unwrap_or(u64::MAX);
        outcome.micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        outcome
    }

    async fn attempt(&mut self) -> Result<Outcome, Failure> {
        // As every client does: a connection that was closed between two calls is no failure.
        if let Some(connection) = &mut self.connection
            && connection.is_open().await
            && let Some(result) = connection.call(&self.call).await
        {
            return result;
        }
        let connection = Connection::open(&self.call).await?;
        self.connections += 1;
        let connection = self.connection.insert(connection);
        connection
            .call(&self.call)
            .await
            .unwrap_or(Err(Failure::Closed))
    }
}
