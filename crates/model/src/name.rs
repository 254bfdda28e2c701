//! Names of namespaces, objects, accounts and subsets: strings that Kubernetes would accept.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a string is not a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    /// What the string was meant to be, for the message.
    pub what: &'static str,
    /// The string as it was written.
    pub text: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a {}: {}", self.text, self.what, self.rule)
    }
}

impl std::error::Error for InvalidName {}

pub(crate) fn is_label(text: &str) -> bool {
    let edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.first().copied().is_some_and(edge)
        && bytes.last().copied().is_some_and(edge)
        && bytes.iter().all(|&c| edge(c) || c == b'-')
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_subset(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.starts_with(edge)
        && text.ends_with(edge)
        && text
            .chars()
            .all(|c| edge(c) || c == '-' || c == '.' || c == '_')
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $check:ident, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if $check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidName { what: $what, text: text.to_owned(), rule: $rule })
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name!(
    /// A Kubernetes namespace: an RFC 1123 label.
    Namespace, "namespace", is_label,
    "it must be an RFC 1123 label (lower-case letters, digits and '-', at most 63)"
);
name!(
    /// The name of an object: an RFC 1123 subdomain.
    Name, "name", is_subdomain,
    "it must be an RFC 1123 subdomain (lower-case letters, digits, '-' and '.', at most 253)"
);
name!(
    /// A Kubernetes service account: an RFC 1123 subdomain.
    ServiceAccount, "service account", is_subdomain,
    "it must be an RFC 1123 subdomain (lower-case letters, digits, '-' and '.', at most 253)"
);
name!(
    /// A subset of a DestinationRule (`spec.subsets[].name`); it stands in cluster names, so `|` never occurs.
    SubsetName, "subset name", is_subset,
    "it must be letters, digits, '-', '_' and '.', begin and end with a letter or digit, at most 63"
);
name!(
    /// The name of a port of a Service, ServiceEntry or container, such as `http-web`.
    PortName, "port name", is_subset,
    "it must be letters, digits, '-', '_' and '.', begin and end with a letter or digit, at most 63"
);

impl ServiceAccount {
    /// The account of a workload that names none (Kubernetes: `default`).
    #[must_use]
    pub fn default_account() -> Self {
        Self("default".into())
    }
}

impl Name {
    /// The name of the mesh's own config: Istio's ConfigMap `istio`.
    #[must_use]
    pub fn istio() -> Self {
        Self("istio".into())
    }
}

impl Namespace {
    /// The namespace of an object that names none (Kubernetes: `default`).
    #[must_use]
    pub fn default_namespace() -> Self {
        Self("default".into())
    }

    /// Istio's root namespace unless MeshConfig says otherwise.
    #[must_use]
    pub fn istio_system() -> Self {
        Self("istio-system".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kubernetes() {
        assert!("shop".parse::<Namespace>().is_ok());
        for bad in ["", "Shop", "-a", "a-", "a.b", "a|b", "ä"] {
            assert!(bad.parse::<Namespace>().is_err(), "{bad}");
        }
        assert!("a.b-c".parse::<Name>().is_ok());
        assert!("v1.2_x".parse::<SubsetName>().is_ok());
        assert!("v1|x".parse::<SubsetName>().is_err());
    }
}
