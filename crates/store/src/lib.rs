//! All objects of now. A source hands in [`ChangeSet`]s; the store answers each with a [`Delta`] of what
//! really changed and hands out immutable [`Snapshot`]s that share everything that did not.
//!
//! The same key may come from several sources: the source of the lowest [`SourceId`] is the one that counts.
//! A rejected object keeps its last good version, marked stale.

mod change;
mod snapshot;

pub use change::*;
pub use snapshot::*;

use imbl::OrdMap;
use model::{Diagnostic, Kind, Object, ObjectKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What one source says of one key.
#[derive(Clone, Debug, Default)]
struct Said {
    good: Option<Arc<Object>>,
    refusal: Option<Arc<Refusal>>,
}

/// The objects of all sources.
#[derive(Clone, Debug, Default)]
pub struct Store {
    said: BTreeMap<ObjectKey, BTreeMap<SourceId, Said>>,
    snapshot: Snapshot,
    required: BTreeSet<(SourceId, Kind)>,
}

impl Store {
    /// A store that has synced when each of these sources has resynced each of its kinds once.
    #[must_use]
    pub fn new(required: impl IntoIterator<Item = (SourceId, Kind)>) -> Self {
        Self {
            required: required.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Whether every kind of every required source has been seen once.
    #[must_use]
    pub fn has_synced(&self) -> bool {
        self.required.is_empty()
    }

    /// The objects of now.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Applies one transaction. What is equal to what was there is not in the delta.
    pub fn apply(&mut self, set: ChangeSet) -> Delta {
        let mut delta = Delta::default();
        for change in set.changes {
            match change {
                Change::Upsert(object) => self.say(&set.source, Entry::Object(object), &mut delta),
                Change::Reject(refusal) => {
                    self.say(&set.source, Entry::Reject(refusal), &mut delta)
                }
                Change::Remove(key) => self.remove(&set.source, &key, &mut delta),
                Change::Resync(kind, entries) => {
                    self.resync(&set.source, kind, entries, &mut delta)
                }
            }
        }
        delta
    }

    fn say(&mut self, source: &SourceId, entry: Entry, delta: &mut Delta) {
        let key = entry.key().clone();
        let said = self
            .said
            .entry(key.clone())
            .or_default()
            .entry(source.clone())
            .or_default();
        match entry {
            Entry::Object(object) => {
                *said = Said {
                    good: Some(object),
                    refusal: None,
                }
            }
            Entry::Reject(refusal) => said.refusal = Some(refusal),
        }
        self.settle(&key, delta);
    }

    fn remove(&mut self, source: &SourceId, key: &ObjectKey, delta: &mut Delta) {
        if let Some(sources) = self.said.get_mut(key) {
            sources.remove(source);
            if sources.is_empty() {
                self.said.remove(key);
            }
            self.settle(key, delta);
        }
    }

    fn resync(&mut self, source: &SourceId, kind: Kind, entries: Vec<Entry>, delta: &mut Delta) {
        let kept: BTreeSet<ObjectKey> = entries.iter().map(|entry| entry.key().clone()).collect();
        let of_source = |(key, sources): (&ObjectKey, &BTreeMap<SourceId, Said>)| {
            (key.kind == kind && sources.contains_key(source) && !kept.contains(key))
                .then(|| key.clone())
        };
        let gone: Vec<ObjectKey> = self.said.iter().filter_map(of_source).collect();
        for key in &gone {
            self.remove(source, key, delta);
        }
        for entry in entries {
            self.say(source, entry, delta);
        }
        self.required.remove(&(source.clone(), kind));
    }

    /// Makes the snapshot say of `key` what the first source says.
    fn settle(&mut self, key: &ObjectKey, delta: &mut Delta) {
        let first = self
            .said
            .get(key)
            .and_then(|sources| sources.values().next());
        let (good, refusal) = first.map_or((None, None), |said| {
            (said.good.clone(), said.refusal.clone())
        });
        let before = self.snapshot.objects.get(key);
        let closes = |refusal: &Arc<Refusal>| (refusal.scope.clone(), refusal.meta.clone());
        let same = before.map(|o| &**o) == good.as_deref()
            && self.snapshot.refused.get(key).map(closes) == refusal.as_ref().map(closes);
        set(&mut self.snapshot.objects, key, good);
        set(&mut self.snapshot.refused, key, refusal);
        if !same {
            delta.changed.insert(key.clone());
        }
    }

    /// Every diagnostic that the objects and refusals carry by themselves.
    pub fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        let good = self
            .snapshot
            .objects
            .values()
            .flat_map(|object| object.diagnostics.iter());
        let bad = self
            .snapshot
            .refused
            .values()
            .flat_map(|refusal| refusal.diagnostics.iter());
        good.chain(bad)
    }
}

fn set<V: Clone>(map: &mut OrdMap<ObjectKey, V>, key: &ObjectKey, value: Option<V>) {
    match value {
        Some(value) => map.insert(key.clone(), value),
        None => map.remove(key),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Meta, Place, Spec};

    fn object(name: &str, label: &str) -> Arc<Object> {
        let meta = Meta {
            labels: [("l", label)].into_iter().collect(),
            ..Meta::default()
        };
        Arc::new(Object {
            key: key(name),
            meta: Arc::new(meta),
            spec: Spec::ServiceAccount,
            place: Arc::new(Place::default()),
            diagnostics: Arc::new([]),
        })
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey {
            kind: Kind::ServiceAccount,
            namespace: "shop".parse().unwrap(),
            name: name.parse().unwrap(),
        }
    }

    fn apply(store: &mut Store, source: u32, change: Change) -> Vec<String> {
        let delta = store.apply(ChangeSet {
            source: SourceId(source),
            changes: vec![change],
        });
        delta
            .changed
            .iter()
            .map(|key| key.name.to_string())
            .collect()
    }

    #[test]
    fn an_equal_object_is_no_change() {
        let mut store = Store::default();
        assert_eq!(
            apply(&mut store, 0, Change::Upsert(object("a", "1"))),
            ["a"]
        );
        assert!(apply(&mut store, 0, Change::Upsert(object("a", "1"))).is_empty());
        assert_eq!(
            apply(&mut store, 0, Change::Upsert(object("a", "2"))),
            ["a"]
        );
    }

    #[test]
    fn a_resync_covers_its_own_source_and_kind() {
        let mut store = Store::new([(SourceId(0), Kind::ServiceAccount)]);
        assert!(!store.has_synced());
        apply(&mut store, 1, Change::Upsert(object("other", "1")));
        apply(&mut store, 0, Change::Upsert(object("old", "1")));
        let resync = Change::Resync(
            Kind::ServiceAccount,
            vec![Entry::Object(object("new", "1"))],
        );
        assert_eq!(apply(&mut store, 0, resync), ["new", "old"]);
        assert!(store.has_synced());
        assert_eq!(store.snapshot().objects.len(), 2);
    }

    #[test]
    fn a_rejected_object_keeps_its_last_good_version() {
        let mut store = Store::default();
        apply(&mut store, 0, Change::Upsert(object("a", "1")));
        let refusal = Refusal {
            key: key("a"),
            meta: Meta::default(),
            scope: None,
            place: Arc::default(),
            diagnostics: Arc::new([]),
        };
        assert_eq!(
            apply(&mut store, 0, Change::Reject(Arc::new(refusal))),
            ["a"]
        );
        assert!(store.snapshot().objects.contains_key(&key("a")));
        assert!(store.snapshot().refused.contains_key(&key("a")));
        assert_eq!(apply(&mut store, 0, Change::Remove(key("a"))), ["a"]);
        assert!(store.snapshot().objects.is_empty() && store.snapshot().refused.is_empty());
    }

    #[test]
    fn a_refusal_that_closes_something_else_is_a_change() {
        let mut store = Store::default();
        let refusal = |scope| Refusal {
            key: key("a"),
            meta: Meta::default(),
            scope,
            place: Arc::default(),
            diagnostics: Arc::new([]),
        };
        let reject = |scope| Change::Reject(Arc::new(refusal(scope)));
        assert_eq!(apply(&mut store, 0, reject(None)), ["a"]);
        assert!(apply(&mut store, 0, reject(None)).is_empty());
        assert_eq!(
            apply(&mut store, 0, reject(Some(RefusedScope::Namespace))),
            ["a"]
        );
    }

    #[test]
    fn the_first_source_counts() {
        let mut store = Store::default();
        apply(&mut store, 1, Change::Upsert(object("a", "1")));
        assert_eq!(
            apply(&mut store, 0, Change::Upsert(object("a", "0"))),
            ["a"]
        );
        assert!(apply(&mut store, 1, Change::Upsert(object("a", "2"))).is_empty());
        assert_eq!(apply(&mut store, 0, Change::Remove(key("a"))), ["a"]);
        let left = store.snapshot().objects.get(&key("a")).unwrap();
        assert_eq!(left.meta.labels.get("l"), Some("2"));
    }
}
