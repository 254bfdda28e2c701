//! AuthorizationPolicy: who may call what. A condition that cannot be checked is flagged `unknown`: it never holds in
//! ALLOW and always holds in DENY (invariant 3). That includes fields that do not exist.

mod condition;
mod custom;
mod operation;
mod pattern;
mod source;
mod target;

use istio_api::Action;

pub(super) use pattern::patterns;

use super::RefusedScope;
use super::notes::{At, Notes, SPEC};
use crate::{AuthorizationAction, AuthorizationPolicy, AuthorizationRule, Code, Meta};

/// Istio's annotation for policies that are tried out.
const DRY_RUN: &str = "istio.io/dry-run";

/// Reads `spec`, and for whom it was meant.
pub(super) fn read(
    wire: istio_api::AuthorizationPolicySpec,
    meta: &Meta,
    notes: &mut Notes<'_>,
) -> (Option<AuthorizationPolicy>, Option<RefusedScope>) {
    let istio_api::AuthorizationPolicySpec {
        selector,
        target_ref,
        target_refs,
        rules,
        action,
        provider,
    } = wire;
    notes.not_misspelt(&SPEC.field("selector"), &selector);
    notes.not_misspelt(&SPEC.field("rules"), &rules);
    notes.not_misspelt(&SPEC.field("action"), &action);
    let (target, scope) = target::read(selector, target_ref, target_refs, notes);
    let action = read_action(action, provider, notes);
    if rules.is_empty() {
        never_matches(&action, notes);
    }
    if matches!(action, AuthorizationAction::Custom(_)) {
        custom::check(&rules, notes);
    }
    let at = SPEC.field("rules");
    let mut found = Vec::with_capacity(rules.len());
    for (index, rule) in rules.into_iter().enumerate() {
        let rule = read_rule(rule, &at.item(index), notes);
        if action == AuthorizationAction::Deny && asks_for_http_only(&rule) {
            denies_all_of_tcp(&at.item(index), notes);
        }
        found.push(rule);
    }
    let policy = AuthorizationPolicy {
        target,
        dry_run: dry_run(&action, meta, notes),
        action,
        rules: found.into(),
    };
    (Some(policy), scope)
}

fn read_action(
    action: Option<Action>,
    provider: Option<istio_api::ExtensionProvider>,
    notes: &mut Notes<'_>,
) -> AuthorizationAction {
    let at = SPEC.field("provider");
    let is_given = provider.is_some();
    let name = provider
        .and_then(|istio_api::ExtensionProvider { name }| name)
        .unwrap_or_default();
    let action = match action.unwrap_or(Action::Allow) {
        Action::Allow => AuthorizationAction::Allow,
        Action::Deny => AuthorizationAction::Deny,
        Action::Audit => AuthorizationAction::Audit,
        Action::Custom => {
            if name.is_empty() {
                notes.missing(&at.field("name"), "`CUSTOM` asks a provider");
            }
            return AuthorizationAction::Custom(name.into());
        }
    };
    if is_given {
        notes.refuse(
            &at,
            "`provider` goes with `CUSTOM` only",
            "leave it out, or change `action`",
        );
    }
    action
}

/// Istio refuses to store what nobody can have meant; where it is stored all the same, it does nothing.
fn never_matches(action: &AuthorizationAction, notes: &mut Notes<'_>) {
    let message = "a policy without rules never matches, so this one does nothing";
    let hint = "write `rules: [{}]` to match everything";
    let at = SPEC.field("rules");
    match action {
        // The usual way to deny everything that no other policy allows.
        AuthorizationAction::Allow => {}
        AuthorizationAction::Deny | AuthorizationAction::Custom(_) => {
            notes.error(&at, message, hint);
        }
        AuthorizationAction::Audit => notes.warn(&at, Code::SchemaWarning, message, hint),
    }
}

fn dry_run(action: &AuthorizationAction, meta: &Meta, notes: &mut Notes<'_>) -> bool {
    let (metadata, field) = (At::root("metadata"), "annotations");
    let at = metadata.field(field);
    let at = at.field(DRY_RUN);
    let dry = match meta.annotations.get(DRY_RUN) {
        None | Some("0" | "f" | "F" | "false" | "False" | "FALSE") => false,
        Some("1" | "t" | "T" | "true" | "True" | "TRUE") => true,
        Some(other) => {
            let message = format!("{other:?} is neither true nor false; the policy is enforced");
            notes.error(&at, message, "write \"true\" to try the policy out");
            false
        }
    };
    if dry && matches!(action, AuthorizationAction::Custom(_)) {
        notes.warn(
            &at,
            Code::Ineffective,
            "with `CUSTOM` the provider would have to be asked to know what it says",
            "the policy does nothing and notes nothing",
        );
    }
    dry
}

fn read_rule(wire: istio_api::Rule, at: &At<'_>, notes: &mut Notes<'_>) -> AuthorizationRule {
    let istio_api::Rule { from, to, when } = wire;
    let (from_at, to_at, when_at) = (at.field("from"), at.field("to"), at.field("when"));
    let mut sources = Vec::with_capacity(from.len());
    for (index, istio_api::RuleFrom { source }) in from.into_iter().enumerate() {
        let at = from_at.item(index);
        let unknown = notes.has_unknown_under(&at);
        sources.push(source::read(source, unknown, &at.field("source"), notes));
    }
    let mut operations = Vec::with_capacity(to.len());
    for (index, istio_api::RuleTo { operation }) in to.into_iter().enumerate() {
        let at = to_at.item(index);
        let unknown = notes.has_unknown_under(&at);
        let at = at.field("operation");
        operations.push(operation::read(operation, unknown, &at, notes));
    }
    let unknown = notes.has_unknown_beside(at, &[&from_at, &to_at]);
    let mut conditions = Vec::with_capacity(when.len());
    for (index, condition) in when.into_iter().enumerate() {
        conditions.extend(condition::read(condition, &when_at.item(index), notes));
    }
    AuthorizationRule {
        from: sources.into(),
        to: operations.into(),
        when: conditions.into(),
        unknown,
    }
}

/// Whether a rule names nothing that a connection has, by Istio's measure.
fn asks_for_http_only(rule: &AuthorizationRule) -> bool {
    let of_connections = rule.from.iter().any(|source| {
        !(source.principals.is_empty()
            && source.namespaces.is_empty()
            && source.service_accounts.is_empty()
            && source.trust_domains.is_empty()
            && source.ip_blocks.is_empty()
            && source.remote_ip_blocks.is_empty())
    });
    let ports = rule.to.iter().any(|operation| !operation.ports.is_empty());
    match (rule.from.is_empty(), rule.to.is_empty()) {
        (_, false) => !ports,
        (false, true) => !of_connections,
        (true, true) => false,
    }
}

fn denies_all_of_tcp(at: &At<'_>, notes: &mut Notes<'_>) {
    notes.warn(
        at,
        Code::SchemaWarning,
        "TCP has nothing of what is asked for here, so the rule denies more on TCP ports than on HTTP ports",
        "name the ports that are meant in `operation.ports`",
    );
}
