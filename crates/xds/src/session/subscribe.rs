//! How requests change what a stream is subscribed to, and so what is pending: wildcards, resubscription, resumption.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::channel::{Held, Pending};
use super::{Mode, Session};
use crate::{Kind, Resource};

/// A stream that subscribes to more names than this that do not exist has them answered but not remembered.
const MAX_NAMES: usize = 65_536;

/// No name that exists is longer, in bytes. Longer ones are dropped.
const MAX_NAME: usize = 4096;

impl Session {
    /// State of the world: the names are all that Envoy wants.
    pub(super) fn subscribe_to(&mut self, kind: Kind, names: Vec<String>) {
        let channel = self.channels.get_mut(kind);
        let first = !std::mem::replace(&mut channel.asked, true);
        // an ACK repeats all names, thousands of them for endpoints
        let hash = Some(hash(&names));
        if std::mem::replace(&mut channel.names_hash, hash) == hash {
            return;
        }
        let everything = names.iter().any(|name| name == "*");
        let half = self.view.outbound.resources(kind);
        let channel = self.channels.get_mut(kind);
        let unnamed = names.is_empty() && kind.is_wildcard() && (first || channel.names.wildcard);
        let (wildcard, before) = (everything || unnamed, channel.names.wildcard);
        let wanted: BTreeSet<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| *name != "*")
            .collect();
        let gone: Vec<_> = channel
            .names
            .listed(half)
            .filter(|name| !wanted.contains(&***name))
            .cloned()
            .collect();
        channel.answer |= first && (kind.is_wildcard() || !names.is_empty());
        for name in &gone {
            channel.names.remove(name, half);
        }
        channel.names.wildcard = wildcard;
        let added = self.add_names(kind, wanted.into_iter(), &HashMap::new());
        let channel = self.channels.get_mut(kind);
        channel.answer |= added > 0;
        if wildcard && !before {
            self.add_everything(kind, &HashMap::new());
        }
        self.drop_names(kind, gone, before && !wildcard);
    }

    /// Delta: names come and go.
    pub(super) fn change_subscription(
        &mut self,
        kind: Kind,
        subscribe: &[String],
        unsubscribe: &[String],
        initial: &HashMap<String, String>,
    ) {
        let channel = self.channels.get_mut(kind);
        let first = !std::mem::replace(&mut channel.asked, true);
        let none = HashMap::new();
        // only a stream's first request of a type may say what Envoy has
        let initial = if first { initial } else { &none };
        channel.resumed |= !initial.is_empty();
        let everything = subscribe.iter().any(|name| name == "*");
        let unnamed = first && kind.is_wildcard() && subscribe.is_empty();
        let before = channel.names.wildcard;
        channel.names.wildcard =
            (before || everything || unnamed) && !unsubscribe.iter().any(|name| name == "*");
        let wildcard = channel.names.wildcard;
        self.add_names(
            kind,
            subscribe
                .iter()
                .map(String::as_str)
                .filter(|name| *name != "*"),
            initial,
        );
        if wildcard && !before {
            self.add_everything(kind, initial);
            self.channel_mut(kind).answer |= initial.is_empty();
        }
        if first && kind == Kind::Cluster && !initial.is_empty() {
            self.resume_clusters(initial);
        }
        let half = self.view.outbound.resources(kind);
        let channel = self.channels.get_mut(kind);
        let mut gone = Vec::new();
        for name in unsubscribe.iter().filter(|name| *name != "*") {
            let name = Arc::from(name.as_str());
            if channel.names.remove(&name, half) {
                gone.push(name);
            }
        }
        self.drop_names(kind, gone, before && !wildcard);
    }

    /// On a resumed stream the clusters that Envoy named are live, and the others are new to it.
    fn resume_clusters(&mut self, initial: &HashMap<String, String>) {
        self.channel_mut(Kind::Cluster).begun = true;
        let half = self.view.outbound.resources(Kind::Cluster);
        let names = &self.channels.get(Kind::Cluster).names;
        for cluster in self.view.resources(Kind::Cluster) {
            if names.contains(cluster.name(), half) && !initial.contains_key(&**cluster.name()) {
                self.stage.announce(cluster.name());
            }
        }
    }

    /// Subscribes to names, each of which is owed an answer unless Envoy has it already. Returns how many are new.
    fn add_names<'a>(
        &mut self,
        kind: Kind,
        names: impl Iterator<Item = &'a str>,
        initial: &HashMap<String, String>,
    ) -> usize {
        let (mut changed, mode) = (0, self.mode);
        // a client that asks on without acknowledging what it is told: of names that do not exist it is told no more
        let silent = self.channel(kind).pending.len() >= MAX_NAMES;
        for name in names {
            let target = self.view.get(kind, name);
            let claimed = claimed(name, target, initial);
            let shared =
                target.map_or_else(|| Arc::from(name), |resource| Arc::clone(resource.name()));
            let half = self.view.outbound.resources(kind);
            let channel = self.channels.get_mut(kind);
            if target.is_none() && (silent || name.len() > MAX_NAME) {
                continue;
            }
            let wildcard = channel.names.wildcard && channel.begun;
            let full = channel.names.kept() >= MAX_NAMES && target.is_none();
            let new = if full {
                false
            } else {
                channel.names.insert(&shared, half)
            };
            changed += usize::from(new);
            let known = Held::of(target);
            match mode {
                // repeated in every answer: only new names count
                Mode::Sotw if !new => {}
                // Envoy has it, and no changed cluster of this name waits for it
                _ if claimed != Held::Nothing
                    && claimed == known
                    && !self.stage.is_settling(name) => {}
                // a name that Envoy had under the wildcard, or asks for again
                _ if !new || wildcard => channel.owe(&shared, || known),
                _ => channel.owe(&shared, || claimed),
            }
        }
        let half = self.view.outbound.resources(kind);
        self.channels.get_mut(kind).names.compact(changed, half);
        changed
    }

    /// Makes all pending that a new wildcard subscription adds, except what Envoy has already.
    fn add_everything(&mut self, kind: Kind, initial: &HashMap<String, String>) {
        let view = self.view.clone();
        let half = view.outbound.resources(kind);
        let channel = self.channels.get_mut(kind);
        let mut pending = Vec::new();
        let mut named = 0;
        for resource in view.resources(kind) {
            let held = claimed(resource.name(), Some(resource), initial);
            named += usize::from(held != Held::Nothing);
            if held != Held::of(Some(resource)) && !channel.names.lists(resource.name(), half) {
                pending.push((Arc::clone(resource.name()), Pending { held, owed: false }));
            }
        }
        // what was pending before stays as it was
        pending.extend(std::mem::take(&mut channel.pending));
        channel.pending = pending.into_iter().collect();
        if named == initial.len() {
            return;
        }
        for name in initial.keys().filter(|name| view.get(kind, name).is_none()) {
            let gone = Pending {
                held: Held::Unknown,
                owed: false,
            };
            self.channel_mut(kind)
                .pending
                .insert(Arc::from(name.as_str()), gone);
        }
    }

    /// Forgets names that are not subscribed to any more; all but the listed ones if the wildcard ended.
    fn drop_names(&mut self, kind: Kind, mut gone: Vec<Arc<str>>, wildcard_ended: bool) {
        let half = self.view.outbound.resources(kind);
        let channel = self.channels.get_mut(kind);
        if wildcard_ended {
            gone.extend(channel.pending.keys().cloned());
        }
        gone.retain(|name| !channel.names.contains(name, half));
        for name in &gone {
            channel.forget(name);
            if kind == Kind::Cluster {
                self.stage.forget(name);
            }
        }
    }
}

/// What Envoy has of a name, by what it says it has.
fn claimed(name: &str, target: Option<&Arc<Resource>>, initial: &HashMap<String, String>) -> Held {
    let Some(version) = initial.get(name) else {
        return Held::Nothing;
    };
    match target {
        Some(resource) if resource.version().is_written(version) => Held::Is(Arc::clone(resource)),
        _ => Held::Unknown,
    }
}

/// A hash of a list of names.
fn hash(names: &[String]) -> u128 {
    let mut hasher = Xxh3::new();
    for name in names {
        hasher.update(&name.len().to_le_bytes());
        hasher.update(name.as_bytes());
    }
    hasher.digest128()
}
