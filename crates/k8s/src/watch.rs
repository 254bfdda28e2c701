//! The watches: one a kind, from the API server's events straight to change sets. No copy of the objects is kept here.
//!
//! A watch that breaks is taken up where it was; one that cannot be (410 Gone, a compacted etcd) lists again, and the
//! old world stays until the new list is complete. While the API server is away everything goes on with what was
//! known, and [`Health`] says since when.

mod config_map;
mod discovery;
pub(crate) mod follow;
pub(crate) mod health;
mod objects;
pub(crate) mod one;

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::Client;
use model::{Diagnostic, Kind, Parsed};
use store::{ChangeSet, SourceId};
use tokio::sync::{mpsc, watch};

use crate::lives::Lives;
use crate::resources::{Only, WATCHED, config_maps, resource};

use config_map::ConfigMap;
use follow::Follower;
use objects::Objects;

pub use health::{Health, WatchHealth};

/// What the watches are told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The source that change sets name.
    pub source: SourceId,
    /// Where the MeshConfig stands.
    pub mesh_config: Only,
    /// Where injection's values stand.
    pub injection: Only,
    /// Reads the text of the MeshConfig.
    pub parse_mesh_config: fn(&str) -> Parsed,
}

/// What the watches tell.
#[derive(Debug)]
pub enum Report {
    /// Objects changed.
    Changed(ChangeSet),
    /// An object has no key that could be read: it is nobody's.
    Unreadable(Vec<Diagnostic>),
}

/// `data` of a ConfigMap: none until it was asked for, empty if there is no such ConfigMap.
pub type Data = watch::Receiver<Option<BTreeMap<String, String>>>;

/// What is followed besides the objects of the mesh.
#[derive(Clone, Debug)]
pub struct Following {
    /// Who lives.
    pub lives: Arc<Lives>,
    /// How the watches are.
    pub health: Arc<Health>,
    /// The MeshConfig's ConfigMap.
    pub mesh_config: Data,
    /// The ConfigMap of injection's values.
    pub injection: Data,
}

/// Starts all watches, inside of a runtime. They go on until the receiver of `reports` is gone.
#[must_use]
pub fn start(
    client: &Client,
    settings: &Settings,
    reports: &mpsc::UnboundedSender<Report>,
) -> Following {
    let (lives, health) = (Arc::new(Lives::default()), Arc::new(Health::default()));
    let (chosen, selectors) = watch::channel(None);
    let own = settings.mesh_config.namespace.clone().unwrap_or_default();
    let discovery = discovery::decide(own, Arc::clone(&lives), selectors);
    for kind in WATCHED {
        let Some(resource) = resource(kind) else {
            continue;
        };
        let discovery = kind.is_namespaced().then(|| discovery.clone());
        let objects = Objects::new(
            kind,
            resource.clone(),
            settings.source.clone(),
            reports.clone(),
            Arc::clone(&lives),
            discovery.clone(),
        );
        let name = resource.plural.clone();
        let follower = Follower::new(client, resource, None, health.watch(name));
        tokio::spawn(follower.again_with(discovery).run(objects));
    }
    let config_map = |only: &Only, map: ConfigMap| {
        let name = format!("configmaps/{}", only.name);
        let follower = Follower::new(
            client,
            config_maps(),
            Some(only.clone()),
            health.watch(name),
        );
        tokio::spawn(follower.run(map));
    };
    let (map, mesh_config) = ConfigMap::new();
    let parse = settings.parse_mesh_config;
    let map = map.with_mesh_config(settings.source.clone(), parse, reports.clone(), chosen);
    config_map(&settings.mesh_config, map);
    let (map, injection) = ConfigMap::new();
    config_map(&settings.injection, map);
    Following {
        lives,
        health,
        mesh_config,
        injection,
    }
}

/// Every kind that comes from a cluster, whether by a watch of its own or in a ConfigMap.
pub fn kinds() -> impl Iterator<Item = Kind> {
    WATCHED.into_iter().chain([Kind::MeshConfig])
}
