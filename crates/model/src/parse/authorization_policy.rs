//! AuthorizationPolicy: who may call what. A condition that cannot be checked is flagged `unknown`: it never holds in
//! ALLOW and always holds in DENY (invariant 3). That includes fields that do not exist.

use std::sync::Arc;

use istio_api::Action;

use super::RefusedScope;
use super::notes::{At, Notes, SPEC, Written};
use crate::{
    AccountPattern, AuthorizationAction, AuthorizationPolicy, AuthorizationRule, Code, Operation,
    PolicyTarget, Port, Source, StringPattern,
};

const CLOSED: &str = "the condition cannot be checked: it never holds in ALLOW, always in DENY";

/// Reads `spec`, and for whom it was meant.
pub(super) fn read(
    wire: istio_api::AuthorizationPolicySpec,
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
    let elsewhere = target_ref.is_written() || target_refs.is_written();
    if elsewhere && selector.is_written() {
        let message = "`selector` and `targetRefs` exclude each other";
        notes.refuse(&SPEC.field("selector"), message, "keep one of them");
    }
    let hint = "the policy applies to no sidecar";
    notes.not_yet_with(&SPEC.field("targetRef"), &target_ref, hint);
    notes.not_yet_with(&SPEC.field("targetRefs"), &target_refs, hint);
    let at = SPEC.field("selector");
    let selector = notes.match_labels(&at, selector);
    let readable = !(notes.has_error_under(&at) || notes.has_wrong(&SPEC) || elsewhere);
    let scope = readable.then(|| match &selector {
        Some(selector) => RefusedScope::Workloads(selector.clone()),
        None => RefusedScope::Namespace,
    });
    let target = match selector {
        _ if elsewhere => PolicyTarget::Elsewhere,
        Some(selector) => PolicyTarget::Workloads(selector),
        None => PolicyTarget::Namespace,
    };
    let action = read_action(action, provider, notes);
    if rules.is_empty() {
        never_matches(action, notes);
    }
    let at = SPEC.field("rules");
    let mut found = Vec::with_capacity(rules.len());
    for (index, rule) in rules.into_iter().enumerate() {
        found.push(read_rule(rule, &at.item(index), notes));
    }
    let policy = AuthorizationPolicy {
        target,
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
    let name = provider
        .as_ref()
        .and_then(|istio_api::ExtensionProvider { name }| name.as_ref());
    let action = match action.unwrap_or(Action::Allow) {
        Action::Allow => AuthorizationAction::Allow,
        Action::Deny => AuthorizationAction::Deny,
        Action::Audit => AuthorizationAction::Audit,
        Action::Custom => {
            if name.is_none_or(String::is_empty) {
                notes.missing(&at.field("name"), "`CUSTOM` asks a provider");
            }
            notes.not_yet_with(&at, &provider, "the policy refuses what it matches");
            return AuthorizationAction::Custom;
        }
    };
    if provider.is_some() {
        notes.refuse(
            &at,
            "`provider` goes with `CUSTOM` only",
            "leave it out, or change `action`",
        );
    }
    action
}

fn never_matches(action: AuthorizationAction, notes: &mut Notes<'_>) {
    match action {
        // The usual way to deny everything that no other policy allows.
        AuthorizationAction::Allow => {}
        AuthorizationAction::Deny | AuthorizationAction::Audit | AuthorizationAction::Custom => {
            notes.warn(
                &SPEC.field("rules"),
                Code::SchemaWarning,
                "a policy without rules never matches, so this one does nothing",
                "write `rules: [{}]` to match everything",
            );
        }
    }
}

fn read_rule(wire: istio_api::Rule, at: &At<'_>, notes: &mut Notes<'_>) -> AuthorizationRule {
    let istio_api::Rule { from, to, when } = wire;
    let (from_at, to_at, when_at) = (at.field("from"), at.field("to"), at.field("when"));
    let mut sources = Vec::with_capacity(from.len());
    for (index, istio_api::RuleFrom { source }) in from.into_iter().enumerate() {
        let at = from_at.item(index);
        let unknown = notes.has_unknown_under(&at);
        sources.push(read_source(source, unknown, &at.field("source"), notes));
    }
    let mut operations = Vec::with_capacity(to.len());
    for (index, istio_api::RuleTo { operation }) in to.into_iter().enumerate() {
        let at = to_at.item(index);
        let unknown = notes.has_unknown_under(&at);
        operations.push(read_operation(
            operation,
            unknown,
            &at.field("operation"),
            notes,
        ));
    }
    let mut unknown = notes.has_unknown_beside(at, &[&from_at, &to_at]);
    for (index, condition) in when.into_iter().enumerate() {
        read_condition(&condition, &when_at.item(index), notes);
        unknown = true;
    }
    AuthorizationRule {
        from: sources.into(),
        to: operations.into(),
        unknown,
    }
}

/// `when[]`: none is translated yet; what Istio would refuse is refused.
fn read_condition(wire: &istio_api::Condition, at: &At<'_>, notes: &mut Notes<'_>) {
    let istio_api::Condition {
        key,
        values,
        not_values,
    } = wire;
    match key.as_deref().unwrap_or_default() {
        "" => notes.missing(&at.field("key"), "name the attribute that is compared"),
        key if !is_attribute(key) => {
            let hint = "such as request.headers[x-token], source.ip, destination.port";
            notes.refuse(
                &at.field("key"),
                format!("{key:?} is not an attribute"),
                hint,
            );
        }
        _ => {}
    }
    if values.is_empty() && not_values.is_empty() {
        notes.missing(&at.field("values"), "write `values`, `notValues` or both");
    }
    notes.not_yet_with(at, &Some(()), CLOSED);
}

/// Istio's attributes of conditions.
fn is_attribute(key: &str) -> bool {
    const WHOLE: &[&str] = &[
        "source.ip",
        "remote.ip",
        "source.namespace",
        "source.serviceAccount",
        "source.principal",
        "source.trustDomain",
        "request.auth.principal",
        "request.auth.audiences",
        "request.auth.presenter",
        "destination.ip",
        "destination.port",
        "destination.user",
        "connection.sni",
    ];
    const INDEXED: &[&str] = &["request.headers[", "request.auth.claims[", "experimental."];
    WHOLE.contains(&key) || INDEXED.iter().any(|start| key.starts_with(start))
}

fn read_source(
    wire: Option<istio_api::Source>,
    unknown: bool,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Source {
    let empty = wire
        .as_ref()
        .is_none_or(|source| *source == istio_api::Source::default());
    if empty {
        notes.missing(
            at,
            "a source needs at least one field; leave `from` out to mean everyone",
        );
    }
    let istio_api::Source {
        principals,
        not_principals,
        request_principals,
        not_request_principals,
        namespaces,
        not_namespaces,
        service_accounts,
        not_service_accounts,
        trust_domains,
        not_trust_domains,
        ip_blocks,
        not_ip_blocks,
        remote_ip_blocks,
        not_remote_ip_blocks,
    } = wire.unwrap_or_default();
    if service_accounts.is_written() && (principals.is_written() || namespaces.is_written()) {
        let message = "`serviceAccounts` excludes `principals` and `namespaces`";
        notes.refuse(&at.field("serviceAccounts"), message, "keep one of them");
    }
    let mut unknown = unknown || empty;
    for (name, field) in [
        ("requestPrincipals", request_principals),
        ("notRequestPrincipals", not_request_principals),
        ("trustDomains", trust_domains),
        ("notTrustDomains", not_trust_domains),
        ("ipBlocks", ip_blocks),
        ("notIpBlocks", not_ip_blocks),
        ("remoteIpBlocks", remote_ip_blocks),
        ("notRemoteIpBlocks", not_remote_ip_blocks),
    ] {
        unknown |= notes.not_yet_with(&at.field(name), &field, CLOSED);
    }
    let scheme = |at: &At<'_>, text: &str, notes: &mut Notes<'_>| {
        if text.starts_with("spiffe://") {
            let message = "principals are written without `spiffe://`; this one never matches";
            notes.warn(at, Code::SchemaWarning, message, "leave `spiffe://` out");
        }
    };
    for (name, list) in [
        ("principals", &principals),
        ("notPrincipals", &not_principals),
    ] {
        let at = at.field(name);
        for (index, text) in list.iter().enumerate() {
            scheme(&at.item(index), text, notes);
        }
    }
    Source {
        principals: patterns(&principals, &at.field("principals"), notes),
        not_principals: patterns(&not_principals, &at.field("notPrincipals"), notes),
        namespaces: patterns(&namespaces, &at.field("namespaces"), notes),
        not_namespaces: patterns(&not_namespaces, &at.field("notNamespaces"), notes),
        service_accounts: accounts(&service_accounts, &at.field("serviceAccounts"), notes),
        not_service_accounts: accounts(
            &not_service_accounts,
            &at.field("notServiceAccounts"),
            notes,
        ),
        unknown,
    }
}

fn read_operation(
    wire: Option<istio_api::Operation>,
    unknown: bool,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Operation {
    let empty = wire
        .as_ref()
        .is_none_or(|operation| *operation == istio_api::Operation::default());
    if empty {
        notes.missing(
            at,
            "an operation needs at least one field; leave `to` out to mean all",
        );
    }
    let istio_api::Operation {
        hosts,
        not_hosts,
        ports: wire_ports,
        not_ports,
        methods,
        not_methods,
        paths,
        not_paths,
    } = wire.unwrap_or_default();
    let mut unknown = unknown || empty;
    unknown |= notes.not_yet_with(&at.field("hosts"), &hosts, CLOSED);
    unknown |= notes.not_yet_with(&at.field("notHosts"), &not_hosts, CLOSED);
    let (paths, has_template) = path_patterns(&paths, &at.field("paths"), notes);
    let (not_paths, not_template) = path_patterns(&not_paths, &at.field("notPaths"), notes);
    unknown |= has_template || not_template;
    Operation {
        // A template may mean any path: beside it the other paths narrow nothing. What `notPaths` exempts stays exempt.
        paths: if has_template { Arc::default() } else { paths },
        not_paths,
        methods: patterns(&methods, &at.field("methods"), notes),
        not_methods: patterns(&not_methods, &at.field("notMethods"), notes),
        ports: ports(&wire_ports, &at.field("ports"), notes),
        not_ports: ports(&not_ports, &at.field("notPorts"), notes),
        unknown,
    }
}

/// The paths that stand for themselves, and whether there are templates (`/a/{*}`) beside them.
fn path_patterns(
    list: &[String],
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> (Arc<[StringPattern]>, bool) {
    let is_template = |path: &&String| path.contains('{');
    let mut has_template = false;
    for (index, path) in list.iter().enumerate() {
        let template = Some(path).filter(is_template);
        has_template |= notes.not_yet_with(&at.item(index), &template, CLOSED);
    }
    let found = patterns(list, at, notes);
    let known = list.iter().zip(found.iter());
    let known = known.filter(|(path, _)| !is_template(path));
    let known = known.map(|(_, pattern)| pattern.clone()).collect();
    (known, has_template)
}

fn patterns(list: &[String], at: &At<'_>, notes: &mut Notes<'_>) -> Arc<[StringPattern]> {
    let mut found = Vec::with_capacity(list.len());
    for (index, text) in list.iter().enumerate() {
        let at = at.item(index);
        let inside = text
            .get(1..text.len().saturating_sub(1))
            .unwrap_or_default();
        let both = text.len() > 1 && text.starts_with('*') && text.ends_with('*');
        if text.is_empty() {
            notes.refuse(&at, "the value is empty", "write a value, or `*` for any");
        } else if (inside.contains('*') || both) && !text.contains('{') {
            notes.warn(
                &at,
                Code::SchemaWarning,
                "`*` is a wildcard at one end only; elsewhere it stands for itself",
                "write abc*, *abc or *",
            );
        }
        found.push(StringPattern::new(text));
    }
    found.into()
}

/// `account` of the policy's namespace, or `namespace/account`.
fn accounts(list: &[String], at: &At<'_>, notes: &mut Notes<'_>) -> Arc<[AccountPattern]> {
    let mut found = Vec::with_capacity(list.len());
    for (index, text) in list.iter().enumerate() {
        let at = at.item(index);
        let (namespace, account) = match text.split_once('/') {
            Some((namespace, account)) => (notes.name(&at, namespace), account),
            None => (Some(notes.namespace()), text.as_str()),
        };
        let account = notes.name(&at, account);
        found.extend(
            namespace
                .zip(account)
                .map(|(namespace, account)| AccountPattern { namespace, account }),
        );
    }
    found.into()
}

fn ports(list: &[String], at: &At<'_>, notes: &mut Notes<'_>) -> Arc<[Port]> {
    let mut found = Vec::with_capacity(list.len());
    for (index, text) in list.iter().enumerate() {
        match text.parse().ok().and_then(Port::new) {
            Some(port) => found.push(port),
            None => {
                let message = format!("{text:?} is not a port");
                notes.refuse(&at.item(index), message, "it must be \"1\" to \"65535\"");
            }
        }
    }
    found.into()
}
