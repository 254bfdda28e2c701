//! Requests that are sent on: to which cluster, how long, how often again, and what Istio's servers are told with them.

use std::collections::BTreeMap;
use std::time::Duration;

use envoy::route_action::ClusterSpecifier;
use envoy::weighted_cluster::ClusterWeight;
use envoy_api::envoy::config::route::v3 as envoy;
use envoy_api::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_api::{Any, pack};
use ir::{Backend, ClusterName, Forward, Retry, WeightedBackend};

use crate::hash_policy::hash_policy;
use crate::proto::{duration, fit_weights, never, positive};
use crate::route::respond;
use crate::{alpn, peer_metadata};

/// How often Envoy looks for a host that was not tried yet, as istiod.
const HOST_SELECTION_ATTEMPTS: i64 = 5;

/// Configuration of filters for one route or one of its clusters.
type PerFilter = BTreeMap<String, Any>;

/// What the route does, and the configuration of its filters.
pub(crate) fn forward(to: &Forward) -> (envoy::route::Action, PerFilter) {
    let Forward {
        backends: _, // see `shares`
        timeout,
        retry,
    } = to;
    let shares = shares(to);
    if let Some(body) = nowhere(&shares) {
        return (respond(503, &body), PerFilter::new());
    }
    let (cluster, per_filter) = match *shares {
        [only] => (
            ClusterSpecifier::Cluster(cluster(&only.backend).to_string()),
            per_filter(&only.backend),
        ),
        _ => (
            ClusterSpecifier::WeightedClusters(weighted(&shares)),
            PerFilter::new(),
        ),
    };
    let action = envoy::RouteAction {
        hash_policy: hash_policies(&shares),
        ..send(cluster, *timeout, retry.as_ref())
    };
    (envoy::route::Action::Route(action), per_filter)
}

/// The backends that are sent anything. Envoy need not know of the others.
pub(crate) fn shares(to: &Forward) -> Vec<&WeightedBackend> {
    match &*to.backends {
        [only] => vec![only],
        several => several.iter().filter(|share| share.weight > 0).collect(),
    }
}

/// The answer when none of the backends exists.
fn nowhere(shares: &[&WeightedBackend]) -> Option<String> {
    let wanted: Option<Vec<&str>> = shares
        .iter()
        .map(|share| match &share.backend {
            Backend::Missing { wanted } => Some(&**wanted),
            Backend::Cluster { .. } => None,
        })
        .collect();
    wanted.map(|wanted| format!("no such destination: {}", wanted.join(", ")))
}

/// A request that goes to a cluster.
pub(crate) fn send(
    cluster: ClusterSpecifier,
    timeout: Option<Duration>,
    retry: Option<&Retry>,
) -> envoy::RouteAction {
    let timeout = timeout.filter(|timeout| !timeout.is_zero());
    envoy::RouteAction {
        cluster_specifier: Some(cluster),
        timeout: timeout.map_or_else(never, |timeout| Some(duration(timeout))),
        // Without a timeout of the route's, gRPC's own may be as long as it likes.
        max_stream_duration: timeout
            .is_none()
            .then(|| envoy::route_action::MaxStreamDuration {
                max_stream_duration: never(),
                grpc_timeout_header_max: never(),
                ..Default::default()
            }),
        retry_policy: retry.map(retry_policy),
        ..Default::default()
    }
}

fn weighted(shares: &[&WeightedBackend]) -> envoy::WeightedCluster {
    let weights: Vec<u32> = shares.iter().map(|share| share.weight).collect();
    let clusters = shares
        .iter()
        .zip(fit_weights(&weights))
        .map(|(share, weight)| ClusterWeight {
            name: cluster(&share.backend).to_string(),
            weight: Some(weight),
            typed_per_filter_config: per_filter(&share.backend),
            ..Default::default()
        });
    envoy::WeightedCluster {
        clusters: clusters.collect(),
        ..Default::default()
    }
}

/// The cluster of a share. What does not exist gets the cluster without endpoints: its share is answered with 503.
fn cluster(backend: &Backend) -> &ClusterName {
    match backend {
        Backend::Cluster { name, .. } => name,
        Backend::Missing { wanted: _ } => &ClusterName::BlackHole,
    }
}

/// What is hashed for the clusters that find their endpoints so: each cluster gets the one hash of all, as in Istio.
fn hash_policies(shares: &[&WeightedBackend]) -> Vec<envoy::route_action::HashPolicy> {
    let key = |share: &&WeightedBackend| match &share.backend {
        Backend::Cluster { hash, .. } => hash.as_ref().map(hash_policy),
        Backend::Missing { wanted: _ } => None,
    };
    let mut policies: Vec<_> = shares.iter().filter_map(key).collect();
    policies.dedup();
    policies
}

/// Only servers of the mesh are told who calls, which the route table does; and only those of Istio's mutual TLS are
/// offered its ALPN.
fn per_filter(backend: &Backend) -> PerFilter {
    let (service, alpn) = match backend {
        Backend::Cluster {
            name: _,
            service,
            alpn,
            hash: _, // of the route, see `hash_policies`
        } => (service, alpn),
        Backend::Missing { wanted: _ } => return PerFilter::new(),
    };
    let mut config = PerFilter::new();
    if !service.as_ref().is_some_and(|service| service.in_mesh) {
        config.insert(peer_metadata::NAME.to_owned(), peer_metadata::withhold());
    }
    if let Some(announce) = alpn.and_then(alpn::of_route) {
        config.insert(alpn::NAME.to_owned(), announce);
    }
    config
}

fn retry_policy(retry: &Retry) -> envoy::RetryPolicy {
    let Retry {
        attempts,
        on,
        status_codes,
        per_try_timeout,
        backoff,
        avoid_previous_hosts,
    } = retry;
    let avoid = avoid_previous_hosts.then(|| envoy::retry_policy::RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(
            envoy::retry_policy::retry_host_predicate::ConfigType::TypedConfig(pack(
                &PreviousHostsPredicate::default(),
            )),
        ),
    });
    envoy::RetryPolicy {
        retry_on: on.to_string(),
        num_retries: Some(*attempts),
        retriable_status_codes: status_codes.to_vec(),
        per_try_timeout: per_try_timeout.map(duration),
        retry_back_off: backoff.map(|base| envoy::retry_policy::RetryBackOff {
            base_interval: Some(positive(base)),
            max_interval: None,
        }),
        host_selection_retry_max_attempts: if *avoid_previous_hosts {
            HOST_SELECTION_ATTEMPTS
        } else {
            0
        },
        retry_host_predicate: avoid.into_iter().collect(),
        ..Default::default()
    }
}
