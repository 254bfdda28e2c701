//! What a workload does with a call: mutual TLS that it asks for, and policies that allow or refuse.

use model::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationRule, ClientTls, Kind, Labels, MtlsMode,
    Object, Operation, PeerAuthentication, PolicyTarget, Port, Source, Spec, SpiffeId,
    StringPattern, older_first,
};

use super::{Oracle, Refusal, Request, Verdict};
use crate::folder::Workload;

/// What a policy can see of a call.
struct Seen<'a> {
    identity: Option<&'a SpiffeId>,
    request: &'a Request,
    port: u16,
}

impl<'a> Oracle<'a> {
    /// What `pod` does at `port` with a request of `caller`.
    pub(super) fn verdict(
        &self,
        caller: &Workload,
        pod: &Workload,
        port: u16,
        tls: Option<&ClientTls>,
        request: &Request,
    ) -> Verdict {
        if !pod.is_injected() {
            return Verdict::Served(None);
        }
        let mode = self.mode(pod, port);
        let automatic = mode != MtlsMode::Disable
            && self.folder.mesh_config.get("enableAutoMtls") != Some(&false.into());
        let mutual = caller.is_injected()
            && match tls {
                None => automatic,
                Some(ClientTls::IstioMutual { .. }) => true,
                Some(ClientTls::Disable | ClientTls::Simple(_) | ClientTls::Mutual { .. }) => false,
            };
        if !mutual && mode == MtlsMode::Strict {
            return Verdict::Refused(Refusal::Plaintext);
        }
        let identity = self.identity(caller).filter(|_| mutual);
        let seen = Seen {
            identity: identity.as_ref(),
            request,
            port,
        };
        match self.refusal(pod, &seen) {
            Some(refusal) => Verdict::Refused(refusal),
            None => Verdict::Served(identity.map(|identity| identity.to_string())),
        }
    }

    /// The workload's own PeerAuthentication, its namespace's, the mesh's; the oldest of each.
    fn mode(&self, pod: &Workload, port: u16) -> MtlsMode {
        let labels = labels(pod);
        let root = self.root_namespace();
        let port = Port::new(i64::from(port));
        let (mut own, mut namespace, mut mesh) = (Vec::new(), Vec::new(), Vec::new());
        for object in self.of_kind(Kind::PeerAuthentication) {
            let Spec::PeerAuthentication(policy) = &object.spec else {
                continue;
            };
            let at_home = object.key.namespace.as_str() == pod.namespace;
            match &policy.selector {
                Some(selector) if at_home && selector.matches(&labels) => {
                    own.push((object, policy))
                }
                None if at_home => namespace.push((object, policy)),
                None if object.key.namespace == root => mesh.push((object, policy)),
                Some(_) | None => {}
            }
        }
        let oldest = |mut found: Vec<(
            &'a std::sync::Arc<Object>,
            &'a std::sync::Arc<PeerAuthentication>,
        )>| {
            found.sort_by(|(x, _), (y, _)| older_first(x, y));
            found.first().map(|(_, policy)| *policy)
        };
        let (own, namespace, mesh) = (oldest(own), oldest(namespace), oldest(mesh));
        let at_port =
            own.and_then(|own| port.and_then(|port| own.ports.get(&port).copied().flatten()));
        let levels = [own, namespace, mesh].into_iter().flatten();
        at_port
            .or_else(|| levels.filter_map(|level| level.mode).next())
            .unwrap_or_default()
    }

