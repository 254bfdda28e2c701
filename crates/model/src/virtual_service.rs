//! VirtualService: how requests to a host are routed.

use std::sync::Arc;
use std::time::Duration;

use crate::{ConnectionRoute, ExportTo, HostPattern, Hostname, Port, SubsetName};

/// `networking.istio.io` VirtualService, as far as it concerns sidecars.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualService {
    /// `spec.hosts`, short names resolved.
    pub hosts: Arc<[HostPattern]>,
    /// Whether it applies to sidecars: `spec.gateways` is empty or names `mesh`.
    pub in_mesh: bool,
    /// `spec.exportTo`.
    pub export_to: ExportTo,
    /// `spec.http`, in order.
    pub http: Arc<[HttpRoute]>,
    /// `spec.tls`, in order.
    pub tls: Arc<[ConnectionRoute]>,
    /// `spec.tcp`, in order.
    pub tcp: Arc<[ConnectionRoute]>,
}

impl VirtualService {
    /// Whether it routes connections, by TCP or TLS.
    #[must_use]
    pub fn routes_connections(&self) -> bool {
        !self.tls.is_empty() || !self.tcp.is_empty()
    }
}

/// `spec.http[]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpRoute {
    /// `name`.
    pub name: Option<Arc<str>>,
    /// `match`: one of them must hold; none: every request.
    pub matches: Arc<[HttpMatch]>,
    /// What is done with the request.
    pub action: HttpAction,
    /// `timeout`; zero and absent: none.
    pub timeout: Option<Duration>,
    /// `retries`; absent: the mesh's default.
    pub retries: Option<Retries>,
}

/// `spec.http[].match[]`: all that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HttpMatch {
    /// `name`.
    pub name: Option<Arc<str>>,
    /// `uri`.
    pub uri: Option<StringMatch>,
    /// `method`.
    pub method: Option<StringMatch>,
    /// `headers`, ordered by name, lower case.
    pub headers: Arc<[(Arc<str>, StringMatch)]>,
    /// `port`: the port that the caller addressed.
    pub port: Option<Port>,
    /// It has a condition that is not understood: it matches no request, rather than too many.
    pub never: bool,
}

/// Istio's StringMatch; for headers also the empty match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StringMatch {
    /// The whole string.
    Exact(Arc<str>),
    /// The start of the string.
    Prefix(Arc<str>),
    /// An RE2 expression for the whole string.
    Regex(Regex),
    /// Any value, as long as there is one.
    Present,
}

/// A regular expression that RE2 takes and that is bounded in size (SEC 03).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Regex(Arc<str>);

/// The longest regular expression that a user may write, in bytes (SEC 03).
pub const MAX_REGEX: usize = 1024;

impl Regex {
    /// Checks syntax, length, nesting and the size that it compiles to.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > MAX_REGEX {
            return Err(format!(
                "the expression has {} bytes; at most {MAX_REGEX} are allowed",
                text.len()
            ));
        }
        let parsed = regex_syntax::ParserBuilder::new()
            .nest_limit(100)
            .unicode(false)
            .utf8(false)
            .build()
            .parse(text)
            .map_err(|error| {
                error
                    .to_string()
                    .lines()
                    .last()
                    .unwrap_or("not a regular expression")
                    .to_owned()
            })?;
        if repetitions(&parsed) > MAX_REPEATED {
            return Err(format!(
                "the expression repeats more than {MAX_REPEATED} characters"
            ));
        }
        Ok(Self(text.into()))
    }

    /// The expression.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// RE2's own limit on counted repetition (`x{1000}`), applied to the product of nested ones.
const MAX_REPEATED: u64 = 1000;

fn repetitions(expression: &regex_syntax::hir::Hir) -> u64 {
    use regex_syntax::hir::HirKind;
    match expression.kind() {
        HirKind::Repetition(r) => {
            let times = u64::from(r.max.unwrap_or(r.min).max(1));
            times.saturating_mul(repetitions(&r.sub))
        }
        HirKind::Capture(capture) => repetitions(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(repetitions).max().unwrap_or(1)
        }
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => 1,
    }
}

/// What a route does with a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HttpAction {
    /// `route`: to one of these, by weight. Weights sum to more than 0.
    Route(Arc<[WeightedDestination]>),
    /// The action cannot be carried out (broken, or not translated yet): 503 with this reason.
    Unavailable(Arc<str>),
}

/// `spec.http[].route[]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WeightedDestination {
    /// `destination`.
    pub destination: Destination,
    /// `weight`; a single destination without one has 100.
    pub weight: u32,
}

/// `destination`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// `host`, short names resolved with the VirtualService's namespace.
    pub host: Hostname,
    /// `subset`.
    pub subset: Option<SubsetName>,
    /// `port.number`.
    pub port: Option<Port>,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_03_regexes_are_bounded() {
        assert!(Regex::new("/v[0-9]+/.*").is_ok());
        assert!(Regex::new("[a-z]{200}").is_ok());
        assert!(Regex::new("(a{1000}){1000}").is_err());
        assert!(Regex::new(&"(".repeat(1_000_000)).is_err());
        assert!(Regex::new(&"(".repeat(1000)).is_err());
        assert!(Regex::new("a(?=b)").is_err(), "RE2 has no look-ahead");
    }
}
