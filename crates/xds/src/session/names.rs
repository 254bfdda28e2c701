//! The names that a stream is subscribed to, for one kind.
//!
//! A thousand proxies that subscribe to what their view offers need not each keep a list of it: once a list is close to
//! the names of the view's outbound half, only its difference from them is kept.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::ordmap::DiffItem;

use crate::Resources;

/// A list shorter than this is not worth comparing with the view.
const WORTH_COMPARING: usize = 16;

/// A subscription. Every method is told the names that the difference refers to, the outbound half's.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Everything, besides what is named.
    pub wildcard: bool,
    /// The listed names, or the difference.
    names: BTreeSet<Arc<str>>,
    /// Whether `names` is what differs from the names of the half: in one and not in the other.
    relative: bool,
}

impl Names {
    /// Whether a name was subscribed to explicitly.
    pub fn lists(&self, name: &str, half: &Resources) -> bool {
        self.names.contains(name) != (self.relative && half.contains_key(name))
    }

    /// Whether a name is subscribed to.
    pub fn contains(&self, name: &str, half: &Resources) -> bool {
        self.wildcard || self.lists(name, half)
    }

    /// How many names are kept.
    pub fn kept(&self) -> usize {
        self.names.len()
    }

    /// Subscribes to a name; false if it was listed before.
    pub fn insert(&mut self, name: &Arc<str>, half: &Resources) -> bool {
        if self.relative && half.contains_key(name) {
            return self.names.remove(name);
        }
        self.names.insert(Arc::clone(name))
    }

    /// Forgets a name; false if it was not listed.
    pub fn remove(&mut self, name: &Arc<str>, half: &Resources) -> bool {
        if self.relative && half.contains_key(name) {
            return self.names.insert(Arc::clone(name));
        }
        self.names.remove(name)
    }

    /// Tells that the half is another one now, which does not change the subscription.
    pub fn rebase(&mut self, old: &Resources, new: &Resources) {
        if self.relative {
            for item in old.diff(new) {
                match item {
                    DiffItem::Add(name, _) | DiffItem::Remove(name, _) => self.toggle(name),
                    DiffItem::Update { .. } => {}
                }
            }
        }
    }

    fn toggle(&mut self, name: &Arc<str>) {
        if !self.names.remove(name) {
            self.names.insert(Arc::clone(name));
        }
    }

    /// Keeps the difference instead of the list where that is shorter. `changed` is how many names the last request
    /// changed: the comparison costs as much as the half has names, so a few new names do not set it off.
    pub fn compact(&mut self, changed: usize, half: &Resources) {
        let listed = self.names.len();
        if self.relative
            || listed < WORTH_COMPARING
            || changed < half.len() / 8
            || listed < half.len() / 2
        {
            return;
        }
        let difference = difference(self.names.iter(), half.keys());
        if difference.len() < listed / 2 {
            self.names = difference;
            self.relative = true;
        }
    }

    /// All names that were subscribed to explicitly.
    pub fn listed<'a>(&'a self, half: &'a Resources) -> impl Iterator<Item = &'a Arc<str>> {
        let implied = half
            .keys()
            .filter(|name| self.relative && !self.names.contains(*name));
        let kept = self
            .names
            .iter()
            .filter(|name| !self.relative || !half.contains_key(*name));
        implied.chain(kept)
    }
}

/// What is in one of two ordered lists and not in the other.
fn difference<'a>(
    ours: impl Iterator<Item = &'a Arc<str>>,
    theirs: impl Iterator<Item = &'a Arc<str>>,
) -> BTreeSet<Arc<str>> {
    let (mut ours, mut theirs) = (ours.peekable(), theirs.peekable());
    let mut difference = Vec::new();
    loop {
        let order = match (ours.peek(), theirs.peek()) {
            (Some(our), Some(their)) => our.cmp(their),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return difference.into_iter().collect(),
        };
        match order {
            Ordering::Less => difference.extend(ours.next().cloned()),
            Ordering::Greater => difference.extend(theirs.next().cloned()),
            Ordering::Equal => drop((ours.next(), theirs.next())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Resource;

    fn half(names: std::ops::Range<u32>) -> Resources {
        names
            .map(|n| Arc::from(format!("{n:03}")))
            .map(|name: Arc<str>| (Arc::clone(&name), Arc::new(Resource::new(name))))
            .collect()
    }

    #[test]
    fn a_subscription_to_everything_keeps_no_names() {
        let (old, mut names) = (half(0..100), Names::default());
        for name in old.keys().chain(half(100..102).keys()) {
            assert!(names.insert(name, &old));
        }
        names.compact(102, &old);
        assert_eq!(names.kept(), 2);
        assert_eq!(names.listed(&old).count(), 102);
        // two names vanish from the view, and one that was subscribed to appears: the subscription stays
        let new = half(2..101);
        names.rebase(&old, &new);
        assert_eq!(names.listed(&new).count(), 102);
        assert!(names.remove(&Arc::from("000"), &new) && names.remove(&Arc::from("050"), &new));
        assert!(
            !names.contains("000", &new)
                && !names.contains("050", &new)
                && names.contains("001", &new)
        );
        assert_eq!(names.listed(&new).count(), 100);
        assert!(!names.wildcard && names.insert(&Arc::from("050"), &new));
    }
}