    fn refusal(&self, pod: &Workload, seen: &Seen<'_>) -> Option<Refusal> {
        let labels = labels(pod);
        let root = self.root_namespace();
        let concerns = |object: &Object, policy: &AuthorizationPolicy| {
            let near =
                object.key.namespace.as_str() == pod.namespace || object.key.namespace == root;
            near && match &policy.target {
                PolicyTarget::Namespace => true,
                PolicyTarget::Workloads(selector) => selector.matches(&labels),
                PolicyTarget::Elsewhere => false,
            }
        };
        let (mut allows, mut allowed) = (false, false);
        for object in self.of_kind(Kind::AuthorizationPolicy) {
            let Spec::AuthorizationPolicy(policy) = &object.spec else {
                continue;
            };
            if !concerns(object, policy) {
                continue;
            }
            let refuses = matches!(
                policy.action,
                AuthorizationAction::Deny | AuthorizationAction::Custom
            );
            let matched = policy.rules.iter().any(|rule| matches(rule, seen, refuses));
            match policy.action {
                AuthorizationAction::Deny | AuthorizationAction::Custom if matched => {
                    let name = format!("{}/{}", object.key.namespace, object.key.name);
                    return Some(Refusal::Denied(name));
                }
                AuthorizationAction::Allow => {
                    allows = true;
                    allowed |= matched;
                }
                AuthorizationAction::Deny
                | AuthorizationAction::Custom
                | AuthorizationAction::Audit => {}
            }
        }
        (allows && !allowed).then_some(Refusal::NotAllowed)
    }
}

fn labels(pod: &Workload) -> Labels {
    pod.labels
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

/// `unknown` is what a condition counts as that is not understood: met by what refuses, missed by what allows.
fn matches(rule: &AuthorizationRule, seen: &Seen<'_>, unknown: bool) -> bool {
    let AuthorizationRule {
        from,
        to,
        unknown: strange,
    } = rule;
    (!strange || unknown)
        && (from.is_empty() || from.iter().any(|source| comes_from(source, seen, unknown)))
        && (to.is_empty() || to.iter().any(|operation| goes_to(operation, seen, unknown)))
}

fn comes_from(source: &Source, seen: &Seen<'_>, unknown: bool) -> bool {
    let Source {
        principals,
        not_principals,
        namespaces,
        not_namespaces,
        service_accounts,
        not_service_accounts,
        unknown: strange,
    } = source;
    let principal = seen
        .identity
        .map(|id| id.to_string().trim_start_matches("spiffe://").to_owned());
    let namespace = seen.identity.map(|id| id.namespace.to_string());
    let is_account = |account: &model::AccountPattern| {
        seen.identity.is_some_and(|id| {
            id.namespace == account.namespace && id.service_account == account.account
        })
    };
    (!strange || unknown)
        && any(principals, principal.as_deref())
        && none(not_principals, principal.as_deref())
        && any(namespaces, namespace.as_deref())
        && none(not_namespaces, namespace.as_deref())
        && (service_accounts.is_empty() || service_accounts.iter().any(is_account))
        && !not_service_accounts.iter().any(is_account)
}

fn goes_to(operation: &Operation, seen: &Seen<'_>, unknown: bool) -> bool {
    let Operation {
        paths,
        not_paths,
        methods,
        not_methods,
        ports,
        not_ports,
        unknown: strange,
    } = operation;
    let path = seen.request.path.split('?').next();
    let method = Some(seen.request.method.as_str());
    let is_port = |port: &Port| port.get() == seen.port;
    (!strange || unknown)
        && any(paths, path)
        && none(not_paths, path)
        && any(methods, method)
        && none(not_methods, method)
        && (ports.is_empty() || ports.iter().any(is_port))
        && !not_ports.iter().any(is_port)
}

fn any(patterns: &[StringPattern], value: Option<&str>) -> bool {
    patterns.is_empty()
        || value.is_some_and(|value| patterns.iter().any(|pattern| holds(pattern, value)))
}

fn none(patterns: &[StringPattern], value: Option<&str>) -> bool {
    !value.is_some_and(|value| patterns.iter().any(|pattern| holds(pattern, value)))
}

fn holds(pattern: &StringPattern, value: &str) -> bool {
    match pattern {
        StringPattern::Exact(exact) => value == &**exact,
        StringPattern::Prefix(prefix) => value.starts_with(&**prefix),
        StringPattern::Suffix(suffix) => value.ends_with(&**suffix),
        StringPattern::Present => !value.is_empty(),
    }
}
