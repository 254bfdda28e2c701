//! What a source tells the store.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{Kind, Object, ObjectKey};
pub use model::{Refusal, RefusedScope};

/// Which source a change comes from. Where two sources name the same object, the lower one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

/// Changes of one source that belong together: they are seen together or not at all.
#[derive(Clone, Debug)]
pub struct ChangeSet {
    /// Where they come from.
    pub source: SourceId,
    /// In order.
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Clone, Debug)]
pub enum Change {
    /// The object is now this.
    Upsert(Arc<Object>),
    /// The object cannot be read; its last good version stays.
    Reject(Arc<Refusal>),
    /// The object is gone.
    Remove(ObjectKey),
    /// These are all the objects of the kind that this source has.
    Resync(Kind, Vec<Entry>),
}

/// What a source has under one key.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A good object.
    Object(Arc<Object>),
    /// One that cannot be read.
    Reject(Arc<Refusal>),
}

impl Entry {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        match self {
            Self::Object(object) => &object.key,
            Self::Reject(refusal) => &refusal.key,
        }
    }
}

/// The keys whose meaning changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Changed, added or removed; ordered.
    pub changed: BTreeSet<ObjectKey>,
}

impl Delta {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    /// Adds what another delta says, so that several change sets are worked off at once.
    pub fn merge(&mut self, other: Self) {
        self.changed.extend(other.changed);
    }
}
