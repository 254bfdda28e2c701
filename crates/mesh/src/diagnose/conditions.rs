//! Conditions of AuthorizationPolicies that cannot hold where the policy does: HTTP on TCP ports, identities in
//! plaintext, ports of services.

use model::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationRule, Code, Condition, Finding,
    MtlsMode, Namespace, Operation, Port, Source, StringPattern,
};

use super::Found;
use super::served::{Served, guarded};
use crate::mesh::Mesh;
use crate::workload::Workload;

const CODE: Code = Code::Ineffective;

/// What is to be said of the rules of a policy.
pub(super) fn of_policy(mesh: &Mesh, namespace: &Namespace, policy: &AuthorizationPolicy) -> Found {
    let workloads = guarded(mesh, namespace, &policy.target);
    let served = Served::of(mesh, &workloads);
    let is_plaintext =
        !workloads.is_empty() && workloads.iter().all(|one| takes_plaintext(mesh, one));
    let mut found = Vec::new();
    for (index, rule) in policy.rules.iter().enumerate() {
        let at = format!("spec.rules[{index}]");
        for (index, source) in rule.from.iter().enumerate() {
            let at = format!("{at}.from[{index}].source");
            of_source(mesh, source, is_plaintext, &at, &mut found);
        }
        for (index, operation) in rule.to.iter().enumerate() {
            let at = format!("{at}.to[{index}].operation");
            of_operation(operation, &served, &policy.action, &at, &mut found);
        }
        // Of DENY the parser says it, wherever it holds.
        let allows = policy.action == AuthorizationAction::Allow;
        if allows && needs_http(rule) && served.is_tcp_only(None) {
            let message = "every port of the workloads is TCP, which has nothing of what is asked for here: the rule allows nobody";
            let hint = "declare the ports as HTTP, or ask for what connections have";
            found.push((at, Finding::warning(CODE, message, hint)));
        }
    }
    found
}

/// Whether a workload takes no mutual TLS on any port.
fn takes_plaintext(mesh: &Mesh, workload: &Workload) -> bool {
    let Workload {
        namespace, labels, ..
    } = workload;
    let is_plain = |mode| mode == MtlsMode::Disable;
    let mut ports = mesh.mtls_ports(namespace, labels).into_iter();
    is_plain(mesh.default_mtls_mode(namespace, labels))
        && ports.all(|port| is_plain(mesh.mtls_mode(namespace, labels, port)))
}

fn of_source(mesh: &Mesh, source: &Source, is_plaintext: bool, at: &str, found: &mut Found) {
    let Source {
        principals,
        request_principals: _,
        namespaces,
        service_accounts,
        trust_domains,
        ip_blocks: _,
        remote_ip_blocks: _,
        unknown: _,
    } = source;
    let asked = [
        ("principals", !principals.any.is_empty()),
        ("namespaces", !namespaces.any.is_empty()),
        ("serviceAccounts", !service_accounts.any.is_empty()),
        ("trustDomains", !trust_domains.any.is_empty()),
    ];
    for (field, _) in asked
        .into_iter()
        .filter(|(_, asked)| *asked && is_plaintext)
    {
        let message = "the workloads take plaintext only, in which no caller has an identity";
        let hint = "let the PeerAuthentication be PERMISSIVE or STRICT";
        found.push((
            format!("{at}.{field}"),
            Finding::warning(CODE, message, hint),
        ));
    }
    for (index, pattern) in principals.any.iter().enumerate() {
        if let Some(domain) = foreign_domain(mesh, pattern) {
            let message = format!("no caller's certificate is of the trust domain {domain}");
            let hint = "name the mesh's own, or add it to `trustDomainAliases` in MeshConfig";
            let finding = Finding::warning(CODE, message, hint);
            found.push((format!("{at}.principals[{index}]"), finding));
        }
    }
}

/// The trust domain that a principal names, if it is none of the mesh's.
fn foreign_domain<'a>(mesh: &Mesh, pattern: &'a StringPattern) -> Option<&'a str> {
    let text = match pattern {
        StringPattern::Exact(text) | StringPattern::Prefix(text) => text,
        StringPattern::Suffix(_) | StringPattern::Present => return None,
    };
    // What begins with a scheme is complained about by itself.
    let (domain, rest) = text.split_once('/')?;
    let own = mesh.config().trust_domains();
    let is_own = own.iter().any(|own| own.as_str() == domain);
    (!is_own && rest.starts_with("ns/")).then_some(domain)
}

fn of_operation(
    operation: &Operation,
    served: &Served,
    action: &AuthorizationAction,
    at: &str,
    found: &mut Found,
) {
    let ports = &operation.ports.any;
    for (index, port) in ports.iter().enumerate() {
        if let Some(finding) = served.mistaken(CODE, *port) {
            found.push((format!("{at}.ports[{index}]"), finding));
        }
    }
    let is_tcp = |port: &Port| served.is_tcp_only(Some(*port));
    if !asks_http(operation) || ports.is_empty() || !ports.iter().all(is_tcp) {
        return;
    }
    let effect = match action {
        AuthorizationAction::Allow => "so it allows nobody there",
        AuthorizationAction::Deny => "so it denies every connection there",
        AuthorizationAction::Audit | AuthorizationAction::Custom(_) => "so that part is left out",
    };
    let message = format!("the ports are TCP, which has no hosts, methods and paths, {effect}");
    let hint = "declare the ports as HTTP, or leave those fields out";
    found.push((at.to_owned(), Finding::warning(CODE, message, hint)));
}

/// Whether an operation asks for what only requests have.
fn asks_http(operation: &Operation) -> bool {
    let Operation {
        hosts,
        ports: _,
        methods,
        paths,
        unknown: _,
    } = operation;
    !(hosts.is_empty() && methods.is_empty() && paths.is_empty())
}

/// Whether no connection can meet a rule, though it names no ports.
fn needs_http(rule: &AuthorizationRule) -> bool {
    let of_requests = |condition: &Condition| match condition {
        Condition::Header(..) => true,
        // Nobody meets these on HTTP ports either, which is said elsewhere.
        Condition::RequestPrincipal(_) | Condition::Claim(..) => false,
        Condition::SourceIp(_)
        | Condition::RemoteIp(_)
        | Condition::Namespace(_)
        | Condition::Principal(_)
        | Condition::ServiceAccount(_)
        | Condition::TrustDomain(_)
        | Condition::DestinationIp(_)
        | Condition::DestinationPort(_)
        | Condition::Sni(_)
        | Condition::Metadata { .. } => false,
    };
    let to = &rule.to;
    let operations = !to.is_empty() && to.iter().all(|one| asks_http(one) && one.ports.is_empty());
    operations || rule.when.iter().any(of_requests)
}
