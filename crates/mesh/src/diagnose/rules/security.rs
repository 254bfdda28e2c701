//! DestinationRules that secure connections in a way that their servers refuse.

use model::{ClientTls, Code, DestinationRule, Finding, MtlsMode, Port};

use super::super::Found;
use super::super::served::target_of_service;
use crate::mesh::Mesh;
use crate::service::{MeshPort, MeshService};
use crate::workload::Workload;

/// What is to be said of the `tls` of a rule.
pub(super) fn of_rule(mesh: &Mesh, service: &MeshService, rule: &DestinationRule) -> Found {
    let Some(selector) = &service.selector else {
        return Vec::new();
    };
    let selected = mesh.workloads_in(service.namespace());
    let workloads: Vec<Workload> = selected
        .filter_map(|object| Workload::of(object))
        .filter(|workload| selector.matches(&workload.labels))
        .collect();
    let whole = &rule.policy;
    let own = whole.default.tls.as_ref();
    let mut found = Vec::new();
    let mut add = |at: String, finding: Option<Finding>| {
        found.extend(finding.map(|finding| (at, finding)));
    };
    let by_default = service.ports.iter();
    let by_default = by_default.filter(|port| !whole.ports.contains_key(&port.number));
    let mut refusing = by_default.filter_map(|port| refused(mesh, service, port, &workloads, own?));
    add("spec.trafficPolicy.tls".to_owned(), refusing.next());
    for (number, policy) in &whole.ports {
        let tls = policy.tls.as_ref().zip(service.port(*number));
        let finding = tls.and_then(|(tls, port)| refused(mesh, service, port, &workloads, tls));
        add("spec.trafficPolicy.portLevelSettings".to_owned(), finding);
    }
    found
}

/// Why the servers behind a port refuse connections that are secured so.
fn refused(
    mesh: &Mesh,
    service: &MeshService,
    port: &MeshPort,
    workloads: &[Workload],
    tls: &ClientTls,
) -> Option<Finding> {
    let mode = |workload: &Workload, target: Port| {
        mesh.mtls_mode(&workload.namespace, &workload.labels, target)
    };
    let demands = |wanted: MtlsMode| {
        workloads.iter().find(|workload| {
            let target = target_of_service(service, port, workload);
            workload.mesh_tls && target.is_some_and(|target| mode(workload, target) == wanted)
        })
    };
    let number = port.number;
    let (message, hint) = match tls {
        ClientTls::Disable | ClientTls::Simple(_) => (
            format!(
                "callers of port {number} show no identity of the mesh, and {} demands mutual TLS",
                demands(MtlsMode::Strict)?.name
            ),
            "write `ISTIO_MUTUAL` or leave `tls` out, or let the PeerAuthentication be PERMISSIVE",
        ),
        ClientTls::IstioMutual { .. } if has_no_proxy(workloads) => (
            format!(
                "no workload of {} takes the mesh's mutual TLS: they have no proxy",
                service.host
            ),
            "give them the sidecar, or leave `tls` out",
        ),
        ClientTls::IstioMutual { .. } => (
            format!(
                "callers of port {number} insist on mutual TLS, and {} takes plaintext only",
                demands(MtlsMode::Disable)?.name
            ),
            "leave `tls` out, or let the PeerAuthentication be PERMISSIVE",
        ),
        ClientTls::Mutual { .. } => return None,
    };
    Some(Finding::warning(Code::Conflict, message, hint))
}

fn has_no_proxy(workloads: &[Workload]) -> bool {
    !workloads.is_empty() && !workloads.iter().any(|workload| workload.mesh_tls)
}
