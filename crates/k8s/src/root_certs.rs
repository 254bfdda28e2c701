//! The ConfigMap `istio-ca-root-cert` of every Namespace: what its Pods mount to know whom to trust.
//!
//! Written by the leader, at once for a Namespace that is new, and again wherever somebody changed or deleted it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::lives::Lives;
use crate::raw::Raw;
use crate::resources::{Only, config_maps};
use crate::retry;
use crate::watch::follow::{Follower, Seen, Sink};
use crate::watch::health::Health;

/// Istio's name for it, and the key of the roots in its `data`.
const NAME: &str = "istio-ca-root-cert";
const KEY: &str = "root-cert.pem";
/// The label by which Istio marks it.
const LABEL: (&str, &str) = ("istio.io/config", "true");
/// Who owns its fields.
const MANAGER: &str = "lateen";
/// How many are written at once.
const AT_ONCE: usize = 8;

/// What each Namespace's ConfigMap says now.
#[derive(Default)]
struct Written {
    maps: Mutex<HashMap<String, Arc<str>>>,
    changes: watch::Sender<u64>,
}

/// Keeps the ConfigMaps as `roots` says whenever `leads`. Never ends.
pub async fn publish_roots(
    client: Client,
    lives: Arc<Lives>,
    health: Arc<Health>,
    mut roots: watch::Receiver<Arc<str>>,
    mut leads: watch::Receiver<bool>,
) {
    let written = Arc::new(Written::default());
    let only = Only {
        namespace: None,
        name: NAME.to_owned(),
    };
    let watch = health.watch(format!("configmaps/{NAME}"));
    let follower = Follower::new(&client, config_maps(), Some(only), watch);
    tokio::spawn(follower.run(Maps {
        written: Arc::clone(&written),
        listed: HashMap::new(),
    }));
    let mut maps = written.changes.subscribe();
    let mut namespaces = lives.namespace_changes();
    loop {
        let bundle = Arc::clone(&roots.borrow_and_update());
        let is_listed = *maps.borrow_and_update() > 0;
        namespaces.borrow_and_update();
        let is_done = if *leads.borrow_and_update() && is_listed {
            write_all(&client, &lives, &written, &bundle).await
        } else {
            true
        };
        let gone = tokio::select! {
            changed = roots.changed() => changed.is_err(),
            changed = leads.changed() => changed.is_err(),
            changed = maps.changed() => changed.is_err(),
            changed = namespaces.changed() => changed.is_err(),
            () = retry::unless(is_done) => false,
        };
        if gone {
            return;
        }
    }
}

/// Writes where something else stands. False: something could not be written.
async fn write_all(client: &Client, lives: &Lives, written: &Written, bundle: &Arc<str>) -> bool {
    let missing: Vec<String> = {
        let maps = written.maps.lock().unwrap_or_else(PoisonError::into_inner);
        let differs = |name: &String| maps.get(name).is_none_or(|now| now != bundle);
        let living = lives.namespaces().into_iter();
        let living = living.filter(|(_, life)| !life.is_ending);
        living.map(|(name, _)| name).filter(differs).collect()
    };
    let writes = futures::stream::iter(missing).map(|namespace| async move {
        let done = write(client, &namespace, bundle).await;
        (namespace, done)
    });
    let mut writes = writes.buffer_unordered(AT_ONCE);
    let mut all = true;
    while let Some((namespace, done)) = writes.next().await {
        match done {
            Ok(()) => {
                let mut maps = written.maps.lock().unwrap_or_else(PoisonError::into_inner);
                maps.insert(namespace, Arc::clone(bundle));
            }
            // It went meanwhile; the watch of Namespaces says so too.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                tracing::warn!("ConfigMap {namespace}/{NAME} was not written: {error}");
                all = false;
            }
        }
    }
    all
}

async fn write(client: &Client, namespace: &str, bundle: &str) -> Result<(), kube::Error> {
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": NAME, "labels": { LABEL.0: LABEL.1 } },
        "data": { KEY: bundle },
    });
    let api: Api<Raw> = Api::namespaced_with(client.clone(), namespace, &config_maps());
    let params = PatchParams::apply(MANAGER).force();
    api.patch(NAME, &params, &Patch::Apply(map)).await.map(drop)
}

/// Follows the ConfigMaps of that name.
struct Maps {
    written: Arc<Written>,
    listed: HashMap<String, Arc<str>>,
}

impl Maps {
    fn change(&mut self, change: impl FnOnce(&mut HashMap<String, Arc<str>>)) -> bool {
        let mut maps = self.written.maps.lock();
        change(maps.as_mut().unwrap_or_else(|poisoned| poisoned.get_mut()));
        drop(maps);
        self.written.changes.send_modify(|count| *count += 1);
        !self.written.changes.is_closed()
    }
}

impl Sink for Maps {
    fn take(&mut self, seen: Seen) -> bool {
        match seen {
            Seen::Begin => {
                self.listed.clear();
                true
            }
            Seen::Listed(raw) => {
                self.listed.insert(raw.namespace().to_owned(), roots(&raw));
                true
            }
            Seen::Complete | Seen::Absent => {
                let listed = std::mem::take(&mut self.listed);
                self.change(|maps| *maps = listed)
            }
            Seen::Applied(raw) => {
                self.change(|maps| drop(maps.insert(raw.namespace().to_owned(), roots(&raw))))
            }
            Seen::Deleted(raw) => self.change(|maps| drop(maps.remove(raw.namespace()))),
        }
    }
}

fn roots(raw: &Raw) -> Arc<str> {
    let data: Option<&Value> = raw.value.get("data").and_then(|data| data.get(KEY));
    data.and_then(Value::as_str).unwrap_or_default().into()
}
