//! What an HTTP route does to requests and answers: rewrites, redirects, headers, faults, mirrors, CORS, retries.

use std::sync::Arc;
use std::time::Duration;

use crate::{Destination, Port, Regex, StringMatch};

/// The body of an answer.
pub type Body = Arc<[u8]>;

/// A share of requests, in millionths: Istio's percentages have four decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

impl Share {
    /// All requests.
    pub const ALL: Self = Self(1_000_000);

    /// The share of a percentage; none: it is not between 0 and 100, or too small to be counted.
    #[must_use]
    pub fn of_percent(percent: f64) -> Option<Self> {
        let counted = percent == 0.0 || (0.0001..=100.0).contains(&percent);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and a million"
        )]
        counted.then(|| Self((percent * 10_000.0).round() as u32))
    }

    /// In millionths.
    #[must_use]
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// Whether no request is meant.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// `spec.http[].rewrite`: at least one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpRewrite {
    /// `uri` or `uriRegexRewrite`.
    pub path: Option<PathRewrite>,
    /// `authority`.
    pub authority: Option<Arc<str>>,
}

/// What becomes of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathRewrite {
    /// `uri`: stands for the prefix that matched, or for the whole path after another match.
    Matched(Arc<str>),
    /// `uriRegexRewrite`: stands for each part of the path that the expression matches.
    Regex {
        /// `match`.
        pattern: Regex,
        /// `rewrite`: `\1` is the first group; groups that do not exist are not named.
        substitution: Arc<str>,
    },
}

/// `spec.http[].redirect`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpRedirect {
    /// `uri` or `prefixRewrite`; none: the request's path.
    pub path: Option<RedirectPath>,
    /// `authority`; none: the request's.
    pub authority: Option<Arc<str>>,
    /// `scheme`; none: the request's.
    pub scheme: Option<RedirectScheme>,
    /// `port` and `derivePort`.
    pub port: RedirectPort,
    /// `redirectCode`.
    pub code: RedirectCode,
}

/// The path of the new address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RedirectPath {
    /// `uri`: the whole path.
    Whole(Arc<str>),
    /// `prefixRewrite`: stands for the prefix that matched.
    Prefix(Arc<str>),
}

/// The scheme of the new address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RedirectScheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

/// The port of the new address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RedirectPort {
    /// Nothing is said, or `FROM_PROTOCOL_DEFAULT`: the port that the scheme stands for.
    OfScheme,
    /// `FROM_REQUEST_PORT`: the port that was called.
    OfRequest,
    /// `port`.
    Number(Port),
}

/// The status of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RedirectCode {
    /// 301.
    MovedPermanently,
    /// 302.
    Found,
    /// 303.
    SeeOther,
    /// 307.
    TemporaryRedirect,
    /// 308.
    PermanentRedirect,
}

/// `headers`: what becomes of the headers of requests and answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Headers {
    /// The `host` or `:authority` that `request` sets or adds, which a request has only one of.
    pub authority: Option<Arc<str>>,
    /// `request`, without the host.
    pub request: HeaderOperations,
    /// `response`.
    pub response: HeaderOperations,
}

/// What becomes of some headers; values may have Envoy's command operators in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HeaderOperations {
    /// `set`, ordered by name: overwritten.
    pub set: Arc<[(Arc<str>, Arc<str>)]>,
    /// `add`, ordered by name: a value more.
    pub add: Arc<[(Arc<str>, Arc<str>)]>,
    /// `remove`.
    pub remove: Arc<[Arc<str>]>,
}

/// `spec.http[].fault`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// `delay`: how long, and how many requests.
    pub delay: Option<(Duration, Share)>,
    /// `abort`: with what, and how many requests.
    pub abort: Option<(AbortStatus, Share)>,
}

/// What an aborted request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AbortStatus {
    /// `httpStatus`, 200 to 599.
    Http(u16),
    /// `grpcStatus`, by number.
    Grpc(u32),
}

/// `mirror` and `spec.http[].mirrors[]`: where copies of requests go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mirror {
    /// The destination.
    pub destination: Destination,
    /// How many requests are copied.
    pub share: Share,
}

/// `spec.http[].corsPolicy`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CorsPolicy {
    /// `allowOrigins`, or the deprecated `allowOrigin`.
    pub allow_origins: Arc<[StringMatch]>,
    /// `allowMethods`.
    pub allow_methods: Arc<[Arc<str>]>,
    /// `allowHeaders`.
    pub allow_headers: Arc<[Arc<str>]>,
    /// `exposeHeaders`.
    pub expose_headers: Arc<[Arc<str>]>,
    /// `maxAge`, in whole seconds.
    pub max_age: Option<u64>,
    /// `allowCredentials`.
    pub allow_credentials: Option<bool>,
    /// `unmatchedPreflights`: whether preflights of other origins go to the service.
    pub forwards_unmatched: bool,
}

/// `spec.http[].retries`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Retries {
    /// `attempts`; 0 switches retries off.
    pub attempts: u32,
    /// `perTryTimeout`.
    pub per_try_timeout: Option<Duration>,
    /// The conditions of `retryOn` that are not status codes, joined by `,`; none: Istio's default.
    pub retry_on: Option<Arc<str>>,
    /// The status codes of `retryOn`, ordered.
    pub status_codes: Arc<[u32]>,
    /// `backoff`: the base interval.
    pub backoff: Option<Duration>,
    /// `retryIgnorePreviousHosts`; absent: true.
    pub ignore_previous_hosts: Option<bool>,
    /// `retryRemoteLocalities`: whether a retry goes to other localities than the tries before.
    pub remote_localities: bool,
}
