//! `lateen-agent proxy`: starts everything, waits, and ends it in order.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::response::IntoResponse;
use http::Request;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::UnixTime;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::admin::Admin;
use crate::args::ProxyArguments;
use crate::bootstrap::{self, Sockets};
use crate::certificate::{Certificate, Store};
use crate::control_plane::ControlPlane;
use crate::dns::{Dns, Resolver};
use crate::envoy::Envoy;
use crate::file;
use crate::metrics::Metrics;
use crate::names::{NameStore, Names};
use crate::node::{InvalidNode, Node};
use crate::probes;
use crate::relay::Relay;
use crate::rotation::{Current, Identity, Rotation, SystemClock};
use crate::sds::Secrets;
use crate::status::{AppMetrics, Drain, Status};

/// Why the agent did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// An argument cannot be used.
    #[error("{0}")]
    Argument(String),
    /// An argument cannot be used.
    #[error(transparent)]
    Node(#[from] InvalidNode),
    /// A step of the start failed.
    #[error("cannot {0}: {1}")]
    Step(String, io::Error),
}

fn step<T, E: Into<io::Error>>(
    what: impl Into<String>,
    result: Result<T, E>,
) -> Result<T, ProxyError> {
    result.map_err(|error| ProxyError::Step(what.into(), error.into()))
}

/// The longest path of a Unix socket on Linux.
const MAX_SOCKET_PATH: usize = 107;
/// How often connections are counted while the last ones end.
const COUNT: Duration = Duration::from_secs(1);

/// Runs until a signal, or until the app asks for the end. Must be awaited on the main thread: see [`Envoy::run`].
///
/// # Errors
/// [`ProxyError`], when something cannot be started. What fails later is tried again.
pub async fn run(arguments: &ProxyArguments) -> Result<(), ProxyError> {
    let started = Instant::now();
    let node = Node::new(&arguments.node)?;
    let app = app_metrics(arguments)?;
    let work_dir = &file::own_folder(&arguments.work_dir);
    step(
        format!("make {}", work_dir.display()),
        file::private_folder(work_dir),
    )?;
    let work_dir = &step("find --workDir", work_dir.canonicalize())?;
    let mut signals = step("wait for signals", Signals::new())?;

    let metrics = Arc::new(Metrics::default());
    let control_plane = ControlPlane::new(arguments.control_plane.clone(), &node.cluster_id);
    let control_plane = control_plane.map_err(ProxyError::Argument)?;
    let (refused, refusals) = mpsc::channel(1);
    let current = certificates(&node, &control_plane, work_dir, refusals, &metrics);
    let (store, names) = NameStore::new(node.namespace.as_str());
    let relay = Relay::new(
        control_plane,
        current.clone(),
        refused,
        store,
        Arc::clone(&metrics),
    );
    let (xds, sds) = (work_dir.join("xds.sock"), work_dir.join("sds.sock"));
    serve(&xds, relay.into_server())?;
    let root_file = arguments.control_plane.root_cert.to_string_lossy().into();
    serve(&sds, Secrets::new(current.clone(), root_file).into_server())?;
    serve_dns(&node, arguments, names, &metrics).await?;
    let admin = Admin {
        port: arguments.ports.admin_port,
    };
    let (status, mut asked) = Status::new(admin, current, metrics, app, started);
    serve_status(&node, arguments, &status).await?;

    let envoy = envoy(
        &node,
        arguments,
        work_dir,
        Sockets {
            xds: &xds,
            sds: &sds,
        },
    )?;
    let stop = async {
        tokio::select! {
            () = signals.next() => {}
            _ = asked.wait_for(|asked| *asked) => {}
        }
        // A second signal is meant: at once.
        tokio::select! {
            () = drain(&status, arguments) => {}
            () = signals.next() => {}
        }
    };
    step(
        format!("start {}", arguments.envoy.display()),
        envoy.run(stop).await,
    )
}

/// The signals that ask for the end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Starts to keep the certificate new, beginning with the one of an earlier run.
fn certificates(
    node: &Node,
    control_plane: &ControlPlane,
    work_dir: &Path,
    refused: mpsc::Receiver<Arc<Certificate>>,
    metrics: &Arc<Metrics>,
) -> Current {
    let rotation = Rotation {
        issuer: control_plane.clone(),
        clock: SystemClock,
        identity: Identity {
            trust_domain: node.trust_domain.clone(),
            namespace: node.namespace.clone(),
            service_account: node.service_account.clone(),
        },
        store: Store::new(work_dir),
        refused,
        metrics: Arc::clone(metrics),
    };
    let kept = rotation.kept(|certificate, now| is_trusted(control_plane, certificate, now));
    let (sender, current) = watch::channel(kept);
    tokio::spawn(rotation.run(sender));
    current
}

/// Whether the certificate of an earlier run is of the mesh that is there now, as far as the pod's file of roots tells.
fn is_trusted(control_plane: &ControlPlane, certificate: &Certificate, now: SystemTime) -> bool {
    let Ok(roots) = control_plane.file_roots() else {
        return true;
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let Ok(verifier) =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()
    else {
        return true;
    };
    let certified = certificate.certified();
    let Some((leaf, intermediates)) = certified.cert.split_first() else {
        return false;
    };
    let since = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let verified =
        verifier.verify_client_cert(leaf, intermediates, UnixTime::since_unix_epoch(since));
    if let Err(error) = &verified {
        tracing::info!(%error, "the certificate that was kept is of another mesh");
    }
    verified.is_ok()
}

/// Serves on a Unix socket in the folder that only this user can enter.
fn serve<S>(path: &Path, service: S) -> Result<(), ProxyError>
where
    S: Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        let text = format!(
            "--workDir: the path of a socket in it is too long: {}",
            path.display()
        );
        return Err(ProxyError::Argument(text));
    }
    let what = format!("listen on {}", path.display());
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return step(what, Err(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListenerStream::new(step(what, UnixListener::bind(path))?);
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(listener));
    Ok(())
}

