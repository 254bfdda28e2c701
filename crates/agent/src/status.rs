//! The agent's port 15020: readiness, all metrics of the pod on one page, and how to end it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;

use crate::admin::{Admin, app_metrics};
use crate::args::PrometheusScrape;
use crate::metrics::{Metrics, as_istio};
use crate::rotation::Current;

/// What the port tells of, and what it can set off.
#[derive(Debug)]
pub struct Status {
    admin: Admin,
    current: Current,
    metrics: Arc<Metrics>,
    app: Option<AppMetrics>,
    started: Instant,
    /// How long it took to be ready, once it was.
    startup: OnceCell<Duration>,
    is_draining: AtomicBool,
    quit: watch::Sender<bool>,
}

/// Whether somebody asked to drain before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// Nobody did.
    Begins,
    /// A hook did, such as a native sidecar's.
    AlreadyBegun,
}

/// Where the app has metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppMetrics {
    port: u16,
    path: String,
}

impl AppMetrics {
    /// The app's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What Istio's injector took from the pod's annotations.
    ///
    /// # Errors
    /// The port is none.
    pub fn new(scrape: &PrometheusScrape) -> Result<Option<Self>, String> {
        let PrometheusScrape { scrape, path, port } = scrape;
        // As Istio: only an app that says no is not asked.
        if scrape == "false" {
            return Ok(None);
        }
        let or = |text: &str, default: &str| {
            if text.is_empty() {
                default.to_owned()
            } else {
                text.to_owned()
            }
        };
        let port = or(port, "80")
            .parse()
            .map_err(|_| format!("{port:?} is not a port"))?;
        let path = or(path, "/metrics");
        let path = if path.starts_with('/') {
            path
        } else {
            format!("/{path}")
        };
        Ok(Some(Self { port, path }))
    }
}

/// The names of what Envoy counts when it took its first clusters and listeners.
const DISCOVERY: &str = "^(cluster_manager.cds|listener_manager.lds).(update_success|update_rejected)$|^listener_manager.workers_started$";

impl Status {
    /// Of this Envoy, this certificate, these counts and that app, of an agent that `started` then. Beside it, what is
    /// true once the app asked for the end.
    #[must_use]
    pub fn new(
        admin: Admin,
        current: Current,
        metrics: Arc<Metrics>,
        app: Option<AppMetrics>,
        started: Instant,
    ) -> (Arc<Self>, watch::Receiver<bool>) {
        let (quit, asked) = watch::channel(false);
        let status = Self {
            admin,
            current,
            metrics,
            app,
            started,
            startup: OnceCell::new(),
            is_draining: AtomicBool::new(false),
            quit,
        };
        (Arc::new(status), asked)
    }

    /// Envoy.
    #[must_use]
    pub fn admin(&self) -> Admin {
        self.admin
    }

    /// The port's pages.
    pub fn router(self: Arc<Self>) -> Router {
        let ready = get(|State(status): State<Arc<Self>>| async move { ready(&status).await });
        let metrics = get(|State(status): State<Arc<Self>>| async move { metrics(&status).await });
        Router::new()
            .route("/healthz/ready", ready)
            .route("/stats/prometheus", metrics.clone())
            .route("/metrics", metrics)
            .route("/quitquitquit", post(quit))
            .route("/drain", post(drain))
            .with_state(self)
    }

    /// What is still missing before traffic may come.
    ///
    /// # Errors
    /// The first thing missing, in words.
    pub async fn check(&self) -> Result<(), String> {
        if self.is_draining.load(Ordering::Relaxed) {
            return Err("draining".to_owned());
        }
        if self.current.borrow().is_none() {
            return Err("no certificate yet".to_owned());
        }
        if self.startup.initialized() {
            return if self.admin.is_live().await {
                Ok(())
            } else {
                Err("Envoy is not live".to_owned())
            };
        }
        let stats = self
            .admin
            .stats(DISCOVERY)
            .await
            .map_err(|error| format!("Envoy: {error}"))?;
        let is_some = |prefix: &str| {
            stats
                .iter()
                .any(|(name, value)| name.starts_with(prefix) && *value > 0)
        };
        for (prefix, what) in [
            (
                "cluster_manager.cds",
                "no clusters from the control plane yet",
            ),
            (
                "listener_manager.lds",
                "no listeners from the control plane yet",
            ),
            (
                "listener_manager.workers_started",
                "Envoy's workers are not started",
            ),
        ] {
            if !is_some(prefix) {
                return Err(what.to_owned());
            }
        }
        if !self.admin.is_live().await {
            return Err("Envoy is not live".to_owned());
        }
        if self.startup.set(self.started.elapsed()).is_ok() {
            tracing::info!(after = ?self.started.elapsed(), "ready");
        }
        Ok(())
    }

