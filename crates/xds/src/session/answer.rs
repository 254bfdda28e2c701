//! What a session says next: which kind has its turn, which of its names may be sent, and in what composition.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

use super::channel::{Held, Message, Pending};
use super::crossing::Pinned;
use super::refusal::PartVersion;
use super::{Mode, Response, Session, has_endpoints, nonce};
use crate::{Kind, Part, Resource, Version};

/// What to do about a pending name.
enum Step {
    /// Send this.
    Send(Arc<Resource>),
    /// Say that it is gone, or was never there.
    Remove,
    /// Nothing for now.
    Wait,
}

/// The parts that may move in a message: all, or those of one trial.
type Trial<'a> = Option<&'a [PartVersion]>;

impl Session {
    /// The next response, if there is anything to say. To be called when the last one was flushed.
    pub fn next(&mut self, now: Duration) -> Option<Response> {
        self.stage.expire(now);
        self.forgive();
        if self.channel(Kind::Cluster).resumed && self.has_resumed() {
            self.channel_mut(Kind::Cluster).resumed = false;
        }
        let number = self.message + 1;
        if let Some(response) = self.foreign.next(|| nonce(number)) {
            self.message = number;
            return Some(response);
        }
        if self.mode == Mode::Sotw
            && self.turn > 1
            && let Some(response) = self.respond(Kind::Cluster, now)
        {
            // without staging the order is all there is: nothing overtakes the clusters
            self.turn = 1;
            return Some(response);
        }
        let (done, due) = Kind::ALL.split_at(self.turn.min(Kind::ALL.len()));
        for kind in due.iter().chain(done) {
            if let Some(response) = self.respond(*kind, now) {
                self.turn = (*kind as usize + 1) % Kind::ALL.len();
                return Some(response);
            }
        }
        self.turn = 0;
        None
    }

    fn respond(&mut self, kind: Kind, now: Duration) -> Option<Response> {
        let channel = self.channel(kind);
        if channel.is_full() || (channel.pending.is_empty() && !channel.answer) {
            return None;
        }
        let changes = self.changes(kind, None);
        // in the state of the world only a list that is complete can say that something is gone
        let silent = self.mode == Mode::Sotw && !kind.is_full_state() && !self.channel(kind).answer;
        if silent && changes.iter().all(|(_, resource)| resource.is_none()) {
            for (name, _) in changes {
                self.channel_mut(kind).pending.remove(&name);
            }
        } else if !changes.is_empty() || self.channel(kind).answer {
            return Some(self.send(kind, changes, now));
        }
        let searched = self.channel(kind).refusals.is_searching();
        let trial = self.try_suspects(kind, now);
        if trial.is_none() && searched && !self.channel(kind).refusals.is_searching() {
            // none of the suspects is wanted any more
            return self.respond(kind, now);
        }
        trial
    }

    /// Sends the next group of suspects by itself.
    fn try_suspects(&mut self, kind: Kind, now: Duration) -> Option<Response> {
        if !self.channel(kind).refusals.is_searching() {
            return None;
        }
        let mut refusals = std::mem::take(&mut self.channel_mut(kind).refusals);
        let group = refusals.next_trial(|part| self.is_wanted(kind, part));
        self.channel_mut(kind).refusals = refusals;
        let group = group?;
        let changes = self.changes(kind, Some(&group));
        if changes.is_empty() {
            self.channel_mut(kind).refusals.postpone(group);
            return None;
        }
        let response = self.send(kind, changes, now);
        let number = self.message;
        self.channel_mut(kind).refusals.begin(number);
        Some(response)
    }

    /// Whether a part is what would be sent if it were not suspected.
    fn is_wanted(&self, kind: Kind, (name, key, hash): &PartVersion) -> bool {
        let is_in = |resource: &Resource| {
            let part = resource.parts().get(key);
            part.is_some_and(|part| part.hash == *hash)
        };
        let Some(target) = self.view.get(kind, name) else {
            return false;
        };
        let pending = self.channel(kind).pending.get(name);
        let bridge = pending.and_then(|pending| self.bridge(kind, &pending.held, target));
        is_in(bridge.as_ref().unwrap_or(target))
    }

