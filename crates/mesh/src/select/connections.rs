//! Which connections of a listener go where: by the name that TLS asks for, by the address that was called, or all.

use std::collections::BTreeSet;
use std::sync::Arc;

use ir::{
    Backend, ChosenConnections, ClusterName, IpNet, OutboundTraffic, RouteTableName, TcpBackend,
    WeightedCluster,
};
use model::{
    ConnectionMatch, ConnectionRoute, HashKey, Layer, Port, Protocol, WeightedDestination,
};

use super::cluster;
use super::listener::ServicePort;
use super::virtual_host::backend;
use crate::key::ClusterKey;
use crate::mesh::Mesh;
use crate::scope::Scope;
use crate::service::MeshService;

/// What a listener does with its connections.
pub(super) struct Taken {
    /// Those that it tells apart.
    pub(super) chosen: Arc<[ChosenConnections]>,
    /// All others.
    pub(super) rest: OutboundTraffic,
}

/// What the services of a listener, in this order, do with its connections. One that is shared by all addresses tells
/// services apart by what is asked for; where they cannot be told apart, the first has it.
pub(super) fn take(
    mesh: &Mesh,
    scope: &Scope,
    services: &[ServicePort<'_>],
    is_shared: bool,
) -> Taken {
    let mut taker = Taker {
        mesh,
        scope,
        conditions: BTreeSet::new(),
        chosen: Vec::new(),
        rest: None,
    };
    for &service in services {
        taker.service(service, is_shared);
    }
    Taken {
        chosen: taker.chosen.into(),
        rest: taker.rest.unwrap_or(OutboundTraffic::Fallback),
    }
}

struct Taker<'a> {
    mesh: &'a Mesh,
    scope: &'a Scope,
    /// Envoy refuses a listener that has one of them twice.
    conditions: BTreeSet<(Option<Arc<str>>, Option<IpNet>)>,
    chosen: Vec<ChosenConnections>,
    rest: Option<OutboundTraffic>,
}

impl Taker<'_> {
    fn service(&mut self, (service, port): ServicePort<'_>, is_shared: bool) {
        let networks: &[IpNet] = if is_shared { &service.networks } else { &[] };
        if matches!(port.protocol, Protocol::Https | Protocol::Tls) {
            self.tls(service, port.number, networks, is_shared);
            return;
        }
        let mut rest = None;
        for route in self.routes(service, |service| &service.tcp) {
            rest = self.tcp_route(&route, port.number);
            if rest.is_some() {
                break;
            }
        }
        let rest = rest.unwrap_or_else(|| own(self.mesh, self.scope, service, port.number));
        if !networks.is_empty() {
            self.choose(&[], networks, &rest);
        } else if self.rest.is_none() {
            let table = || RouteTableName::Service(service.host.clone(), port.number);
            self.rest = Some(match port.layer() {
                Layer::Detect => OutboundTraffic::Detect(table(), rest),
                Layer::Tcp | Layer::Http => OutboundTraffic::Tcp(rest),
            });
        }
    }

    /// A route of connections; where it takes all that are left, where they go.
    fn tcp_route(&mut self, route: &ConnectionRoute, port: Port) -> Option<TcpBackend> {
        let to = to_destinations(self.mesh, self.scope, &route.destinations, port);
        let scope = self.scope;
        let holding = route.matches.iter().filter(|m| holds(m, scope, port));
        for conditions in holding {
            if conditions.destinations.is_empty() {
                return Some(to);
            }
            self.choose(&[], &conditions.destinations, &to);
        }
        route.matches.is_empty().then_some(to)
    }

    /// TLS that passes: by the names that VirtualServices route, else by the service's own.
    fn tls(&mut self, service: &MeshService, port: Port, networks: &[IpNet], is_shared: bool) {
        let mut is_routed = false;
        for route in self.routes(service, |service| &service.tls) {
            let to = to_destinations(self.mesh, self.scope, &route.destinations, port);
            let scope = self.scope;
            for conditions in route.matches.iter().filter(|m| holds(m, scope, port)) {
                let sni: Vec<Arc<str>> = conditions
                    .sni
                    .iter()
                    .map(|name| name.to_string().into())
                    .collect();
                let called = match &*conditions.destinations {
                    [] => networks,
                    written => written,
                };
                self.choose(&sni, called, &to);
                is_routed = true;
            }
        }
        if is_routed {
            return;
        }
        let own = own(self.mesh, self.scope, service, port);
        // Where names are resolved, an address of the service's own does not say which is meant.
        if is_shared || service.resolves_hosts() {
            self.choose(&[service.host.as_str().into()], networks, &own);
        } else if self.rest.is_none() {
            self.rest = Some(OutboundTraffic::Tcp(own));
        }
    }

    fn routes(
        &self,
        service: &MeshService,
        of: impl Fn(&model::VirtualService) -> &Arc<[ConnectionRoute]>,
    ) -> Vec<ConnectionRoute> {
        let routing = self.mesh.connection_routes(self.scope, &service.host);
        routing
            .flat_map(|service| of(service).iter().cloned())
            .collect()
    }

    /// Tells connections apart, as far as they are not taken.
    fn choose(&mut self, sni: &[Arc<str>], networks: &[IpNet], backend: &TcpBackend) {
        for name in or_any(sni) {
            let free = or_any(networks)
                .filter(|net| self.conditions.insert((name.cloned(), net.copied())))
                .map(Option::<&IpNet>::copied);
            let free: Vec<Option<IpNet>> = free.collect();
            if free.is_empty() {
                continue;
            }
            let destinations: Arc<[IpNet]> = free.into_iter().flatten().collect();
            let last = self.chosen.last_mut();
            match (last, name) {
                // What differs by its name alone shares a chain.
                (Some(last), Some(name))
                    if !last.sni.is_empty()
                        && last.destinations == destinations
                        && last.backend == *backend =>
                {
                    let names: BTreeSet<Arc<str>> =
                        last.sni.iter().chain([name]).cloned().collect();
                    last.sni = names.into_iter().collect();
                }
                _ => self.chosen.push(ChosenConnections {
                    sni: name.into_iter().cloned().collect(),
                    destinations,
                    backend: backend.clone(),
                }),
            }
        }
    }
}

