//! The HTTP ports: readiness, version, metrics, and `/debug` for callers on this machine only.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{mpsc, watch};
use tower::ServiceExt as _;

use crate::accept::Connection;
use crate::debug;
use crate::plane::Handle;

/// Connections of one port.
pub const CONNECTIONS: usize = 256;
/// How long the head of a request, and how long its answer, may take.
const HEAD: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);

/// What OpenMetrics calls its text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the handlers look at.
#[derive(Clone, Debug)]
pub struct App {
    /// The loop.
    pub plane: Handle,
    /// Whether everything is listened on and served.
    pub serving: watch::Receiver<bool>,
}

/// Who called: set by [`serve`] on every request.
#[derive(Clone, Copy, Debug)]
pub struct Caller(pub SocketAddr);

/// The paths of `--httpAddr`.
pub fn http(app: App) -> Router {
    common(app.clone()).merge(Router::new().route("/ready", get(ready)).with_state(app))
}

/// The paths of `--monitoringAddr`.
pub fn monitoring(app: App) -> Router {
    common(app.clone()).merge(
        Router::new()
            .route("/metrics", get(metrics))
            .with_state(app),
    )
}

fn common(app: App) -> Router {
    let debug = debug::routes()
        .with_state(app)
        .layer(middleware::from_fn(only_from_here));
    Router::new()
        .route("/version", get(async || crate::VERSION))
        .merge(debug)
}

/// Ready is who has heard all sources and listens everywhere (SEC 28).
async fn ready(State(app): State<App>) -> Response {
    let missing = match (*app.plane.shared().synced.borrow(), *app.serving.borrow()) {
        (true, true) => return "ready\n".into_response(),
        (false, _) => "config has not been read yet\n",
        (true, false) => "not listening yet\n",
    };
    (StatusCode::SERVICE_UNAVAILABLE, missing).into_response()
}

async fn metrics(State(app): State<App>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, OPEN_METRICS)],
        app.plane.shared().metrics.text(),
    )
}

/// Lets callers of this machine through, and of those only who asked for this machine: a page in somebody's browser can
/// make a name of its own mean 127.0.0.1, but not change the name (SEC 09).
async fn only_from_here(request: Request, next: Next) -> Response {
    let is_here = request
        .extensions()
        .get::<Caller>()
        .is_some_and(|caller| caller.0.ip().to_canonical().is_loopback());
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        (None, _) | (Some(_), Some(_)) => None,
    };
    let asked_here =
        host.is_some_and(is_loopback_name) && request.uri().host().is_none_or(is_loopback_name);
    if is_here && asked_here {
        next.run(request).await
    } else {
        (
            StatusCode::FORBIDDEN,
            "/debug answers only this machine, asked for as localhost\n",
        )
            .into_response()
    }
}

/// Whether a `Host` (with or without a port) is a loopback address or `localhost`.
fn is_loopback_name(host: &str) -> bool {
    let is_loopback = |host: &str| {
        host.parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
    };
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = match host.split_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        Some(_) | None => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost") || is_loopback(bare.unwrap_or(name))
}

/// Serves HTTP/1 until `stop`. No upgrade of any kind is offered (SEC 30).
pub async fn serve(
    mut connections: mpsc::Receiver<io::Result<Connection>>,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    tokio::pin!(stop);
    loop {
        let connection = tokio::select! {
            () = &mut stop => return,
            connection = connections.recv() => connection,
        };
        match connection {
            None => return,
            Some(Err(_)) => {}
            Some(Ok(connection)) => {
                tokio::spawn(one(connection, router.clone()));
            }
        }
    }
}

async fn one(connection: Connection, router: Router) {
    let caller = Caller(connection.peer());
    let service = tower::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(caller);
        let answer = tokio::time::timeout(ANSWER, router.clone().oneshot(request));
        async move {
            let late = || Ok(StatusCode::GATEWAY_TIMEOUT.into_response());
            answer.await.unwrap_or_else(|_| late())
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(connection), TowerToHyperService::new(service))
        .await;
    if let Err(error) = served {
        tracing::debug!(peer = %caller.0, "an HTTP connection ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    async fn answer(caller: Option<&str>, host: &str) -> StatusCode {
        let page = Router::new()
            .route("/", get(async || ""))
            .layer(middleware::from_fn(only_from_here));
        let mut request = Request::builder()
            .header("host", host)
            .body(Body::empty())
            .unwrap();
        if let Some(caller) = caller {
            request
                .extensions_mut()
                .insert(Caller(caller.parse().unwrap()));
        }
        page.oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn sec_09_debugging_answers_callers_of_this_machine_only() {
        for (caller, expected) in [
            (Some("127.0.0.1:4000"), StatusCode::OK),
            (Some("[::1]:4000"), StatusCode::OK),
            (Some("[::ffff:127.0.0.1]:4000"), StatusCode::OK),
            (Some("198.18.0.7:4000"), StatusCode::FORBIDDEN),
            (Some("[::ffff:198.18.0.7]:4000"), StatusCode::FORBIDDEN),
            (Some("0.0.0.0:4000"), StatusCode::FORBIDDEN),
            (None, StatusCode::FORBIDDEN),
        ] {
            assert_eq!(answer(caller, "localhost").await, expected, "{caller:?}");
            assert_eq!(
                answer(caller, "rebound.example").await,
                StatusCode::FORBIDDEN,
                "{caller:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sec_29_a_slow_head_is_not_waited_for_and_sec_30_nothing_is_upgraded() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "page"));
        let connections = crate::accept::accept(listener, None, CONNECTIONS);
        tokio::spawn(serve(connections, router, std::future::pending()));

        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: 012345678")
            .await
            .unwrap();
        let mut answer = String::new();
        slow.read_to_string(&mut answer).await.unwrap();
        assert!(!answer.contains("page"), "{answer}");

        let mut upgrading = TcpStream::connect(address).await.unwrap();
        let settings = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA";
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{settings}\r\n\r\n");
        upgrading.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        upgrading.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
    }

    #[test]
    fn sec_09_only_names_of_this_machine_count() {
        for name in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1",
            "127.0.0.1:15014",
            "127.9.9.9",
            "[::1]",
            "[::1]:80",
            "::1",
        ] {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in [
            "",
            ":80",
            "evil.example",
            "evil.example:80",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "198.18.0.1",
            "0.0.0.0",
            "[::]",
            "localhost:x",
            "127.0.0.1:80:80",
        ] {
            assert!(!is_loopback_name(name), "{name}");
        }
    }
}
