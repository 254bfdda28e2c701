//! AuthorizationPolicies that apply to one workload, resolved.

use std::fmt;
use std::sync::Arc;

use model::{AuthorizationRule, ExternalAuthorizer, Name, Namespace, TrustDomains};

use crate::ClusterName;

/// Everything that authorizes requests to a workload. Empty: everything is allowed. Policies are ordered by namespace and
/// name, the root namespace's first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Authorization {
    /// CUSTOM policies, which come first.
    pub custom: Option<Custom>,
    /// AUDIT policies: what they match is marked for the access log.
    pub audit: Arc<[Policy]>,
    /// DENY policies: one that matches refuses.
    pub deny: Arc<[Policy]>,
    /// ALLOW policies: if there are any, one must match.
    pub allow: Arc<[Policy]>,
    /// What is tried out: what it would do is noted and not done.
    pub dry_run: DryRun,
}

impl Authorization {
    /// What a filter of this stage looks at, and nothing else: a policy changes the filters that enforce it.
    #[must_use]
    pub fn of_stage(&self, stage: AuthorizationStage) -> Self {
        match stage {
            AuthorizationStage::Match => Self {
                custom: self.custom.clone(),
                audit: Arc::clone(&self.audit),
                ..Self::default()
            },
            AuthorizationStage::Custom => Self {
                custom: self.custom.clone(),
                ..Self::default()
            },
            AuthorizationStage::Deny => Self {
                deny: Arc::clone(&self.deny),
                dry_run: DryRun {
                    deny: Arc::clone(&self.dry_run.deny),
                    ..DryRun::default()
                },
                ..Self::default()
            },
            AuthorizationStage::Allow => Self {
                allow: Arc::clone(&self.allow),
                dry_run: DryRun {
                    allow: Arc::clone(&self.dry_run.allow),
                    ..DryRun::default()
                },
                ..Self::default()
            },
        }
    }
}

/// Policies that are tried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DryRun {
    /// DENY policies.
    pub deny: Arc<[Policy]>,
    /// ALLOW policies.
    pub allow: Arc<[Policy]>,
}

/// What becomes of requests that CUSTOM policies match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Custom {
    /// The provider is asked.
    Ask(Arc<Provider>, Arc<[Policy]>),
    /// They are refused: the provider does not exist, or there are several, of which Istio asks none.
    Refuse(Arc<[Policy]>),
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Provider {
    /// Its name in MeshConfig.
    pub name: Arc<str>,
    /// The cluster of its service.
    pub cluster: ClusterName,
    /// How it is asked.
    pub authorizer: ExternalAuthorizer,
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Policy {
    /// Its namespace, for its name in Envoy: `ns[foo]-policy[bar]-rule[0]`.
    pub namespace: Namespace,
    /// Its name.
    pub name: Name,
    /// The mesh's trust domains: a principal of one is a principal of all.
    pub trust_domains: TrustDomains,
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

/// One of the filters that authorize, as every inbound chain has it. What it does is discovered by its name, so that an
/// edited policy changes no chain and drains no connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuthorizationFilter {
    /// Which one.
    pub name: AuthorizationFilterName,
    /// What it enforces, asks or notes.
    pub authorization: Authorization,
}

/// The name of a filter that authorizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorizationFilterName {
    /// What it sees.
    pub layer: AuthorizationLayer,
    /// What it does.
    pub stage: AuthorizationStage,
}

/// What a filter sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthorizationLayer {
    /// Requests.
    Http,
    /// Connections, without paths, headers and tokens.
    Tcp,
}

/// What a filter does, in the order in which filters stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthorizationStage {
    /// Finds out which AUDIT and CUSTOM policies match.
    Match,
    /// Asks the provider about what CUSTOM policies match.
    Custom,
    /// Refuses what DENY policies match.
    Deny,
    /// Refuses what no ALLOW policy matches, if there are any.
    Allow,
}

impl AuthorizationStage {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Match, Self::Custom, Self::Deny, Self::Allow];
}

impl AuthorizationFilterName {
    /// Every filter that authorizes.
    pub fn all() -> impl Iterator<Item = Self> {
        let layers = [AuthorizationLayer::Http, AuthorizationLayer::Tcp];
        layers.into_iter().flat_map(|layer| {
            AuthorizationStage::ALL
                .into_iter()
                .map(move |stage| Self { layer, stage })
        })
    }
}

/// Istio's names where it has any: `istio.authorization.deny`.
impl fmt::Display for AuthorizationFilterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layer = match self.layer {
            AuthorizationLayer::Http => "",
            AuthorizationLayer::Tcp => "tcp.",
        };
        let stage = match self.stage {
            AuthorizationStage::Match => "match",
            AuthorizationStage::Custom => "custom",
            AuthorizationStage::Deny => "deny",
            AuthorizationStage::Allow => "allow",
        };
        write!(f, "istio.authorization.{layer}{stage}")
    }
}
