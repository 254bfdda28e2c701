//! AuthorizationPolicy: who may call what.

use std::sync::Arc;

use ipnet::IpNet;

use crate::{Namespace, Port, Selector, ServiceAccount};

/// `security.istio.io` AuthorizationPolicy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuthorizationPolicy {
    /// What it is attached to.
    pub target: PolicyTarget,
    /// `spec.action`.
    pub action: AuthorizationAction,
    /// The annotation `istio.io/dry-run`: what it would do is noted and not done.
    pub dry_run: bool,
    /// `spec.rules`: the policy matches when one of them does; none: never.
    pub rules: Arc<[AuthorizationRule]>,
}

/// What a policy is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PolicyTarget {
    /// The workloads of its namespace, or of the mesh in the root namespace.
    Namespace,
    /// `spec.selector`.
    Workloads(Selector),
    /// `spec.targetRef(s)`: gateways and waypoints, never sidecars.
    Elsewhere,
}

/// `spec.action`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthorizationAction {
    /// Requests that match are allowed; with an ALLOW policy present, all others are not.
    #[default]
    Allow,
    /// Requests that match are refused.
    Deny,
    /// `AUDIT`: requests that match are marked for the access log; changes no answer.
    Audit,
    /// `CUSTOM`: about requests that match, the provider of this name is asked.
    Custom(Arc<str>),
}

/// `spec.rules[]`: one source, one operation and every condition must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorizationRule {
    /// `from[].source`; none: any caller.
    pub from: Arc<[Source]>,
    /// `to[].operation`; none: any operation.
    pub to: Arc<[Operation]>,
    /// `when`: every one must hold.
    pub when: Arc<[Condition]>,
    /// It has a condition that is not understood: never holds in ALLOW, always in DENY.
    pub unknown: bool,
}

/// Values of which one must match, and values of which none may; an empty list asks for nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Values<T> {
    /// `values`, or the field without `not`.
    pub any: Arc<[T]>,
    /// `notValues`, or the field with `not`.
    pub none: Arc<[T]>,
}

impl<T> Values<T> {
    /// One of these must match.
    pub fn any(values: impl Into<Arc<[T]>>) -> Self {
        Self {
            any: values.into(),
            none: Arc::from([]),
        }
    }

    /// None of these may match.
    pub fn none(values: impl Into<Arc<[T]>>) -> Self {
        Self {
            any: Arc::from([]),
            none: values.into(),
        }
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.any.is_empty() && self.none.is_empty()
    }
}

impl<T> Default for Values<T> {
    fn default() -> Self {
        Self::any([])
    }
}

/// `from[].source`: all that is not empty must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// `principals`, without `spiffe://`, such as `cluster.local/ns/shop/sa/cart`.
    pub principals: Values<StringPattern>,
    /// `requestPrincipals`: `issuer/subject` of the request's token.
    pub request_principals: Values<StringPattern>,
    /// `namespaces`.
    pub namespaces: Values<StringPattern>,
    /// `serviceAccounts`.
    pub service_accounts: Values<AccountPattern>,
    /// `trustDomains`.
    pub trust_domains: Values<StringPattern>,
    /// `ipBlocks`: of the connection's other end.
    pub ip_blocks: Values<IpNet>,
    /// `remoteIpBlocks`: of the original client, by `X-Forwarded-For` or the PROXY protocol.
    pub remote_ip_blocks: Values<IpNet>,
    /// It has a condition that is not understood: never holds in ALLOW, always in DENY.
    pub unknown: bool,
}

/// An entry of `serviceAccounts`: `account` in the policy's namespace, or `namespace/account`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountPattern {
    /// The namespace.
    pub namespace: Namespace,
    /// The account.
    pub account: ServiceAccount,
}

/// `to[].operation`: all that is not empty must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operation {
    /// `hosts`, without regard to case.
    pub hosts: Values<StringPattern>,
    /// `ports`: the workload's own.
    pub ports: Values<Port>,
    /// `methods`.
    pub methods: Values<StringPattern>,
    /// `paths`.
    pub paths: Values<PathPattern>,
    /// It has a condition that is not understood: never holds in ALLOW, always in DENY.
    pub unknown: bool,
}

/// `when[]`: an attribute by its `key`, and its values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// `request.headers[name]`.
    Header(Arc<str>, Values<StringPattern>),
    /// `source.ip`.
    SourceIp(Values<IpNet>),
    /// `remote.ip`.
    RemoteIp(Values<IpNet>),
    /// `source.namespace`.
    Namespace(Values<StringPattern>),
    /// `source.principal`.
    Principal(Values<StringPattern>),
    /// `source.serviceAccount`.
    ServiceAccount(Values<AccountPattern>),
    /// `source.trustDomain`.
    TrustDomain(Values<StringPattern>),
    /// `request.auth.principal`.
    RequestPrincipal(Values<StringPattern>),
    /// A claim of the request's token by its path: `request.auth.claims[a][b]`; `request.auth.audiences` is `aud`,
    /// `request.auth.presenter` is `azp`.
    Claim(Arc<[Arc<str>]>, Values<StringPattern>),
    /// `destination.ip`.
    DestinationIp(Values<IpNet>),
    /// `destination.port`.
    DestinationPort(Values<Port>),
    /// `connection.sni`.
    Sni(Values<StringPattern>),
    /// `experimental.envoy.filters.NAME[key]`: what a filter wrote into the dynamic metadata.
    Metadata {
        /// The filter, such as `envoy.filters.network.mongo_proxy`.
        filter: Arc<str>,
        /// The key.
        key: Arc<str>,
        /// Its values.
        values: Values<MetadataPattern>,
    },
}

/// How AuthorizationPolicy writes strings: `abc`, `abc*`, `*abc`, `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StringPattern {
    /// The whole string.
    Exact(Arc<str>),
    /// `abc*`.
    Prefix(Arc<str>),
    /// `*abc`.
    Suffix(Arc<str>),
    /// `*`: anything but nothing.
    Present,
}

impl StringPattern {
    /// Reads a pattern.
    #[must_use]
    pub fn new(text: &str) -> Self {
        if text == "*" {
            Self::Present
        } else if let Some(prefix) = text.strip_suffix('*') {
            Self::Prefix(prefix.into())
        } else if let Some(suffix) = text.strip_prefix('*') {
            Self::Suffix(suffix.into())
        } else {
            Self::Exact(text.into())
        }
    }
}

/// An entry of `paths`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathPattern {
    /// As all strings are written.
    Text(StringPattern),
    /// With `{*}` for one segment and `{**}` for any number of them, as Istio writes it.
    Template(Arc<str>),
}

/// A value of `experimental.envoy.filters.NAME[key]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetadataPattern {
    /// `value`: the metadata is this string.
    Text(StringPattern),
    /// `[value]`: the metadata is a list that has this string.
    Item(StringPattern),
}
