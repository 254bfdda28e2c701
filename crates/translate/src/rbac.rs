//! AuthorizationPolicies as Envoy's RBAC rules.

mod metadata;
mod permission;
mod principal;
mod trust_domain;

use std::collections::BTreeMap;

use envoy_api::envoy::config::rbac::v3 as envoy;
use ir::model::{AuthorizationRule, TrustDomains};
use ir::{AuthorizationLayer as Layer, Policy, Rules};

pub(crate) use permission::text;

/// What becomes of conditions that are not understood, or not on this layer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unknown {
    /// They never hold: ALLOW.
    NeverHolds,
    /// They always hold: all that refuses, asks or notes.
    Holds,
}

/// A condition that was not translated as it stands.
enum Outcome<T> {
    /// This must hold.
    Is(T),
    /// It never holds.
    Never,
}

/// What stands around the name of a rule, which Envoy writes into the response code details and the metadata.
#[derive(Clone, Copy, Default)]
pub(crate) struct Naming<'a> {
    /// Before Istio's name.
    pub prefix: &'a str,
    /// Behind it.
    pub suffix: &'a str,
}

/// The rules of some policies; with none, ALLOW refuses all.
pub(crate) fn rules(
    policies: &[Policy],
    action: envoy::rbac::Action,
    layer: Layer,
    naming: Naming<'_>,
) -> envoy::Rbac {
    let unknown = match action {
        envoy::rbac::Action::Allow => Unknown::NeverHolds,
        envoy::rbac::Action::Deny | envoy::rbac::Action::Log => Unknown::Holds,
    };
    envoy::Rbac {
        action: action.into(),
        policies: policies
            .iter()
            .flat_map(|policy| of_policy(policy, unknown, layer, naming))
            .collect(),
        ..Default::default()
    }
}

/// One entry a rule.
fn of_policy(
    policy: &Policy,
    unknown: Unknown,
    layer: Layer,
    Naming { prefix, suffix }: Naming<'_>,
) -> BTreeMap<String, envoy::Policy> {
    let Policy {
        namespace,
        name,
        trust_domains,
        rules,
    } = policy;
    let rules = match rules {
        Rules::Everything => vec![everything()],
        Rules::Any(rules) => rules
            .iter()
            .map(|rule| translate(rule, trust_domains, unknown, layer))
            .collect(),
    };
    let mut named = BTreeMap::new();
    for (index, rule) in rules.into_iter().enumerate() {
        if let Outcome::Is(rule) = rule {
            let name = format!("{prefix}ns[{namespace}]-policy[{name}]-rule[{index}]{suffix}");
            named.insert(name, rule);
        }
    }
    named
}

fn everything() -> Outcome<envoy::Policy> {
    Outcome::Is(envoy::Policy {
        permissions: vec![permission::any()],
        principals: vec![principal::any()],
        ..Default::default()
    })
}

fn translate(
    rule: &AuthorizationRule,
    domains: &TrustDomains,
    unknown: Unknown,
    layer: Layer,
) -> Outcome<envoy::Policy> {
    let AuthorizationRule {
        from,
        to,
        when,
        unknown: is_unknown,
    } = rule;
    if *is_unknown && unknown == Unknown::NeverHolds {
        return Outcome::Never;
    }
    let (Outcome::Is(principals), Outcome::Is(permissions)) = (
        principal::any_of(from, when, domains, unknown, layer),
        permission::any_of(to, when, unknown, layer),
    ) else {
        return Outcome::Never;
    };
    Outcome::Is(envoy::Policy {
        permissions,
        principals,
        ..Default::default()
    })
}
