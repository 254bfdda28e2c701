//! The ports of workloads to which services lead, and what is spoken on them.

use std::collections::{BTreeMap, BTreeSet};

use model::{Code, Finding, Hostname, Labels, Layer, Namespace, PolicyTarget, Port, Selector};

use crate::instance::InstancePorts;
use crate::mesh::Mesh;
use crate::select::target_of;
use crate::service::{MeshPort, MeshService};
use crate::workload::Workload;

/// What services lead to on some workloads.
#[derive(Default)]
pub(super) struct Served {
    /// What is spoken on the workloads' own ports.
    layers: BTreeMap<Port, BTreeSet<Layer>>,
    /// The ports under which services are called, each with a service and the workload's own port behind.
    called: BTreeMap<Port, (Hostname, Port)>,
}

impl Served {
    /// Of these workloads.
    pub(super) fn of(mesh: &Mesh, workloads: &[Workload]) -> Self {
        let mut found = Self::default();
        for workload in workloads {
            for service in mesh.services().in_namespace(&workload.namespace) {
                for port in service.ports.iter() {
                    let Some(target) = target_of(mesh, service, port, workload) else {
                        continue;
                    };
                    found.layers.entry(target).or_default().insert(port.layer());
                    let behind = (service.host.clone(), target);
                    found.called.entry(port.number).or_insert(behind);
                }
            }
        }
        found
    }

    /// Whether connections to a port, or without one to every port, are nothing but bytes.
    pub(super) fn is_tcp_only(&self, port: Option<Port>) -> bool {
        let of_port = |own: &Port| port.is_none_or(|port| port == *own);
        let mut layers = self
            .layers
            .iter()
            .filter(|(own, _)| of_port(own))
            .peekable();
        layers.peek().is_some()
            && layers.all(|(_, spoken)| spoken.iter().all(|layer| *layer == Layer::Tcp))
    }

    /// What to say of a port that is a service's own, where the workloads' is meant.
    pub(super) fn mistaken(&self, code: Code, port: Port) -> Option<Finding> {
        let (host, target) = self
            .called
            .get(&port)
            .filter(|_| !self.layers.contains_key(&port))?;
        let message = format!(
            "{port} is the port of {host}; the workloads' own, which counts here, is {target}"
        );
        Some(Finding::warning(code, message, format!("write {target}")))
    }
}

/// The workloads that a policy of a namespace is for, one of each set of labels: those of the root namespace are for all.
pub(super) fn guarded(mesh: &Mesh, namespace: &Namespace, target: &PolicyTarget) -> Vec<Workload> {
    match target {
        PolicyTarget::Namespace => selected(mesh, namespace, None),
        PolicyTarget::Workloads(selector) => selected(mesh, namespace, Some(selector)),
        PolicyTarget::Elsewhere => Vec::new(),
    }
}

/// The workloads that a selector of a namespace matches, one of each set of labels.
pub(super) fn selected(
    mesh: &Mesh,
    namespace: &Namespace,
    selector: Option<&Selector>,
) -> Vec<Workload> {
    let in_root = *namespace == mesh.config().root_namespace;
    let places = mesh.namespaces().into_iter();
    let places = places.filter(|place| in_root || *place == namespace);
    let workloads = places.flat_map(|place| mesh.workloads_in(place));
    let mut found = BTreeMap::<(Namespace, Labels), Workload>::new();
    for workload in workloads.filter_map(|object| Workload::of(object)) {
        if selector.is_none_or(|selector| selector.matches(&workload.labels)) {
            let place = (workload.namespace.clone(), workload.labels.clone());
            found.entry(place).or_insert(workload);
        }
    }
    found.into_values().collect()
}

/// The workload's own port behind a port of a service that selects it.
pub(super) fn target_of_service(
    service: &MeshService,
    port: &MeshPort,
    workload: &Workload,
) -> Option<Port> {
    InstancePorts::of_workload(workload, service).port(port)
}
