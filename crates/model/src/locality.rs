//! `localityLbSetting`: which endpoints a client prefers by where both run.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Locality;

/// `localityLbSetting`, or what of `zoneAwareLbSetting` says the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LocalityLb {
    /// `enabled: false`: all endpoints are alike.
    Off,
    /// `distribute`: shares by the client's locality, in order.
    Distribute(Arc<[Distribution]>),
    /// `failoverPriority` and `failover`: near endpoints first. Acts only with `outlierDetection`.
    Failover(Failover),
}

impl Default for LocalityLb {
    fn default() -> Self {
        Self::Failover(Failover::default())
    }
}

/// `distribute[]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distribution {
    /// `from`: the clients.
    pub from: LocalityPattern,
    /// `to`: the percentage of each group of endpoints. The rest gets nothing.
    pub to: BTreeMap<LocalityPattern, u32>,
}

/// Which endpoints come first and which come later.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Failover {
    /// `failoverPriority`: the more of these labels, from the first, an endpoint shares with the client, the better.
    /// Empty: region, zone and subzone.
    pub labels: Arc<[PriorityLabel]>,
    /// `failover`: the region that takes over for a region, in order.
    pub regions: Arc<[(Arc<str>, Arc<str>)]>,
}

/// `failoverPriority[]`: `key` or `key=value`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PriorityLabel {
    /// The label.
    pub key: Arc<str>,
    /// The value that endpoints are to have; none: the client's own.
    pub value: Option<Arc<str>>,
}

/// Localities by `region/zone/subzone`, of which the end may be absent or `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalityPattern {
    /// The region; none: any.
    pub region: Option<Arc<str>>,
    /// The zone; none: any.
    pub zone: Option<Arc<str>>,
    /// The subzone; none: any.
    pub subzone: Option<Arc<str>>,
}

impl LocalityPattern {
    /// Reads `region/zone/subzone`; none: a part of it is empty, or `*` does not stand at its end.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let mut open = false;
        let mut next = || match parts.next() {
            None => Some(None),
            Some("*") if !std::mem::replace(&mut open, true) => Some(None),
            Some(part) if open || part.is_empty() || part.contains('*') => None,
            Some(part) => Some(Some(Arc::from(part))),
        };
        Some(Self {
            region: next()?,
            zone: next()?,
            subzone: next()?,
        })
    }

    /// Whether a locality is one of these.
    #[must_use]
    pub fn matches(&self, locality: &Locality) -> bool {
        let holds = |wanted: &Option<Arc<str>>, found: &Arc<str>| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        holds(&self.region, &locality.region)
            && holds(&self.zone, &locality.zone)
            && holds(&self.subzone, &locality.subzone)
    }

    /// Whether some locality is one of both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let meets = |one: &Option<Arc<str>>, other: &Option<Arc<str>>| match (one, other) {
            (Some(one), Some(other)) => one == other,
            (None, _) | (_, None) => true,
        };
        meets(&self.region, &other.region)
            && meets(&self.zone, &other.zone)
            && meets(&self.subzone, &other.subzone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_open_at_its_end_only() {
        let matches = |pattern: &str, locality: &str| {
            LocalityPattern::new(pattern).map(|p| p.matches(&Locality::new(locality)))
        };
        assert_eq!(matches("eu/a/*", "eu/a/rack"), Some(true));
        assert_eq!(matches("eu/a", "eu/a/rack"), Some(true));
        assert_eq!(matches("eu/b", "eu/a"), Some(false));
        assert_eq!(matches("*", "us/a"), Some(true));
        for wrong in ["*/a", "eu//a", "eu*", ""] {
            assert_eq!(LocalityPattern::new(wrong), None, "{wrong}");
        }
    }
}
