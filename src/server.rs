//! From arguments to a control plane that serves: binds, reads, wires, and takes it all down again.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use ca::{
    Authority, CertificateService, FileRootStore, InvalidCa, MeshReviewer, Reviewer, StateDir,
    StateError, TokenIssuer,
};
use control::Control;
use model::{Kind, Spec, TrustDomain};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::Error;

use crate::accept::accept;
use crate::args::Arguments;
use crate::backend::Discovery;
use crate::diagnostics::Diagnostics;
use crate::http::App;
use crate::listen::{ListenError, Listeners};
use crate::metrics::Metrics;
use crate::plane::{Handle, Shared};
use crate::sources::{SourceError, Sources, required};
use crate::tls::{Serving, TlsError};
use crate::{grpc, http};

/// How long calls that are under way have to end once the process is told to.
const GRACE: Duration = Duration::from_secs(5);
/// The root certificates, in the state directory, for whoever starts agents by hand.
const ROOTS: &str = "root-cert.pem";

/// Why the control plane does not run. All are the operator's to mend; the text says which flag or file.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// See [`ListenError`].
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// See [`SourceError`].
    #[error(transparent)]
    Source(#[from] SourceError),
    /// See [`InvalidCa`].
    #[error("the certificate authority cannot be used: {0}")]
    Ca(#[from] InvalidCa),
    /// See [`TlsError`].
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The state directory does not take the root certificates.
    #[error("--stateDir: {0}: {1}")]
    Roots(&'static str, io::Error),
    /// The system gives no thread or no signals.
    #[error("the system refuses {0}: {1}")]
    System(&'static str, io::Error),
    /// A listener failed as a whole.
    #[error("a gRPC port failed: {0}")]
    Transport(#[from] Error),
    /// A part ended that never should: a bug. What it said stands above in the log.
    #[error("{0} has ended")]
    Ended(&'static str),
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::Ca(error.into())
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`Failure`] says what to mend.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut ends = Ends::new().map_err(|error| Failure::System("signals", error))?;
    let listeners = Listeners::bind(&arguments)?;
    if let Some(file) = &arguments.print_addrs {
        listeners.print(file)?;
    }
    let mut server = Server::start(&arguments)?;
    let ended = tokio::select! {
        ended = server.serve(&arguments, listeners) => ended,
        () = ends.next() => Ok(()),
    };
    tracing::info!("shutting down");
    tokio::select! {
        () = server.stop() => {}
        () = ends.next() => {}
    }
    ended
}

/// What runs.
struct Server {
    plane: Handle,
    /// Whether everything is listened on and served.
    serving: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    /// The ports and the loop. None ends before it is told to.
    tasks: JoinSet<Result<(), Failure>>,
}

impl Server {
    fn start(arguments: &Arguments) -> Result<Self, Failure> {
        let no_thread = |error| Failure::System("a thread", error);
        let diagnostics = Diagnostics::start().map_err(no_thread)?;
        let shared = Arc::new(Shared::new(Metrics::default(), diagnostics));
        let control = Control::new(required(arguments));
        #[cfg(feature = "mutants")]
        let control = match arguments.mutant {
            Some(mutant) => control.sabotaged(mutant),
            None => control,
        };
        let (plane, thread) = Handle::start(control, shared).map_err(no_thread)?;
        let mut tasks = JoinSet::new();
        tasks.spawn_blocking(move || match thread.join() {
            Ok(()) => Ok(()),
            Err(_) => Err(Failure::Ended("the control loop")),
        });
        Ok(Self {
            plane,
            serving: watch::Sender::new(false),
            stop: watch::Sender::new(false),
            tasks,
        })
    }

    /// Serves until something fails.
    async fn serve(&mut self, arguments: &Arguments, listeners: Listeners) -> Result<(), Failure> {
        let names = listeners.secure_name().into_iter().collect();
        let Listeners {
            secure,
            plaintext,
            http,
            monitoring,
            addresses: _,
        } = listeners;
        let app = App {
            plane: self.plane.clone(),
            serving: self.serving.subscribe(),
        };
        self.pages(http, http::http(app.clone()));
        self.pages(monitoring, http::monitoring(app));
        let state = StateDir::open(&arguments.state_dir)?;
        let trust_domain = read_config(arguments, &self.plane).await?;
        let trust = Trust::establish(arguments, &state, trust_domain)?;
        let counters = trust.certificates.counters();
        let metrics = &self.plane.shared().metrics;
        metrics.set_ca(counters, Arc::clone(&trust.authority));
        let tls = Serving::new(Arc::clone(&trust.authority), names)?;
        self.port(secure, Some(tls.config()?), &trust);
        tokio::spawn(tls.keep_fresh());
        if let Some(plaintext) = plaintext {
            self.port(plaintext, None, &trust);
        }
        self.serving.send_replace(true);
        match self.tasks.join_next().await {
            Some(Ok(Err(failure))) => Err(failure),
            Some(Ok(Ok(()))) | None => Err(Failure::Ended("a port")),
            Some(Err(_)) => Err(Failure::Ended("a task")),
        }
    }

    /// Serves HTTP.
    fn pages(&mut self, listener: TcpListener, router: Router) {
        let (connections, stop) = (accept(listener, None, http::CONNECTIONS), self.stopped());
        self.tasks.spawn(async move {
            http::serve(connections, router, stop).await;
            Ok(())
        });
    }

    /// Serves gRPC: with TLS to those who prove who they are, without it to everybody.
    fn port(&mut self, listener: TcpListener, tls: Option<Arc<ServerConfig>>, trust: &Trust) {
        let reviewer = tls.is_some().then(|| Arc::clone(&trust.reviewer));
        let discovery = Discovery::new(self.plane.clone(), reviewer);
        let routes = grpc::routes(discovery, trust.certificates.clone(), &identifier());
        let (connections, stop) = (accept(listener, tls, grpc::CONNECTIONS), self.stopped());
        self.tasks
            .spawn(async move { Ok(grpc::serve(connections, routes, stop).await?) });
    }

    fn stopped(&self) -> impl Future<Output = ()> + use<> {
        let mut stop = self.stop.subscribe();
        async move { drop(stop.wait_for(|stop| *stop).await) }
    }

    /// Ends streams, then connections, and waits a little for calls that are under way.
    async fn stop(&mut self) {
        self.serving.send_replace(false);
        self.plane.stop();
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // Who has not ended by then is not waited for.
        let _ = tokio::time::timeout(GRACE, all).await;
    }
}

/// Reads all sources, follows them from then on, and answers the trust domain that the MeshConfig names.
async fn read_config(arguments: &Arguments, plane: &Handle) -> Result<TrustDomain, Failure> {
    let blocked = |_| Failure::Ended("the reader of sources");
    let opened = arguments.clone();
    let mut sources = tokio::task::spawn_blocking(move || Sources::open(&opened))
        .await
        .map_err(blocked)??;
    let reports = sources.watch()?;
    let reader = plane.clone();
    let sources = tokio::task::spawn_blocking(move || {
        sources.read(&reader);
        sources
    });
    let sources = sources.await.map_err(blocked)?;
    let reader = plane.clone();
    let follow = move || sources.follow(reports, &reader);
    std::thread::Builder::new()
        .name("sources".to_owned())
        .spawn(follow)
        .map_err(|error| Failure::System("a thread", error))?;
    let snapshot = plane
        .snapshot()
        .await
        .ok_or(Failure::Ended("the control loop"))?;
    let mut configs = snapshot
        .of_kind(Kind::MeshConfig)
        .filter_map(|object| match &object.spec {
            Spec::MeshConfig(config) => Some(config.trust_domain.clone()),
            _ => None,
        });
    Ok(configs.next().unwrap_or_else(TrustDomain::cluster_local))
}

/// Who signs, and who says who is who.
struct Trust {
    authority: Arc<Authority>,
    reviewer: Arc<dyn Reviewer>,
    certificates: CertificateService,
}

impl Trust {
    fn establish(
        arguments: &Arguments,
        state: &StateDir,
        trust_domain: TrustDomain,
    ) -> Result<Self, Failure> {
        let now = SystemTime::now();
        let authority = if let Some(dir) = arguments.plugged_in_ca() {
            tracing::info!("the certificate authority is that of {}", dir.display());
            Authority::plugged_in(&dir, trust_domain, now)?
        } else {
            Authority::open(&FileRootStore(state.clone()), trust_domain, now)?
        };
        publish_roots(state.path(), authority.root_bundle())?;
        let tokens = TokenIssuer::open(state)?;
        let authority = Arc::new(authority);
        let reviewer: Arc<dyn Reviewer> = Arc::new(MeshReviewer::new(
            authority.trust_domain().clone(),
            tokens.verifier(),
        ));
        let certificates = CertificateService::new(
            Arc::clone(&authority),
            Arc::clone(&reviewer),
            SystemTime::now,
        );
        Ok(Self {
            authority,
            reviewer,
            certificates,
        })
    }
}

/// Puts the roots where agents that are started by hand can be given them from. They are public, the directory is not.
fn publish_roots(state: &Path, roots: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let (new, file) = (
        state.join(format!(".{ROOTS}.{}", std::process::id())),
        state.join(ROOTS),
    );
    let mut options = std::fs::OpenOptions::new();
    let written = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new);
    let written = written.and_then(|mut file| file.write_all(roots.as_bytes()));
    written
        .and_then(|()| std::fs::rename(&new, &file))
        .map_err(|error| Failure::Roots(ROOTS, error))
}

/// What Istio's tools read to learn who answered them.
fn identifier() -> String {
    serde_json::json!({ "Component": "istiod", "ID": "lateend", "Info": { "version": crate::VERSION } }).to_string()
}

/// SIGTERM and SIGINT.
struct Ends(Signal, Signal);

impl Ends {
    fn new() -> io::Result<Self> {
        Ok(Self(
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}
