//! What an outbound listener is made of: the service, or the HTTP services together, that callers address on it.

use std::net::IpAddr;
use std::sync::Arc;

use ir::{ChosenConnections, ListenerName, OutboundTraffic, RouteTableName};
use model::{Families, Hostname, Layer, ListenerSettings, OutboundTrafficPolicy, Port};

use crate::mesh::Mesh;
use crate::scope::Scope;
use crate::select::connections;
use crate::service::{MeshPort, MeshService};

/// The ports of the listeners that capture connections, on every address.
const CAPTURE: [u16; 2] = [15001, 15006];

/// Everything that an outbound listener is built from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenerInputs {
    /// Its name and address.
    pub name: ListenerName,
    /// The families of the client's addresses.
    pub families: Families,
    /// Connections that it tells apart.
    pub chosen: Arc<[ChosenConnections]>,
    /// What it does with all others.
    pub traffic: OutboundTraffic,
    /// What happens to what it cannot route.
    pub fallback: OutboundTrafficPolicy,
    /// Whether some of its requests go to the addresses of the host that they name.
    pub resolves_hosts: bool,
    /// What holds for every listener.
    pub settings: ListenerSettings,
}

pub(crate) fn select(mesh: &Mesh, scope: &Scope, name: &ListenerName) -> Option<ListenerInputs> {
    let (services, http) = match name.address {
        // Envoy's own listeners stand there.
        None if CAPTURE.contains(&name.port.get()) => return None,
        None => (
            without_address(mesh, scope, name.port),
            http_on(mesh, scope, name.port),
        ),
        Some(address) if !scope.families.has(&address) => return None,
        Some(address) => {
            let found = at_address(mesh, scope, address, name.port);
            (found.into_iter().collect(), false)
        }
    };
    if services.is_empty() && !http {
        return None;
    }
    let is_shared = name.address.is_none();
    let taken = connections::take(mesh, scope, &services, is_shared);
    let table = || OutboundTraffic::Http(RouteTableName::Port(name.port));
    let fallback = mesh.config().outbound_traffic_policy;
    let strangers_are_resolved = fallback == OutboundTrafficPolicy::AllowAnyDynamicDns;
    Some(ListenerInputs {
        name: name.clone(),
        families: scope.families,
        chosen: taken.chosen,
        traffic: if http { table() } else { taken.rest },
        fallback,
        resolves_hosts: http && (strangers_are_resolved || resolves_on(mesh, scope, name.port)),
        settings: mesh.config().listeners.clone(),
    })
}

/// A service and one of its ports.
pub(super) type ServicePort<'a> = (&'a Arc<MeshService>, &'a MeshPort);

/// The port of a service that a scope sees, unless HTTP is declared on it: that one is shared by all services.
fn of_host<'a>(
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

/// Whether requests on a port may go to a service whose names are resolved when they are asked for.
fn resolves_on(mesh: &Mesh, scope: &Scope, port: Port) -> bool {
    let mut hosts = mesh.services().on_port(port, Layer::Http);
    hosts.any(|host| {
        let service = mesh.services().visible(scope, host);
        service.is_some_and(|service| service.resolves_hosts())
            && serves_http(mesh, scope, host, port)
    })
}

/// Whether a service's port is one whose protocol is found out per connection.
pub(crate) fn detects(mesh: &Mesh, scope: &Scope, host: &Hostname, port: Port) -> bool {
    of_host(mesh, scope, host, port).is_some_and(|(_, port)| port.layer() == Layer::Detect)
}

/// The services, by name, that callers address by no address of their own.
fn without_address<'a>(mesh: &'a Mesh, scope: &Scope, port: Port) -> Vec<ServicePort<'a>> {
    let on_port = [Layer::Detect, Layer::Tcp]
        .into_iter()
        .flat_map(|layer| mesh.services().on_port(port, layer));
    let candidates = on_port.filter_map(|host| of_host(mesh, scope, host, port));
    let mut open: Vec<ServicePort<'a>> = candidates
        .filter(|(service, _)| service.is_open())
        .collect();
    open.sort_by_key(|(service, _)| &service.host);
    open
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
    let seen = |host| of_host(mesh, scope, host, port);
    let own = own.filter_map(seen).find(bears);
    own.or_else(|| of_pods.filter_map(seen).find(headless))
}

/// Whether a scope sees something on an HTTP port that claims a host: a service, or a VirtualService that names it.
pub(crate) fn claims_http(mesh: &Mesh, scope: &Scope, host: &Hostname, port: Port) -> bool {
    match mesh.services().visible(scope, host) {
        Some(_) => serves_http(mesh, scope, host, port),
        None => mesh.route_under(scope, &host.pattern()).is_some(),
    }
}

/// Whether a scope sees a service of a host that declares HTTP on a port.
pub(crate) fn serves_http(mesh: &Mesh, scope: &Scope, host: &Hostname, port: Port) -> bool {
    let service = mesh.services().visible(scope, host);
    service
        .and_then(|service| service.port(port))
        .is_some_and(|port| port.layer() == Layer::Http)
}
