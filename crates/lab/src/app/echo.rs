//! The echo server's answers: who answered, and what it was asked, as JSON.
//!
//! The query of a request can ask for more: `status=503` answers so; `delay_ms=200` waits first; `fail_first=2&id=x`
//! answers the first two requests of that id with 503; `header=x-user:alice` adds a header; `only=NAME` confines all of these to the workload of that name;
//! `seen=x` asks how many requests of an id there were.
//! A request with content type `application/grpc` is echoed frame by frame, for as long as the caller sends.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::app::authorizer::{CHECK, Question};

pub(super) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// What the echo server says about a request or a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// The workload that answered.
    pub workload: String,
    /// Its namespace.
    pub namespace: String,
    /// Its label `version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The port that it was asked at.
    pub port: u16,
    /// `HTTP/1.1`, `HTTP/2.0`, `TCP` or `websocket`.
    pub protocol: String,
    /// The method; the whole line for TCP, the message for a websocket.
    pub method: String,
    /// `:authority` or `host`.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// The server name that the client's TLS asked for; none: no TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// The version of the PROXY protocol's header before everything else, `V1` or `V2`; none: no header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxied: Option<String>,
    /// What a tunnel that ended here was opened to; none: no tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<String>,
    /// The number of the connection on which it was asked, as the app counts them.
    pub connection: u64,
    /// How many requests of the id that is asked for the workload has had.
    #[serde(skip_serializing_if = "is_zero")]
    pub seen: u32,
    /// The headers that it got; several values of one are joined by a comma.
    pub headers: BTreeMap<String, String>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde wants"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Answer {
    /// The caller's SPIFFE identity, as the Envoy of the server saw it: `x-forwarded-client-cert` starts with what the
    /// server's own Envoy wrote last, and `URI=` in it is the caller's.
    #[must_use]
    pub fn peer(&self) -> Option<&str> {
        let last = self
            .headers
            .get("x-forwarded-client-cert")?
            .rsplit(',')
            .next()?;
        last.split(';').find_map(|part| part.strip_prefix("URI="))
    }
}

/// Where a request arrived.
#[derive(Clone, Debug, Default)]
pub struct At {
    /// The port.
    pub port: u16,
    /// The server name that the client's TLS asked for; none: no TLS.
    pub tls: Option<String>,
    /// The version of the PROXY protocol's header; none: no header.
    pub proxied: Option<String>,
    /// What a tunnel was opened to; none: no tunnel.
    pub tunnel: Option<String>,
    /// The number of the connection.
    pub connection: u64,
}

/// What all ports of an app share.
#[derive(Debug)]
pub struct Echo {
    app: Arc<App>,
    failed: Mutex<BTreeMap<String, u32>>,
    connections: AtomicU64,
    seen: Mutex<BTreeMap<String, u32>>,
}

