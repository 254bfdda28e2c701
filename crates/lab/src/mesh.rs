//! The running mesh: the control plane, and for each workload of a folder its keeper, app and proxy.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::app::{self, Call, Outcome};
use crate::command;
use crate::control_plane::{ControlPlane, ControlPlaneError};
use crate::folder::{Folder, Workload};
use crate::inside::{HOME, folder as make_folder};
use crate::kube::{Addresses, Cluster, MARKER, cluster};
use crate::names::{self, Names};
use crate::progress::Wanted;
pub use crate::running::Outcomes;
use crate::running::{Running, Start, same, tail};

/// How long proxies may take to become ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the mesh does not run.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// The system refused something.
    #[error("{0}: {1}")]
    Io(String, io::Error),
    /// The control plane does not run.
    #[error(transparent)]
    ControlPlane(#[from] ControlPlaneError),
    /// A workload did not start; the text is what it wrote.
    #[error("{0} did not start:\n{1}")]
    Workload(String, String),
    /// A proxy did not become ready; the text is the end of its log.
    #[error("the proxy of {0} did not become ready:\n{1}")]
    Proxy(String, String),
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> MeshError {
    let what = what.into();
    move |error| MeshError::Io(what, error)
}

/// How a mesh is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Further arguments of the control plane.
    pub control_plane: Vec<String>,
}

/// A mesh that runs.
#[derive(Debug)]
pub struct Mesh {
    /// Its control plane.
    pub control_plane: ControlPlane,
    trust_domain: String,
    addresses: Addresses,
    names: watch::Sender<Names>,
    rules: String,
    generation: u64,
    running: BTreeMap<String, Running>,
    number: u32,
}

impl Mesh {
    /// Starts the control plane on the given folders, and all workloads of `folder`, which says what is in them.
    /// Ends when every proxy is ready.
    ///
    /// # Errors
    /// [`MeshError`], when a part does not start.
    pub async fn start(
        folder: &Folder,
        folders: &[PathBuf],
        options: &Options,
    ) -> Result<Self, MeshError> {
        let mut addresses = Addresses::default();
        let cluster = cluster(folder, &mut addresses);
        let (names, known) = watch::channel(cluster.names.clone());
        names::serve(known)
            .await
            .map_err(io_error("the name server"))?;
        let own = Path::new(HOME).join("cluster");
        make_folder(&own, 0o755).map_err(io_error("the cluster's folder"))?;
        cluster
            .write(&own, 0)
            .map_err(io_error("the cluster's folder"))?;
        let mut all = vec![own];
        all.extend_from_slice(folders);
        let control_plane = ControlPlane::start(&all, &options.control_plane).await?;
        let mut mesh = Self {
            control_plane,
            trust_domain: folder.trust_domain().to_owned(),
            addresses,
            names,
            rules: cluster.rules,
            generation: 0,
            running: BTreeMap::new(),
            number: 0,
        };
        mesh.start_missing(folder).await?;
        mesh.ready().await?;
        Ok(mesh)
    }

