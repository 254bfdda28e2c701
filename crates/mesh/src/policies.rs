//! Which PeerAuthentications and AuthorizationPolicies apply to a workload.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use model::{
    Kind, Labels, MtlsMode, Namespace, Object, ObjectKey, PeerAuthentication, PolicyTarget, Port,
    Selector, Spec,
};
use store::{RefusedScope, Snapshot};

use crate::host_index::Ranked;
use crate::mesh::Mesh;
use crate::service::MeshService;
use crate::workload::Workload;

/// The security objects of each namespace, oldest first, and those that were refused without a good version.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    by_namespace: OrdMap<(Kind, Namespace), OrdSet<Ranked>>,
    refused: OrdMap<(Kind, Namespace), OrdSet<ObjectKey>>,
}

impl Policies {
    /// Takes notice that a security object is now what `now` says.
    pub fn replace(&mut self, key: &ObjectKey, before: Option<&Object>, now: &Snapshot) {
        let place = (key.kind, key.namespace.clone());
        let mut set = self.by_namespace.remove(&place).unwrap_or_default();
        if let Some(before) = before {
            set.remove(&Ranked::new(before));
        }
        let object = now.get(key);
        if let Some(object) = object {
            set.insert(Ranked::new(object));
        }
        if !set.is_empty() {
            self.by_namespace.insert(place.clone(), set);
        }
        let mut refused = self.refused.remove(&place).unwrap_or_default();
        if object.is_none() && now.refused.contains_key(key) {
            refused.insert(key.clone());
        } else {
            refused.remove(key);
        }
        if !refused.is_empty() {
            self.refused.insert(place, refused);
        }
    }

    pub(crate) fn of(&self, kind: Kind, namespace: &Namespace) -> impl Iterator<Item = &ObjectKey> {
        self.by_namespace
            .get(&(kind, namespace.clone()))
            .into_iter()
            .flatten()
            .map(|ranked| &ranked.key)
    }

    fn refused(&self, kind: Kind, namespace: &Namespace) -> impl Iterator<Item = &ObjectKey> {
        self.refused
            .get(&(kind, namespace.clone()))
            .into_iter()
            .flatten()
    }
}

impl Mesh {
    /// The mode that a workload's port demands of its callers.
    #[must_use]
    pub fn mtls_mode(&self, namespace: &Namespace, labels: &Labels, port: Port) -> MtlsMode {
        if self.is_closed(Kind::PeerAuthentication, namespace, labels) {
            return MtlsMode::Strict;
        }
        let workload = self.workload_authentication(namespace, labels);
        let own = workload.and_then(|policy| policy.ports.get(&port).copied().flatten());
        own.unwrap_or_else(|| self.default_mtls_mode(namespace, labels))
    }

    /// The mode of every port without one of its own: the workload's, the namespace's, the mesh's.
    #[must_use]
    pub fn default_mtls_mode(&self, namespace: &Namespace, labels: &Labels) -> MtlsMode {
        if self.is_closed(Kind::PeerAuthentication, namespace, labels) {
            return MtlsMode::Strict;
        }
        let root = &self.config().root_namespace;
        let workload = self
            .workload_authentication(namespace, labels)
            .and_then(|policy| policy.mode);
        workload
            .or_else(|| self.namespace_authentication(namespace)?.mode)
            .or_else(|| self.namespace_authentication(root)?.mode)
            .unwrap_or_default()
    }

    /// The ports of a workload that have a mode of their own.
    pub fn mtls_ports(&self, namespace: &Namespace, labels: &Labels) -> Vec<Port> {
        let policy = self.workload_authentication(namespace, labels);
        policy
            .map(|policy| policy.ports.keys().copied().collect())
            .unwrap_or_default()
    }

    fn authentications(
        &self,
        namespace: &Namespace,
    ) -> impl Iterator<Item = &Arc<PeerAuthentication>> {
        self.policies()
            .of(Kind::PeerAuthentication, namespace)
            .filter_map(|key| match &self.object(key)?.spec {
                Spec::PeerAuthentication(policy) => Some(policy),
                _ => None,
            })
    }