/// Each of the conditions; of none, one that asks for nothing.
fn or_any<T>(conditions: &[T]) -> impl Iterator<Item = Option<&T>> {
    let nothing = conditions.is_empty().then_some(None);
    conditions.iter().map(Some).chain(nothing)
}

/// Whether connections of a scope's clients to a port may meet the conditions.
fn holds(conditions: &ConnectionMatch, scope: &Scope, port: Port) -> bool {
    let is_port = conditions.port.is_none_or(|wanted| wanted == port);
    !conditions.never && is_port && scope.is(&conditions.client)
}

/// The service itself.
fn own(mesh: &Mesh, scope: &Scope, service: &MeshService, port: Port) -> TcpBackend {
    let key = ClusterKey {
        host: service.host.clone(),
        port,
        subset: None,
    };
    as_ruled(mesh, scope, &key)
}

/// A cluster, as the DestinationRules say how its connections are treated.
fn as_ruled(mesh: &Mesh, scope: &Scope, key: &ClusterKey) -> TcpBackend {
    let to = TcpBackend::to(key.name());
    let Some(seen) = cluster::see(mesh, scope, key) else {
        return to;
    };
    let pool = seen.policy.connection_pool.as_ref();
    TcpBackend {
        idle_timeout: pool.and_then(|pool| pool.tcp_idle_timeout),
        max_duration: pool.and_then(|pool| pool.max_connection_duration),
        hashes_source: cluster::hash_key(&seen.policy) == Some(&HashKey::SourceIp),
        resolved_on: cluster::resolved_on(&seen, scope),
        tunnel: seen.policy.tunnel,
        ..to
    }
}

/// The destinations of a route. Connections to what does not exist are closed.
fn to_destinations(
    mesh: &Mesh,
    scope: &Scope,
    destinations: &[WeightedDestination],
    port: Port,
) -> TcpBackend {
    let share = |weighted: &WeightedDestination| WeightedCluster {
        cluster: match backend(mesh, scope, &weighted.destination, port) {
            Backend::Cluster { name, .. } => name,
            Backend::Missing { .. } => ClusterName::BlackHole,
        },
        weight: weighted.weight,
    };
    let ruled = |weighted: &WeightedDestination| {
        let to = &weighted.destination;
        let key = ClusterKey {
            host: to.host.clone(),
            port: to.port.unwrap_or(port),
            subset: to.subset.clone(),
        };
        as_ruled(mesh, scope, &key)
    };
    let clusters = destinations.iter().map(share).collect();
    match destinations {
        [only] => TcpBackend {
            clusters,
            ..ruled(only)
        },
        // What differs by cluster cannot hold for all; a hash or a look-up does no harm to those that do not ask for it.
        several => TcpBackend {
            clusters,
            hashes_source: several.iter().any(|one| ruled(one).hashes_source),
            resolved_on: several.iter().find_map(|one| ruled(one).resolved_on),
            ..TcpBackend::to(ClusterName::BlackHole)
        },
    }
}
