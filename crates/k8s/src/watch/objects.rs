//! From what a watch sees to change sets: each object is parsed as it comes and its JSON is dropped.

use std::sync::Arc;

use kube::core::ApiResource;
use model::{Document, Kind, Name, Namespace, ObjectKey, Parsed, Place};
use store::{Change, ChangeSet, Entry, SourceId};
use tokio::sync::{mpsc, watch};

use super::Report;
use super::discovery::Discovery;
use super::follow::{Seen, Sink};
use crate::lives::{Life, Lives};
use crate::raw::Raw;

/// The objects of one kind.
pub struct Objects {
    kind: Kind,
    resource: ApiResource,
    source: SourceId,
    reports: mpsc::UnboundedSender<Report>,
    lives: Arc<Lives>,
    /// Whose objects exist for the mesh; none: they are in no namespace.
    discovery: Option<watch::Receiver<Discovery>>,
    /// What the list that is under way has had so far.
    listed: Vec<Entry>,
    listed_lives: Vec<Life>,
    /// Whether the kind was absent the last time: saying so once is enough.
    is_absent: bool,
}

impl Objects {
    /// None seen yet.
    pub fn new(
        kind: Kind,
        resource: ApiResource,
        source: SourceId,
        reports: mpsc::UnboundedSender<Report>,
        lives: Arc<Lives>,
        discovery: Option<watch::Receiver<Discovery>>,
    ) -> Self {
        Self {
            kind,
            resource,
            source,
            reports,
            lives,
            discovery,
            listed: Vec::new(),
            listed_lives: Vec::new(),
            is_absent: false,
        }
    }

    fn tell(&self, change: Change) -> bool {
        let set = ChangeSet {
            source: self.source.clone(),
            changes: vec![change],
        };
        self.reports.send(Report::Changed(set)).is_ok()
    }

    /// What stands under the object's key now; none when it has no key that could be read.
    fn entry(&self, raw: Raw) -> Option<Entry> {
        let sees =
            |discovery: &watch::Receiver<Discovery>| discovery.borrow().sees(raw.namespace());
        if !self.discovery.as_ref().is_none_or(sees) {
            return None;
        }
        let document = Document {
            value: raw.into_value(&self.resource),
            place: Place::default(),
        };
        match model::parse(document) {
            Parsed::Object(object) => Some(Entry::Object(Arc::new(object))),
            Parsed::Refused(refusal) => Some(Entry::Reject(Arc::new(refusal))),
            Parsed::Ignored(_) => None,
            Parsed::Unreadable(diagnostics) => {
                // Who does not listen needs no explanation.
                let _ = self.reports.send(Report::Unreadable(diagnostics));
                None
            }
        }
    }

    fn complete(&mut self) -> bool {
        self.is_absent = false;
        let lives = std::mem::take(&mut self.listed_lives);
        self.lives.resync(self.kind, lives);
        let listed = std::mem::take(&mut self.listed);
        self.tell(Change::Resync(self.kind, listed))
    }

    fn applied(&mut self, raw: Raw) -> bool {
        if let Some(life) = Life::of(self.kind, &raw) {
            self.lives.upsert(self.kind, life);
        }
        match self.entry(raw) {
            Some(Entry::Object(object)) => self.tell(Change::Upsert(object)),
            Some(Entry::Reject(refusal)) => self.tell(Change::Reject(refusal)),
            None => true,
        }
    }

    fn deleted(&self, raw: &Raw) -> bool {
        self.lives.remove(self.kind, raw.namespace(), raw.name());
        match key(self.kind, raw) {
            Some(key) => self.tell(Change::Remove(key)),
            // It had no key when it came, so it is not there.
            None => true,
        }
    }
}

impl Sink for Objects {
    fn take(&mut self, seen: Seen) -> bool {
        match seen {
            Seen::Begin => {
                self.listed.clear();
                self.listed_lives.clear();
                true
            }
            Seen::Listed(raw) => {
                self.listed_lives.extend(Life::of(self.kind, &raw));
                let entry = self.entry(raw);
                self.listed.extend(entry);
                true
            }
            Seen::Complete => self.complete(),
            Seen::Applied(raw) => self.applied(raw),
            Seen::Deleted(raw) => self.deleted(&raw),
            Seen::Absent if self.is_absent => !self.reports.is_closed(),
            Seen::Absent => {
                self.listed.clear();
                self.listed_lives.clear();
                let told = self.complete();
                self.is_absent = true;
                told
            }
        }
    }
}

/// The key of an object that is gone: its body need not be readable any more.
fn key(kind: Kind, raw: &Raw) -> Option<ObjectKey> {
    let name: Name = raw.name().parse().ok()?;
    if !kind.is_namespaced() {
        return ObjectKey::without_namespace(kind, name);
    }
    let namespace: Namespace = raw.namespace().parse().ok()?;
    Some(ObjectKey {
        kind,
        namespace,
        name,
    })
}