    /// Stops new work: not ready any more, and inbound connections are asked to end.
    pub async fn drain(&self) -> Drain {
        if self.is_draining.swap(true, Ordering::Relaxed) {
            return Drain::AlreadyBegun;
        }
        if let Err(error) = self.admin.drain().await {
            tracing::warn!(%error, "Envoy does not drain");
        }
        Drain::Begins
    }

    async fn page(&self) -> String {
        self.metrics.scrapes.add();
        let certificate = self.current.borrow().clone();
        let startup = self.startup.get().copied();
        let mut page = self
            .metrics
            .render(certificate.as_deref(), startup, SystemTime::now());
        match self.admin.prometheus().await {
            Ok(envoy) => page.push_str(&as_istio(&envoy)),
            Err(error) => {
                self.metrics.envoy_scrape_failures.add();
                tracing::debug!(%error, "Envoy's metrics");
            }
        }
        if let Some(AppMetrics { port, path }) = &self.app {
            match app_metrics(*port, path).await {
                Ok(app) => append(&mut page, &app),
                Err(error) => {
                    self.metrics.app_scrape_failures.add();
                    tracing::debug!(%error, "the app's metrics");
                }
            }
        }
        page
    }
}

/// Pages stand behind each other line by line; OpenMetrics' end mark would end all of them.
fn append(page: &mut String, more: &str) {
    for line in more.lines().filter(|line| *line != "# EOF") {
        page.push_str(line);
        page.push('\n');
    }
}

async fn ready(status: &Status) -> Response {
    match status.check().await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")).into_response(),
    }
}

async fn metrics(status: &Status) -> Response {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        status.page().await,
    )
        .into_response()
}

/// For Jobs: the app says that it is done. Only from within the pod.
async fn quit(
    State(status): State<Arc<Status>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> StatusCode {
    if !peer.ip().to_canonical().is_loopback() {
        return StatusCode::FORBIDDEN;
    }
    status.quit.send_replace(true);
    StatusCode::OK
}

/// For a native sidecar's `preStop`. Only from within the pod.
async fn drain(
    State(status): State<Arc<Status>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> StatusCode {
    if !peer.ip().to_canonical().is_loopback() {
        return StatusCode::FORBIDDEN;
    }
    status.drain().await;
    StatusCode::OK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(json: &str) -> Result<Option<AppMetrics>, String> {
        AppMetrics::new(&json.parse().unwrap())
    }

    #[test]
    fn the_apps_metrics_are_where_its_annotations_say() {
        let app = |port, path: &str| {
            Ok(Some(AppMetrics {
                port,
                path: path.to_owned(),
            }))
        };
        assert_eq!(scrape(r#"{"scrape":"true"}"#), app(80, "/metrics"));
        assert_eq!(
            scrape(r#"{"scrape":"true","path":"m","port":"8080"}"#),
            app(8080, "/m")
        );
        assert_eq!(scrape(r#"{"scrape":"false","port":"x"}"#), Ok(None));
        assert!(scrape(r#"{"scrape":"true","port":"x"}"#).is_err());
    }

    #[test]
    fn pages_of_openmetrics_can_stand_inside() {
        let mut page = "a 1\n".to_owned();
        append(&mut page, "b 2\n# EOF");
        append(&mut page, "c 3");
        assert_eq!(page, "a 1\nb 2\nc 3\n");
    }
}
