//! The instances of a service: everything that stands behind it, before port and subset are chosen.

use std::net::IpAddr;
use std::sync::Arc;

use ir::{Health, Registry, WorkloadRef};
use model::{
    EndpointAddress, EndpointSlice, Kind, Labels, Locality, Name, Object, Port, PortName,
    SliceEndpoint, Spec, SpiffeId, TargetPort, WorkloadEntry,
};

use crate::mesh::Mesh;
use crate::proximity::Place;
use crate::service::{MeshPort, MeshService};
use crate::workload::{Workload, pod_key};

/// One instance of a service.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Where it is reached.
    pub address: EndpointAddress,
    /// Its further addresses, where several are one endpoint.
    pub more_addresses: Vec<IpAddr>,
    /// The Pod that it is, where it is one.
    pub pod: Option<Name>,
    /// What it is called under the name of a headless service.
    pub hostname: Option<Arc<str>>,
    /// The ports that it declares by the service ports' names; a slice's are complete, others fall back.
    pub ports: InstancePorts,
    /// What subsets choose by.
    pub labels: Labels,
    /// Where it runs.
    pub locality: Locality,
    /// The Node on which it runs, where it is known.
    pub node: Option<Name>,
    /// Its share of the load.
    pub weight: u32,
    /// Whether it may be called.
    pub health: Health,
    /// Whether it bears the mark of Istio's mutual TLS.
    pub mesh_tls: bool,
    /// Who it is, where it is known.
    pub identity: Option<SpiffeId>,
    /// What telemetry says of it.
    pub workload: WorkloadRef,
}

/// How an instance's port is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstancePorts {
    /// By an EndpointSlice: what does not stand there does not exist.
    Slice(Arc<[(Option<PortName>, Port)]>),
    /// By the service port's name, else by the service's target port.
    Named(Arc<[(Option<PortName>, Port)]>),
    /// By the service's target port, which may name a container's.
    Container(Arc<[(Option<PortName>, Port)]>),
}

impl InstancePorts {
    /// How the ports of a workload are found behind a service that selects it. The names of a pod's ports mean
    /// nothing to a Service that gives a number.
    #[must_use]
    pub fn of_workload(workload: &Workload, service: &MeshService) -> Self {
        let ports = Arc::clone(&workload.ports);
        if workload.is_pod && service.registry == Registry::Kubernetes {
            Self::Container(ports)
        } else {
            Self::Named(ports)
        }
    }

    /// The port behind a service port; none: it is not served.
    #[must_use]
    pub fn port(&self, port: &MeshPort) -> Option<Port> {
        let find = |ports: &[(Option<PortName>, Port)], name: Option<&PortName>| {
            ports
                .iter()
                .find(|(declared, _)| declared.as_ref() == name)
                .map(|(_, number)| *number)
        };
        match (self, &port.target) {
            (Self::Slice(ports), _) => find(ports, port.name.as_ref()),
            (Self::Named(ports) | Self::Container(ports), TargetPort::Named(target)) => {
                find(ports, Some(target))
            }
            (Self::Container(_), TargetPort::Number(number)) => Some(*number),
            (Self::Named(ports), TargetPort::Number(number)) => port
                .name
                .as_ref()
                .and_then(|name| find(ports, Some(name)))
                .or(Some(*number)),
        }
    }
}

impl Instance {
    /// Where it runs, for who prefers some places.
    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            locality: &self.locality,
            labels: &self.labels,
            node: self.node.as_ref(),
        }
    }

    /// The instance's own port behind a service port; none: it does not serve it.
    #[must_use]
    pub fn port(&self, port: &MeshPort) -> Option<Port> {
        self.ports.port(port)
    }
}

/// Everything that stands behind a service, in no particular order.
pub fn instances(mesh: &Mesh, service: &MeshService) -> Vec<Instance> {
    let mut found = Vec::new();
    for slice in mesh.slices_of(service) {
        if let Spec::EndpointSlice(spec) = &slice.spec {
            found.extend(of_slice(mesh, service, slice, spec));
        }
    }
    let has_slices = !found.is_empty() || mesh.slices_of(service).next().is_some();
    if let Some(selector) = &service.selector {
        for object in mesh.workloads_in(service.namespace()) {
            let Some(workload) = Workload::of(object) else {
                continue;
            };
            let counts = object.key.kind == Kind::WorkloadEntry || !has_slices;
            if counts && selector.matches(&workload.labels) {
                found.extend(of_workload(mesh, service, object, &workload));
            }
        }
    }
    found.extend(
        service
            .listed
            .iter()
            .filter_map(|entry| of_listed(mesh, service, entry)),
    );
    if found.is_empty() && service.listed.is_empty() && service.selector.is_none() {
        found.extend(of_own_name(service));
    }
    found
}

