//! An immutable view of all objects at one moment.

use std::sync::Arc;

use imbl::OrdMap;
use model::{Kind, Object, ObjectKey};

use crate::Refusal;

/// All objects at one moment. Cloning is cheap: snapshots share what did not change.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The good objects, and the last good versions of refused ones.
    pub objects: OrdMap<ObjectKey, Arc<Object>>,
    /// The objects whose newest version was refused.
    pub refused: OrdMap<ObjectKey, Arc<Refusal>>,
}

impl Snapshot {
    /// The good objects of one kind, ordered by namespace and name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Object>> {
        self.objects
            .iter()
            .filter(move |(key, _)| key.kind == kind)
            .map(|(_, object)| object)
    }

    /// One object.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// Whether the object that stands here is older than what its author wrote last.
    #[must_use]
    pub fn is_stale(&self, key: &ObjectKey) -> bool {
        self.refused.contains_key(key)
    }
}
