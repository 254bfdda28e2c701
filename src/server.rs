//! From arguments to a control plane that serves: binds, reads, wires, and takes it all down again.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use ca::{CertificateService, InvalidCa, StateError};
use control::Control;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::Error;

use crate::accept::accept;
use crate::admission::Admission;
use crate::args::Arguments;
use crate::backend::Discovery;
use crate::cluster::Cluster;
use crate::diagnostics::Diagnostics;
use crate::http::App;
use crate::injector::Injector;
use crate::listen::{ListenError, Listeners};
use crate::metrics::Metrics;
use crate::origin::{Origin, Trust, required};
use crate::plane::{Handle, Shared};
use crate::rotation::Rotation;
use crate::sources::SourceError;
use crate::tls::{Serving, TlsError};
use crate::{grpc, http};

/// How long calls that are under way have to end once the process is told to.
const GRACE: Duration = Duration::from_secs(5);
/// For how long a replica in a cluster goes on answering once it is told to end: so long others may take to hear that it
/// is to be called no more.
const LEAVING: Duration = Duration::from_secs(2);

/// Why the control plane does not run. All are the operator's to mend; the text says which flag or file.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// See [`ListenError`].
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// See [`SourceError`].
    #[error(transparent)]
    Source(#[from] SourceError),
    /// See [`k8s::ConnectError`].
    #[error(transparent)]
    Connect(#[from] k8s::ConnectError),
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
    server.serving.send_replace(false);
    if ended.is_ok() && arguments.is_in_cluster() {
        tokio::select! {
            () = tokio::time::sleep(LEAVING) => {}
            () = ends.next() => {}
        }
    }
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
        let mut names: Vec<String> = listeners.secure_name().into_iter().collect();
        let Listeners {
            secure,
            plaintext,
            https,
            http,
            monitoring,
            addresses: _,
        } = listeners;
        let app = App {
            plane: self.plane.clone(),
            serving: self.serving.subscribe(),
        };
        self.pages(http, None, http::http(app.clone()));
        self.pages(monitoring, None, http::monitoring(app));
        let origin = Origin::open(arguments, &self.plane).await?;
        let trust = origin.trust(arguments, &self.plane).await?;
        let certificates = self.certificates(&trust);
        if let Origin::Cluster(cluster) = &origin {
            names.extend(cluster.serving_names());
        }
        let tls = Serving::new(Arc::clone(&trust.authority), names)?;
        self.port(secure, Some((tls.config()?, &trust)), &certificates);
        if let Some(plaintext) = plaintext {
            self.port(plaintext, None, &certificates);
        }
        let roots = watch::Sender::new(trust.authority.root_bundle());
        let published = roots.subscribe();
        let rotation = Rotation::new(Arc::clone(&trust.authority), Arc::clone(&tls), roots);
        origin.follow_ca(arguments, rotation);
        if let (Origin::Cluster(cluster), Some(https)) = (origin, https) {
            let injector = Injector::new(cluster.following());
            tokio::spawn(Arc::clone(&injector).follow(cluster.following().clone()));
            let routes = Admission::new(self.plane.clone(), injector).routes();
            self.pages(https, Some(tls.webhooks()?), routes);
            self.duties(*cluster, published);
        }
        tokio::spawn(tls.keep_fresh());
        self.serving.send_replace(true);
        match self.tasks.join_next().await {
            Some(Ok(Err(failure))) => Err(failure),
            Some(Ok(Ok(()))) | None => Err(Failure::Ended("a port")),
            Some(Err(_)) => Err(Failure::Ended("a task")),
        }
    }

    /// The CA's service, whose counters become metrics.
    fn certificates(&self, trust: &Trust) -> CertificateService {
        let authority = Arc::clone(&trust.authority);
        let reviewer = Arc::clone(&trust.reviewer);
        let service = CertificateService::new(authority, reviewer, SystemTime::now);
        let metrics = &self.plane.shared().metrics;
        metrics.set_ca(service.counters(), Arc::clone(&trust.authority));
        service
    }

    /// Does what a control plane does for its cluster.
    fn duties(&mut self, cluster: Cluster, roots: watch::Receiver<Arc<str>>) {
        let stop = self.stopped();
        self.tasks.spawn(async move {
            cluster.duties(roots, stop).await;
            Ok(())
        });
    }

    /// Serves HTTP.
    fn pages(&mut self, listener: TcpListener, tls: Option<Arc<ServerConfig>>, router: Router) {
        let (connections, stop) = (accept(listener, tls, http::CONNECTIONS), self.stopped());
        self.tasks.spawn(async move {
            http::serve(connections, router, stop).await;
            Ok(())
        });
    }

    /// Serves gRPC: with TLS to those who prove who they are, without it to everybody.
    fn port(
        &mut self,
        listener: TcpListener,
        tls: Option<(Arc<ServerConfig>, &Trust)>,
        certificates: &CertificateService,
    ) {
        let (tls, reviewer) = tls
            .map(|(tls, trust)| (tls, Arc::clone(&trust.reviewer)))
            .unzip();
        let discovery = Discovery::new(self.plane.clone(), reviewer);
        let routes = grpc::routes(discovery, certificates.clone(), &identifier());
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
        self.plane.stop();
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // Who has not ended by then is not waited for.
        let _ = tokio::time::timeout(GRACE, all).await;
    }
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
