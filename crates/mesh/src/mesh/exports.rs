//! What MeshConfig says of objects without `exportTo`: they are taken as if they said it themselves.

use std::sync::Arc;

use model::{
    DefaultExports, DestinationRule, Export, ExportTo, Namespace, Object, ObjectKey, Service,
    ServiceEntry, Spec, VirtualService,
};
use store::{Delta, Refusal, RefusedScope, Snapshot};

use super::Mesh;

impl Mesh {
    /// The objects of now as MeshConfig completes them, and which of them changed.
    pub(super) fn completed(
        &self,
        now: &Snapshot,
        delta: &Delta,
        exports: &DefaultExports,
    ) -> (Snapshot, Delta) {
        let is_new = *exports != self.config.exports;
        let says = *exports != DefaultExports::default();
        if !is_new && !says {
            return (now.clone(), delta.clone());
        }
        let (mut own, changed) = if is_new {
            let all = now.objects.keys().chain(now.refused.keys());
            let changed = all.chain(&delta.changed).cloned().collect();
            (now.clone(), changed)
        } else {
            (self.snapshot.clone(), delta.changed.clone())
        };
        for key in &changed {
            copy(now, &mut own, key, exports);
        }
        (own, Delta { changed })
    }
}

/// Takes over what an object says now, completed.
fn copy(now: &Snapshot, own: &mut Snapshot, key: &ObjectKey, exports: &DefaultExports) {
    match now.get(key) {
        Some(object) => own.objects.insert(key.clone(), object_of(object, exports)),
        None => own.objects.remove(key),
    };
    match now.refused.get(key) {
        Some(refusal) => own
            .refused
            .insert(key.clone(), refusal_of(refusal, exports)),
        None => own.refused.remove(key),
    };
}

fn object_of(object: &Arc<Object>, exports: &DefaultExports) -> Arc<Object> {
    let namespace = &object.key.namespace;
    let spec = match &object.spec {
        Spec::Service(service) => default_for(&exports.services, &service.export_to, namespace)
            .map(|export_to| {
                Spec::Service(Arc::new(Service {
                    export_to,
                    ..Service::clone(service)
                }))
            }),
        Spec::ServiceEntry(entry) => default_for(&exports.services, &entry.export_to, namespace)
            .map(|export_to| {
                Spec::ServiceEntry(Arc::new(ServiceEntry {
                    export_to,
                    ..ServiceEntry::clone(entry)
                }))
            }),
        Spec::VirtualService(service) => {
            routes_of(service, namespace, exports).map(Spec::VirtualService)
        }
        Spec::DestinationRule(rule) => {
            default_for(&exports.destination_rules, &rule.export_to, namespace).map(|export_to| {
                Spec::DestinationRule(Arc::new(DestinationRule {
                    export_to,
                    ..DestinationRule::clone(rule)
                }))
            })
        }
        Spec::PeerAuthentication(_)
        | Spec::AuthorizationPolicy(_)
        | Spec::WorkloadEntry(_)
        | Spec::EndpointSlice(_)
        | Spec::Pod(_)
        | Spec::Node(_)
        | Spec::Namespace
        | Spec::ServiceAccount
        | Spec::Deployment(_)
        | Spec::MeshConfig(_) => None,
    };
    match spec {
        Some(spec) => Arc::new(Object {
            spec,
            ..Object::clone(object)
        }),
        None => Arc::clone(object),
    }
}

fn refusal_of(refusal: &Arc<Refusal>, exports: &DefaultExports) -> Arc<Refusal> {
    let routes = match &refusal.scope {
        Some(RefusedScope::Hosts(service)) => routes_of(service, &refusal.key.namespace, exports),
        Some(RefusedScope::Namespace | RefusedScope::Workloads(_)) | None => None,
    };
    match routes {
        Some(service) => Arc::new(Refusal {
            scope: Some(RefusedScope::Hosts(service)),
            ..Refusal::clone(refusal)
        }),
        None => Arc::clone(refusal),
    }
}

fn routes_of(
    service: &VirtualService,
    namespace: &Namespace,
    exports: &DefaultExports,
) -> Option<Arc<VirtualService>> {
    let export_to = default_for(&exports.virtual_services, &service.export_to, namespace)?;
    Some(Arc::new(VirtualService {
        export_to,
        ..service.clone()
    }))
}

/// What holds for an object of a namespace that says nothing; none: it says something, or MeshConfig does not.
fn default_for(said: &Option<Export>, own: &ExportTo, namespace: &Namespace) -> Option<ExportTo> {
    let said = said.as_ref().filter(|_| *own == ExportTo::Unset)?;
    Some(said.of(namespace))
}