    /// Makes the mesh what the folder says now: new workloads are started, those that are gone end.
    ///
    /// # Errors
    /// [`MeshError`], when a new part does not start.
    pub async fn update(&mut self, folder: &Folder) -> Result<(), MeshError> {
        let cluster = cluster(folder, &mut self.addresses);
        self.generation += 1;
        let written = cluster.write(&Path::new(HOME).join("cluster"), self.generation);
        written.map_err(io_error("the cluster's folder"))?;
        let Cluster {
            objects: _,
            names,
            rules,
        } = cluster;
        self.names.send_replace(names);
        let changed = self.rules != rules;
        self.rules = rules;
        let gone: Vec<String> = self
            .running
            .iter()
            .filter(|(key, running)| {
                folder
                    .workloads
                    .get(*key)
                    .is_none_or(|now| !same(now, &running.workload))
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            if let Some(running) = self.running.remove(&key) {
                running.stop().await.map_err(io_error(key))?;
            }
        }
        if changed {
            self.lead_again()?;
        }
        self.start_missing(folder).await?;
        self.ready().await
    }

    fn lead_again(&self) -> Result<(), MeshError> {
        for (key, running) in self
            .running
            .iter()
            .filter(|(_, running)| !running.workload.is_injected())
        {
            let space = running.net().map_err(io_error(key))?;
            command::run("nsenter", &[&space, "iptables-restore"], &self.rules)
                .map_err(io_error(key))?;
        }
        Ok(())
    }

    async fn start_missing(&mut self, folder: &Folder) -> Result<(), MeshError> {
        let mut started = Vec::new();
        for (key, workload) in &folder.workloads {
            if !self.running.contains_key(key) {
                started.push(self.start_workload(workload).await?);
            }
        }
        for mut running in started {
            running.wait_started().await?;
            self.running.insert(running.workload.key(), running);
        }
        Ok(())
    }

    async fn start_workload(&mut self, workload: &Workload) -> Result<Running, MeshError> {
        self.number += 1;
        let token = if workload.is_injected() {
            let made = self
                .control_plane
                .token(&workload.namespace, &workload.service_account);
            Some(made.await?)
        } else {
            None
        };
        let start = Start {
            workload,
            number: self.number,
            addresses: self.addresses.of(workload),
            token,
            trust_domain: &self.trust_domain,
            rules: &self.rules,
        };
        start.start().map_err(io_error(workload.key()))
    }

    /// Waits until every proxy is ready.
    ///
    /// # Errors
    /// One is not in time.
    pub async fn ready(&self) -> Result<(), MeshError> {
        let until = Instant::now() + PATIENCE;
        for (key, running) in self
            .running
            .iter()
            .filter(|(_, running)| running.workload.is_injected())
        {
            while !running.is_ready().await {
                if Instant::now() > until {
                    return Err(MeshError::Proxy(key.clone(), tail(&running.log())));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// The workloads that run, by `namespace/name`.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.running.values().map(|running| &running.workload)
    }

    /// Waits until every proxy has what was written into the mesh's own folder, and what else is wanted; the number of
    /// proxies and of the control plane's state.
    ///
    /// # Errors
    /// Not all have in time.
    pub async fn applied(&self, mut wanted: Wanted) -> Result<(usize, u64), ControlPlaneError> {
        wanted.markers.insert(MARKER.to_owned(), self.generation);
        self.control_plane.applied(&wanted).await
    }

    /// How many proxies there are.
    #[must_use]
    pub fn proxies(&self) -> usize {
        self.workloads()
            .filter(|workload| workload.is_injected())
            .count()
    }

    /// The address of a workload that runs.
    pub fn address(&mut self, key: &str) -> Option<IpAddr> {
        let running = self.running.get(key)?;
        self.addresses.of(&running.workload).first().copied()
    }

    /// What a workload's agent and Envoy wrote so far, its access log among it.
    #[must_use]
    pub fn log(&self, key: &str) -> String {
        let running = self.running.get(key);
        running
            .and_then(|running| std::fs::read_to_string(running.log()).ok())
            .unwrap_or_default()
    }

    /// Tells a workload's app what to do. Its outcomes come until it has done all, or until the answer is dropped.
    ///
    /// # Errors
    /// There is no such workload, or it does not listen.
    pub async fn tell(&self, key: &str, command: &app::Command) -> Result<Outcomes, MeshError> {
        let unknown =
            || MeshError::Workload(key.to_owned(), "there is no such workload".to_owned());
        let running = self.running.get(key).ok_or_else(unknown)?;
        running.tell(command).await.map_err(io_error(key))
    }

    /// One call out of a workload.
    ///
    /// # Errors
    /// There is no such workload, or it does not listen.
    pub async fn call(&self, key: &str, call: Call) -> Result<Outcome, MeshError> {
        let command = app::Command::Calls {
            call,
            count: 1,
            parallel: 1,
        };
        let mut outcomes = self.tell(key, &command).await?;
        let outcome = outcomes.next().await.map_err(io_error(key))?;
        outcome.ok_or_else(|| MeshError::Workload(key.to_owned(), "its app hung up".to_owned()))
    }

    /// Kills a workload's agent and Envoy and starts them again.
    ///
    /// # Errors
    /// There is no such workload, or it does not start again.
    pub async fn restart_proxy(&mut self, key: &str) -> Result<(), MeshError> {
        let Some(running) = self.running.get_mut(key) else {
            return Err(MeshError::Workload(
                key.to_owned(),
                "there is no such workload".to_owned(),
            ));
        };
        running.restart_proxy().await.map_err(io_error(key))?;
        running.wait_started().await?;
        self.ready().await
    }
}
