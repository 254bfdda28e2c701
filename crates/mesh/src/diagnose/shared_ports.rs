//! Services that lead to a port of a workload under different protocols: the oldest decides what is spoken there.

use model::{Code, Finding, Layer, Object, Service};

use super::Found;
use super::served::selected;
use crate::mesh::Mesh;
use crate::select::target_of;
use crate::service::{MeshPort, MeshService};
use crate::workload::Workload;

/// What is to be said of the ports of a Service.
pub(super) fn of_service(mesh: &Mesh, object: &Object, service: &Service) -> Found {
    let Some(own) = mesh.services().of_object(&object.key).first() else {
        return Vec::new();
    };
    let selector = service.selector.as_ref();
    let workloads = selector.map(|selector| selected(mesh, &object.key.namespace, Some(selector)));
    let workloads = workloads.unwrap_or_default();
    let mut found = Vec::new();
    for (index, written) in service.ports.iter().enumerate() {
        let port = own.port(written.number);
        let rival = port.and_then(|port| {
            let mut rivals = workloads.iter();
            rivals.find_map(|workload| rival(mesh, own, port, workload))
        });
        found.extend(rival.map(|finding| (format!("spec.ports[{index}]"), finding)));
    }
    found
}

/// An older Service that says something else of the port of a workload behind this one.
fn rival(mesh: &Mesh, own: &MeshService, port: &MeshPort, workload: &Workload) -> Option<Finding> {
    let target = target_of(mesh, own, port, workload)?;
    let services = mesh.services().in_namespace(&workload.namespace);
    let older = services.filter(|service| service.rank < own.rank);
    let leading = older.flat_map(|service| service.ports.iter().map(move |port| (service, port)));
    let mut leading = leading.filter(|(service, other)| {
        other.layer() != port.layer() && target_of(mesh, service, other, workload) == Some(target)
    });
    let (service, other) = leading.next()?;
    let message = format!(
        "{} leads to port {target} of {} too and {}: the older one decides",
        service.rank.key,
        workload.name,
        word(other.layer())
    );
    let hint = "declare the same protocol in both";
    Some(Finding::warning(Code::Conflict, message, hint))
}

fn word(layer: Layer) -> &'static str {
    match layer {
        Layer::Http => "declares HTTP",
        Layer::Tcp => "declares TCP",
        Layer::Detect => "declares no protocol",
    }
}
