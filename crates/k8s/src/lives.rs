//! Which Pods, ServiceAccounts, Namespaces and Nodes live now, and which life of each it is: what a token's revocation,
//! the root ConfigMaps and injection must know, and the mesh need not.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use model::Kind;
use serde_json::Value;
use tokio::sync::watch;

use crate::raw::Raw;

/// One life of an object: `metadata.uid`. A recreated object of the same name has another.
pub type Uid = Arc<str>;

/// Whether an object lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alive {
    /// The watch has not listed yet: it may.
    Unknown,
    /// It does not, or the watch has not heard of it yet.
    No,
    /// It does; this life is its own.
    As(Uid),
}

/// What of a Namespace is asked for outside of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceLife {
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// Whether it is being deleted: then nothing can be created in it.
    pub is_ending: bool,
}

/// Who lives, as the watches last heard.
#[derive(Debug)]
pub struct Lives {
    known: RwLock<Known>,
    /// Counts changes of Namespaces.
    namespaces: watch::Sender<u64>,
}

/// By namespace and name.
type ByName = HashMap<(Box<str>, Box<str>), Uid>;

#[derive(Debug, Default)]
struct Known {
    /// None until they are synced.
    pods: Option<ByName>,
    service_accounts: Option<ByName>,
    namespaces: BTreeMap<String, NamespaceLife>,
    /// The minor version of each Node's kubelet.
    nodes: BTreeMap<String, Option<u32>>,
}

impl Default for Lives {
    fn default() -> Self {
        Self {
            known: RwLock::default(),
            namespaces: watch::Sender::new(0),
        }
    }
}

/// The first minor of Kubernetes in which native sidecars are stable.
const NATIVE_SIDECARS: u32 = 33;

