//! What the agents answer for a host.

use std::net::IpAddr;
use std::sync::Arc;

use ir::{NameEntry, PodName, Registry};
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
        (mesh.services().addresses(service), Arc::from([]))
    };
    let of_families = |all: &[IpAddr]| -> Arc<[IpAddr]> {
        let own = all.iter().filter(|address| scope.families.has(address));
        own.copied().collect()
    };
    let addresses = of_families(&addresses);
    let pods = pods.iter().map(|pod| PodName {
        hostname: Arc::clone(&pod.hostname),
        addresses: of_families(&pod.addresses),
    });
    let pods = pods.filter(|pod| !pod.addresses.is_empty());
    let is_alias = *host != service.host;
    let of_kubernetes = is_alias || service.registry == Registry::Kubernetes;
    let parts = host.service_parts().filter(|_| of_kubernetes);
    (!addresses.is_empty()).then(|| NameEntry {
        host: host.clone(),
        addresses,
        // Their names are under the service's own.
        pods: pods.filter(|_| !is_alias).collect(),
        registry: if of_kubernetes {
            Registry::Kubernetes
        } else {
            Registry::External
        },
        short_name: parts.map(|(name, _)| name.into()),
        namespace: parts.and_then(|(_, namespace)| namespace.parse().ok()),
    })
}
