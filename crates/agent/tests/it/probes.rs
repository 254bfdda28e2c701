//! Probes through the agent, of apps that speak what Kubernetes can ask.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use agent::admin::call;
use agent::probes::router;
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::sidecar::SOON;

const APP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((APP, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Answers with who called, and with what headers.
fn pages() -> Router {
    let ready = |ConnectInfo(peer): ConnectInfo<SocketAddr>, headers: HeaderMap| async move {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        format!("{} {} {}", peer.ip(), header("host"), header("x-probe"))
    };
    Router::new()
        .route("/ready", get(ready))
        .route("/busy", get(async || StatusCode::SERVICE_UNAVAILABLE))
        .route("/moved", get(async || Redirect::temporary("/busy")))
        .route(
            "/away",
            get(async || Redirect::temporary("http://192.0.2.1/")),
        )
        .route("/loop", get(async || Redirect::temporary("/loop")))
        .route("/stuck", get(std::future::pending::<StatusCode>))
        .route("/long", get(async || vec![b'x'; 1 << 20].into_response()))
}

async fn http_app() -> u16 {
    let (listener, port) = listener().await;
    let service = pages().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    port
}

/// With a certificate that nobody signed and that has expired.
async fn https_app() -> u16 {
    let (listener, port) = listener().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["elsewhere.example.com".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let stream = acceptor
                .accept(listener.accept().await.unwrap().0)
                .await
                .unwrap();
            let answer = service_fn(async |_| {
                Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::from(
                    "secret",
                ))))
            });
            let connection = hyper::server::conn::http1::Builder::new();
            let _ = connection
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        }
    });
    port
}

/// gRPC's health service: `up` serves, everything else does not.
async fn grpc_app() -> u16 {
    let (listener, port) = listener().await;
    let answer = async |request: http::Request<hyper::body::Incoming>| {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        // Field 1, two bytes: "up".
        let is_up = &body[5..] == b"\x0a\x02up";
        let message = [0, 0, 0, 0, 2, 8, if is_up { 1 } else { 2 }];
        let trailers =
            HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
        let frames = [
            Ok::<_, std::convert::Infallible>(Frame::data(Bytes::copy_from_slice(&message))),
            Ok(Frame::trailers(trailers)),
        ];
        let body = StreamBody::new(tokio_stream::iter(frames));
        Ok::<_, std::convert::Infallible>(http::Response::new(body))
    };
    tokio::spawn(async move {
        loop {
            let stream = TokioIo::new(listener.accept().await.unwrap().0);
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(stream, service_fn(answer)));
        }
    });
    port
}

/// The agent's pages, for these probes.
async fn agent(probers: serde_json::Value) -> u16 {
    let (listener, port) = listener().await;
    let router = router(probers.to_string().parse().unwrap(), APP);
    let router = router.layer(axum::middleware::map_request(
        async |mut request: Request| {
            request
                .headers_mut()
                .insert("x-probe", "1".parse().unwrap());
            request
        },
    ));
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

async fn probe(agent: u16, path: &str) -> (u16, String) {
    let answer = call(Method::GET, agent, path, SOON).await.unwrap();
    (
        answer.status.as_u16(),
        String::from_utf8_lossy(&answer.body).into_owned(),
    )
}

#[tokio::test]
async fn the_app_answers_http_probes_as_to_the_kubelet() {
    let app = http_app().await;
    let path = |path: &str| json!({ "httpGet": { "path": path, "port": app } });
    let mut stuck = path("/stuck");
    stuck["timeoutSeconds"] = json!(1);
    let agent = agent(json!({
        "/app-health/a/readyz": path("/ready"),
        "/app-health/a/livez": path("/busy"),
        "/app-health/b/livez": path("/moved"),
        "/app-health/c/livez": path("/away"),
        "/app-health/d/livez": path("/loop"),
        "/app-health/e/livez": stuck,
        "/app-health/f/livez": path("/long"),
        "/app-health/g/livez": { "httpGet": { "path": "/", "port": 1 } },
        "/app-lifecycle/a/prestopz": path("/ready"),
    }))
    .await;
    // The capture lets this address pass, and the host is what the kubelet would have said.
    let answer = (200, format!("127.0.0.6 127.0.0.1:{app} 1"));
    assert_eq!(probe(agent, "/app-health/a/readyz").await, answer);
    assert_eq!(probe(agent, "/app-lifecycle/a/prestopz").await, answer);
    assert_eq!(probe(agent, "/app-health/a/livez").await.0, 503);
    assert_eq!(probe(agent, "/app-health/b/livez").await.0, 503);
    assert_eq!(probe(agent, "/app-health/c/livez").await.0, 200);
    let (status, error) = probe(agent, "/app-health/d/livez").await;
    assert!(
        status == 500 && error.contains("redirects more than 10 times"),
        "{error}"
    );
    assert_eq!(
        probe(agent, "/app-health/e/livez").await,
        (500, "timed out\n".to_owned())
    );
    assert_eq!(probe(agent, "/app-health/f/livez").await.0, 200);
    let (status, error) = probe(agent, "/app-health/g/livez").await;
    assert!(status == 500 && error.contains("refused"), "{error}");
    let (status, error) = probe(agent, "/app-health/nobody/livez").await;
    assert!(
        status == 400 && error.contains("no probe is known"),
        "{error}"
    );
}

#[tokio::test]
async fn other_probes_reach_the_app_in_their_own_protocol() {
    let (https, grpc) = (https_app().await, grpc_app().await);
    let (tcp_listener, tcp) = listener().await;
    let agent = agent(json!({
        "/app-health/a/livez": { "httpGet": { "path": "/", "port": https, "scheme": "HTTPS" } },
        "/app-health/b/livez": { "tcpSocket": { "port": tcp } },
        "/app-health/c/livez": { "grpc": { "port": grpc, "service": "up" } },
        "/app-health/d/livez": { "grpc": { "port": grpc, "service": "down" } },
        "/app-health/e/livez": { "grpc": { "port": https } },
    }))
    .await;
    assert_eq!(
        probe(agent, "/app-health/a/livez").await,
        (200, "secret".to_owned())
    );
    assert_eq!(probe(agent, "/app-health/b/livez").await.0, 200);
    drop(tcp_listener);
    assert_eq!(probe(agent, "/app-health/b/livez").await.0, 500);
    assert_eq!(probe(agent, "/app-health/c/livez").await.0, 200);
    let (status, error) = probe(agent, "/app-health/d/livez").await;
    assert!(status == 500 && error.contains("does not serve"), "{error}");
    assert_eq!(probe(agent, "/app-health/e/livez").await.0, 500);
}
