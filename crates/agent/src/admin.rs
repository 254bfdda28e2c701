//! Small HTTP calls on loopback: to Envoy's admin interface, and to the app's metrics.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The largest answer that is read; the metrics of 10,000 clusters have some 50 MB.
const MAX_BODY: usize = 128 << 20;

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}

/// Calls a server on this machine.
///
/// # Errors
/// It does not answer in time, or not in HTTP.
pub async fn call(method: Method, port: u16, path: &str, timeout: Duration) -> io::Result<Answer> {
    let call = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", format!("127.0.0.1:{port}"))
            .header("accept", "text/plain;version=0.0.4,*/*;q=0.1")
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        let answer = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(io::Error::other)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
            let body = body.map_err(io::Error::other)?.to_bytes();
            Ok(Answer { status, body })
        };
        tokio::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            // The connection ends behind a body that the end delimits, too.
            ended = connection => {
                ended.map_err(io::Error::other)?;
                answer.await
            }
        }
    };
    tokio::time::timeout(timeout, call)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Envoy's admin interface.
#[derive(Clone, Copy, Debug)]
pub struct Admin {
    /// Its port on loopback.
    pub port: u16,
}

const TIMEOUT: Duration = Duration::from_secs(2);
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

impl Admin {
    /// Envoy's own metrics in Prometheus' format.
    ///
    /// # Errors
    /// Envoy does not answer.
    pub async fn prometheus(self) -> io::Result<String> {
        text(call(Method::GET, self.port, "/stats/prometheus", SCRAPE_TIMEOUT).await?)
    }

    /// The counters and gauges whose names match: (name, value).
    ///
    /// # Errors
    /// Envoy does not answer.
    pub async fn stats(self, filter: &str) -> io::Result<Vec<(String, u64)>> {
        let path = format!("/stats?usedonly&filter={filter}");
        let page = text(call(Method::GET, self.port, &path, TIMEOUT).await?)?;
        let line = |line: &str| {
            let (name, value) = line.rsplit_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(page.lines().filter_map(line).collect())
    }

    /// Whether Envoy has all that it needs to serve.
    pub async fn is_live(self) -> bool {
        let ready = call(Method::GET, self.port, "/ready", TIMEOUT).await;
        ready.is_ok_and(|answer| answer.status == StatusCode::OK)
    }

    /// Starts to drain: inbound listeners ask their clients to leave, and stay; outbound ones go on.
    ///
    /// # Errors
    /// Envoy does not answer, or refuses.
    pub async fn drain(self) -> io::Result<()> {
        let path = "/drain_listeners?inboundonly&graceful&skip_exit";
        text(call(Method::POST, self.port, path, TIMEOUT).await?).map(drop)
    }
}

fn text(answer: Answer) -> io::Result<String> {
    if answer.status != StatusCode::OK {
        return Err(io::Error::other(format!("answers {}", answer.status)));
    }
    String::from_utf8(answer.body.into()).map_err(io::Error::other)
}

/// The app's metrics.
///
/// # Errors
/// The app does not answer.
pub async fn app_metrics(port: u16, path: &str) -> io::Result<String> {
    text(call(Method::GET, port, path, SCRAPE_TIMEOUT).await?)
}
