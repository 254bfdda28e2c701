//! Route tables, virtual hosts and routes.

use std::sync::Arc;
use std::time::Duration;

use model::{HashKey, StringMatch};

use crate::{ClusterName, RouteTableName, ServiceRef};

/// What stands around the virtual hosts of a route table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteTable {
    /// Its name.
    pub name: RouteTableName,
}

/// One virtual host: all routes of one host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualHost {
    /// `host:port`, or `allow_any` and `block_all` for all other hosts.
    pub name: Arc<str>,
    /// The Host headers that lead here, without port, ordered; `*` for all other hosts.
    pub domains: Arc<[Arc<str>]>,
    /// In the order in which they are tried.
    pub routes: Arc<[Route]>,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Its name in Envoy's logs: the VirtualService's route name, or `default`.
    pub name: Arc<str>,
    /// Which requests it takes.
    pub matcher: RouteMatch,
    /// What it does with them.
    pub action: RouteAction,
}

/// Which requests a route takes: all that is set must hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteMatch {
    /// The path, without query.
    pub path: PathMatch,
    /// The method.
    pub method: Option<StringMatch>,
    /// Headers, ordered by name, lower case.
    pub headers: Arc<[(Arc<str>, StringMatch)]>,
}

impl Default for RouteMatch {
    fn default() -> Self {
        Self {
            path: PathMatch::Prefix("/".into()),
            method: None,
            headers: Arc::new([]),
        }
    }
}

/// Which paths a route takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// The whole path.
    Exact(Arc<str>),
    /// The start of the path.
    Prefix(Arc<str>),
    /// An RE2 expression for the whole path.
    Regex(Arc<str>),
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteAction {
    /// To one of these clusters, by weight.
    Forward(Forward),
    /// Answers by itself.
    Respond {
        /// The HTTP status.
        status: u16,
        /// The body: the reason, in words.
        body: Arc<str>,
    },
}

/// Requests go to a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Forward {
    /// In the VirtualService's order; never empty, weights never all 0.
    pub backends: Arc<[WeightedBackend]>,
    /// For the whole request with its retries; none: no limit.
    pub timeout: Option<Duration>,
    /// None: no retries.
    pub retry: Option<Retry>,
}

/// A backend and its share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WeightedBackend {
    /// Where to.
    pub backend: Backend,
    /// Its share of the sum of weights.
    pub weight: u32,
}

/// Where a share of the requests goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// A cluster.
    Cluster {
        /// Its name.
        name: ClusterName,
        /// The service behind it; none for `PassthroughCluster`.
        service: Option<ServiceRef>,
        /// The ALPN that Istio's servers know the mesh by, where the cluster speaks Istio's mutual TLS.
        alpn: Option<MeshAlpn>,
        /// What of a request is hashed, where the cluster chooses its endpoints so.
        hash: Option<HashKey>,
    },
    /// The destination does not exist: 503, without a cluster that could be missing.
    Missing {
        /// What was asked for, in words: host, or host and subset.
        wanted: Arc<str>,
    },
}

/// What a request is announced as in Istio's ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MeshAlpn {
    /// `istio-http/1.1,istio,http/1.1`.
    Http1,
    /// `istio-h2,istio,h2`.
    Http2,
    /// By what the caller speaks.
    FollowCaller,
}

/// Retries of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Retry {
    /// How often again.
    pub attempts: u32,
    /// Envoy's `retry_on` words, joined by `,`.
    pub on: Arc<str>,
    /// `retriable_status_codes`, ordered.
    pub status_codes: Arc<[u32]>,
    /// For each try.
    pub per_try_timeout: Option<Duration>,
    /// The base interval of the back-off.
    pub backoff: Option<Duration>,
    /// Whether hosts that were tried are avoided.
    pub avoid_previous_hosts: bool,
}
