//! ServiceEntries that claim what another service has: its host, or its address and port. WorkloadEntries that nobody
//! calls.

use std::net::IpAddr;
use std::sync::Arc;

use model::{Code, Finding, HostPattern, Layer, Object, ServiceEntry, WorkloadEntry};

use super::Found;
use crate::mesh::Mesh;
use crate::service::MeshService;

/// What is to be said of a ServiceEntry.
pub(super) fn of_entry(mesh: &Mesh, object: &Object, entry: &ServiceEntry) -> Found {
    let services = mesh.services().of_object(&object.key);
    let mut found = Vec::new();
    for (index, pattern) in entry.hosts.iter().enumerate() {
        let own = services.iter().find(|service| is_under(service, pattern));
        let rival = own.and_then(|own| preferred(mesh, own));
        if let Some(finding) = rival.map(|rival| lost_host(object, pattern, &rival)) {
            found.push((format!("spec.hosts[{index}]"), finding));
        }
    }
    let Some(own) = services.first() else {
        return found;
    };
    for (index, net) in entry.addresses.iter().enumerate() {
        let single = (net.prefix_len() == net.max_prefix_len()).then_some(net.addr());
        let rival = single.and_then(|address| at_address(mesh, own, address));
        let finding = rival.map(|(rival, port)| {
            let message = format!(
                "{rival} has this address and port {port} already: connections there are its"
            );
            let hint = "give each service of bytes an address or a port of its own";
            Finding::warning(Code::Conflict, message, hint)
        });
        found.extend(finding.map(|finding| (format!("spec.addresses[{index}]"), finding)));
    }
    found
}

fn is_under(service: &MeshService, pattern: &HostPattern) -> bool {
    pattern
        .service_host()
        .is_some_and(|host| host == service.host)
}

/// The service of the same host that callers prefer to this one, if any of them sees both.
fn preferred(mesh: &Mesh, own: &Arc<MeshService>) -> Option<Arc<MeshService>> {
    let all = mesh.services().all(&own.host);
    let before = all.iter().take_while(|other| other.rank != own.rank);
    let meets = |other: &&Arc<MeshService>| {
        let everywhere = other.export_to.is_everywhere() && own.export_to.is_everywhere();
        other.namespace() == own.namespace() || everywhere
    };
    before.into_iter().find(meets).cloned()
}

fn lost_host(object: &Object, host: &HostPattern, rival: &MeshService) -> Finding {
    let namespace = &object.key.namespace;
    let who = if rival.namespace() == namespace {
        "this one is ignored for it".to_owned()
    } else {
        format!("only callers of {namespace} reach this one")
    };
    let message = format!("{} has the host {host} already; {who}", rival.rank.key);
    let hint = "declare each host once, or limit both by `exportTo`";
    Finding::warning(Code::Conflict, message, hint)
}

/// An older object with a port of this one at an address, where one of both carries bytes: nothing tells those apart.
fn at_address(
    mesh: &Mesh,
    own: &MeshService,
    address: IpAddr,
) -> Option<(model::ObjectKey, model::Port)> {
    let others = mesh.services().at_address(address);
    let others = others.flat_map(|host| mesh.services().all(host));
    let others = others.filter(|other| other.addresses.contains(&address));
    let others = others.filter(|other| other.rank < own.rank && other.rank.key != own.rank.key);
    let mut shared = others.filter_map(|other| {
        let is_shared = |port: &&crate::service::MeshPort| {
            let there = other.port(port.number);
            there.is_some_and(|there| there.layer() == Layer::Tcp || port.layer() == Layer::Tcp)
        };
        let port = own.ports.iter().find(is_shared)?;
        Some((other.rank.key.clone(), port.number))
    });
    shared.next()
}

/// A WorkloadEntry that no service selects.
pub(super) fn of_workload(mesh: &Mesh, object: &Object, entry: &WorkloadEntry) -> Found {
    let mut services = mesh.services().in_namespace(&object.key.namespace);
    let selects = |service: &Arc<MeshService>| {
        let selector = service.selector.as_ref();
        selector.is_some_and(|selector| selector.matches(&entry.labels))
    };
    if services.any(selects) {
        return Vec::new();
    }
    let message =
        "no Service and no ServiceEntry of its namespace selects it, so nobody is led to it";
    let hint = "correct its labels, or create a Service or ServiceEntry that selects them";
    let finding = Finding::info(Code::NoEffect, message, hint);
    vec![("spec.labels".to_owned(), finding)]
}