    /// What of the pending names may be sent now.
    fn changes(&self, kind: Kind, trial: Trial<'_>) -> Vec<(Arc<str>, Option<Arc<Resource>>)> {
        let mut pinned = None;
        let mut changes = Vec::new();
        for (name, pending) in self.channel(kind).in_turn() {
            if trial.is_some_and(|group| !group.iter().any(|(resource, _, _)| resource == name)) {
                continue;
            }
            // Tables are large and answered at once: a slow Envoy gets the newest, not a queue of old ones.
            if self.goes_alone(kind) && self.channel(kind).is_in_flight(name) {
                continue;
            }
            match self.step(kind, name, pending, trial, &mut pinned) {
                Step::Send(resource) => changes.push((Arc::clone(name), Some(resource))),
                Step::Remove => changes.push((Arc::clone(name), None)),
                Step::Wait => continue,
            }
            if self.goes_alone(kind) {
                break;
            }
        }
        changes
    }

    /// A fault in one route table was seen to freeze another in the same message.
    fn goes_alone(&self, kind: Kind) -> bool {
        kind == Kind::Route && self.mode == Mode::Delta
    }

    fn step(
        &self,
        kind: Kind,
        name: &Arc<str>,
        pending: &Pending,
        trial: Trial<'_>,
        pinned: &mut Option<Pinned>,
    ) -> Step {
        let Some(target) = self.view.get(kind, name) else {
            let removable = pending.held == Held::Nothing || self.may_remove(kind, name, pinned);
            return match (self.mode, pending.held == Held::Nothing && !pending.owed) {
                (_, true) => Step::Wait,
                (Mode::Delta, false) if !removable => Step::Wait,
                _ => Step::Remove,
            };
        };
        if kind == Kind::Endpoint && self.must_keep_endpoints(name, &pending.held, target, pinned) {
            return match &pending.held {
                Held::Is(held) if pending.owed => Step::Send(Arc::clone(held)),
                _ => Step::Wait,
            };
        }
        match self.compose(kind, &pending.held, target, trial) {
            Some(resource) if pending.owed || Held::of(Some(&resource)) != pending.held => {
                Step::Send(resource)
            }
            _ => Step::Wait,
        }
    }

    /// The view's resource, with what Envoy has in the place of each part that may not be sent. None if it cannot be
    /// sent at all.
    pub(super) fn compose(
        &self,
        kind: Kind,
        held: &Held,
        target: &Arc<Resource>,
        trial: Trial<'_>,
    ) -> Option<Arc<Resource>> {
        let bridge = self.bridge(kind, held, target);
        let target = bridge.as_ref().unwrap_or(target);
        let staged =
            matches!(kind, Kind::Extension | Kind::Listener | Kind::Route) && self.may_hold_back();
        let refusals = &self.channel(kind).refusals;
        if !staged && refusals.is_empty() && trial.is_none() {
            return Some(Arc::clone(target));
        }
        if *held == Held::Unknown && refusals.withholds_whole(target) {
            return None;
        }
        let mut composed: Option<Resource> = None;
        for (key, old, part) in held.changes(target) {
            let mut unready = staged && !self.is_ready(part);
            // what an unknown table had for this part cannot be kept, and a refused cluster never becomes ready
            if unready && *held == Held::Unknown {
                if !self.needs_refused(part) {
                    return None;
                }
                unready = false;
            }
            // half a listener is none
            if unready && kind == Kind::Listener && *held == Held::Nothing {
                return None;
            }
            if unready || self.is_withheld(kind, target.name(), key, part, trial) {
                let resource = composed.as_ref().unwrap_or(target);
                composed = Some(match old {
                    Some(old) => resource.with_part(Arc::clone(key), old.clone()),
                    None => resource.without_part(key),
                });
            }
        }
        let Some(composed) = composed else {
            return Some(Arc::clone(target));
        };
        // without its head a resource has no name
        let head = target.parts().keys().next();
        head.is_none_or(|head| composed.parts().contains_key(head))
            .then(|| Arc::new(composed))
    }

    fn is_withheld(
        &self,
        kind: Kind,
        name: &Arc<str>,
        key: &Arc<str>,
        part: &Part,
        trial: Trial<'_>,
    ) -> bool {
        let tried = |group: &[PartVersion]| {
            group.iter().any(|(resource, other, hash)| {
                resource == name && other == key && *hash == part.hash
            })
        };
        trial.is_some_and(|group| !tried(group))
            || self.channel(kind).refusals.withholds(name, key, part.hash)
    }

    /// Whether a resumed stream has taken up the new listeners and routes, but for refused ones. Envoy always asks for
    /// listeners, for filters and routes only if a listener names them.
    fn has_resumed(&self) -> bool {
        [Kind::Extension, Kind::Listener, Kind::Route]
            .into_iter()
            .all(|kind| {
                let channel = self.channel(kind);
                let expected = kind == Kind::Listener || self.view.len(kind) > 0;
                (channel.asked || !expected) && channel.has_ended()
            })
    }