impl Echo {
    /// An echo server of this app.
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        Self {
            app,
            failed: Mutex::default(),
            connections: AtomicU64::default(),
            seen: Mutex::default(),
        }
    }

    /// Answers a line of a TCP connection.
    #[must_use]
    pub fn line(&self, line: String, at: &At) -> Answer {
        Answer {
            protocol: "TCP".to_owned(),
            method: line,
            ..self.answer(at)
        }
    }

    /// Answers a message of a websocket.
    #[must_use]
    pub fn message(&self, text: &str, at: &At) -> Answer {
        Answer {
            protocol: "websocket".to_owned(),
            method: text.to_owned(),
            ..self.answer(at)
        }
    }

    /// Answers an HTTP request.
    ///
    /// # Errors
    /// Never.
    pub async fn http(
        &self,
        request: Request<Incoming>,
        at: Arc<At>,
    ) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let wishes = Wishes::read(head.uri.query().unwrap_or_default());
        let seen = self.count(&wishes);
        let mine = wishes.only.is_none_or(|name| name == self.app.name);
        if mine && !wishes.delay.is_zero() {
            tokio::time::sleep(wishes.delay).await;
        }
        if head
            .headers
            .get("content-type")
            .is_some_and(|t| t.as_bytes().starts_with(b"application/grpc"))
        {
            return Ok(if head.uri.path() == CHECK {
                self.check(body).await
            } else {
                stream(body)
            });
        }
        let status = if mine {
            self.status(&wishes)
        } else {
            StatusCode::OK
        };
        let answer = Answer {
            protocol: format!("{:?}", head.version),
            method: head.method.to_string(),
            host: host(&head),
            path: head
                .uri
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            headers: all_headers(&head.headers),
            seen,
            ..self.answer(&at)
        };
        let text = serde_json::to_vec(&answer).unwrap_or_default();
        // Read to its end, or the connection of HTTP/1.1 could not be used again.
        let _ = body.collect().await;
        let mut response = Response::new(
            Full::from(text)
                .map_err(|never| match never {})
                .boxed_unsync(),
        );
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert("content-type", json);
        if let Some((name, value)) = wishes.header.filter(|_| mine)
            && let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse())
        {
            response.headers_mut().insert(name, value);
        }
        Ok(response)
    }

    /// Answers Envoy, which asks whether a request may pass: as the query of that request says.
    async fn check(&self, body: Incoming) -> Response<Body> {
        let body = body.collect().await;
        let question = Question::read(&body.map(|body| body.to_bytes()).unwrap_or_default());
        let query = question.path.split_once('?').map_or("", |(_, query)| query);
        let wishes = Wishes::read(query);
        let mine = wishes.only.is_none_or(|name| name == self.app.name);
        if !mine {
            return unary(question.answer(200, None));
        }
        tokio::time::sleep(wishes.delay).await;
        unary(question.answer(self.status(&wishes).as_u16(), wishes.header))
    }

    fn answer(&self, at: &At) -> Answer {
        Answer {
            workload: self.app.name.clone(),
            namespace: self.app.namespace.clone(),
            version: self.app.version.clone(),
            port: at.port,
            tls: at.tls.clone(),
            proxied: at.proxied.clone(),
            tunnel: at.tunnel.clone(),
            connection: at.connection,
            ..Answer::default()
        }
    }

    /// The number of one more connection.
    pub fn count_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts a request by its id; how many there were of the id that it asks for.
    fn count(&self, wishes: &Wishes<'_>) -> u32 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !wishes.id.is_empty() {
            *seen.entry(wishes.id.to_owned()).or_default() += 1;
        }
        seen.get(wishes.seen).copied().unwrap_or(0)
    }

    fn status(&self, wishes: &Wishes<'_>) -> StatusCode {
        if wishes.fail_first == 0 {
            return wishes.status;
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let so_far = failed.entry(wishes.id.to_owned()).or_default();
        if *so_far < wishes.fail_first {
            *so_far += 1;
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        wishes.status
    }
}

/// What the query of a request asks for.
#[derive(Debug)]
struct Wishes<'a> {
    status: StatusCode,
    delay: Duration,
    fail_first: u32,
    id: &'a str,
    seen: &'a str,
    only: Option<&'a str>,
    header: Option<(&'a str, &'a str)>,
}

impl<'a> Wishes<'a> {
    fn read(query: &'a str) -> Self {
        let get = |name| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .rev()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
        };
        let number = |name| get(name).and_then(|value| value.parse::<u32>().ok());
        let status = number("status").and_then(|code| u16::try_from(code).ok());
        Self {
            status: status
                .and_then(|code| StatusCode::from_u16(code).ok())
                .unwrap_or_default(),
            delay: Duration::from_millis(u64::from(number("delay_ms").unwrap_or(0))),
            fail_first: number("fail_first").unwrap_or(0),
            id: get("id").unwrap_or_default(),
            seen: get("seen").unwrap_or_default(),
            only: get("only"),
            header: get("header").and_then(|pair| pair.split_once(':')),
        }
    }
}

fn host(head: &http::request::Parts) -> String {
    let header = head
        .headers
        .get("host")
        .and_then(|value| value.to_str().ok());
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    authority.or(header).unwrap_or_default().to_owned()
}

fn all_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut all = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        all.entry(name.to_string())
            .and_modify(|values| {
                values.push(',');
                values.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    all
}

/// A gRPC method that answers each message with the same.
fn stream(body: Incoming) -> Response<Body> {
    grpc(BodyStream::new(body).filter(|frame| {
        let data = !matches!(frame, Ok(frame) if frame.is_trailers());
        async move { data }
    }))
}

/// A gRPC method that answers with one message.
fn unary(message: Bytes) -> Response<Body> {
    grpc(futures::stream::once(async { Ok(Frame::data(message)) }))
}

fn grpc(
    frames: impl Stream<Item = Result<Frame<Bytes>, hyper::Error>> + Send + 'static,
) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let end = futures::stream::once(async { Ok(Frame::trailers(trailers)) });
    let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(frames.chain(end))));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_says_what_is_wished() {
        let wishes = Wishes::read("status=404&delay_ms=5&only=v2");
        assert_eq!(wishes.status, StatusCode::NOT_FOUND);
        assert_eq!(wishes.delay, Duration::from_millis(5));
        assert_eq!(wishes.only, Some("v2"));
        assert_eq!(Wishes::read("").status, StatusCode::OK);
    }

    #[test]
    fn the_peer_is_the_caller_and_not_the_server() {
        let header = "By=spiffe://cluster.local/ns/shop/sa/b;Hash=ab;Subject=\"\";URI=spiffe://cluster.local/ns/shop/sa/a";
        let answer = Answer {
            headers: [("x-forwarded-client-cert".to_owned(), header.to_owned())].into(),
            ..Answer::default()
        };
        assert_eq!(answer.peer(), Some("spiffe://cluster.local/ns/shop/sa/a"));
    }
}
