//! AuthorizationPolicies as Envoy's RBAC: one filter of DENY policies, then one of ALLOW policies.

mod permission;
mod principal;

use std::collections::BTreeMap;

use envoy_api::envoy::config::rbac::v3 as envoy;
use envoy_api::envoy::extensions::filters::http::rbac::v3 as http;
use envoy_api::envoy::extensions::filters::network::rbac::v3 as network;
use ir::model::AuthorizationRule;
use ir::{Authorization, Policy, Rules};

/// What a policy does with what it matches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    /// A condition that is not understood never holds.
    Allow,
    /// A condition that is not understood always holds.
    Deny,
}

/// What a filter sees.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    /// Requests.
    Http,
    /// Connections, without paths and methods.
    Tcp,
}

/// A condition that was not translated as it stands.
enum Outcome<T> {
    /// This must hold.
    Is(T),
    /// It never holds.
    Never,
}

/// The HTTP filters, none where there is nothing to check.
pub(crate) fn http(authorization: &Authorization) -> Vec<http::Rbac> {
    rules(authorization, Layer::Http)
        .map(|rules| http::Rbac {
            rules: Some(rules),
            ..Default::default()
        })
        .collect()
}

/// The network filters, none where there is nothing to check.
pub(crate) fn network(authorization: &Authorization) -> Vec<network::Rbac> {
    rules(authorization, Layer::Tcp)
        .map(|rules| network::Rbac {
            rules: Some(rules),
            stat_prefix: "tcp.".to_owned(),
            ..Default::default()
        })
        .collect()
}

fn rules(authorization: &Authorization, layer: Layer) -> impl Iterator<Item = envoy::Rbac> {
    let Authorization { deny, allow } = authorization;
    let deny = policies(deny, Action::Deny, layer);
    let deny = (!deny.is_empty()).then(|| rbac(envoy::rbac::Action::Deny, deny));
    // ALLOW without a policy left denies all. That is what policies mean whose rules never match.
    let allow = (!allow.is_empty()).then(|| {
        rbac(
            envoy::rbac::Action::Allow,
            policies(allow, Action::Allow, layer),
        )
    });
    deny.into_iter().chain(allow)
}

fn rbac(action: envoy::rbac::Action, policies: BTreeMap<String, envoy::Policy>) -> envoy::Rbac {
    envoy::Rbac {
        action: action.into(),
        policies,
        ..Default::default()
    }
}

/// One entry a rule, under the name that Istio gives it: Envoy writes it into the response code details.
fn policies(policies: &[Policy], action: Action, layer: Layer) -> BTreeMap<String, envoy::Policy> {
    let mut named = BTreeMap::new();
    for policy in policies {
        let Policy {
            namespace,
            name,
            // A namespace is the caller's whatever its trust domain, as in Istio.
            trust_domain: _,
            rules,
        } = policy;
        let rules = match rules {
            Rules::Everything => vec![everything()],
            Rules::Any(rules) => rules
                .iter()
                .map(|rule| translate(rule, action, layer))
                .collect(),
        };
        for (index, rule) in rules.into_iter().enumerate() {
            if let Outcome::Is(rule) = rule {
                named.insert(
                    format!("ns[{namespace}]-policy[{name}]-rule[{index}]"),
                    rule,
                );
            }
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

fn translate(rule: &AuthorizationRule, action: Action, layer: Layer) -> Outcome<envoy::Policy> {
    let AuthorizationRule { from, to, unknown } = rule;
    if *unknown && action == Action::Allow {
        return Outcome::Never;
    }
    let (Outcome::Is(principals), Outcome::Is(permissions)) = (
        principal::any_of(from, action),
        permission::any_of(to, action, layer),
    ) else {
        return Outcome::Never;
    };
    Outcome::Is(envoy::Policy {
        permissions,
        principals,
        ..Default::default()
    })
}
