//! SPIFFE identities of workloads: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::{InvalidName, Namespace, ServiceAccount};

/// The longest SPIFFE ID that may be issued or accepted, in bytes (SPIFFE-ID section 2.3).
pub const MAX_SPIFFE_ID: usize = 2048;

/// A SPIFFE trust domain: lower-case letters, digits, `.`, `-` and `_` (SPIFFE-ID section 2.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Istio's default, `cluster.local`.
    #[must_use]
    pub fn cluster_local() -> Self {
        Self("cluster.local".into())
    }

    /// The name as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed =
            |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'-' | b'_');
        if !text.is_empty() && text.len() <= 255 && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName {
                what: "trust domain",
                text: text.to_owned(),
                rule: "it must be lower-case letters, digits, '.', '-' and '_', at most 255",
            })
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// The trust domains of a mesh: its own, then its aliases. A principal of one of them is a principal of all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomains(Arc<[TrustDomain]>);

impl TrustDomains {
    /// The mesh's own and its aliases, each once.
    #[must_use]
    pub fn new(own: TrustDomain, aliases: impl IntoIterator<Item = TrustDomain>) -> Self {
        let mut all = vec![own];
        for alias in aliases {
            if !all.contains(&alias) {
                all.push(alias);
            }
        }
        Self(all.into())
    }

    /// All of them, the mesh's own first.
    pub fn iter(&self) -> impl Iterator<Item = &TrustDomain> {
        self.0.iter()
    }
}

/// The identity of a workload in Istio's form. Other SPIFFE IDs exist; none is issued here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    /// The trust domain that vouches for the identity.
    pub trust_domain: TrustDomain,
    /// The namespace of the workload.
    pub namespace: Namespace,
    /// The service account that the workload runs as.
    pub service_account: ServiceAccount,
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trust_domain,
            namespace,
            service_account,
        } = self;
        write!(
            f,
            "spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}"
        )
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName {
            what: "SPIFFE ID of a workload",
            text: text.chars().take(MAX_SPIFFE_ID).collect(),
            rule: "it must be spiffe://<trust domain>/ns/<namespace>/sa/<service account>, at most 2048 bytes",
        };
        if text.len() > MAX_SPIFFE_ID {
            return Err(invalid());
        }
        let rest = text.strip_prefix("spiffe://").ok_or_else(invalid)?;
        let mut segments = rest.split('/');
        let mut next = || segments.next().ok_or_else(invalid);
        let (domain, ns, namespace, sa, account) = (next()?, next()?, next()?, next()?, next()?);
        if ns != "ns" || sa != "sa" || segments.next().is_some() {
            return Err(invalid());
        }
        Ok(Self {
            trust_domain: domain.parse()?,
            namespace: namespace.parse()?,
            service_account: account.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn svid_01_to_06_syntax() {
        let good = "spiffe://cluster.local/ns/shop/sa/cart";
        assert_eq!(good.parse::<SpiffeId>().unwrap().to_string(), good);
        for bad in [
            "http://cluster.local/ns/shop/sa/cart",
            "spiffe://Cluster.local/ns/shop/sa/cart",
            "spiffe://cluster.local:80/ns/shop/sa/cart",
            "spiffe://u@cluster.local/ns/shop/sa/cart",
            "spiffe://cluster.local/ns/shop/sa/cart/",
            "spiffe://cluster.local/ns//sa/cart",
            "spiffe://cluster.local/ns/../sa/cart",
            "spiffe://cluster.local/ns/shop/sa/ca%72t",
            "spiffe://cluster.local/ns/shop/sa/cart?x",
            "spiffe://cluster.local/ns/shop/sa/cart#x",
            "spiffe://cluster.local/",
            "spiffe://cluster.local/ns/shop/sa/cart\0",
        ] {
            assert!(bad.parse::<SpiffeId>().is_err(), "{bad}");
        }
        assert!(
            format!("spiffe://a/ns/b/sa/{}", "c".repeat(3000))
                .parse::<SpiffeId>()
                .is_err()
        );
    }
}
