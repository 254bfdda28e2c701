//! VirtualService: how requests to a host are routed.

use std::sync::Arc;

use crate::{
    ConnectionRoute, ExportTo, HostPattern, Hostname, HttpRoute, Labels, Namespace, Port,
    SubsetName,
};

/// `networking.istio.io` VirtualService, as far as it concerns sidecars.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualService {
    /// `spec.hosts`, short names resolved; none: it is a delegate, whose routes other VirtualServices take.
    pub hosts: Arc<[HostPattern]>,
    /// Whether it applies to sidecars: `spec.gateways` is empty or names `mesh`.
    pub in_mesh: bool,
    /// Whether it is for gateways, beside the sidecars or alone.
    pub at_gateways: bool,
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

/// The clients that a condition holds for; by default all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    /// `sourceNamespace`: of this namespace; none: of any.
    pub namespace: Option<Namespace>,
    /// `sourceLabels`: the client bears all of these.
    pub labels: Labels,
}

impl Client {
    /// Whether every client is meant.
    #[must_use]
    pub fn is_anyone(&self) -> bool {
        self.namespace.is_none() && self.labels.is_empty()
    }
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
        if text.is_empty() {
            return Err("the expression is empty".to_owned());
        }
        if text.len() > MAX_REGEX {
            return Err(format!(
                "the expression has {} bytes; at most {MAX_REGEX} are allowed",
                text.len()
            ));
        }
        let parsed = parse(text)?;
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

    /// How many groups it captures, which a replacement may name.
    #[must_use]
    pub fn groups(&self) -> usize {
        parse(&self.0).map_or(0, |parsed| parsed.properties().explicit_captures_len())
    }
}

fn parse(text: &str) -> Result<regex_syntax::hir::Hir, String> {
    let mut parser = regex_syntax::ParserBuilder::new()
        .nest_limit(100)
        .unicode(false)
        .utf8(false)
        .build();
    parser.parse(text).map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last();
        last.unwrap_or("not a regular expression").to_owned()
    })
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
