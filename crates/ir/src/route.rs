//! Route tables, virtual hosts and routes.

use std::sync::Arc;
use std::time::Duration;

use model::{
    Body, Conditions, CorsPolicy, Fault, HashKey, Headers, Port, RedirectCode, RedirectScheme,
    Share, StringMatch,
};

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
    /// What its counters begin with; none: it has no counters of its own.
    pub stat_prefix: Option<Arc<str>>,
    /// Which requests it takes.
    pub matcher: RouteMatch,
    /// What it does with them.
    pub action: RouteAction,
    /// What becomes of headers, whatever the action is; the authority is the action's.
    pub headers: Headers,
    /// Delays and errors before the action.
    pub fault: Option<Fault>,
    /// Which other origins browsers may call from.
    pub cors: Option<Arc<CorsPolicy>>,
}

/// Which requests a route takes: all that is set must hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteMatch {
    /// The path, without query.
    pub path: PathMatch,
    /// Whether an exact path and a prefix are compared without regard to case.
    pub ignore_path_case: bool,
    /// The scheme.
    pub scheme: Option<StringMatch>,
    /// The method.
    pub method: Option<StringMatch>,
    /// The host.
    pub authority: Option<StringMatch>,
    /// Headers.
    pub headers: Conditions,
    /// Headers of which none may match.
    pub without_headers: Conditions,
    /// Parameters of the query.
    pub query_params: Conditions,
}

impl Default for RouteMatch {
    fn default() -> Self {
        Self {
            path: PathMatch::Prefix("/".into()),
            ignore_path_case: false,
            scheme: None,
            method: None,
            authority: None,
            headers: Arc::new([]),
            without_headers: Arc::new([]),
            query_params: Arc::new([]),
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

impl Route {
    /// The route that does this with every request, and nothing else.
    #[must_use]
    pub fn of(name: impl Into<Arc<str>>, action: RouteAction) -> Self {
        Self {
            name: name.into(),
            stat_prefix: None,
            matcher: RouteMatch::default(),
            action,
            headers: Headers::default(),
            fault: None,
            cors: None,
        }
    }
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteAction {
    /// To one of these clusters, by weight.
    Forward(Forward),
    /// Answers with another address.
    Redirect(Redirect),
    /// Answers by itself.
    Respond {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: Body,
    },
}

/// Requests are answered with another address; what is not said is as in the request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Redirect {
    /// The path.
    pub path: Option<NewPath>,
    /// The host.
    pub authority: Option<Arc<str>>,
    /// The scheme.
    pub scheme: Option<RedirectScheme>,
    /// The port; none: the scheme's.
    pub port: Option<Port>,
    /// The status.
    pub code: RedirectCode,
}

/// A path in place of the request's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NewPath {
    /// The whole path.
    Whole(Arc<str>),
    /// What stands for the prefix, or for the whole path, that the route matched.
    Matched(Arc<str>),
    /// What stands for each part that an expression matches.
    Regex {
        /// RE2.
        pattern: Arc<str>,
        /// The replacement, with `\1` for the first group.
        substitution: Arc<str>,
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
    /// The path that the service gets.
    pub path: Option<NewPath>,
    /// The host that the service gets.
    pub authority: Option<Arc<str>>,
    /// Clusters that get copies, in the VirtualService's order.
    pub mirrors: Arc<[Mirror]>,
}

impl Forward {
    /// Everything to one backend, without timeout, retries or changes.
    #[must_use]
    pub fn to(backend: Backend) -> Self {
        Self::among([WeightedBackend {
            backend,
            weight: 1,
            headers: Headers::default(),
        }])
    }

    /// The same to several backends.
    #[must_use]
    pub fn among(backends: impl IntoIterator<Item = WeightedBackend>) -> Self {
        Self {
            backends: backends.into_iter().collect(),
            timeout: None,
            retry: None,
            path: None,
            authority: None,
            mirrors: Arc::new([]),
        }
    }
}

/// Copies of requests, whose answers nobody waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mirror {
    /// Where they go.
    pub cluster: ClusterName,
    /// Whether the cluster is a service of the mesh, which is told who calls.
    pub in_mesh: bool,
    /// How many requests are copied.
    pub share: Share,
}

/// A backend and its share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WeightedBackend {
    /// Where to.
    pub backend: Backend,
    /// Its share of the sum of weights.
    pub weight: u32,
    /// What becomes of headers here, beside what the route does.
    pub headers: Headers,
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
    /// Whether localities that were tried are avoided.
    pub remote_localities: bool,
}
