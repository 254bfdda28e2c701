//! Where config comes from, and with it what else the control plane finds there: folders and a state directory on a
//! laptop, a cluster's API server otherwise.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ca::{Authority, FileRootStore, MeshReviewer, Reviewer, StateDir, TokenIssuer};
use model::{Kind, Spec, TrustDomain};
use store::SourceId;

use crate::args::Arguments;
use crate::cluster::Cluster;
use crate::plane::Handle;
use crate::rotation::Rotation;
use crate::server::Failure;
use crate::sources::{self, Sources};

/// The root certificates, in the state directory, for whoever starts agents by hand.
const ROOTS: &str = "root-cert.pem";

/// Where config comes from.
pub enum Origin {
    /// Folders of YAML.
    Folders(StateDir),
    /// A Kubernetes cluster.
    Cluster(Box<Cluster>),
}

/// Who signs, and who says who is who.
pub struct Trust {
    /// Signs.
    pub authority: Arc<Authority>,
    /// Says who is who.
    pub reviewer: Arc<dyn Reviewer>,
}

/// What the loop must have heard before it serves anything.
pub fn required(arguments: &Arguments) -> Vec<(SourceId, Kind)> {
    match &arguments.state_dir {
        Some(_) => sources::required(arguments),
        None => Cluster::required(),
    }
}

impl Origin {
    /// Opens it, and follows it from then on.
    ///
    /// # Errors
    /// [`Failure`] says what to mend.
    pub async fn open(arguments: &Arguments, plane: &Handle) -> Result<Self, Failure> {
        match &arguments.state_dir {
            Some(dir) => {
                let state = StateDir::open(dir)?;
                follow_folders(arguments, plane).await?;
                Ok(Self::Folders(state))
            }
            None => {
                let cluster = Cluster::connect(arguments, plane).await?;
                Ok(Self::Cluster(Box::new(cluster)))
            }
        }
    }

    /// Follows the CA's files from now on.
    pub fn follow_ca(&self, arguments: &Arguments, rotation: Rotation) {
        match (arguments.plugged_in_ca(), self) {
            (Some(dir), _) => drop(tokio::spawn(rotation.follow_folder(dir))),
            (None, Self::Cluster(cluster)) => cluster.follow_root(rotation),
            // Nobody but us writes the state directory.
            (None, Self::Folders(_)) => {}
        }
    }

    /// The authority and the reviewer, for the trust domain of the MeshConfig.
    ///
    /// # Errors
    /// [`Failure`] when the CA cannot be used.
    pub async fn trust(&self, arguments: &Arguments, plane: &Handle) -> Result<Trust, Failure> {
        let trust_domain = trust_domain(plane).await?;
        let now = SystemTime::now();
        let plugged_in = match arguments.plugged_in_ca() {
            Some(dir) => {
                tracing::info!("the certificate authority is that of {}", dir.display());
                Some(Authority::plugged_in(&dir, trust_domain.clone(), now)?)
            }
            None => None,
        };
        match self {
            Self::Folders(state) => {
                let authority = match plugged_in {
                    Some(authority) => authority,
                    None => Authority::open(&FileRootStore(state.clone()), trust_domain, now)?,
                };
                publish_roots(state.path(), &authority.root_bundle())?;
                let tokens = TokenIssuer::open(state)?.verifier();
                let reviewer = MeshReviewer::new(authority.trust_domain().clone(), tokens);
                Ok(Trust {
                    authority: Arc::new(authority),
                    reviewer: Arc::new(reviewer),
                })
            }
            Self::Cluster(cluster) => {
                let authority = match plugged_in {
                    Some(authority) => authority,
                    None => cluster.authority(trust_domain, now).await?,
                };
                let reviewer = cluster.reviewer(authority.trust_domain().clone());
                Ok(Trust {
                    authority: Arc::new(authority),
                    reviewer,
                })
            }
        }
    }
}

/// Reads all folders and follows them from then on.
async fn follow_folders(arguments: &Arguments, plane: &Handle) -> Result<(), Failure> {
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
    Ok(())
}

/// The trust domain that the MeshConfig names.
async fn trust_domain(plane: &Handle) -> Result<TrustDomain, Failure> {
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
        .map_err(|error: io::Error| Failure::Roots(ROOTS, error))
}
