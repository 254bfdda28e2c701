//! What a stream refused. A refused part is not sent to it again until it changes; the rest of its resource moves on.
//!
//! A refusal accuses all parts of the message that were new to the stream. One part is the culprit; of several, halves
//! are tried again by themselves until the culprits are found, so that one bad object does not hold back the others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::{Resource, Version};

/// A version of a part: the resource's name, the part's key, the part's hash.
pub(super) type PartVersion = (Arc<str>, Arc<str>, u128);

/// One of the refused parts.
#[derive(Debug)]
struct Refused {
    hash: u128,
    /// Whether other parts were held back at that time. Then the mixture of old and new may have been at fault.
    mixed: bool,
}

/// The refusals of one kind on one stream.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    refused: BTreeMap<(Arc<str>, Arc<str>), Refused>,
    /// Resources of several parts that Envoy refused and has otherwise from an earlier stream. The culprit is not
    /// searched: each try would put a part of the resource in the place of a whole that works.
    whole: BTreeMap<Arc<str>, Version>,
    suspects: BTreeSet<PartVersion>,
    groups: VecDeque<Vec<PartVersion>>,
    /// The message that carries the group which is being tried.
    trial: Option<u64>,
}

impl Refusals {
    /// Whether nothing is held back.
    pub fn is_empty(&self) -> bool {
        self.refused.is_empty() && self.suspects.is_empty() && self.whole.is_empty()
    }

    /// Whether something of this resource is refused for good.
    pub fn concern(&self, name: &Arc<str>) -> bool {
        self.whole.contains_key(name) || self.refused.keys().any(|(refused, _)| refused == name)
    }

    /// Whether something of this resource waits to be tried.
    pub fn suspect(&self, name: &str) -> bool {
        self.suspects
            .iter()
            .any(|(resource, _, _)| **resource == *name)
    }

    /// Takes note that a resource was refused of which nobody knows what Envoy has in its place.
    pub fn refuse_whole(&mut self, resource: &Resource) {
        self.whole
            .insert(Arc::clone(resource.name()), resource.version());
    }

    /// Whether this version of a resource must not be sent.
    pub fn withholds_whole(&self, resource: &Resource) -> bool {
        self.whole.get(resource.name()) == Some(&resource.version())
    }

    /// Whether something waits to be tried, or is being tried.
    pub fn is_searching(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Whether this version of a part must not be sent.
    pub fn withholds(&self, name: &Arc<str>, key: &Arc<str>, hash: u128) -> bool {
        if self.is_empty() {
            return false;
        }
        let part = (Arc::clone(name), Arc::clone(key));
        self.refused
            .get(&part)
            .is_some_and(|refused| refused.hash == hash)
            || self.suspects.contains(&(part.0, part.1, hash))
    }

    /// Takes note of a refused message and of the parts that it accuses.
    pub fn accuse(&mut self, message: u64, mut accused: Vec<PartVersion>, mixed: bool) {
        self.conclude(message);
        for part in &accused {
            self.suspects.remove(part);
        }
        if accused.len() > 1 {
            self.suspects.extend(accused.iter().cloned());
            let half = accused.split_off(accused.len() / 2);
            self.groups.extend([accused, half]);
        } else {
            for (name, key, hash) in accused {
                self.refused.insert((name, key), Refused { hash, mixed });
            }
        }
    }

    /// The group to try next, if none is being tried. It is no longer suspected; `is_current` tells which of its parts
    /// are still wanted.
    pub fn next_trial(
        &mut self,
        is_current: impl Fn(&PartVersion) -> bool,
    ) -> Option<Vec<PartVersion>> {
        while self.trial.is_none() {
            let group = self.groups.pop_front()?;
            let (current, outdated): (Vec<_>, Vec<_>) = group.into_iter().partition(&is_current);
            for part in current.iter().chain(&outdated) {
                self.suspects.remove(part);
            }
            if !current.is_empty() {
                return Some(current);
            }
        }
        None
    }

    /// Puts a group back that could not be sent yet.
    pub fn postpone(&mut self, group: Vec<PartVersion>) {
        self.suspects.extend(group.iter().cloned());
        self.groups.push_back(group);
    }

    /// Takes note that the group was sent.
    pub fn begin(&mut self, message: u64) {
        self.trial = Some(message);
    }

    /// Takes note that a message was answered.
    pub fn conclude(&mut self, message: u64) {
        if self.trial.is_some_and(|trial| trial <= message) {
            self.trial = None;
        }
    }

    /// Gives the parts another chance that were refused while others were held back. True if there are any.
    pub fn forgive_mixed(&mut self) -> bool {
        let before = self.refused.len();
        self.refused.retain(|_, refused| !refused.mixed);
        self.refused.len() < before
    }

    /// Forgets what concerns a resource that is no longer subscribed to.
    pub fn forget(&mut self, name: &str) {
        if !self.is_empty() {
            self.whole.remove(name);
            self.refused.retain(|(resource, _), _| **resource != *name);
            self.suspects.retain(|(resource, _, _)| **resource != *name);
            for group in &mut self.groups {
                group.retain(|(resource, _, _)| **resource != *name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_culprit_is_found_by_halves() {
        let part = |n: u128| -> PartVersion { (Arc::from("80"), Arc::from(n.to_string()), n) };
        let mut refusals = Refusals::default();
        refusals.accuse(1, (0..100).map(part).collect(), false);
        assert!(refusals.withholds(&part(7).0, &part(7).1, 7));
        let mut messages = 1;
        while let Some(group) = refusals.next_trial(|_| true) {
            messages += 1;
            refusals.begin(messages);
            assert!(
                refusals.next_trial(|_| true).is_none(),
                "one trial at a time"
            );
            if group.contains(&part(42)) {
                refusals.accuse(messages, group, false);
            } else {
                refusals.conclude(messages);
            }
        }
        assert!(messages < 20);
        assert!(!refusals.is_searching());
        let withheld: Vec<_> = (0..100)
            .filter(|n| refusals.withholds(&part(*n).0, &part(*n).1, *n))
            .collect();
        assert_eq!(withheld, [42]);
        refusals.forget("80");
        assert!(refusals.is_empty());
    }
}
