//! Which AuthorizationPolicies guard a workload, what broken ones deny, and whom CUSTOM ones ask.

use std::collections::BTreeMap;
use std::sync::Arc;

use ir::{Authorization, ClusterName, Custom, DryRun, Policy, Provider, Rules};
use model::{
    AuthorizationAction, AuthorizationPolicy, Kind, Labels, Namespace, ObjectKey, PolicyTarget,
    Spec,
};

use crate::mesh::Mesh;
use crate::scope::Scope;

/// Why a provider cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoProvider {
    /// MeshConfig has none of this name that authorizes.
    Unknown,
    /// No such service is visible here, or it has no such port.
    NoService,
}

/// The policies of a workload by what they do, while they are sorted.
#[derive(Default)]
struct Sorted {
    custom: BTreeMap<Arc<str>, Vec<Policy>>,
    audit: Vec<Policy>,
    deny: Vec<Policy>,
    allow: Vec<Policy>,
    dry_deny: Vec<Policy>,
    dry_allow: Vec<Policy>,
}

impl Sorted {
    fn add(&mut self, policy: &AuthorizationPolicy, resolved: Policy) {
        match (&policy.action, policy.dry_run) {
            (AuthorizationAction::Allow, false) => self.allow.push(resolved),
            (AuthorizationAction::Allow, true) => self.dry_allow.push(resolved),
            (AuthorizationAction::Deny, false) => self.deny.push(resolved),
            (AuthorizationAction::Deny, true) => self.dry_deny.push(resolved),
            (AuthorizationAction::Audit, false) => self.audit.push(resolved),
            (AuthorizationAction::Custom(provider), false) => {
                let asked = self.custom.entry(Arc::clone(provider)).or_default();
                asked.push(resolved);
            }
            (AuthorizationAction::Audit | AuthorizationAction::Custom(_), true) => {}
        }
    }
}

impl Mesh {
    /// The AuthorizationPolicies of a workload: the root namespace's first, then its own namespace's.
    #[must_use]
    pub fn authorization(&self, namespace: &Namespace, labels: &Labels) -> Authorization {
        let root = &self.config().root_namespace;
        let namespaces = [Some(root), (namespace != root).then_some(namespace)];
        let mut sorted = Sorted::default();
        for place in namespaces.into_iter().flatten() {
            for key in self.authorization_keys(place) {
                let Some(policy) = self.authorization_policy(key) else {
                    continue;
                };
                let applies = match &policy.target {
                    PolicyTarget::Namespace => true,
                    PolicyTarget::Workloads(selector) => selector.matches(labels),
                    PolicyTarget::Elsewhere => false,
                };
                if applies {
                    let rules = Rules::Any(Arc::clone(&policy.rules));
                    sorted.add(policy, self.resolved(key, rules));
                }
            }
        }
        for key in self.closing(Kind::AuthorizationPolicy, namespace, labels) {
            sorted.deny.push(self.resolved(key, Rules::Everything));
        }
        Authorization {
            custom: self.custom(namespace, sorted.custom),
            audit: sorted.audit.into(),
            deny: sorted.deny.into(),
            allow: sorted.allow.into(),
            dry_run: DryRun {
                deny: sorted.dry_deny.into(),
                allow: sorted.dry_allow.into(),
            },
        }
    }

    /// One provider that exists is asked. Of several Istio asks none, since nobody says in which order.
    fn custom(
        &self,
        namespace: &Namespace,
        by_provider: BTreeMap<Arc<str>, Vec<Policy>>,
    ) -> Option<Custom> {
        let several = by_provider.len() > 1;
        let mut refused = Vec::new();
        for (name, policies) in by_provider {
            match self.provider(namespace, &name) {
                Ok(provider) if !several => {
                    return Some(Custom::Ask(Arc::new(provider), policies.into()));
                }
                Ok(_) | Err(_) => refused.extend(policies),
            }
        }
        (!refused.is_empty()).then(|| Custom::Refuse(refused.into()))
    }

    /// The provider of this name, as a namespace sees it.
    pub(crate) fn provider(
        &self,
        namespace: &Namespace,
        name: &Arc<str>,
    ) -> Result<Provider, NoProvider> {
        let authorizer = self.config().authorizers.get(name);
        let authorizer = authorizer.ok_or(NoProvider::Unknown)?;
        let scope = Scope::of(namespace.clone());
        let service = self.services().visible(&scope, &authorizer.host);
        let is_meant = |place: &Namespace| {
            let meant = authorizer.namespace.as_ref();
            meant.is_none_or(|meant| meant == place)
        };
        let service = service.filter(|service| is_meant(service.namespace()));
        let port = service.and_then(|service| service.port(authorizer.port));
        let port = port.ok_or(NoProvider::NoService)?;
        Ok(Provider {
            name: Arc::clone(name),
            cluster: ClusterName::Outbound {
                port: port.number,
                subset: None,
                host: authorizer.host.clone(),
            },
            authorizer: authorizer.clone(),
        })
    }

    fn resolved(&self, key: &ObjectKey, rules: Rules) -> Policy {
        Policy {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            trust_domains: self.config().trust_domains(),
            rules,
        }
    }

    /// The AuthorizationPolicies of a namespace, ordered by name.
    fn authorization_keys(&self, namespace: &Namespace) -> Vec<&ObjectKey> {
        let mut keys: Vec<&ObjectKey> = self
            .policies()
            .of(Kind::AuthorizationPolicy, namespace)
            .collect();
        keys.sort();
        keys
    }

    /// An AuthorizationPolicy by key.
    pub(crate) fn authorization_policy(
        &self,
        key: &ObjectKey,
    ) -> Option<&Arc<AuthorizationPolicy>> {
        match &self.object(key)?.spec {
            Spec::AuthorizationPolicy(policy) => Some(policy),
            _ => None,
        }
    }

    /// The other AuthorizationPolicies that guard workloads of a namespace.
    pub(crate) fn guarding<'a>(
        &'a self,
        namespace: &'a Namespace,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Arc<AuthorizationPolicy>)> {
        let root = &self.config().root_namespace;
        let places = [Some(root), (namespace != root).then_some(namespace)];
        places
            .into_iter()
            .flatten()
            .flat_map(|place| self.policies().of(Kind::AuthorizationPolicy, place))
            .filter_map(|key| Some((key, self.authorization_policy(key)?)))
    }
}
