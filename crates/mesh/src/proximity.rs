//! Where a client is, as far as some policy reads it, and the order of endpoints that follows from it.
//!
//! This is no part of a scope: clients of one scope share clusters, listeners and routes, and what differs by where they
//! run are the endpoints alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ir::{Endpoint, Endpoints, LocalityEndpoints};
use model::{
    Distribution, EndpointAddress, Failover, Labels, Locality, LocalityLb, Name, Port,
    PriorityLabel, TrafficDistribution,
};

use crate::key::ClusterKey;
use crate::mesh::Mesh;
use crate::service::MeshService;
use crate::workload::Workload;

/// Labels that say where a workload runs, whether it bears them or not.
const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const SUBZONE: &str = "topology.istio.io/subzone";
const NODE: &str = "kubernetes.io/hostname";

/// How many priorities `failover` may make of one (Istio).
const FAILOVER_STEPS: u32 = 5;

/// Where a client is. Clients that are equal in this are sent to the same endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proximity {
    /// Its locality.
    pub locality: Locality,
    /// Its labels that some `failoverPriority` names, with their values.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// Its node, if some service looks at that.
    pub node: Option<Name>,
}

/// Which endpoints of a cluster a client prefers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Preference {
    /// By shares of localities.
    Distribute(Arc<[Distribution]>),
    /// Near ones first, the others when those are bad.
    Failover(Failover),
}

impl Preference {
    /// What a Service's own wish comes to, for which no endpoint need ever be bad.
    #[must_use]
    pub fn of_service(distribution: TrafficDistribution) -> Option<Self> {
        let labels: &[&str] = match distribution {
            TrafficDistribution::Any => return None,
            TrafficDistribution::SameZone => &[REGION, ZONE],
            TrafficDistribution::SameNode => &[REGION, ZONE, SUBZONE, NODE],
        };
        let label = |key: &&str| PriorityLabel {
            key: Arc::from(*key),
            value: None,
        };
        Some(Self::Failover(Failover {
            labels: labels.iter().map(label).collect(),
            ..Failover::default()
        }))
    }

    /// What a setting comes to; `ejects`: whether endpoints may turn out to be bad, without which none is preferred.
    #[must_use]
    pub fn of(setting: &LocalityLb, ejects: bool) -> Option<Self> {
        match setting {
            LocalityLb::Off => None,
            LocalityLb::Distribute(shares) => Some(Self::Distribute(Arc::clone(shares))),
            LocalityLb::Failover(order) => ejects.then(|| Self::Failover(order.clone())),
        }
    }
}

impl Mesh {
    /// Where a workload is, as far as some policy reads it.
    #[must_use]
    pub fn proximity(&self, workload: &Workload) -> Proximity {
        let locality = self.locality(workload);
        let place = Place {
            locality: &locality,
            labels: &workload.labels,
            node: workload.node.as_ref(),
        };
        let value = |key: &Arc<str>| (Arc::clone(key), place.label(key).into());
        Proximity {
            labels: self.priority_labels().map(value).collect(),
            node: workload.node.clone().filter(|_| self.looks_at_nodes()),
            locality,
        }
    }

    /// Whether some client may prefer some endpoints of a cluster.
    #[must_use]
    pub fn may_prefer(&self, cluster: &ClusterKey) -> bool {
        let by_default = match self.config().locality {
            LocalityLb::Distribute(_) => true,
            LocalityLb::Off | LocalityLb::Failover(_) => false,
        };
        let rules = self.destination_rules().matches(&cluster.host);
        let mut rules = rules.filter_map(|key| self.destination_rule(key));
        let own = |service: &Arc<MeshService>| {
            service.node_local || service.distribution != TrafficDistribution::Any
        };
        let services = self.services().all(&cluster.host);
        by_default || services.iter().any(own) || rules.any(|rule| rule.policies().any(has_say))
    }
}

fn has_say(policy: &model::PortPolicy) -> bool {
    let locality = policy.load_balancer.as_ref();
    policy.outlier_detection.is_some() || locality.is_some_and(|lb| lb.locality.is_some())
}

/// Where something runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub locality: &'a Locality,
    pub labels: &'a Labels,
    pub node: Option<&'a Name>,
}

impl Place<'_> {
    /// The value of a label; empty: it has none.
    fn label(&self, key: &str) -> &str {
        match key {
            REGION => &self.locality.region,
            ZONE => &self.locality.zone,
            SUBZONE => &self.locality.subzone,
            NODE => self.node.map(Name::as_str).unwrap_or_default(),
            other => self.labels.get(other).unwrap_or_default(),
        }
    }
}

/// Endpoints on their way into an order.
#[derive(Debug)]
pub(crate) struct Arranging<'a> {
    preference: Option<&'a Preference>,
    client: Option<&'a Proximity>,
    node_local: bool,
    groups: BTreeMap<(u32, Locality), BTreeMap<(EndpointAddress, Port), Endpoint>>,
}

impl<'a> Arranging<'a> {
    /// For a client; none: for whom it is not known, to whom all endpoints are alike.
    pub fn new(preference: Option<&'a Preference>, client: Option<&'a Proximity>) -> Self {
        Self {
            preference,
            client,
            node_local: false,
            groups: BTreeMap::new(),
        }
    }

    /// The same, but a client reaches endpoints of its own node only.
    pub fn node_local(self, node_local: bool) -> Self {
        Self { node_local, ..self }
    }

