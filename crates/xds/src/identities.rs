//! Whom a cluster takes for its endpoints, and the same cluster while it must take others too.
//!
//! A client of the mesh verifies who answers. When endpoints of one identity give way to endpoints of another in one
//! change, no order of cluster and endpoints is right: whichever goes first, Envoy refuses the endpoints that it has
//! with it. A bridge, which is the new cluster that takes both, goes in between.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::Part;

/// Makes a cluster's part again for other identities.
type Remake = dyn Fn(&[Arc<str>]) -> Part + Send + Sync;

/// The identities that a cluster accepts of its endpoints.
#[derive(Clone)]
pub struct Identities {
    accepted: Arc<[Arc<str>]>,
    remake: Arc<Remake>,
}

impl Identities {
    /// `remake` makes the cluster's part for identities other than `accepted`; they come ordered.
    pub fn new(
        accepted: Arc<[Arc<str>]>,
        remake: impl Fn(&[Arc<str>]) -> Part + Send + Sync + 'static,
    ) -> Self {
        let remake = Arc::new(remake);
        Self { accepted, remake }
    }

    /// Whether all that `older` accepts is accepted here.
    pub(crate) fn accept_all_of(&self, older: &Self) -> bool {
        older
            .accepted
            .iter()
            .all(|identity| self.accepted.contains(identity))
    }

    /// The identities that either accepts.
    pub(crate) fn joined(&self, other: &Self) -> Self {
        let all: BTreeSet<_> = self.accepted.iter().chain(other.accepted.iter()).collect();
        Self {
            accepted: all.into_iter().cloned().collect(),
            remake: Arc::clone(&self.remake),
        }
    }

    /// The cluster's part for these identities.
    pub(crate) fn part(&self) -> Part {
        (self.remake)(&self.accepted)
    }
}

/// Equal when the same identities are accepted.
impl PartialEq for Identities {
    fn eq(&self, other: &Self) -> bool {
        self.accepted == other.accepted
    }
}

impl Eq for Identities {}

impl fmt::Debug for Identities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.accepted.fmt(formatter)
    }
}
