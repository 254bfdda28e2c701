//! What of Kubernetes concerns the mesh: Services, EndpointSlices and Pods.

use std::net::IpAddr;
use std::sync::Arc;

use crate::{
    ExportTo, Hostname, Labels, Locality, Name, Port, PortName, Protocol, Selector, ServiceAccount,
};

/// `v1` Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// How it is addressed.
    pub addressing: Addressing,
    /// `spec.selector`; none: its endpoints come by EndpointSlice only.
    pub selector: Option<Selector>,
    /// `spec.ports`, without UDP ones.
    pub ports: Arc<[ServicePort]>,
    /// Annotation `networking.istio.io/exportTo`.
    pub export_to: ExportTo,
    /// `spec.publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    /// `spec.internalTrafficPolicy` is `Local`: callers reach endpoints of their own node only.
    pub node_local: bool,
    /// `spec.trafficDistribution`, or the annotation of its name.
    pub distribution: TrafficDistribution,
}

/// Which endpoints of a Service are preferred (`spec.trafficDistribution`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrafficDistribution {
    /// None.
    #[default]
    Any,
    /// `PreferClose`, `PreferSameZone`: those of the caller's zone.
    SameZone,
    /// `PreferSameNode`: those of the caller's node, then of its zone.
    SameNode,
}

/// How a Service is addressed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Addressing {
    /// `spec.clusterIPs`.
    Cluster(Arc<[IpAddr]>),
    /// `spec.clusterIP` is absent: Lateen gives it a stable address of 240.240.0.0/16.
    Allocated,
    /// `spec.clusterIP: None`: by its endpoints' addresses.
    Headless,
    /// `spec.type: ExternalName`: another name of this host.
    ExternalName(Hostname),
}

/// `spec.ports[]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// `name`; may be absent when it is the only port.
    pub name: Option<PortName>,
    /// `port`.
    pub number: Port,
    /// `targetPort`.
    pub target: TargetPort,
    /// What is spoken on it.
    pub protocol: Protocol,
}

/// `spec.ports[].targetPort`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetPort {
    /// A number; absent: the service port's own.
    Number(Port),
    /// The name of a container port: may differ from pod to pod.
    Named(PortName),
}

/// `discovery.k8s.io` EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointSlice {
    /// Label `kubernetes.io/service-name`; without it the slice belongs to nothing.
    pub service: Option<Name>,
    /// `endpoints`.
    pub endpoints: Arc<[SliceEndpoint]>,
    /// `ports`: a service port's name (none: the only port) to the port here.
    pub ports: Arc<[(Option<PortName>, Port)]>,
}

/// `endpoints[]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SliceEndpoint {
    /// `addresses`.
    pub addresses: Arc<[IpAddr]>,
    /// `conditions.ready`; absent: true.
    pub ready: bool,
    /// `conditions.serving`; absent: `ready`.
    pub serving: bool,
    /// `conditions.terminating`.
    pub terminating: bool,
    /// `targetRef.name` where it is a Pod of the slice's namespace.
    pub pod: Option<Name>,
    /// `hostname`.
    pub hostname: Option<Arc<str>>,
    /// `zone`.
    pub zone: Option<Arc<str>>,
}

/// `v1` Pod. Its labels stand in the object's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    /// `spec.serviceAccountName`; absent: `default`.
    pub service_account: ServiceAccount,
    /// `status.podIPs`.
    pub addresses: Arc<[IpAddr]>,
    /// `spec.containers[].ports`, without UDP ones.
    pub ports: Arc<[(Option<PortName>, Port)]>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `spec.hostname` and `spec.subdomain`, where both are there: its name under the headless Service `subdomain`.
    pub hostname: Option<(Arc<str>, Arc<str>)>,
    /// `spec.nodeName`.
    pub node: Option<Name>,
    /// `status.conditions[type=Ready]`; absent: true (a Pod without status is a workload of a folder).
    pub ready: bool,
}

/// `v1` Node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Labels `topology.kubernetes.io/region`, `topology.kubernetes.io/zone` and `topology.istio.io/subzone`.
    pub locality: Locality,
}

/// `apps` Deployment: only what its pods would bear.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Deployment {
    /// `spec.template.metadata.labels`.
    pub template_labels: Labels,
}
