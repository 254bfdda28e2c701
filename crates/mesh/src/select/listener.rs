//! What an outbound listener is made of: the service, or the HTTP services together, that callers address on it.

use std::net::IpAddr;
use std::sync::Arc;

use ir::{ListenerName, OutboundTraffic, RouteTableName, TcpBackend};
use model::{AccessLog, HostPattern, Hostname, Layer, OutboundTrafficPolicy, Port};

use crate::key::ClusterKey;
use crate::mesh::Mesh;
use crate::scope::Scope;
use crate::service::{MeshPort, MeshService};

/// The ports of the listeners that capture connections, on every address.
const CAPTURE: [u16; 2] = [15001, 15006];

/// Everything that an outbound listener is built from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenerInputs {
    /// Its name and address.
    pub name: ListenerName,
    /// What it does.
    pub traffic: OutboundTraffic,
    /// What happens to what it cannot route.
    pub fallback: OutboundTrafficPolicy,
    /// Where it logs.
    pub access_log: Option<AccessLog>,
}

pub(crate) fn select(mesh: &Mesh, scope: &Scope, name: &ListenerName) -> Option<ListenerInputs> {
    let traffic = match name.address {
        // Envoy's own listeners stand there.
        None if CAPTURE.contains(&name.port.get()) => return None,
        None if http_on(mesh, scope, name.port) => {
            OutboundTraffic::Http(RouteTableName::Port(name.port))
        }
        None => of_service(mesh, scope, without_address(mesh, scope, name.port)?),
        Some(address) => {
            let found = at_address(mesh, scope, address, name.port)?;
            of_service(mesh, scope, found)
        }
    };
    Some(ListenerInputs {
        name: name.clone(),
        traffic,
        fallback: mesh.config().outbound_traffic_policy,
        access_log: mesh.config().access_log.clone(),
    })
}

type ServicePort<'a> = (&'a Arc<MeshService>, &'a MeshPort);

/// The port of a service that a scope sees, unless HTTP is declared on it: that one is shared by all services.
fn connections<'a>(
    mesh: &'a Mesh,
    scope: &Scope,
    host: &Hostname,
    port: Port,
) -> Option<ServicePort<'a>> {
    let service = mesh.services().visible(scope, host)?;
    let port = service.port(port)?;
    (port.layer() != Layer::Http).then_some((service, port))
}

/// Whether some service that the scope sees declares HTTP on a port.
pub(crate) fn http_on(mesh: &Mesh, scope: &Scope, port: Port) -> bool {
    let mut hosts = mesh.services().on_port(port, Layer::Http);
    hosts.any(|host| serves_http(mesh, scope, host, port))
}

/// Whether a service's port is one whose protocol is found out per connection.
pub(crate) fn detects(mesh: &Mesh, scope: &Scope, host: &Hostname, port: Port) -> bool {
    connections(mesh, scope, host, port).is_some_and(|(_, port)| port.layer() == Layer::Detect)
}

/// The first service, by name, without an address that takes the whole port.
fn without_address<'a>(mesh: &'a Mesh, scope: &Scope, port: Port) -> Option<ServicePort<'a>> {
    let on_port = [Layer::Detect, Layer::Tcp]
        .into_iter()
        .flat_map(|layer| mesh.services().on_port(port, layer));
    let candidates = on_port.filter_map(|host| connections(mesh, scope, host, port));
    let open = |(service, _): &ServicePort<'a>| {
        !service.is_headless() && mesh.services().addresses(service).is_empty()
    };
    candidates
        .filter(open)
        .min_by_key(|(service, _)| &service.host)
}

/// The first service, by name, that callers address by this address.
fn at_address<'a>(
    mesh: &'a Mesh,
    scope: &Scope,
    address: IpAddr,
    port: Port,
) -> Option<ServicePort<'a>> {
    let own = mesh.services().at_address(address);
    let bears = |(service, _): &ServicePort<'a>| mesh.services().bears(service, address);
    let of_pods = mesh.headless_at(address);
    let headless = |(service, _): &ServicePort<'a>| service.is_headless();
    let seen = |host| connections(mesh, scope, host, port);
    let own = own.filter_map(seen).find(bears);
    own.or_else(|| of_pods.filter_map(seen).find(headless))
}

fn of_service(mesh: &Mesh, scope: &Scope, (service, port): ServicePort<'_>) -> OutboundTraffic {
    let rules = mesh.rules(scope, &service.host, service.namespace());
    let pool = rules.policy(port.number, None).connection_pool;
    let key = ClusterKey {
        host: service.host.clone(),
        port: port.number,
        subset: None,
    };
    let backend = TcpBackend {
        cluster: key.name(),
        service: Some(service.reference()),
        idle_timeout: pool.and_then(|pool| pool.tcp_idle_timeout),
    };
    if port.layer() == Layer::Detect {
        OutboundTraffic::Detect(
            RouteTableName::Service(service.host.clone(), port.number),
            backend,
        )
    } else {
        OutboundTraffic::Tcp(backend)
    }
}

/// Whether a scope sees something on an HTTP port that claims a host: a service, or a VirtualService that names it.
pub(crate) fn claims_http(mesh: &Mesh, scope: &Scope, host: &Hostname, port: Port) -> bool {
    match mesh.services().visible(scope, host) {
        Some(_) => serves_http(mesh, scope, host, port),
        None => mesh
            .route_under(scope, &HostPattern::Exact(host.clone()))
            .is_some(),
    }
}

/// Whether a scope sees a service of a host that declares HTTP on a port.
pub(crate) fn serves_http(mesh: &Mesh, scope: &Scope, host: &Hostname, port: Port) -> bool {
    let service = mesh.services().visible(scope, host);
    service
        .and_then(|service| service.port(port))
        .is_some_and(|port| port.layer() == Layer::Http)
}