fn of_slice(
    mesh: &Mesh,
    service: &MeshService,
    slice: &Object,
    spec: &EndpointSlice,
) -> Vec<Instance> {
    let mut found = Vec::new();
    for endpoint in spec.endpoints.iter() {
        let Some(health) = health(service, endpoint) else {
            continue;
        };
        let pod = endpoint
            .pod
            .as_ref()
            .and_then(|name| mesh.workload(&pod_key(&slice.key.namespace, name)));
        let of_pod = pod.as_ref().map(|pod| mesh.locality(pod));
        let known = of_pod.filter(|locality| *locality != Locality::default());
        let locality = known.unwrap_or_else(|| Locality {
            zone: endpoint.zone.clone().unwrap_or_default(),
            ..Locality::default()
        });
        for address in endpoint.addresses.iter() {
            found.push(Instance {
                address: EndpointAddress::Ip(*address),
                more_addresses: Vec::new(),
                pod: endpoint.pod.clone(),
                hostname: endpoint.hostname.clone(),
                ports: InstancePorts::Slice(Arc::clone(&spec.ports)),
                labels: pod.as_ref().map(|p| p.labels.clone()).unwrap_or_default(),
                locality: locality.clone(),
                node: pod.as_ref().and_then(|p| p.node.clone()),
                weight: 1,
                health,
                mesh_tls: pod.as_ref().is_some_and(|p| p.mesh_tls),
                identity: pod
                    .as_ref()
                    .map(|p| p.identity(&mesh.config().trust_domain)),
                workload: pod
                    .as_ref()
                    .map(|p| p.reference(&mesh.config().trust_domain))
                    .unwrap_or_default(),
            });
        }
    }
    found
}

/// Ready endpoints are called, terminating ones that still serve drain, others are not there.
fn health(service: &MeshService, endpoint: &SliceEndpoint) -> Option<Health> {
    if endpoint.ready || service.publish_not_ready {
        Some(Health::Healthy)
    } else if endpoint.terminating && endpoint.serving {
        Some(Health::Draining)
    } else {
        None
    }
}

fn of_workload(
    mesh: &Mesh,
    service: &MeshService,
    object: &Object,
    workload: &Workload,
) -> Vec<Instance> {
    let (locality, weight, address) = match &object.spec {
        Spec::WorkloadEntry(entry) => (entry.locality.clone(), entry.weight, entry.address.clone()),
        Spec::Pod(pod) if !pod.ready && !service.publish_not_ready => return Vec::new(),
        Spec::Pod(_) => (mesh.locality(workload), 1, None),
        Spec::VirtualService(_)
        | Spec::DestinationRule(_)
        | Spec::PeerAuthentication(_)
        | Spec::AuthorizationPolicy(_)
        | Spec::ServiceEntry(_)
        | Spec::Service(_)
        | Spec::EndpointSlice(_)
        | Spec::Node(_)
        | Spec::Namespace
        | Spec::ServiceAccount
        | Spec::Deployment(_)
        | Spec::MeshConfig(_) => (Locality::default(), 1, None),
    };
    let own = workload.addresses.iter().map(|ip| EndpointAddress::Ip(*ip));
    let addresses: Vec<EndpointAddress> =
        address.map_or_else(|| own.collect(), |address| vec![address]);
    let hostname = match &object.spec {
        Spec::Pod(pod) => pod.hostname.as_ref(),
        _ => None,
    };
    let hostname = hostname.filter(|(_, subdomain)| **subdomain == *service.rank.key.name.as_str());
    let instance = |address| Instance {
        address,
        more_addresses: Vec::new(),
        pod: workload.is_pod.then(|| object.key.name.clone()),
        hostname: hostname.map(|(hostname, _)| Arc::clone(hostname)),
        ports: InstancePorts::of_workload(workload, service),
        labels: workload.labels.clone(),
        locality: locality.clone(),
        node: workload.node.clone(),
        weight,
        health: Health::Healthy,
        mesh_tls: workload.mesh_tls,
        identity: Some(workload.identity(&mesh.config().trust_domain)),
        workload: workload.reference(&mesh.config().trust_domain),
    };
    addresses.into_iter().map(instance).collect()
}

fn of_listed(mesh: &Mesh, service: &MeshService, entry: &WorkloadEntry) -> Option<Instance> {
    let address = match &entry.address {
        Some(address) => address.clone(),
        None => return None,
    };
    let identity = entry.service_account.as_ref().map(|account| SpiffeId {
        trust_domain: mesh.config().trust_domain.clone(),
        namespace: service.namespace().clone(),
        service_account: account.clone(),
    });
    Some(Instance {
        address,
        more_addresses: Vec::new(),
        pod: None,
        hostname: None,
        ports: InstancePorts::Named(
            entry
                .ports
                .iter()
                .map(|(name, port)| (Some(name.clone()), *port))
                .collect(),
        ),
        labels: entry.labels.clone(),
        locality: entry.locality.clone(),
        node: None,
        weight: entry.weight,
        health: Health::Healthy,
        mesh_tls: service.in_mesh
            && (entry.service_account.is_some()
                || entry.labels.get(crate::workload::TLS_MODE) == Some("istio")),
        identity,
        workload: WorkloadRef::default(),
    })
}

/// A ServiceEntry that is resolved by DNS and lists nothing is resolved by its own name.
fn of_own_name(service: &MeshService) -> Option<Instance> {
    use crate::service::ServiceDiscovery::{
        DynamicDns, Endpoints, LogicalDns, OriginalDestination, StrictDns,
    };
    match service.discovery {
        Endpoints | OriginalDestination | DynamicDns => None,
        StrictDns | LogicalDns => Some(Instance {
            address: EndpointAddress::Dns(service.host.clone()),
            more_addresses: Vec::new(),
            pod: None,
            hostname: None,
            ports: InstancePorts::Named(Arc::new([])),
            labels: Labels::default(),
            locality: Locality::default(),
            node: None,
            weight: 1,
            health: Health::Healthy,
            mesh_tls: false,
            identity: None,
            workload: WorkloadRef::default(),
        }),
    }
}