async fn serve_dns(
    node: &Node,
    arguments: &ProxyArguments,
    names: watch::Receiver<Arc<Names>>,
    metrics: &Arc<Metrics>,
) -> Result<(), ProxyError> {
    let address = arguments.dns_address;
    let resolver = Resolver::new(&arguments.dns_upstream, node.search_domains(), address);
    let served = Dns::new(names, resolver, Arc::clone(metrics))
        .serve(address)
        .await;
    step(format!("answer DNS on {address}"), served.map(drop))
}

async fn serve_status(
    node: &Node,
    arguments: &ProxyArguments,
    status: &Arc<Status>,
) -> Result<(), ProxyError> {
    let port = arguments.ports.status_port;
    // Prometheus and the kubelet call from outside the pod; what ends the proxy answers loopback only.
    let any = match node.addresses.first() {
        Some(IpAddr::V6(_)) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        Some(IpAddr::V4(_)) | None => IpAddr::from(Ipv4Addr::UNSPECIFIED),
    };
    let listener = step(
        format!("listen on port {port}"),
        TcpListener::bind((any, port)).await,
    )?;
    let mut router = Arc::clone(status).router();
    if let (Some(probers), Some(app)) = (&arguments.app_probers, node.addresses.first()) {
        router = router.merge(probes::router(probers.clone(), *app));
    }
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    Ok(())
}

fn app_metrics(arguments: &ProxyArguments) -> Result<Option<AppMetrics>, ProxyError> {
    let app = arguments
        .prometheus_annotations
        .as_ref()
        .map(AppMetrics::new)
        .transpose();
    let app = app
        .map(Option::flatten)
        .map_err(|error| ProxyError::Argument(format!("--prometheusAnnotations: {error}")))?;
    let own = arguments.ports.status_port;
    if app.as_ref().is_some_and(|app| app.port() == own) {
        let text =
            format!("--prometheusAnnotations: port {own} is the agent's, which would ask itself");
        return Err(ProxyError::Argument(text));
    }
    Ok(app)
}

/// Writes the bootstrap.
fn envoy(
    node: &Node,
    arguments: &ProxyArguments,
    work_dir: &Path,
    sockets: Sockets<'_>,
) -> Result<Envoy, ProxyError> {
    let bootstrap = bootstrap::render(node, &arguments.ports, sockets);
    let path = work_dir.join("envoy-rev.json");
    let text = format!("{bootstrap:#}\n");
    step(
        format!("write {}", path.display()),
        file::replace(&path, text.as_bytes()),
    )?;
    let drain = arguments.drain_duration().as_secs().to_string();
    let concurrency = arguments.concurrency.to_string();
    let mut words: Vec<OsString> = vec!["-c".into(), path.into()];
    words.extend(
        [
            ("--drain-time-s", drain.as_str()),
            ("--drain-strategy", "immediate"),
            // As Istio: who reads an access log should not wait for Envoy's 10 s.
            ("--file-flush-interval-msec", "1000"),
            ("--log-level", &arguments.proxy_log_level),
        ]
        .iter()
        .flat_map(|(flag, value)| [OsString::from(flag), OsString::from(value)]),
    );
    if !arguments.proxy_component_log_level.is_empty() {
        let levels = arguments.proxy_component_log_level.as_str();
        words.extend(["--component-log-level".into(), levels.into()]);
    }
    if let Some(path) = &arguments.bootstrap_override {
        let what = format!("read --bootstrapOverride {}", path.display());
        let more = step(what, std::fs::read_to_string(path))?;
        words.extend(["--config-yaml".into(), more.into()]);
    }
    if arguments.concurrency > 0 {
        words.extend(["--concurrency".into(), concurrency.into()]);
    }
    // Several Envoys share a machine's abstract sockets, by which a hot restart would find the other.
    words.push("--disable-hot-restart".into());
    Ok(Envoy {
        program: arguments.envoy.clone(),
        arguments: words,
        environment: node.environment(),
    })
}

/// Lets connections finish: for a fixed time, or until there are none.
async fn drain(status: &Status, arguments: &ProxyArguments) {
    let lifecycle = &arguments.lifecycle;
    tracing::info!("draining");
    if status.drain().await == Drain::AlreadyBegun {
        // A native sidecar drained before the app ended; by now nobody is left to wait for.
        return;
    }
    if !lifecycle.exit_on_zero_active_connections {
        tokio::time::sleep(arguments.termination_drain_duration()).await;
        return;
    }
    tokio::time::sleep(lifecycle.minimum_drain_duration).await;
    while let Ok(connections) = connections(status, arguments).await {
        if connections == 0 {
            return;
        }
        tokio::time::sleep(COUNT).await;
    }
}

/// How many connections of apps are open.
async fn connections(status: &Status, arguments: &ProxyArguments) -> io::Result<u64> {
    let stats = status
        .admin()
        .stats("^listener.*downstream_cx_active$")
        .await?;
    let ports = &arguments.ports;
    let own = [ports.envoy_status_port, ports.envoy_prometheus_port]
        .map(|port| format!("_{port}.downstream_cx_active"));
    let is_app = |name: &str| {
        !name.starts_with("listener.admin")
            && !name.contains(".worker_")
            && !own.iter().any(|suffix| name.ends_with(suffix))
    };
    Ok(stats
        .iter()
        .filter(|(name, _)| is_app(name))
        .map(|(_, value)| value)
        .sum())
}
