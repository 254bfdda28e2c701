//! How an endpoint is chosen: Envoy's policies, their tables, and the slow start of new endpoints.

use envoy::cluster::{
    LbConfig, LbPolicy, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig, RoundRobinLbConfig,
    SlowStartConfig,
};
use envoy_api::envoy::config::cluster::v3 as envoy;
use envoy_api::envoy::config::core::v3::RuntimeDouble;
use envoy_api::envoy::r#type::v3::Percent;
use ir::model::{HashTable, LoadBalancer, Warmup};
use ir::{Cluster, Discovery};

use crate::proto::positive;

/// How many entries a ring has at least unless the user says otherwise, as Istio.
const RING: u64 = 1024;
/// Istio's `minimumPercent`.
const WARMUP_PERCENT: f64 = 10.0;
/// No runtime of a proxy has this key: the value holds.
const AGGRESSION: &str = "lateen.warmup.aggression";

/// Envoy's policy.
pub(crate) fn policy(policy: &LoadBalancer) -> LbPolicy {
    match policy {
        LoadBalancer::LeastRequest => LbPolicy::LeastRequest,
        LoadBalancer::RoundRobin => LbPolicy::RoundRobin,
        LoadBalancer::Random => LbPolicy::Random,
        LoadBalancer::Passthrough => LbPolicy::ClusterProvided,
        LoadBalancer::ConsistentHash(hash) => match hash.table {
            HashTable::Ring(_) => LbPolicy::RingHash,
            HashTable::Maglev(_) => LbPolicy::Maglev,
        },
    }
}

/// The parameters of the policy, where it has some.
pub(crate) fn config(cluster: &Cluster) -> Option<LbConfig> {
    match &cluster.discovery {
        Discovery::Eds | Discovery::StrictDns(..) | Discovery::LogicalDns(..) => {}
        Discovery::OriginalDestination
        | Discovery::DynamicDns(_)
        | Discovery::Inbound(_)
        | Discovery::Nothing => return None,
    }
    let slow_start = || cluster.warmup.as_ref().map(slow_start);
    match &cluster.load_balancer {
        LoadBalancer::LeastRequest => Some(LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
            slow_start_config: Some(slow_start()?),
            ..Default::default()
        })),
        LoadBalancer::RoundRobin => Some(LbConfig::RoundRobinLbConfig(RoundRobinLbConfig {
            slow_start_config: Some(slow_start()?),
        })),
        LoadBalancer::Random | LoadBalancer::Passthrough => None,
        LoadBalancer::ConsistentHash(hash) => Some(match hash.table {
            HashTable::Ring(least) => LbConfig::RingHashLbConfig(RingHashLbConfig {
                minimum_ring_size: Some(least.map_or(RING, u64::from)),
                ..Default::default()
            }),
            HashTable::Maglev(size) => LbConfig::MaglevLbConfig(MaglevLbConfig {
                table_size: Some(size.into()),
            }),
        }),
    }
}

fn slow_start(warmup: &Warmup) -> SlowStartConfig {
    let Warmup {
        duration,
        minimum_percent,
        aggression,
    } = warmup;
    SlowStartConfig {
        slow_start_window: Some(positive(*duration)),
        aggression: aggression.map(|aggression| RuntimeDouble {
            default_value: aggression.get(),
            runtime_key: AGGRESSION.to_owned(),
        }),
        min_weight_percent: Some(Percent {
            value: minimum_percent.map_or(WARMUP_PERCENT, |percent| percent.get()),
        }),
    }
}