    /// Takes in an endpoint; of two with the same address the first counts.
    pub fn add(&mut self, place: Place<'_>, endpoint: Endpoint) {
        let is_elsewhere = |client: &Proximity| client.node.as_ref() != place.node;
        if self.node_local && self.client.is_some_and(is_elsewhere) {
            return;
        }
        let priority = match (self.preference, self.client) {
            (Some(Preference::Failover(order)), Some(client)) => priority(order, client, place),
            (Some(Preference::Failover(_)), None) | (Some(Preference::Distribute(_)) | None, _) => {
                0
            }
        };
        let group = (priority, place.locality.clone());
        let address = (endpoint.address.clone(), endpoint.port);
        let group = self.groups.entry(group).or_default();
        group.entry(address).or_insert(endpoint);
    }

    /// All of them, with priorities from 0 on without a gap, as Envoy demands.
    pub fn finish(self) -> Endpoints {
        let used: BTreeSet<u32> = self.groups.keys().map(|(priority, _)| *priority).collect();
        let rank = |priority: &u32| u32::try_from(used.range(..priority).count()).unwrap_or(0);
        let mut localities: Vec<LocalityEndpoints> = self
            .groups
            .into_iter()
            .map(|((priority, locality), endpoints)| LocalityEndpoints {
                locality,
                priority: rank(&priority),
                weight: None,
                endpoints: endpoints.into_values().collect(),
            })
            .collect();
        if let Some(Preference::Distribute(shares)) = self.preference {
            distribute(shares, self.client, &mut localities);
        }
        Endpoints {
            localities: localities.into(),
        }
    }
}

/// The lower the better, as Istio counts.
fn priority(order: &Failover, client: &Proximity, place: Place<'_>) -> u32 {
    let own = Place {
        locality: &client.locality,
        labels: &Labels::default(),
        node: client.node.as_ref(),
    };
    let differs = |label: &PriorityLabel| {
        let wanted = label
            .value
            .as_deref()
            .or_else(|| client.labels.get(&label.key).map(|v| &**v));
        wanted.unwrap_or_else(|| own.label(&label.key)) != place.label(&label.key)
    };
    let missed = order
        .labels
        .iter()
        .rev()
        .zip(1..)
        .filter(|(label, _)| differs(label));
    let by_labels: u32 = missed.map(|(_, left)| left).last().unwrap_or(0);
    if !order.labels.is_empty() && order.regions.is_empty() {
        return by_labels;
    }
    by_labels * FAILOVER_STEPS + by_locality(order, &client.locality, place.locality)
}

/// The same subzone, the same zone, the same region, where the region fails over to, elsewhere.
fn by_locality(order: &Failover, client: &Locality, place: &Locality) -> u32 {
    let says = |(from, _): &&(Arc<str>, Arc<str>)| *from == client.region;
    match order.regions.iter().find(says) {
        _ if client == place => 0,
        _ if (&client.region, &client.zone) == (&place.region, &place.zone) => 1,
        _ if client.region == place.region => 2,
        Some((_, to)) if *to != place.region => 4,
        Some(_) | None => 3,
    }
}

/// Gives each locality its share. Where nothing is said of the client, a locality counts as much as its endpoints.
fn distribute(
    shares: &[Distribution],
    client: Option<&Proximity>,
    localities: &mut Vec<LocalityEndpoints>,
) {
    for one in &mut *localities {
        one.weight = Some(load(one));
    }
    let says = |share: &&Distribution| client.is_some_and(|c| share.from.matches(&c.locality));
    let Some(share) = shares.iter().find(says) else {
        return;
    };
    localities.retain(|one| share.to.keys().any(|to| to.matches(&one.locality)));
    for (to, percent) in &share.to {
        let mut group: Vec<&mut LocalityEndpoints> = localities
            .iter_mut()
            .filter(|one| to.matches(&one.locality))
            .collect();
        let sum: u64 = group.iter().map(|one| u64::from(load(one))).sum();
        for one in &mut group {
            let part = u64::from(load(one)) * u64::from(*percent);
            let weight = part.div_ceil(sum.max(1));
            one.weight = Some(u32::try_from(weight).unwrap_or(u32::MAX));
        }
    }
}

fn load(locality: &LocalityEndpoints) -> u32 {
    let weights = locality.endpoints.iter().map(|endpoint| endpoint.weight);
    weights.fold(0, u32::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(order: &Failover, place: &str) -> u32 {
        let client = Proximity {
            locality: Locality::new("eu/a/1"),
            labels: BTreeMap::from([("app".into(), "web".into())]),
            node: None,
        };
        let (locality, app) = place.split_once(' ').unwrap();
        let place = Place {
            locality: &Locality::new(locality),
            labels: &[("app", app)].into_iter().collect(),
            node: None,
        };
        priority(order, &client, place)
    }

    #[test]
    fn near_comes_first() {
        let regions = Failover {
            regions: Arc::new([("eu".into(), "us".into())]),
            ..Failover::default()
        };
        let places = ["eu/a/1 x", "eu/a/2 x", "eu/b/1 x", "us/a/1 x", "as/a/1 x"];
        assert_eq!(places.map(|place| rank(&regions, place)), [0, 1, 2, 3, 4]);
        let default = Failover::default();
        assert_eq!(rank(&default, "as/a/1 x"), rank(&default, "us/a/1 x"));
    }

    #[test]
    fn labels_count_from_the_first() {
        let label = |key: &str| PriorityLabel {
            key: key.into(),
            value: None,
        };
        let order = Failover {
            labels: Arc::new([label("app"), label(REGION), label(ZONE)]),
            ..Failover::default()
        };
        let places = ["eu/a/9 web", "eu/b/1 web", "us/a/1 web", "eu/a/1 other"];
        assert_eq!(places.map(|place| rank(&order, place)), [0, 1, 2, 3]);
    }
}