    /// Makes the response and takes note of what was sent.
    fn send(
        &mut self,
        kind: Kind,
        changes: Vec<(Arc<str>, Option<Arc<Resource>>)>,
        now: Duration,
    ) -> Response {
        self.message += 1;
        let number = self.message;
        if self.goes_alone(kind) {
            let alone = changes.first().map(|(name, _)| Arc::clone(name));
            self.channel_mut(kind).last = alone;
        }
        let (mut sent, mut removed) = (Vec::new(), Vec::new());
        for (name, resource) in changes {
            let held = self.note_sent(kind, &name, resource.as_ref());
            match &resource {
                Some(cluster) if kind == Kind::Cluster => {
                    self.cluster_sent(cluster, &held, number, now);
                }
                None if kind == Kind::Cluster => self.stage.forget(&name),
                _ => {}
            }
            let channel = self.channel_mut(kind);
            channel.remember_good(&name, held);
            match resource {
                Some(resource) => sent.push(resource),
                None => removed.push(name),
            }
        }
        let full = self.mode == Mode::Sotw && kind.is_full_state();
        let resources = if full { self.all(kind) } else { sent.clone() };
        let epoch = self.view.epoch;
        let channel = self.channel_mut(kind);
        channel.begun = true;
        channel.answer = false;
        let gone = if self.mode == Mode::Sotw {
            Vec::new()
        } else {
            removed.clone()
        };
        self.channel_mut(kind).push(Message {
            number,
            epoch,
            sent,
            removed,
        });
        Response {
            kind: Some(kind),
            type_url: Cow::Borrowed(kind.type_url()),
            nonce: nonce(number),
            version: version(&resources),
            resources,
            removed: gone,
        }
    }

    /// Updates what Envoy has of a name. Returns what it had before.
    fn note_sent(&mut self, kind: Kind, name: &Arc<str>, resource: Option<&Arc<Resource>>) -> Held {
        let target = Held::of(self.view.get(kind, name));
        let channel = self.channel_mut(kind);
        let before = channel
            .pending
            .remove(name)
            .map_or(Held::Nothing, |pending| pending.held);
        let held = Held::of(resource);
        if held != target {
            channel
                .pending
                .insert(Arc::clone(name), Pending { held, owed: false });
        }
        before
    }

    /// A cluster goes out: routes may wait for it, and Envoy wants its endpoints once more if it had the cluster before.
    fn cluster_sent(&mut self, cluster: &Arc<Resource>, before: &Held, number: u64, now: Duration) {
        let name = cluster.name();
        self.stage.sent(name, cluster.liveness(), number, now);
        if !has_endpoints(cluster) {
            return;
        }
        // endpoints from before a time in which the cluster found its own are no old endpoints
        let had_endpoints = match before {
            Held::Nothing => false,
            Held::Unknown => true,
            Held::Is(before) => has_endpoints(before),
        };
        if had_endpoints && self.mode == Mode::Delta {
            self.stage.settle(name, number);
        } else {
            self.stage.settled(name);
        }
        let endpoints = self.channels.get_mut(Kind::Endpoint);
        let known = Held::of(self.view.get(Kind::Endpoint, name));
        let half = self.view.outbound.resources(Kind::Endpoint);
        if known != Held::Nothing && endpoints.names.contains(name, half) {
            endpoints.owe(name, || known);
        }
    }

    /// All that Envoy is to have of a kind: the view's resources, or what stands in their place.
    fn all(&self, kind: Kind) -> Vec<Arc<Resource>> {
        let half = self.view.outbound.resources(kind);
        let channel = self.channel(kind);
        let wanted = self
            .view
            .resources(kind)
            .filter(|resource| channel.names.contains(resource.name(), half));
        wanted
            .filter_map(|resource| {
                match channel
                    .pending
                    .get(resource.name())
                    .map(|pending| &pending.held)
                {
                    None => Some(Arc::clone(resource)),
                    Some(Held::Is(held)) => Some(Arc::clone(held)),
                    Some(Held::Nothing | Held::Unknown) => None,
                }
            })
            .collect()
    }
}

/// The version of a list of resources.
fn version(resources: &[Arc<Resource>]) -> Version {
    let mut hasher = Xxh3::new();
    for resource in resources {
        hasher.update(resource.name().as_bytes());
        hasher.update(&resource.version().0.to_le_bytes());
    }
    Version(hasher.digest128())
}
