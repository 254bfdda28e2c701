//! Host names as services bear them, and host patterns as Istio's objects write them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::{InvalidName, Name, Namespace};

/// The DNS domain of a cluster's services. Istio's default, and the only one here.
pub const CLUSTER_DOMAIN: &str = "svc.cluster.local";

/// A fully qualified, lower-case host name, such as `reviews.default.svc.cluster.local`. Only the host of a service may
/// begin with `*.`, where a ServiceEntry says so; nothing that is read as a name does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(Arc<str>);

impl Hostname {
    /// The name of a Kubernetes Service: `name.namespace.svc.cluster.local`.
    #[must_use]
    pub fn of_service(name: &Name, namespace: &Namespace) -> Self {
        Self(format!("{name}.{namespace}.{CLUSTER_DOMAIN}").into())
    }

    /// Reads a host as an object in `namespace` writes it: a name without a dot is a Service of that
    /// namespace (Istio: short names), anything else is taken as it stands, in lower case.
    ///
    /// # Errors
    /// When the text is not a DNS name.
    pub fn resolve(text: &str, namespace: &Namespace) -> Result<Self, InvalidName> {
        let host: Self = text.parse()?;
        if host.as_str().contains('.') {
            return Ok(host);
        }
        Ok(Self(format!("{host}.{namespace}.{CLUSTER_DOMAIN}").into()))
    }

    /// The name as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for all hosts under a domain.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// The pattern that names this host, or these hosts, and no other.
    #[must_use]
    pub fn pattern(&self) -> HostPattern {
        match self.0.strip_prefix("*.") {
            Some(suffix) => HostPattern::Suffix(HostSuffix(Self(suffix.into()))),
            None => HostPattern::Exact(self.clone()),
        }
    }

    /// The name and namespace of a Kubernetes Service of this host, if it has the shape of one.
    #[must_use]
    pub fn service_parts(&self) -> Option<(&str, &str)> {
        let parts = self.0.strip_suffix(CLUSTER_DOMAIN)?.strip_suffix('.')?;
        parts
            .split_once('.')
            .filter(|(_, namespace)| !namespace.contains('.'))
    }
}

