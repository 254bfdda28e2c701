//! DestinationRules: which of them applies to a host for a client, and what they say together.
//!
//! Looked up in the client's namespace, then the service's, then the root namespace. In one namespace the most
//! specific host wins; of several for it the oldest's policy holds and the subsets are united.

use std::sync::Arc;

use model::{
    ClientTls, DestinationRule, Hostname, Namespace, ObjectKey, Port, PortPolicy, Spec, Subset,
    SubsetName, TrafficPolicy,
};

use crate::mesh::Mesh;
use crate::scope::Scope;

/// The DestinationRules of one host that count together for a client; the first policy holds (Istio: one rule may
/// have the subsets and another the policy).
#[derive(Clone, Debug, Default)]
pub struct HostRules<'a> {
    rules: Vec<(&'a ObjectKey, &'a Arc<DestinationRule>)>,
}

impl Mesh {
    /// The DestinationRules that a scope applies to a host, whose service lives in `service_namespace`.
    #[must_use]
    pub fn rules(
        &self,
        scope: &Scope,
        host: &Hostname,
        service_namespace: &Namespace,
    ) -> HostRules<'_> {
        let root = &self.config().root_namespace;
        let own = scope.namespace.as_ref();
        let places = [own, Some(service_namespace), Some(root)];
        let found = |place: Option<&Namespace>| self.rules_in(place?, scope, host);
        places.into_iter().find_map(found).unwrap_or_default()
    }

    fn rules_in(&self, place: &Namespace, scope: &Scope, host: &Hostname) -> Option<HostRules<'_>> {
        let counts = |key: &ObjectKey| {
            let rule = self.destination_rule(key)?;
            let shown =
                key.namespace == *place && (scope.is_in(place) || scope.sees(&rule.export_to));
            let selected = rule.workload_selector.is_none() || scope.matched.contains(key);
            (shown && selected).then_some(rule)
        };
        self.destination_rules().matching(host).find_map(|pattern| {
            let under = self.destination_rules().under(pattern);
            let mut rules: Vec<_> = under.filter_map(|key| Some((key, counts(key)?))).collect();
            // A rule that selects this very client beats those that select every client.
            rules.sort_by_key(|(_, rule)| rule.workload_selector.is_none());
            (!rules.is_empty()).then_some(HostRules { rules })
        })
    }

    /// A DestinationRule by key.
    #[must_use]
    pub fn destination_rule(&self, key: &ObjectKey) -> Option<&Arc<DestinationRule>> {
        match &self.object(key)?.spec {
            Spec::DestinationRule(rule) => Some(rule),
            _ => None,
        }
    }
}

impl HostRules<'_> {
    /// The subset of this name.
    #[must_use]
    pub fn subset(&self, name: &SubsetName) -> Option<&Subset> {
        self.rules
            .iter()
            .flat_map(|(_, rule)| rule.subsets.iter())
            .find(|subset| subset.name == *name)
    }

    /// What holds for a port, or for a subset's port: the subset's settings override the rule's, one by one; those that
    /// the subset has for this port replace them all.
    #[must_use]
    pub fn policy(&self, port: Port, subset: Option<&Subset>) -> PortPolicy {
        let mut said = self.rules.iter().map(|(_, rule)| &rule.policy);
        let first = said.find(|policy| **policy != TrafficPolicy::default());
        let base = first
            .map(|policy| of_port(policy, port))
            .unwrap_or_default();
        let Some(subset) = subset else { return base };
        let of_port = subset.policy.ports.get(&port);
        let own = of_port.unwrap_or(&subset.policy.default).clone();
        let inherits = of_port.is_none();
        PortPolicy {
            load_balancer: own
                .load_balancer
                .or(base.load_balancer.filter(|_| inherits)),
            connection_pool: own
                .connection_pool
                .or(base.connection_pool.filter(|_| inherits)),
            outlier_detection: own
                .outlier_detection
                .or(base.outlier_detection.filter(|_| inherits)),
            tls: own.tls.or(base.tls.filter(|_| inherits)),
            // What no port has of its own.
            tunnel: own.tunnel.or(base.tunnel),
            proxy_protocol: own.proxy_protocol.or(base.proxy_protocol),
            retry_budget: own.retry_budget.or(base.retry_budget),
        }
    }

    /// How connections to a port or subset are secured, if the rules say.
    #[must_use]
    pub fn tls(&self, port: Port, subset: Option<&SubsetName>) -> Option<ClientTls> {
        self.policy(port, subset.and_then(|name| self.subset(name)))
            .tls
    }

    /// The objects that count.
    pub fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.rules.iter().map(|(key, _)| *key)
    }
}

/// Port-level settings replace the others, they do not merge.
fn of_port(policy: &TrafficPolicy, port: Port) -> PortPolicy {
    policy.ports.get(&port).unwrap_or(&policy.default).clone()
}
