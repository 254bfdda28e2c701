//! What the agents answer for a host.

use ir::{NameEntry, Registry};
use model::Hostname;

use crate::endpoints::facts;
use crate::mesh::Mesh;
use crate::scope::Scope;

pub(crate) fn select(mesh: &Mesh, scope: &Scope, host: &Hostname) -> Option<NameEntry> {
    if host.is_wildcard() {
        return None;
    }
    let service = mesh.services().visible(scope, host)?;
    let addresses = if service.is_headless() {
        facts(mesh, service).addresses
    } else {
        mesh.services().addresses(service)
    };
    let of_kubernetes = service.registry == Registry::Kubernetes;
    (!addresses.is_empty()).then(|| NameEntry {
        host: host.clone(),
        addresses,
        registry: service.registry,
        short_name: of_kubernetes.then(|| service.rank.key.name.as_str().into()),
        namespace: of_kubernetes.then(|| service.namespace().clone()),
    })
}