fn is_dns(text: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

impl FromStr for Hostname {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_dns(text) {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Err(InvalidName {
                what: "host",
                text: text.to_owned(),
                rule: "it must be a DNS name (RFC 1123)",
            })
        }
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A host or a wildcard, as `hosts` of a VirtualService or `host` of a DestinationRule name it.
///
/// Ordered from the most to the least specific: exact names, then longer suffixes, then `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// One host.
    Exact(Hostname),
    /// `*.suffix`: every host that ends in `.suffix`.
    Suffix(HostSuffix),
    /// `*`: every host.
    Any,
}

/// The part of `*.example.com` behind `*.`. Longer suffixes order first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostSuffix(Hostname);

impl HostSuffix {
    /// The host behind `*.`.
    #[must_use]
    pub fn host(&self) -> &Hostname {
        &self.0
    }
}

impl Ord for HostSuffix {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let length = |s: &Self| s.0.as_str().len();
        length(other)
            .cmp(&length(self))
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for HostSuffix {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl HostPattern {
    /// Reads a pattern as an object in `namespace` writes it; short names as in [`Hostname::resolve`].
    ///
    /// # Errors
    /// When the text is neither a DNS name, nor `*`, nor `*.` before a DNS name.
    pub fn resolve(text: &str, namespace: &Namespace) -> Result<Self, InvalidName> {
        match text.strip_prefix("*.") {
            Some(suffix) => Ok(Self::Suffix(HostSuffix(suffix.parse()?))),
            None if text == "*" => Ok(Self::Any),
            None => Ok(Self::Exact(Hostname::resolve(text, namespace)?)),
        }
    }

    /// `*.suffix` of a DNS name without wildcard; none if it is not one.
    #[must_use]
    pub fn suffix(text: &str) -> Option<Self> {
        Some(Self::Suffix(HostSuffix(text.parse().ok()?)))
    }

    /// Reads a pattern as a ServiceEntry writes it: names without a dot stay as they are.
    ///
    /// # Errors
    /// When the text is neither a DNS name, nor `*`, nor `*.` before a DNS name.
    pub fn literal(text: &str) -> Result<Self, InvalidName> {
        match text.strip_prefix("*.") {
            Some(suffix) => Ok(Self::Suffix(HostSuffix(suffix.parse()?))),
            None if text == "*" => Ok(Self::Any),
            None => Ok(Self::Exact(text.parse()?)),
        }
    }

    /// The host of the service that a ServiceEntry declares under this pattern; `*` is too wide for one.
    #[must_use]
    pub fn service_host(&self) -> Option<Hostname> {
        match self {
            Self::Exact(host) => Some(host.clone()),
            Self::Suffix(suffix) => Some(Hostname(format!("*.{}", suffix.0).into())),
            Self::Any => None,
        }
    }

    /// Whether every host that `other` names is one of the hosts that this pattern names.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match other {
            Self::Exact(host) => self.matches(host),
            Self::Suffix(suffix) => self == other || self.matches(suffix.host()),
            Self::Any => *self == Self::Any,
        }
    }

    /// Whether `host` is one of the hosts that this pattern names.
    #[must_use]
    pub fn matches(&self, host: &Hostname) -> bool {
        match self {
            Self::Exact(exact) => exact == host,
            Self::Suffix(suffix) => host
                .as_str()
                .strip_suffix(suffix.0.as_str())
                .is_some_and(|head| head.len() > 1 && head.ends_with('.')),
            Self::Any => true,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => write!(f, "{host}"),
            Self::Suffix(suffix) => write!(f, "*.{}", suffix.0),
            Self::Any => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> Namespace {
        "shop".parse().unwrap()
    }

    #[test]
    fn short_names_belong_to_the_objects_namespace() {
        let host = Hostname::resolve("Cart", &shop()).unwrap();
        assert_eq!(host.as_str(), "cart.shop.svc.cluster.local");
        assert_eq!(host.service_parts(), Some(("cart", "shop")));
        assert_eq!(
            Hostname::resolve("example.com", &shop()).unwrap().as_str(),
            "example.com"
        );
    }

    #[test]
    fn wildcards_match_whole_labels_only() {
        let pattern = HostPattern::resolve("*.example.com", &shop()).unwrap();
        let host = |text: &str| text.parse::<Hostname>().unwrap();
        assert!(pattern.matches(&host("a.example.com")));
        assert!(!pattern.matches(&host("aexample.com")));
        assert!(!pattern.matches(&host("example.com")));
        assert!(HostPattern::resolve("a*.com", &shop()).is_err());
    }

    #[test]
    fn a_service_may_stand_for_a_domain() {
        let pattern = HostPattern::literal("*.a.com").unwrap();
        let host = pattern.service_host().unwrap();
        assert_eq!(host.as_str(), "*.a.com");
        assert!(host.is_wildcard());
        assert_eq!(host.pattern(), pattern);
        assert!(HostPattern::literal("*.com").unwrap().covers(&pattern));
        assert!(pattern.covers(&pattern));
        assert!(!pattern.covers(&HostPattern::literal("*.com").unwrap()));
        assert!(pattern.covers(&HostPattern::literal("b.a.com").unwrap()));
        assert!(!pattern.covers(&HostPattern::literal("a.com").unwrap()));
    }

    #[test]
    fn the_most_specific_pattern_orders_first() {
        let pattern = |text: &str| HostPattern::resolve(text, &shop()).unwrap();
        let mut patterns = [
            pattern("*"),
            pattern("*.com"),
            pattern("*.a.com"),
            pattern("x.a.com"),
        ];
        patterns.sort();
        let names: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["x.a.com", "*.a.com", "*.com", "*"]);
    }
}
