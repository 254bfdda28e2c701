//! What Istio refuses to store with `CUSTOM`: conditions on who the caller is, which its providers are to find out.

use super::super::notes::{At, Notes, SPEC};

/// Complains about each. Where such a policy is stored all the same, the conditions hold as in any other policy.
pub(super) fn check(rules: &[istio_api::Rule], notes: &mut Notes<'_>) {
    let at = SPEC.field("rules");
    for (index, istio_api::Rule { from, to: _, when }) in rules.iter().enumerate() {
        let at = at.item(index);
        let (from_at, when_at) = (at.field("from"), at.field("when"));
        for (index, istio_api::RuleFrom { source }) in from.iter().enumerate() {
            if let Some(source) = source {
                check_source(source, &from_at.item(index).field("source"), notes);
            }
        }
        for (index, condition) in when.iter().enumerate() {
            let key = condition.key.as_deref().unwrap_or_default();
            let of_callers = [
                "source.namespace",
                "source.serviceAccount",
                "source.principal",
            ];
            if of_callers.contains(&key) || key.starts_with("request.auth.") {
                unsupported(key, &when_at.item(index).field("key"), notes);
            }
        }
    }
}

fn check_source(source: &istio_api::Source, at: &At<'_>, notes: &mut Notes<'_>) {
    let istio_api::Source {
        principals,
        not_principals,
        request_principals,
        not_request_principals,
        namespaces,
        not_namespaces,
        service_accounts,
        not_service_accounts,
        trust_domains: _,
        not_trust_domains: _,
        ip_blocks: _,
        not_ip_blocks: _,
        remote_ip_blocks: _,
        not_remote_ip_blocks: _,
    } = source;
    for (name, list) in [
        ("namespaces", namespaces),
        ("notNamespaces", not_namespaces),
        ("serviceAccounts", service_accounts),
        ("notServiceAccounts", not_service_accounts),
        ("principals", principals),
        ("notPrincipals", not_principals),
        ("requestPrincipals", request_principals),
        ("notRequestPrincipals", not_request_principals),
    ] {
        if !list.is_empty() {
            unsupported(name, &at.field(name), notes);
        }
    }
}

fn unsupported(name: &str, at: &At<'_>, notes: &mut Notes<'_>) {
    notes.error(
        at,
        format!("Istio does not support `{name}` with `CUSTOM`"),
        "let the provider look at the caller, or refuse it by a DENY policy",
    );
}
