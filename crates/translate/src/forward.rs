//! Requests that are sent on: to which cluster, how long, how often again, and what Istio's servers are told with them.

use std::collections::BTreeMap;
use std::time::Duration;

use envoy::route_action::{ClusterSpecifier, HostRewriteSpecifier};
use envoy::weighted_cluster::ClusterWeight;
use envoy_api::envoy::config::route::v3 as envoy;
use envoy_api::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_api::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use envoy_api::{Any, pack};
use ir::model::{EnvoyMinor, Headers};
use ir::{Backend, ClusterName, Forward, Mirror, Retry, RouteMatch, WeightedBackend};

use crate::hash_policy::hash_policy;
use crate::header_operations::changes;
use crate::path_rewrite::{Rewrite, rewrite};
use crate::proto::{duration, fit_weights, never, positive};
use crate::route::respond;
use crate::route_filters::sampled;
use crate::{alpn, peer_metadata};

/// How often Envoy looks for a host that was not tried yet, as istiod.
const HOST_SELECTION_ATTEMPTS: i64 = 5;

/// Configuration of filters for one route or one of its clusters.
type PerFilter = BTreeMap<String, Any>;

/// What a route does, and what else of it depends on that.
pub(crate) struct Forwarded<'a> {
    /// The action.
    pub action: envoy::route::Action,
    /// The configuration of its filters.
    pub per_filter: PerFilter,
    /// Headers that its only cluster changes: the route does it for it.
    pub headers: Option<&'a Headers>,
}

impl From<envoy::route::Action> for Forwarded<'_> {
    fn from(action: envoy::route::Action) -> Self {
        Self {
            action,
            per_filter: PerFilter::new(),
            headers: None,
        }
    }
}

/// A route that sends requests on, which it matches so.
pub(crate) fn forward<'a>(
    to: &'a Forward,
    matcher: &RouteMatch,
    envoy: EnvoyMinor,
) -> Forwarded<'a> {
    let Forward {
        backends: _, // see `shares`
        timeout,
        retry,
        path,
        authority,
        mirrors,
    } = to;
    let shares = shares(to);
    if let Some(body) = nowhere(&shares) {
        return respond(503, body.as_bytes()).into();
    }
    let only = match *shares {
        [only] => Some(only),
        _ => None,
    };
    let cluster = match only {
        Some(only) => ClusterSpecifier::Cluster(cluster(&only.backend).to_string()),
        None => ClusterSpecifier::WeightedClusters(weighted(&shares, envoy)),
    };
    let mut action = send(cluster, *timeout, retry.as_ref());
    // Istio: the route's word on the host stands above its only cluster's.
    let authority = authority
        .as_ref()
        .or_else(|| only?.headers.authority.as_ref());
    action.host_rewrite_specifier =
        authority.map(|host| HostRewriteSpecifier::HostRewriteLiteral(host.to_string()));
    match path.as_ref().map(|path| rewrite(path, matcher)) {
        None => {}
        Some(Rewrite::Whole(path) | Rewrite::Prefix(path)) => action.prefix_rewrite = path,
        Some(Rewrite::Regex(regex)) => action.regex_rewrite = Some(regex),
    }
    action.hash_policy = hash_policies(&shares);
    action.request_mirror_policies = mirrors.iter().map(mirror).collect();
    Forwarded {
        action: envoy::route::Action::Route(action),
        per_filter: only
            .map(|only| per_filter(&only.backend))
            .unwrap_or_default(),
        headers: only.map(|only| &only.headers),
    }
}

/// Copies keep the host of their request; one that leaves the mesh does not say who calls.
fn mirror(mirror: &Mirror) -> envoy::route_action::RequestMirrorPolicy {
    let Mirror {
        cluster,
        in_mesh,
        share,
    } = mirror;
    let withheld = (!in_mesh).then(peer_metadata::withheld_from_copy);
    envoy::route_action::RequestMirrorPolicy {
        cluster: cluster.to_string(),
        runtime_fraction: Some(sampled(*share)),
        trace_sampled: Some(false),
        disable_shadow_host_suffix_append: true,
        request_headers_mutations: withheld.into_iter().collect(),
        ..Default::default()
    }
}

/// The clusters that a route names, for requests and for copies of them.
pub(crate) fn clusters_of(to: &Forward) -> impl Iterator<Item = &ClusterName> {
    let shares = shares(to);
    let mirrors = match nowhere(&shares) {
        // What is answered here is not copied.
        Some(_) => &[],
        None => &*to.mirrors,
    };
    let backends = shares.into_iter();
    let clusters = backends.filter_map(|share| match &share.backend {
        Backend::Cluster {
            name,
            service: _,
            alpn: _,
            hash: _,
        } => Some(name),
        Backend::Missing { wanted: _ } => None,
    });
    clusters.chain(mirrors.iter().map(|mirror| &mirror.cluster))
}

/// The backends that are sent anything. Envoy need not know of the others.
fn shares(to: &Forward) -> Vec<&WeightedBackend> {
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

fn weighted(shares: &[&WeightedBackend], envoy: EnvoyMinor) -> envoy::WeightedCluster {
    let weights: Vec<u32> = shares.iter().map(|share| share.weight).collect();
    let clusters = shares
        .iter()
        .zip(fit_weights(&weights))
        .map(|(share, weight)| cluster_weight(share, weight, envoy));
    envoy::WeightedCluster {
        clusters: clusters.collect(),
        ..Default::default()
    }
}

fn cluster_weight(share: &WeightedBackend, weight: u32, envoy: EnvoyMinor) -> ClusterWeight {
    let WeightedBackend {
        backend,
        weight: _, // `weight` fits Envoy
        headers,
    } = share;
    let request = changes([&headers.request], envoy);
    let response = changes([&headers.response], envoy);
    let authority = headers.authority.as_ref();
    ClusterWeight {
        name: cluster(backend).to_string(),
        weight: Some(weight),
        typed_per_filter_config: per_filter(backend),
        request_headers_to_add: request.add,
        request_headers_to_remove: request.remove,
        response_headers_to_add: response.add,
        response_headers_to_remove: response.remove,
        host_rewrite_specifier: authority.map(|host| {
            envoy::weighted_cluster::cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(
                host.to_string(),
            )
        }),
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
        remote_localities,
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
        retry_priority: remote_localities.then(other_localities),
        ..Default::default()
    }
}

/// Retries go to other priorities, which are other localities; as istiod, after every second try anew.
fn other_localities() -> envoy::retry_policy::RetryPriority {
    use envoy::retry_policy::retry_priority::ConfigType;
    envoy::retry_policy::RetryPriority {
        name: "envoy.retry_priorities.previous_priorities".to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack(&PreviousPrioritiesConfig {
            update_frequency: 2,
        }))),
    }
}
