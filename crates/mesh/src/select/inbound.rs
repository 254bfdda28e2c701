//! What the inbound half of a workload is made of: the services that lead to it and the policies that guard it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ir::{Authorization, Hashed, InboundPort, InboundTraffic};
use model::{
    ConnectionPool, Families, Layer, ListenerSettings, MtlsMode, Port, Spec, TargetPort,
    TrustDomains,
};

use crate::host_index::Ranked;
use crate::instance::InstancePorts;
use crate::mesh::Mesh;
use crate::select::cluster;
use crate::service::{MeshPort, MeshService};
use crate::workload::Workload;

/// Everything that the inbound half of a workload is built from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InboundInputs {
    /// The families of its addresses.
    pub families: Families,
    /// The trust domains to one of which its callers must belong.
    pub trust_domains: TrustDomains,
    /// The ports that services declare on it, ordered.
    pub ports: Arc<[InboundPort]>,
    /// How connections to the app are made on the ports for which a DestinationRule or the mesh says, ordered.
    pub pools: Arc<[(Port, ConnectionPool)]>,
    /// The mode of every other port.
    pub passthrough: MtlsMode,
    /// Ports with a mode of their own that no service declares, ordered.
    pub passthrough_ports: Arc<[(Port, MtlsMode)]>,
    /// Who may call it.
    pub authorization: Authorization,
    /// What holds for every listener.
    pub settings: ListenerSettings,
}

/// A port that a service declares.
struct Declared {
    rank: Ranked,
    inbound: InboundPort,
    pool: ConnectionPool,
}

/// What applies to a workload.
#[must_use]
pub fn select_inbound(mesh: &Mesh, workload: &Workload) -> Hashed<InboundInputs> {
    let Workload {
        namespace, labels, ..
    } = workload;
    let scope = mesh.scope_of(workload);
    let mut ports: BTreeMap<Port, Declared> = BTreeMap::new();
    for service in mesh.services().in_namespace(namespace) {
        for port in service.ports.iter() {
            let Some(target) = target_of(mesh, service, port, workload) else {
                continue;
            };
            // Of two services on one port the oldest decides the protocol.
            let older = ports.get(&target);
            if older.is_some_and(|older| older.rank <= service.rank) {
                continue;
            }
            let inbound = InboundPort {
                port: target,
                traffic: traffic(port.layer()),
                mtls: mesh.mtls_mode(namespace, labels, target),
                service: service.reference(),
            };
            let declared = Declared {
                rank: service.rank.clone(),
                inbound,
                pool: cluster::pool_of_server(mesh, &scope, service, port.number),
            };
            ports.insert(target, declared);
        }
    }
    let own = mesh
        .mtls_ports(namespace, labels)
        .into_iter()
        .filter(|port| !ports.contains_key(port));
    Hashed::new(InboundInputs {
        families: workload.families(),
        trust_domains: mesh.config().trust_domains(),
        passthrough: mesh.default_mtls_mode(namespace, labels),
        passthrough_ports: own
            .map(|port| (port, mesh.mtls_mode(namespace, labels, port)))
            .collect(),
        authorization: mesh.authorization(namespace, labels),
        pools: ports
            .iter()
            .filter(|(_, declared)| declared.pool != ConnectionPool::default())
            .map(|(port, declared)| (*port, declared.pool.clone()))
            .collect(),
        ports: ports
            .into_values()
            .map(|declared| declared.inbound)
            .collect(),
        settings: mesh.config().listeners.clone(),
    })
}

/// The workload's own port that a service's port leads to; none: it does not lead here.
pub(crate) fn target_of(
    mesh: &Mesh,
    service: &MeshService,
    port: &MeshPort,
    workload: &Workload,
) -> Option<Port> {
    if let Some(selector) = &service.selector {
        let ports = InstancePorts::of_workload(workload, service);
        return ports
            .port(port)
            .filter(|_| selector.matches(&workload.labels));
    }
    let listed = service.listed.iter().find(|entry| match &entry.address {
        Some(model::EndpointAddress::Ip(ip)) => workload.addresses.contains(ip),
        Some(model::EndpointAddress::Dns(_) | model::EndpointAddress::Unix(_)) | None => false,
    });
    if let Some(entry) = listed {
        let own = port
            .name
            .as_ref()
            .and_then(|name| entry.ports.get(name))
            .copied();
        return own.or(match &port.target {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Named(_) => None,
        });
    }
    by_slice(mesh, service, port, workload)
}

fn by_slice(
    mesh: &Mesh,
    service: &MeshService,
    port: &MeshPort,
    workload: &Workload,
) -> Option<Port> {
    mesh.slices_of(service).find_map(|object| {
        let Spec::EndpointSlice(slice) = &object.spec else {
            return None;
        };
        let here = slice.endpoints.iter().any(|endpoint| {
            endpoint
                .pod
                .as_ref()
                .is_some_and(|pod| pod.as_str() == &*workload.name)
                || endpoint
                    .addresses
                    .iter()
                    .any(|address| workload.addresses.contains(address))
        });
        let number = slice
            .ports
            .iter()
            .find(|(name, _)| *name == port.name)
            .map(|(_, number)| *number);
        number.filter(|_| here)
    })
}

fn traffic(layer: Layer) -> InboundTraffic {
    match layer {
        Layer::Http => InboundTraffic::Http,
        Layer::Tcp => InboundTraffic::Tcp,
        Layer::Detect => InboundTraffic::Detect,
    }
}