    fn workload_authentication(
        &self,
        namespace: &Namespace,
        labels: &Labels,
    ) -> Option<&Arc<PeerAuthentication>> {
        let selects = |policy: &&Arc<PeerAuthentication>| {
            policy.selector.as_ref().is_some_and(|s| s.matches(labels))
        };
        // In the root namespace a policy is the mesh's; one that selects workloads there is none, as in Istio.
        let in_root = *namespace == self.config().root_namespace;
        self.authentications(namespace)
            .find(selects)
            .filter(|_| !in_root)
    }

    fn namespace_authentication(&self, namespace: &Namespace) -> Option<&Arc<PeerAuthentication>> {
        self.authentications(namespace)
            .find(|policy| policy.selector.is_none())
    }

    /// The objects that had a say in the inbound half of a workload.
    #[must_use]
    pub fn inbound_origins(&self, workload: &Workload) -> Vec<ObjectKey> {
        let Workload {
            namespace, labels, ..
        } = workload;
        let root = &self.config().root_namespace;
        let mut found = Vec::new();
        for place in [root, namespace] {
            for kind in [Kind::PeerAuthentication, Kind::AuthorizationPolicy] {
                let applies = |key: &&ObjectKey| match self.object(key) {
                    Some(object) => concerns(object, labels),
                    None => false,
                };
                found.extend(self.policies().of(kind, place).filter(applies).cloned());
            }
        }
        for kind in [Kind::PeerAuthentication, Kind::AuthorizationPolicy] {
            found.extend(self.closing(kind, namespace, labels).cloned());
        }
        let selects = |service: &&Arc<MeshService>| {
            service.selector.as_ref().is_some_and(|s| s.matches(labels))
        };
        found.extend(
            self.services()
                .in_namespace(namespace)
                .filter(selects)
                .map(|s| s.rank.key.clone()),
        );
        found
    }

    /// Whether a refused object of a kind, of which no good version is known, closes this workload.
    /// In the root namespace it closes nothing, and neither does one whose selector could not be read.
    fn is_closed(&self, kind: Kind, namespace: &Namespace, labels: &Labels) -> bool {
        self.closing(kind, namespace, labels).next().is_some()
    }

    pub(crate) fn closing<'a>(
        &'a self,
        kind: Kind,
        namespace: &'a Namespace,
        labels: &'a Labels,
    ) -> impl Iterator<Item = &'a ObjectKey> {
        let in_root = *namespace == self.config().root_namespace;
        self.policies().refused(kind, namespace).filter(move |key| {
            let scope = self
                .snapshot()
                .refused
                .get(*key)
                .and_then(|refusal| refusal.scope.as_ref());
            !in_root
                && match scope {
                    Some(RefusedScope::Namespace) => true,
                    Some(RefusedScope::Workloads(selector)) => selector.matches(labels),
                    Some(RefusedScope::Hosts(_)) | None => false,
                }
        })
    }
}

/// Whether a security object has a say in what a workload of its reach accepts.
fn concerns(object: &Object, labels: &Labels) -> bool {
    let elsewhere = match &object.spec {
        Spec::AuthorizationPolicy(policy) => policy.target == PolicyTarget::Elsewhere,
        _ => false,
    };
    !elsewhere && selector_of(object).is_none_or(|selector| selector.matches(labels))
}

/// The selector of a security object, for finding the workloads that a change of it concerns.
#[must_use]
pub fn selector_of(object: &Object) -> Option<&Selector> {
    match &object.spec {
        Spec::PeerAuthentication(policy) => policy.selector.as_ref(),
        Spec::AuthorizationPolicy(policy) => match &policy.target {
            PolicyTarget::Workloads(selector) => Some(selector),
            PolicyTarget::Namespace | PolicyTarget::Elsewhere => None,
        },
        _ => None,
    }
}
