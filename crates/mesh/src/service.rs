//! A service as the mesh sees it, whether Kubernetes or a ServiceEntry declares it.

use std::net::IpAddr;
use std::sync::Arc;

use ir::{IpNet, Registry, ServiceRef};
use model::{
    Addressing, EntryPort, ExportTo, HostPattern, Hostname, Layer, Location, Namespace, Object,
    Port, PortName, Protocol, Resolution, Selector, Service, ServiceEntry, ServicePort, Spec,
    TargetPort, TrafficDistribution, WorkloadEntry,
};

use crate::host_index::Ranked;

/// One host of a Service or ServiceEntry.
#[derive(Clone, Debug)]
pub struct MeshService {
    /// Its place among those that declare the same host; holds the object's key.
    pub rank: Ranked,
    /// The host.
    pub host: Hostname,
    /// Which namespaces see it.
    pub export_to: ExportTo,
    /// Its ports, of distinct numbers, without those for datagrams.
    pub ports: Arc<[MeshPort]>,
    /// The addresses that callers may use; see also `allocates`.
    pub addresses: Arc<[IpAddr]>,
    /// The ranges of addresses that callers may use.
    pub networks: Arc<[IpNet]>,
    /// Whether Lateen gives it an address because it has none.
    pub allocates: bool,
    /// How its endpoints are found.
    pub discovery: ServiceDiscovery,
    /// Which workloads of its namespace are its endpoints.
    pub selector: Option<Selector>,
    /// The endpoints that a ServiceEntry lists.
    pub listed: Arc<[WorkloadEntry]>,
    /// Whether unready endpoints count.
    pub publish_not_ready: bool,
    /// Whether callers reach endpoints of their own node only.
    pub node_local: bool,
    /// Which endpoints are preferred where no DestinationRule says.
    pub distribution: TrafficDistribution,
    /// Who declares it.
    pub registry: Registry,
    /// Whether it is part of the mesh.
    pub in_mesh: bool,
    /// The names that its server must bear; empty: the identities of its endpoints.
    pub subject_alt_names: Arc<[Arc<str>]>,
}

/// How the endpoints of a service are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceDiscovery {
    /// Known to Lateen, sent by EDS.
    Endpoints,
    /// Resolved by Envoy, all addresses.
    StrictDns,
    /// Resolved by Envoy, the first address.
    LogicalDns,
    /// Resolved by Envoy: the name that the caller asks for.
    DynamicDns,
    /// The caller addresses them: a headless Service, or a ServiceEntry with resolution NONE.
    OriginalDestination,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MeshPort {
    /// The port that callers address.
    pub number: Port,
    /// Its name.
    pub name: Option<PortName>,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// The endpoint's own port, unless the endpoint says otherwise.
    pub target: TargetPort,
}

impl MeshService {
    /// The services that an object declares: one a host.
    #[must_use]
    pub fn of(object: &Object) -> Vec<Self> {
        match &object.spec {
            Spec::Service(service) => of_service(object, service).into_iter().collect(),
            Spec::ServiceEntry(entry) => of_entry(object, entry),
            Spec::VirtualService(_)
            | Spec::DestinationRule(_)
            | Spec::PeerAuthentication(_)
            | Spec::AuthorizationPolicy(_)
            | Spec::WorkloadEntry(_)
            | Spec::EndpointSlice(_)
            | Spec::Pod(_)
            | Spec::Node(_)
            | Spec::Namespace
            | Spec::ServiceAccount
            | Spec::Deployment(_)
            | Spec::MeshConfig(_) => Vec::new(),
        }
    }

    /// The namespace of the object that declares it.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.rank.key.namespace
    }

    /// A port by number.
    #[must_use]
    pub fn port(&self, number: Port) -> Option<&MeshPort> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// Whether it is a Service without an address of its own: callers address its endpoints.
    #[must_use]
    pub fn is_headless(&self) -> bool {
        self.registry == Registry::Kubernetes
            && self.discovery == ServiceDiscovery::OriginalDestination
    }

    /// Whether Envoy resolves its endpoints, which then stand in the cluster itself.
    #[must_use]
    pub fn resolves_by_dns(&self) -> bool {
        matches!(
            self.discovery,
            ServiceDiscovery::StrictDns | ServiceDiscovery::LogicalDns
        )
    }

    /// Whether callers may use any address of a range, or any at all, so that only what they ask for tells it apart.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let has_address = self.allocates || !self.addresses.is_empty() || self.is_headless();
        !has_address || !self.networks.is_empty() || self.resolves_hosts()
    }

    /// Whether callers say by Host or SNI which of its names they mean, and Envoy resolves that.
    #[must_use]
    pub fn resolves_hosts(&self) -> bool {
        self.discovery == ServiceDiscovery::DynamicDns
    }

    /// What telemetry says of it.
    #[must_use]
    pub fn reference(&self) -> ServiceRef {
        let name = match self.registry {
            Registry::Kubernetes => self.rank.key.name.as_str(),
            Registry::External => self.host.as_str(),
        };
        ServiceRef {
            host: self.host.as_str().into(),
            name: name.into(),
            namespace: self.namespace().as_str().into(),
            in_mesh: self.in_mesh,
        }
    }
}

