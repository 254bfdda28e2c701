//! AuthorizationPolicies that apply to one workload, resolved.

use std::sync::Arc;

use model::{AuthorizationRule, Name, Namespace, TrustDomain};

/// Everything that authorizes requests to a port. Empty: everything is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Authorization {
    /// DENY policies: one that matches refuses. Ordered by namespace and name, the root namespace's first.
    pub deny: Arc<[Policy]>,
    /// ALLOW policies: if there are any, one must match.
    pub allow: Arc<[Policy]>,
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Policy {
    /// Its namespace, for its name in Envoy: `ns[foo]-policy[bar]-rule[0]`.
    pub namespace: Namespace,
    /// Its name.
    pub name: Name,
    /// The trust domain that namespaces and accounts in it belong to.
    pub trust_domain: TrustDomain,
    /// Its rules.
    pub rules: Rules,
}

/// The rules of a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rules {
    /// One of these must match; none: the policy never matches.
    Any(Arc<[AuthorizationRule]>),
    /// The policy could not be read, and no good version is known: it matches everything.
    Everything,
}
