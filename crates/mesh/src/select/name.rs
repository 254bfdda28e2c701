//! What the agents answer for a host.

use std::sync::Arc;

use ir::{NameEntry, Registry};
use model::Hostname;

use crate::endpoints::facts;
use crate::mesh::Mesh;
use crate::scope::Scope;

pub(crate) fn select(mesh: &Mesh, scope: &Scope, host: &Hostname) -> Option<NameEntry> {
    let service = mesh.reached(scope, host)?;
    let (addresses, pods) = if service.is_headless() {
        let facts = facts(mesh, service);
        (facts.addresses, facts.pods)
    } else {
        (mesh.services().addresses(service), Arc::default())
    };
    let is_alias = *host != service.host;
    let of_kubernetes = is_alias || service.registry == Registry::Kubernetes;
    let parts = host.service_parts().filter(|_| of_kubernetes);
    (!addresses.is_empty()).then(|| NameEntry {
        host: host.clone(),
        addresses,
        // Their names are under the service's own.
        pods: if is_alias { Arc::default() } else { pods },
        registry: if of_kubernetes {
            Registry::Kubernetes
        } else {
            Registry::External
        },
        short_name: parts.map(|(name, _)| name.into()),
        namespace: parts.and_then(|(_, namespace)| namespace.parse().ok()),
    })
}
