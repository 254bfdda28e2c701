//! An index from hosts and wildcards to the objects that name them, oldest first.

use imbl::{OrdMap, OrdSet};
use model::{HostPattern, Hostname, Meta, Object, ObjectKey};

/// An object's place among those that claim the same: older first (Istio: creation time, then name, then namespace). One
/// that was refused comes after all good ones: it must not take a host away from them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ranked {
    refused: bool,
    created: i64,
    name: model::Name,
    namespace: model::Namespace,
    /// The object.
    pub key: ObjectKey,
}

impl Ranked {
    /// The rank of an object; one without creation time is older than all others.
    #[must_use]
    pub fn new(object: &Object) -> Self {
        Self::of(&object.key, &object.meta, false)
    }

    /// The rank of what has this key and this metadata, and whether it was refused without a good version.
    #[must_use]
    pub fn of(key: &ObjectKey, meta: &Meta, refused: bool) -> Self {
        Self {
            refused,
            created: meta.created.unwrap_or(i64::MIN),
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            key: key.clone(),
        }
    }
}

/// Which objects name a host, by pattern.
#[derive(Clone, Debug, Default)]
pub struct HostIndex {
    by_pattern: OrdMap<HostPattern, OrdSet<Ranked>>,
}

impl HostIndex {
    /// Adds an object under a pattern.
    pub fn insert(&mut self, pattern: &HostPattern, object: Ranked) {
        self.by_pattern
            .entry(pattern.clone())
            .or_default()
            .insert(object);
    }

    /// Takes an object away from a pattern.
    pub fn remove(&mut self, pattern: &HostPattern, object: &Ranked) {
        let Some(set) = self.by_pattern.get_mut(pattern) else {
            return;
        };
        set.remove(object);
        if set.is_empty() {
            self.by_pattern.remove(pattern);
        }
    }

    /// The objects under exactly this pattern, oldest first.
    pub fn under(&self, pattern: &HostPattern) -> impl Iterator<Item = &ObjectKey> {
        self.by_pattern
            .get(pattern)
            .into_iter()
            .flatten()
            .map(|ranked| &ranked.key)
    }

    /// The patterns that match a host, the most specific first.
    pub fn matching(&self, host: &Hostname) -> impl Iterator<Item = &HostPattern> {
        patterns_of(host).filter_map(|pattern| {
            self.by_pattern
                .get_key_value(&pattern)
                .map(|(found, _)| found)
        })
    }

    /// The objects whose patterns match a host: the most specific pattern first, then the oldest.
    pub fn matches(&self, host: &Hostname) -> impl Iterator<Item = &ObjectKey> {
        self.matching(host).flat_map(|pattern| self.under(pattern))
    }

    /// Every pattern, the most specific first.
    pub fn patterns(&self) -> impl Iterator<Item = &HostPattern> {
        self.by_pattern.keys()
    }
}

/// Every pattern that could match `host`, the most specific first.
fn patterns_of(host: &Hostname) -> impl Iterator<Item = HostPattern> {
    std::iter::once(HostPattern::Exact(host.clone()))
        .chain(suffixes(host.as_str()))
        .chain(std::iter::once(HostPattern::Any))
}

/// The domains in which all hosts of a pattern lie, the smallest first.
pub fn domains_over(pattern: &HostPattern) -> impl Iterator<Item = HostPattern> {
    let host = pattern.service_host();
    let text = host.as_ref().map_or("", Hostname::as_str);
    // The first suffix of a wildcard is the wildcard itself.
    let own = usize::from(matches!(pattern, HostPattern::Suffix(_)));
    suffixes(text).skip(own).collect::<Vec<_>>().into_iter()
}

/// `*.` before each name that ends a host, the longest first.
fn suffixes(host: &str) -> impl Iterator<Item = HostPattern> {
    let dots = host.match_indices('.');
    dots.filter_map(|(dot, _)| HostPattern::suffix(host.get(dot + 1..)?))
}
