//! AuthorizationPolicy: who may call what.

use std::sync::Arc;

use crate::{Namespace, Port, Selector};

/// `security.istio.io` AuthorizationPolicy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuthorizationPolicy {
    /// What it is attached to.
    pub target: PolicyTarget,
    /// `spec.action`.
    pub action: AuthorizationAction,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthorizationAction {
    /// Requests that match are allowed; with an ALLOW policy present, all others are not.
    #[default]
    Allow,
    /// Requests that match are refused.
    Deny,
    /// `AUDIT`: changes no answer.
    Audit,
    /// `CUSTOM`, whose provider does not exist here: refuses what it matches.
    Custom,
}

/// `spec.rules[]`: one source, one operation and every condition must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorizationRule {
    /// `from[].source`; none: any caller.
    pub from: Arc<[Source]>,
    /// `to[].operation`; none: any operation.
    pub to: Arc<[Operation]>,
    /// `when` holds a condition that is not understood: never holds in ALLOW, always in DENY.
    pub unknown: bool,
}

/// `from[].source`: all that is not empty must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// `principals`, without `spiffe://`, such as `cluster.local/ns/shop/sa/cart`.
    pub principals: Arc<[StringPattern]>,
    /// `notPrincipals`.
    pub not_principals: Arc<[StringPattern]>,
    /// `namespaces`.
    pub namespaces: Arc<[StringPattern]>,
    /// `notNamespaces`.
    pub not_namespaces: Arc<[StringPattern]>,
    /// `serviceAccounts`.
    pub service_accounts: Arc<[AccountPattern]>,
    /// `notServiceAccounts`.
    pub not_service_accounts: Arc<[AccountPattern]>,
    /// It has a condition that is not understood: never holds in ALLOW, always in DENY.
    pub unknown: bool,
}

/// An entry of `serviceAccounts`: `account` in the policy's namespace, or `namespace/account`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountPattern {
    /// The namespace.
    pub namespace: Namespace,
    /// The account.
    pub account: crate::ServiceAccount,
}

/// `to[].operation`: all that is not empty must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operation {
    /// `paths`.
    pub paths: Arc<[StringPattern]>,
    /// `notPaths`.
    pub not_paths: Arc<[StringPattern]>,
    /// `methods`.
    pub methods: Arc<[StringPattern]>,
    /// `notMethods`.
    pub not_methods: Arc<[StringPattern]>,
    /// `ports`: the workload's own ports.
    pub ports: Arc<[Port]>,
    /// `notPorts`.
    pub not_ports: Arc<[Port]>,
    /// It has a condition that is not understood: never holds in ALLOW, always in DENY.
    pub unknown: bool,
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
