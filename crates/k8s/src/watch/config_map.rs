//! One ConfigMap that is followed for its `data`; that of the MeshConfig is an object of the mesh as well.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Kind, LabelSelector, Object, Parsed, Spec};
use serde_json::Value;
use store::{Change, ChangeSet, Entry, SourceId};
use tokio::sync::{mpsc, watch};

use super::follow::{Seen, Sink};
use super::{Data, Report};
use crate::raw::Raw;

/// The key of a MeshConfig in its ConfigMap's `data`.
const MESH: &str = "mesh";

/// One ConfigMap.
pub struct ConfigMap {
    data: watch::Sender<Option<BTreeMap<String, String>>>,
    listed: Option<BTreeMap<String, String>>,
    mesh_config: Option<MeshConfig>,
}

/// How the text of a MeshConfig becomes an object.
struct MeshConfig {
    source: SourceId,
    parse: fn(&str) -> Parsed,
    reports: mpsc::UnboundedSender<Report>,
    /// `discoverySelectors`, for the watches.
    selectors: watch::Sender<Option<Arc<[LabelSelector]>>>,
    /// Whether the loop has heard of a MeshConfig, be it that there is none.
    is_known: bool,
}

impl ConfigMap {
    /// One whose data is followed by the receiver.
    pub fn new() -> (Self, Data) {
        let (data, seen) = watch::channel(None);
        let map = Self {
            data,
            listed: None,
            mesh_config: None,
        };
        (map, seen)
    }

    /// The same, which is also told as the MeshConfig.
    pub fn with_mesh_config(
        self,
        source: SourceId,
        parse: fn(&str) -> Parsed,
        reports: mpsc::UnboundedSender<Report>,
        selectors: watch::Sender<Option<Arc<[LabelSelector]>>>,
    ) -> Self {
        Self {
            mesh_config: Some(MeshConfig {
                source,
                parse,
                reports,
                selectors,
                is_known: false,
            }),
            ..self
        }
    }

    fn set(&mut self, data: BTreeMap<String, String>) -> bool {
        let told = match &mut self.mesh_config {
            Some(mesh_config) => mesh_config.tell(data.get(MESH).map(String::as_str)),
            None => !self.data.is_closed(),
        };
        self.data.send_replace(Some(data));
        told
    }
}

impl Sink for ConfigMap {
    fn take(&mut self, seen: Seen) -> bool {
        match seen {
            Seen::Begin => {
                self.listed = None;
                true
            }
            Seen::Listed(raw) => {
                self.listed = Some(data(&raw));
                true
            }
            Seen::Complete => {
                let listed = self.listed.take().unwrap_or_default();
                self.set(listed)
            }
            Seen::Applied(raw) => self.set(data(&raw)),
            Seen::Deleted(_) | Seen::Absent => self.set(BTreeMap::new()),
        }
    }
}

impl MeshConfig {
    fn select(&self, selectors: Arc<[LabelSelector]>) {
        self.selectors.send_replace(Some(selectors));
    }

    fn tell(&mut self, text: Option<&str>) -> bool {
        let parsed = text.map(self.parse);
        match &parsed {
            Some(Parsed::Object(Object {
                spec: Spec::MeshConfig(config),
                ..
            })) => self.select(Arc::clone(&config.discovery_selectors)),
            // One that is wrong changes nothing, but the watches must not wait for a better one.
            Some(_) if self.selectors.borrow().is_some() => {}
            Some(_) | None => self.select(Arc::new([])),
        }
        let change = match parsed {
            None => Change::Resync(Kind::MeshConfig, Vec::new()),
            Some(Parsed::Object(object)) => resync(Entry::Object(Arc::new(object))),
            Some(Parsed::Refused(refusal)) => resync(Entry::Reject(Arc::new(refusal))),
            Some(Parsed::Ignored(_)) => return true,
            Some(Parsed::Unreadable(diagnostics)) => {
                let told = self.reports.send(Report::Unreadable(diagnostics)).is_ok();
                if self.is_known {
                    return told;
                }
                Change::Resync(Kind::MeshConfig, Vec::new())
            }
        };
        self.is_known = true;
        let set = ChangeSet {
            source: self.source.clone(),
            changes: vec![change],
        };
        self.reports.send(Report::Changed(set)).is_ok()
    }
}

fn resync(entry: Entry) -> Change {
    Change::Resync(Kind::MeshConfig, vec![entry])
}

fn data(raw: &Raw) -> BTreeMap<String, String> {
    let Some(Value::Object(data)) = raw.value.get("data") else {
        return BTreeMap::new();
    };
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    data.iter().filter_map(text).collect()
}
