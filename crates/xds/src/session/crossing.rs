//! What of a change must be with Envoy before what, so that on the way from the old view to the new one every request
//! finds an endpoint that is taken for the service: delta streams only.
//!
//! - A route or listener moves once the clusters that it needs are live and have the endpoints that they are to have.
//! - A cluster, and the last endpoint of a cluster, goes once nothing needs it that Envoy may still hold.
//! - Endpoints with a new identity come after their cluster accepts it; a cluster stops accepting an identity after
//!   the endpoints that have it are gone. A change of both goes over a bridge, which accepts both.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::channel::{Held, Pending};
use super::{Mode, Session};
use crate::{Kind, Part, Resource};

/// The clusters that something which Envoy may still hold needs.
pub(super) enum Pinned {
    All,
    These(BTreeSet<Arc<str>>),
}

impl Pinned {
    fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.contains(name),
        }
    }
}

impl Session {
    /// Whether nothing that Envoy may hold refers to a resource any more.
    pub(super) fn may_remove(
        &self,
        kind: Kind,
        name: &Arc<str>,
        pinned: &mut Option<Pinned>,
    ) -> bool {
        match kind {
            Kind::Cluster => !pinned.get_or_insert_with(|| self.pinned()).contains(name),
            Kind::Endpoint => !self.channel(Kind::Cluster).pending.contains_key(name),
            Kind::Extension | Kind::Route => self.channel(Kind::Listener).has_ended(),
            Kind::Listener | Kind::NameTable => true,
        }
    }

    /// The clusters that are needed by parts which Envoy may hold and the view does not have any more.
    fn pinned(&self) -> Pinned {
        if self.channel(Kind::Cluster).resumed {
            return Pinned::All;
        }
        let mut names = BTreeSet::new();
        for kind in [Kind::Extension, Kind::Listener, Kind::Route] {
            let channel = self.channel(kind);
            let pending = channel
                .pending
                .iter()
                .map(|(name, pending)| (name, pending.held.clone()));
            let good = channel.good.iter().map(|(name, held)| (name, held.clone()));
            let sent = channel.unanswered.iter().flat_map(|message| &message.sent);
            let sent = sent.map(|resource| (resource.name(), Held::Is(Arc::clone(resource))));
            for (name, held) in pending.chain(good).chain(sent) {
                let Held::Is(held) = held else {
                    // of what is refused nobody knows what it needs, and it must not hold back the rest for ever
                    if held == Held::Unknown && !channel.refusals.concern(name) {
                        return Pinned::All;
                    }
                    continue;
                };
                let target = Held::of(self.view.get(kind, name));
                let needs = target
                    .changes(&held)
                    .flat_map(|(_, _, part)| part.needs.iter().cloned());
                names.extend(needs);
            }
        }
        Pinned::These(names)
    }

    /// Whether a changed cluster is about to be sent, which Envoy must have before the cluster's new endpoints.
    fn cluster_waits(&self, name: &str) -> bool {
        let clusters = self.channel(Kind::Cluster);
        let (Some(cluster), Some(pending)) = (
            self.view.get(Kind::Cluster, name),
            clusters.pending.get(name),
        ) else {
            return false;
        };
        let composed = || self.compose(Kind::Cluster, &pending.held, cluster, None);
        let differs = |cluster| Held::Is(cluster) != pending.held;
        pending.held != Held::Nothing
            && (clusters.refusals.suspect(name) || composed().is_some_and(differs))
    }

    /// Whether Envoy must keep the endpoints that it has of a cluster for now.
    pub(super) fn must_keep_endpoints(
        &self,
        name: &Arc<str>,
        held: &Held,
        target: &Resource,
        pinned: &mut Option<Pinned>,
    ) -> bool {
        if self.mode != Mode::Delta {
            return false;
        }
        let settles = matches!(held, Held::Is(_)) && self.stage.is_settling(name);
        settles
            || self.cluster_waits(name)
            || (target.is_vacant()
                && (serves(held) || *held == Held::Unknown)
                && pinned.get_or_insert_with(|| self.pinned()).contains(name))
    }

    /// What goes in a changed cluster's place while Envoy has endpoints that the cluster refuses.
    pub(super) fn bridge(
        &self,
        kind: Kind,
        held: &Held,
        target: &Resource,
    ) -> Option<Arc<Resource>> {
        let (Mode::Delta, Kind::Cluster, Held::Is(older)) = (self.mode, kind, held) else {
            return None;
        };
        let needed = target.accepts_less_than(older) && self.has_other_endpoints(target.name());
        needed.then(|| target.bridge_from(older)).flatten()
    }

    /// Whether Envoy has not acknowledged yet what the view says of a cluster's endpoints.
    fn has_other_endpoints(&self, name: &str) -> bool {
        let endpoints = self.channel(Kind::Endpoint);
        if !endpoints.asked && self.channel(Kind::Cluster).resumed {
            // it will say what it has
            return true;
        }
        let differs =
            |pending: &Pending| pending.held != Held::of(self.view.get(Kind::Endpoint, name));
        let mut sent = endpoints
            .unanswered
            .iter()
            .flat_map(|message| message.names());
        endpoints.pending.get(name).is_some_and(differs) || sent.any(|other| **other == *name)
    }

    /// Whether there may be parts that are not ready.
    pub(super) fn may_hold_back(&self) -> bool {
        self.mode == Mode::Delta && (!self.stage.is_idle() || self.changing().next().is_some())
    }

    /// Whether all clusters that a part needs can be used, and are what they are to be.
    pub(super) fn is_ready(&self, part: &Part) -> bool {
        self.stage.is_live(part) && !part.needs.iter().any(|name| self.is_due(name))
    }

    /// Whether a part needs a cluster that Envoy refused.
    pub(super) fn needs_refused(&self, part: &Part) -> bool {
        let refusals = &self.channel(Kind::Cluster).refusals;
        part.needs.iter().any(|name| refusals.concern(name))
    }

    /// Whether some part may be not ready, so that Envoy may be sent a mixture of old and new.
    pub(super) fn holds_back(&self) -> bool {
        self.mode == Mode::Delta
            && (!self.stage.is_idle() || self.changing().any(|name| self.is_due(name)))
    }

    /// The clusters of which something is pending.
    fn changing(&self) -> impl Iterator<Item = &Arc<str>> {
        let pending = |kind| self.channel(kind).pending.keys();
        pending(Kind::Cluster).chain(pending(Kind::Endpoint))
    }

    /// Whether a cluster must be sent, or its first endpoints, before what needs them.
    fn is_due(&self, name: &str) -> bool {
        self.is_arriving(name) || self.cluster_waits(name)
    }

    /// Whether a cluster is to have endpoints, and Envoy may have none that it may call.
    fn is_arriving(&self, name: &str) -> bool {
        let pending = self.channel(Kind::Endpoint).pending.get(name);
        let target = self.view.get(Kind::Endpoint, name);
        pending.is_some_and(|pending| !serves(&pending.held))
            && target.is_some_and(|target| !target.is_vacant())
    }
}

/// Whether Envoy has an endpoint that it may call, as far as is known.
fn serves(held: &Held) -> bool {
    matches!(held, Held::Is(held) if !held.is_vacant())
}