impl MeshPort {
    /// How the proxy treats connections to it.
    #[must_use]
    pub fn layer(&self) -> Layer {
        self.protocol.layer()
    }
}

fn of_service(object: &Object, service: &Service) -> Option<MeshService> {
    let (addresses, allocates, discovery) = match &service.addressing {
        Addressing::Cluster(addresses) => {
            (Arc::clone(addresses), false, ServiceDiscovery::Endpoints)
        }
        Addressing::Allocated => (Arc::from([]), true, ServiceDiscovery::Endpoints),
        Addressing::Headless => (Arc::from([]), false, ServiceDiscovery::OriginalDestination),
        Addressing::ExternalName(_) => return None,
    };
    Some(MeshService {
        rank: Ranked::new(object),
        host: Hostname::of_service(&object.key.name, &object.key.namespace),
        export_to: service.export_to.clone(),
        ports: distinct(service.ports.iter().map(of_service_port)),
        addresses,
        networks: Arc::new([]),
        allocates,
        discovery,
        selector: service.selector.clone(),
        listed: Arc::new([]),
        publish_not_ready: service.publish_not_ready,
        node_local: service.node_local,
        distribution: service.distribution,
        registry: Registry::Kubernetes,
        in_mesh: true,
        subject_alt_names: Arc::new([]),
    })
}

/// The ports that proxies know: one of each number, the first, and none for datagrams, which are not captured.
fn distinct(ports: impl Iterator<Item = MeshPort>) -> Arc<[MeshPort]> {
    let mut found: Vec<MeshPort> = Vec::new();
    for port in ports.filter(|port| port.protocol != Protocol::Udp) {
        if found.iter().all(|other| other.number != port.number) {
            found.push(port);
        }
    }
    found.into()
}

fn of_service_port(port: &ServicePort) -> MeshPort {
    MeshPort {
        number: port.number,
        name: port.name.clone(),
        protocol: port.protocol,
        target: port.target.clone(),
    }
}

fn of_entry(object: &Object, entry: &ServiceEntry) -> Vec<MeshService> {
    let is_one = |net: &IpNet| net.prefix_len() == net.max_prefix_len();
    let (single, networks): (Vec<IpNet>, Vec<IpNet>) =
        entry.addresses.iter().copied().partition(is_one);
    let addresses: Arc<[IpAddr]> = single.iter().map(IpNet::addr).collect();
    let networks: Arc<[IpNet]> = networks.iter().map(IpNet::trunc).collect();
    let discovery = match entry.resolution {
        Resolution::None => ServiceDiscovery::OriginalDestination,
        Resolution::Static => ServiceDiscovery::Endpoints,
        Resolution::Dns => ServiceDiscovery::StrictDns,
        Resolution::DnsRoundRobin => ServiceDiscovery::LogicalDns,
        Resolution::DynamicDns => ServiceDiscovery::DynamicDns,
    };
    let service = |host: Hostname| MeshService {
        rank: Ranked::new(object),
        allocates: entry.addresses.is_empty() && allocates(entry.resolution, &host),
        host,
        export_to: entry.export_to.clone(),
        ports: distinct(entry.ports.iter().map(of_entry_port)),
        addresses: Arc::clone(&addresses),
        networks: Arc::clone(&networks),
        discovery,
        selector: entry.selector.clone(),
        listed: Arc::clone(&entry.endpoints),
        publish_not_ready: false,
        node_local: false,
        distribution: TrafficDistribution::Any,
        registry: Registry::External,
        in_mesh: entry.location == Location::Internal,
        subject_alt_names: Arc::clone(&entry.subject_alt_names),
    };
    let hosts = entry.hosts.iter().filter_map(HostPattern::service_host);
    hosts.map(service).collect()
}

/// No name under a wildcard could be told from another by the address, unless callers say it once more.
fn allocates(resolution: Resolution, host: &Hostname) -> bool {
    match resolution {
        Resolution::None => false,
        Resolution::Static | Resolution::Dns | Resolution::DnsRoundRobin => !host.is_wildcard(),
        Resolution::DynamicDns => true,
    }
}

fn of_entry_port(port: &EntryPort) -> MeshPort {
    MeshPort {
        number: port.number,
        name: Some(port.name.clone()),
        protocol: port.protocol,
        target: TargetPort::Number(port.target),
    }
}
