//! The HTTP routes of a VirtualService: which requests, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use crate::{
    Body, Client, CorsPolicy, Destination, Fault, Headers, HttpRedirect, HttpRewrite, Mirror, Name,
    Namespace, Port, Retries, StringMatch,
};

/// `spec.http[]`. What is absent, a delegating route may say for its delegate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpRoute {
    /// `name`.
    pub name: Option<Arc<str>>,
    /// `match`: one of them must hold; none: every request.
    pub matches: Arc<[HttpMatch]>,
    /// What is done with the request.
    pub action: HttpAction,
    /// `rewrite`.
    pub rewrite: Option<HttpRewrite>,
    /// `timeout`; zero and absent: none.
    pub timeout: Option<Duration>,
    /// `retries`; absent: the mesh's default.
    pub retries: Option<Retries>,
    /// `fault`.
    pub fault: Option<Fault>,
    /// `mirror` with its percentage.
    pub mirror: Option<Mirror>,
    /// `mirrors`.
    pub mirrors: Arc<[Mirror]>,
    /// `corsPolicy`.
    pub cors: Option<Arc<CorsPolicy>>,
    /// `headers`.
    pub headers: Option<Headers>,
}

impl HttpRoute {
    /// The route that does this with every request, and nothing else.
    #[must_use]
    pub fn of(action: HttpAction) -> Self {
        Self {
            name: None,
            matches: Arc::new([]),
            action,
            rewrite: None,
            timeout: None,
            retries: None,
            fault: None,
            mirror: None,
            mirrors: Arc::new([]),
            cors: None,
            headers: None,
        }
    }

    /// Everything that gets copies of its requests.
    pub fn all_mirrors(&self) -> impl Iterator<Item = &Mirror> {
        self.mirror.iter().chain(self.mirrors.iter())
    }
}

/// Conditions by name, ordered; the names of headers are lower case.
pub type Conditions = Arc<[(Arc<str>, StringMatch)]>;

/// `spec.http[].match[]`: all that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HttpMatch {
    /// `name`.
    pub name: Option<Arc<str>>,
    /// `uri`.
    pub uri: Option<StringMatch>,
    /// `ignoreUriCase`: for `exact` and `prefix` of `uri`.
    pub ignore_uri_case: bool,
    /// `scheme`.
    pub scheme: Option<StringMatch>,
    /// `method`.
    pub method: Option<StringMatch>,
    /// `authority`.
    pub authority: Option<StringMatch>,
    /// `headers`.
    pub headers: Conditions,
    /// `withoutHeaders`: none of these may hold.
    pub without_headers: Conditions,
    /// `queryParams`.
    pub query_params: Conditions,
    /// `port`: the port that the caller addressed.
    pub port: Option<Port>,
    /// `sourceNamespace` and `sourceLabels`.
    pub client: Client,
    /// `statPrefix`.
    pub stat_prefix: Option<Arc<str>>,
    /// It has a condition that is not understood: it matches no request, rather than too many.
    pub never: bool,
}

/// What a route does with a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HttpAction {
    /// `route`: to one of these, by weight. Weights sum to more than 0.
    Route(Arc<[WeightedDestination]>),
    /// `redirect`: answered with another address.
    Redirect(HttpRedirect),
    /// `directResponse`: answered at once.
    DirectResponse {
        /// `status`, 200 to 599.
        status: u16,
        /// `body`.
        body: Body,
    },
    /// `delegate`: what another VirtualService, which has no hosts, does with it.
    Delegate(Delegate),
    /// The action cannot be carried out: 503 with this reason.
    Unavailable(Arc<str>),
}

/// `spec.http[].delegate`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delegate {
    /// `namespace`; absent: the delegating VirtualService's.
    pub namespace: Namespace,
    /// `name`.
    pub name: Name,
}

/// `spec.http[].route[]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WeightedDestination {
    /// `destination`.
    pub destination: Destination,
    /// `weight`; a single destination without one has 100.
    pub weight: u32,
    /// `headers`.
    pub headers: Headers,
}
