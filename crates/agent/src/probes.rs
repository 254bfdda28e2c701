//! The app's probes: the kubelet asks the agent, because it cannot speak mutual TLS, and the agent asks the app.
//!
//! Calls go to the pod's own address, as the kubelet's would, from the address that the capture lets pass.

mod call;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

/// The probes by their path at the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probers(BTreeMap<String, Prober>);

/// What is asked of the app.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Prober {
    action: Action,
    /// None: as long as it takes, for hooks.
    timeout: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Http {
        is_https: bool,
        port: u16,
        path: String,
    },
    Tcp {
        port: u16,
    },
    Grpc {
        port: u16,
        service: String,
    },
}

/// What Kubernetes waits when a probe does not say.
const TIMEOUT: Duration = Duration::from_secs(1);

/// As injection writes it: Kubernetes' own fields.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    http_get: Option<HttpGet>,
    tcp_socket: Option<Target>,
    grpc: Option<Target>,
    timeout_seconds: Option<u32>,
}

#[derive(Deserialize)]
struct HttpGet {
    #[serde(default)]
    path: String,
    port: u16,
    #[serde(default)]
    scheme: String,
}

#[derive(Deserialize)]
struct Target {
    port: u16,
    service: Option<String>,
}

impl FromStr for Probers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let written: BTreeMap<String, Written> =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        let read = |(path, written): (String, Written)| {
            let prober = Prober::read(&path, written)?;
            Ok((path, prober))
        };
        written
            .into_iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Prober {
    fn read(path: &str, written: Written) -> Result<Self, String> {
        let is_hook = path.starts_with("/app-lifecycle/");
        if !(is_hook || path.starts_with("/app-health/")) {
            return Err(format!(
                "{path:?} begins neither with /app-health/ nor with /app-lifecycle/"
            ));
        }
        let Written {
            http_get,
            tcp_socket,
            grpc,
            timeout_seconds,
        } = written;
        let action = match (http_get, tcp_socket, grpc) {
            (Some(HttpGet { path, port, scheme }), None, None) => Action::Http {
                is_https: scheme == "HTTPS",
                port,
                path: if path.starts_with('/') {
                    path
                } else {
                    format!("/{path}")
                },
            },
            (None, Some(Target { port, .. }), None) => Action::Tcp { port },
            (None, None, Some(Target { port, service })) => Action::Grpc {
                port,
                service: service.unwrap_or_default(),
            },
            _ => return Err(format!("{path}: write one of httpGet, tcpSocket and grpc")),
        };
        let seconds = timeout_seconds.filter(|seconds| *seconds > 0);
        let timeout = seconds.map(|seconds| Duration::from_secs(seconds.into()));
        Ok(Self {
            action,
            timeout: timeout.or((!is_hook).then_some(TIMEOUT)),
        })
    }
}

struct Server {
    probers: Probers,
    app: IpAddr,
}

/// The pages for the kubelet. The app listens on `app`.
pub fn router(probers: Probers, app: IpAddr) -> Router {
    let server = Arc::new(Server { probers, app });
    let probe = |State(server): State<Arc<Server>>, request: Request| async move {
        server.probe(request).await
    };
    Router::new()
        .route("/app-health/{container}/{probe}", get(probe))
        .route("/app-lifecycle/{container}/{hook}", get(probe))
        .with_state(server)
}

impl Server {
    async fn probe(&self, request: Request) -> Response {
        let path = request.uri().path();
        let Some(prober) = self.probers.0.get(path) else {
            let text = format!("no probe is known for {path}\n");
            return (StatusCode::BAD_REQUEST, text).into_response();
        };
        let headers = request.headers();
        let answer = async {
            match &prober.action {
                Action::Http {
                    is_https,
                    port,
                    path,
                } => call::http(self.app, *port, *is_https, path, headers).await,
                Action::Tcp { port } => call::tcp(self.app, *port).await,
                Action::Grpc { port, service } => call::grpc(self.app, *port, service).await,
            }
        };
        let answer = match prober.timeout {
            None => answer.await,
            Some(timeout) => tokio::time::timeout(timeout, answer)
                .await
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())),
        };
        match answer {
            Ok(answer) => (answer.status, answer.body).into_response(),
            Err(error) => {
                tracing::debug!(path, %error, "a probe of the app failed");
                (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_read_as_injection_writes_them() {
        let text = r#"{
            "/app-health/a/livez": {"httpGet": {"path": "live", "port": 8443, "scheme": "HTTPS"}, "timeoutSeconds": 3},
            "/app-health/a/readyz": {"tcpSocket": {"port": 9000}},
            "/app-lifecycle/a/prestopz": {"httpGet": {"path": "/bye", "port": 8080}},
            "/app-health/b/livez": {"grpc": {"port": 7000, "service": "s"}, "timeoutSeconds": 0}
        }"#;
        let probers: Probers = text.parse().unwrap();
        let http = |is_https, port, path: &str| Action::Http {
            is_https,
            port,
            path: path.to_owned(),
        };
        let found = |path: &str| {
            let prober = &probers.0[path];
            (prober.action.clone(), prober.timeout)
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(
            found("/app-health/a/livez"),
            (http(true, 8443, "/live"), seconds(3))
        );
        assert_eq!(
            found("/app-health/a/readyz"),
            (Action::Tcp { port: 9000 }, seconds(1))
        );
        assert_eq!(
            found("/app-lifecycle/a/prestopz"),
            (http(false, 8080, "/bye"), None)
        );
        let grpc = Action::Grpc {
            port: 7000,
            service: "s".to_owned(),
        };
        assert_eq!(found("/app-health/b/livez"), (grpc, seconds(1)));
        for wrong in [
            "[]",
            r#"{"/x": {"tcpSocket": {"port": 1}}}"#,
            r#"{"/app-health/a/livez": {}}"#,
            r#"{"/app-health/a/livez": {"tcpSocket": {"port": "http"}}}"#,
        ] {
            assert!(wrong.parse::<Probers>().is_err(), "{wrong}");
        }
    }
}
