//! The loop without IO: change sets in, views and diagnostics out. No clock, no lock, no log.
//!
//! [`Control::apply`] works off what sources say and names the proxies whose view changed; [`Control::connect`]
//! gives a proxy its view. What a change costs follows the change: keys are selected again in the base and in the
//! few scopes that stand apart, equal inputs are built once, equal nodes are encoded once, and everybody else shares
//! the result by pointer.

mod bridge;
mod class;
mod memo;
#[cfg(feature = "mutants")]
mod mutant;
mod near;
mod origin;
mod outbound;
mod proxy;
mod slot;
mod world;

pub use memo::Counts;
#[cfg(feature = "mutants")]
pub use mutant::Mutant;
pub use origin::Origin;
pub use proxy::{ProxyId, ProxyInfo};

use std::collections::BTreeSet;

use mesh::Mesh;
use model::{Diagnostic, ObjectKey};
use store::{ChangeSet, Delta, SourceId, Store};
use xds::View;

use crate::memo::Memo;
use crate::near::Near;
use crate::outbound::Outbound;
use crate::proxy::{Proxies, Shared};

/// Everything that Lateen knows and what every connected proxy is to hold.
#[derive(Debug)]
pub struct Control {
    store: Store,
    mesh: Mesh,
    memo: Memo,
    outbound: Outbound,
    near: Near,
    proxies: Proxies,
    /// What came before all sources were there.
    waiting: Delta,
    epoch: u64,
}

/// What a change brought about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// The number of this state.
    pub epoch: u64,
    /// The objects that changed.
    pub changed: BTreeSet<ObjectKey>,
    /// The proxies whose view changed.
    pub proxies: BTreeSet<ProxyId>,
}

impl Control {
    /// A loop that serves nothing before each of these sources has told all of each of these kinds once.
    #[must_use]
    pub fn new(required: impl IntoIterator<Item = (SourceId, model::Kind)>) -> Self {
        let mut control = Self {
            store: Store::new(required),
            mesh: Mesh::default(),
            memo: Memo::default(),
            outbound: Outbound::default(),
            near: Near::default(),
            proxies: Proxies::default(),
            waiting: Delta::default(),
            epoch: 0,
        };
        let (mesh, affected) = (
            Mesh::default(),
            mesh::Affected {
                keys: mesh::fixed().collect(),
                ..Default::default()
            },
        );
        control.outbound.update(&mesh, &affected, &mut control.memo);
        control
    }

    /// The same loop with a promise broken, from its first change on.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn sabotaged(mut self, mutant: Mutant) -> Self {
        self.memo.mutant = Some(mutant);
        self
    }

    /// Whether every required source has been heard.
    #[must_use]
    pub fn has_synced(&self) -> bool {
        self.store.has_synced()
    }

    /// Works off change sets, all at once.
    pub fn apply(&mut self, sets: impl IntoIterator<Item = ChangeSet>) -> Update {
        for set in sets {
            let delta = self.store.apply(set);
            self.waiting.merge(delta);
        }
        if !self.store.has_synced() {
            return Update {
                epoch: self.epoch,
                ..Update::default()
            };
        }
        let delta = std::mem::take(&mut self.waiting);
        // Even where nothing changed, lines may have moved.
        let (mesh, affected) = self.mesh.next(self.store.snapshot(), &delta);
        self.mesh = mesh;
        if delta.is_empty() {
            return Update {
                epoch: self.epoch,
                ..Update::default()
            };
        }
        let classes = self.outbound.update(&self.mesh, &affected, &mut self.memo);
        let places = self.near.update(&self.mesh, &affected, &mut self.memo);
        let mut shared = Shared {
            outbound: &mut self.outbound,
            near: &mut self.near,
            memo: &mut self.memo,
        };
        let proxies = self
            .proxies
            .update(&self.mesh, &affected, &classes, &places, &mut shared);
        #[cfg(feature = "mutants")]
        let proxies = match self.memo.mutant {
            Some(Mutant::UntoldProxies) => BTreeSet::new(),
            _ => proxies,
        };
        self.memo.forget_unused();
        self.epoch += 1;
        Update {
            epoch: self.epoch,
            changed: delta.changed,
            proxies,
        }
    }

    /// Takes a proxy in.
    pub fn connect(&mut self, info: ProxyInfo) -> ProxyId {
        let mut shared = Shared {
            outbound: &mut self.outbound,
            near: &mut self.near,
            memo: &mut self.memo,
        };
        self.proxies.connect(info, &self.mesh, &mut shared)
    }

    /// Forgets a proxy.
    pub fn disconnect(&mut self, proxy: ProxyId) {
        self.proxies
            .disconnect(proxy, &mut self.outbound, &mut self.near);
    }

    /// What a proxy is to hold; none: it is not connected.
    #[must_use]
    pub fn view(&self, proxy: ProxyId) -> Option<View> {
        let proxy = self.proxies.get(proxy)?;
        Some(View {
            epoch: self.epoch,
            outbound: self.outbound.half(&proxy.place.class)?,
            near: self.near.half(&proxy.place)?,
            inbound: proxy.inbound.clone(),
        })
    }

    /// Every diagnostic: what objects say by themselves, and what they say together. Ordered by file and line.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        let own = self.store.diagnostics().cloned();
        let mut all: Vec<Diagnostic> = own.chain(mesh::diagnose_all(&self.mesh)).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The objects that a resource of a proxy comes from.
    #[must_use]
    pub fn origins(
        &self,
        proxy: ProxyId,
        kind: xds::Kind,
        resource: &str,
        part: &str,
    ) -> Vec<Origin> {
        let Some(proxy) = self.proxies.get(proxy) else {
            return Vec::new();
        };
        origin::origins(
            &self.mesh,
            proxy,
            self.outbound
                .slot(proxy.place.class.scope.families, kind, resource, part),
            kind,
            resource,
        )
    }

    /// How often something was built, translated and encoded so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.memo.counts
    }

    /// The indexes of now.
    #[must_use]
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// The number of this state.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}
