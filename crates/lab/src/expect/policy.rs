//! What a workload does with a call: mutual TLS that it asks for, and policies that allow or refuse.

use model::{
    AuthorizationAction, AuthorizationPolicy, ClientTls, Kind, Labels, MtlsMode, Object,
    PeerAuthentication, PolicyTarget, Port, Spec, older_first,
};

use super::rule::{Seen, any, matches};
use super::{Oracle, Refusal, Request, Verdict};
use crate::folder::Workload;

impl<'a> Oracle<'a> {
    /// What `pod` does at `port` with a request of `caller`; none: nobody knows from here.
    pub(super) fn verdict(
        &self,
        caller: &Workload,
        pod: &Workload,
        port: u16,
        tls: Option<&ClientTls>,
        request: &Request,
    ) -> Option<Verdict> {
        if !pod.is_injected() {
            return Some(Verdict::Served(None));
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
            return Some(Verdict::Refused(Refusal::Plaintext));
        }
        let identity = self.identity(caller).filter(|_| mutual);
        let seen = Seen {
            identity: identity.as_ref(),
            request,
            port,
        };
        Some(match self.refusal(pod, &seen)? {
            Some(refusal) => Verdict::Refused(refusal),
            None => Verdict::Served(identity.map(|identity| identity.to_string())),
        })
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
                Some(selector)
                    if at_home && object.key.namespace != root && selector.matches(&labels) =>
                {
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

    /// Who refuses; none within: nobody. None at all: that depends on what is not known here.
    fn refusal(&self, pod: &Workload, seen: &Seen<'_>) -> Option<Option<Refusal>> {
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
        let (mut allows, mut allowed) = (false, Some(false));
        for object in self.of_kind(Kind::AuthorizationPolicy) {
            let Spec::AuthorizationPolicy(policy) = &object.spec else {
                continue;
            };
            if !concerns(object, policy) || policy.dry_run {
                continue;
            }
            let refuses = policy.action != AuthorizationAction::Allow;
            let rules = policy.rules.iter();
            let matched = any(rules.map(|rule| matches(rule, seen, refuses)));
            match policy.action {
                AuthorizationAction::Deny if matched? => {
                    let name = format!("{}/{}", object.key.namespace, object.key.name);
                    return Some(Some(Refusal::Denied(name)));
                }
                // What a provider says is not known here.
                AuthorizationAction::Custom(_) if matched != Some(false) => return None,
                AuthorizationAction::Allow => {
                    allows = true;
                    allowed = any([allowed, matched].into_iter());
                }
                AuthorizationAction::Deny
                | AuthorizationAction::Custom(_)
                | AuthorizationAction::Audit => {}
            }
        }
        if !allows {
            return Some(None);
        }
        Some((!allowed?).then_some(Refusal::NotAllowed))
    }
}

fn labels(pod: &Workload) -> Labels {
    pod.labels
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}