impl Lives {
    /// Whether a Pod lives.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> Alive {
        self.with(|known| find(known.pods.as_ref(), namespace, name))
    }

    /// Whether a ServiceAccount lives.
    #[must_use]
    pub fn service_account(&self, namespace: &str, name: &str) -> Alive {
        self.with(|known| find(known.service_accounts.as_ref(), namespace, name))
    }

    /// The Namespaces that there are.
    #[must_use]
    pub fn namespaces(&self) -> BTreeMap<String, NamespaceLife> {
        self.with(|known| known.namespaces.clone())
    }

    /// One Namespace.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Option<NamespaceLife> {
        self.with(|known| known.namespaces.get(name).cloned())
    }

    /// Tells whenever a Namespace came, went or changed.
    #[must_use]
    pub fn namespace_changes(&self) -> watch::Receiver<u64> {
        self.namespaces.subscribe()
    }

    /// Whether every Node can run native sidecars; false while no Node is known.
    #[must_use]
    pub fn every_node_has_native_sidecars(&self) -> bool {
        self.with(|known| {
            let can = |minor: &Option<u32>| minor.is_some_and(|minor| minor >= NATIVE_SIDECARS);
            !known.nodes.is_empty() && known.nodes.values().all(can)
        })
    }

    fn with<T>(&self, ask: impl FnOnce(&Known) -> T) -> T {
        ask(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// These are all objects of `kind`.
    pub(crate) fn resync(&self, kind: Kind, objects: Vec<Life>) {
        self.change(|known| {
            known.clear(kind);
            for life in objects {
                known.set(kind, life);
            }
        });
        self.tell(kind);
    }

    /// The object is now this.
    pub(crate) fn upsert(&self, kind: Kind, life: Life) {
        self.change(|known| known.set(kind, life));
        self.tell(kind);
    }

    /// The object is gone.
    pub(crate) fn remove(&self, kind: Kind, namespace: &str, name: &str) {
        self.change(|known| known.remove(kind, namespace, name));
        self.tell(kind);
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn tell(&self, kind: Kind) {
        if kind == Kind::Namespace {
            self.namespaces.send_modify(|count| *count += 1);
        }
    }
}

fn find(lives: Option<&ByName>, namespace: &str, name: &str) -> Alive {
    let Some(lives) = lives else {
        return Alive::Unknown;
    };
    match lives.get(&(namespace.into(), name.into())) {
        Some(uid) => Alive::As(Arc::clone(uid)),
        None => Alive::No,
    }
}

/// What is kept of one object.
#[derive(Debug)]
pub(crate) struct Life {
    namespace: Box<str>,
    name: Box<str>,
    uid: Uid,
    labels: BTreeMap<String, String>,
    is_ending: bool,
    kubelet: Option<u32>,
}

impl Life {
    /// None for kinds whose lives nobody asks for.
    pub fn of(kind: Kind, raw: &Raw) -> Option<Self> {
        if !matches!(
            kind,
            Kind::Pod | Kind::ServiceAccount | Kind::Namespace | Kind::Node
        ) {
            return None;
        }
        let labels = match raw.value.pointer("/metadata/labels") {
            Some(Value::Object(labels)) if kind == Kind::Namespace => labels
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
            _ => BTreeMap::new(),
        };
        let kubelet = raw.value.pointer("/status/nodeInfo/kubeletVersion");
        Some(Self {
            namespace: raw.namespace().into(),
            name: raw.name().into(),
            uid: raw.uid().into(),
            labels,
            is_ending: raw.value.pointer("/metadata/deletionTimestamp").is_some(),
            kubelet: kubelet.and_then(Value::as_str).and_then(minor),
        })
    }
}

/// The minor of a version such as `v1.33.2`.
fn minor(version: &str) -> Option<u32> {
    let (major, rest) = version.strip_prefix('v')?.split_once('.')?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (major == "1").then(|| digits.parse().ok())?
}

impl Known {
    fn clear(&mut self, kind: Kind) {
        match kind {
            Kind::Pod => self.pods = Some(HashMap::new()),
            Kind::ServiceAccount => self.service_accounts = Some(HashMap::new()),
            Kind::Namespace => self.namespaces.clear(),
            Kind::Node => self.nodes.clear(),
            _ => {}
        }
    }

    fn set(&mut self, kind: Kind, life: Life) {
        let Life {
            namespace,
            name,
            uid,
            labels,
            is_ending,
            kubelet,
        } = life;
        match kind {
            Kind::Pod => {
                let pods = self.pods.get_or_insert_default();
                pods.insert((namespace, name), uid);
            }
            Kind::ServiceAccount => {
                let accounts = self.service_accounts.get_or_insert_default();
                accounts.insert((namespace, name), uid);
            }
            Kind::Namespace => {
                let life = NamespaceLife { labels, is_ending };
                self.namespaces.insert(name.into(), life);
            }
            Kind::Node => {
                self.nodes.insert(name.into(), kubelet);
            }
            _ => {}
        }
    }

    fn remove(&mut self, kind: Kind, namespace: &str, name: &str) {
        let key = || (namespace.into(), name.into());
        match kind {
            Kind::Pod => drop(self.pods.as_mut().and_then(|pods| pods.remove(&key()))),
            Kind::ServiceAccount => drop(
                self.service_accounts
                    .as_mut()
                    .and_then(|accounts| accounts.remove(&key())),
            ),
            Kind::Namespace => drop(self.namespaces.remove(name)),
            Kind::Node => drop(self.nodes.remove(name)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(value: Value) -> Raw {
        serde_json::from_value(value).unwrap()
    }

    fn pod(uid: &str) -> Raw {
        raw(json!({ "metadata": { "name": "a", "namespace": "shop", "uid": uid } }))
    }

    #[test]
    fn a_pod_is_unknown_only_once_pods_are_synced() {
        let lives = Lives::default();
        assert_eq!(lives.pod("shop", "a"), Alive::Unknown);
        lives.resync(Kind::Pod, Vec::new());
        assert_eq!(lives.pod("shop", "a"), Alive::No);
    }

    #[test]
    fn a_recreated_pod_has_another_life() {
        let lives = Lives::default();
        lives.resync(
            Kind::Pod,
            Life::of(Kind::Pod, &pod("1")).into_iter().collect(),
        );
        assert_eq!(lives.pod("shop", "a"), Alive::As("1".into()));
        lives.remove(Kind::Pod, "shop", "a");
        assert_eq!(lives.pod("shop", "a"), Alive::No);
        lives.upsert(Kind::Pod, Life::of(Kind::Pod, &pod("2")).unwrap());
        assert_eq!(lives.pod("shop", "a"), Alive::As("2".into()));
    }

    #[test]
    fn native_sidecars_need_every_node() {
        let lives = Lives::default();
        assert!(!lives.every_node_has_native_sidecars());
        let node = |name: &str, version: &str| {
            let info = json!({ "nodeInfo": { "kubeletVersion": version } });
            Life::of(
                Kind::Node,
                &raw(json!({ "metadata": { "name": name }, "status": info })),
            )
            .unwrap()
        };
        lives.upsert(Kind::Node, node("new", "v1.36.3"));
        assert!(lives.every_node_has_native_sidecars());
        lives.upsert(Kind::Node, node("old", "v1.32.1-eks-1"));
        assert!(!lives.every_node_has_native_sidecars());
    }
}
