//! What a virtual host is made of: the names that lead to it, the VirtualService that routes it, and what each
//! of its destinations turns out to be.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ir::{Backend, RouteTableName};
use model::{Client, Destination, HostPattern, Hostname, Namespace, Port, Retries, VirtualService};

use crate::key::ClusterKey;
use crate::mesh::Mesh;
use crate::routes::{clients, destinations};
use crate::scope::Scope;
use crate::select::{cluster, has_table, listener};
use crate::service::MeshService;

/// Everything that a virtual host is built from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualHostInputs {
    /// Its name: `host:port`.
    pub name: Arc<str>,
    /// The port that callers address.
    pub port: Port,
    /// The Host headers that lead to it, ordered.
    pub domains: Arc<[Arc<str>]>,
    /// The VirtualService that routes it.
    pub routing: Option<Arc<VirtualService>>,
    /// Which of its conditions on the client hold, ordered.
    pub clients: Arc<[Client]>,
    /// What each destination of the VirtualService turns out to be, ordered.
    pub destinations: Arc<[(Destination, Backend)]>,
    /// The service itself, for requests that no VirtualService routes.
    pub own: Option<Backend>,
    /// When requests are tried again where no route says; none: Istio's own rule.
    pub retries: Option<Retries>,
}

pub(crate) fn select(
    mesh: &Mesh,
    scope: &Scope,
    table: &RouteTableName,
    pattern: &HostPattern,
) -> Option<VirtualHostInputs> {
    if !has_table(mesh, scope, table) {
        return None;
    }
    // `*` is for all other hosts, which have a virtual host of their own.
    let host = pattern.service_host()?;
    let port = table.port();
    let service = mesh.services().visible(scope, &host);
    let routing = match service {
        Some(_) => mesh.route_of(scope, &host),
        None => mesh.route_under(scope, pattern),
    };
    let domains = match (table, service) {
        (RouteTableName::Service(..), _) => Arc::from([Arc::from("*")]),
        (RouteTableName::Port(_), Some(service)) => {
            service
                .port(port)
                .filter(|port| port.layer() == model::Layer::Http)?;
            domains_of(mesh, scope, service, port)
        }
        (RouteTableName::Port(_), None) => {
            routing?;
            Arc::from([Arc::from(pattern.to_string())])
        }
    };
    let routing = routing.map(|(_, service)| Arc::clone(service));
    let wanted = routing.as_deref().map(destinations).unwrap_or_default();
    let resolved = wanted
        .into_iter()
        .map(|d| (d.clone(), backend(mesh, scope, d, port)));
    let clients = routing.as_deref().map(clients).unwrap_or_default();
    let holding = clients.into_iter().filter(|client| scope.is(client));
    Some(VirtualHostInputs {
        clients: holding.cloned().collect(),
        name: format!("{pattern}:{port}").into(),
        port,
        domains,
        destinations: resolved.collect(),
        own: service.map(|service| backend(mesh, scope, &whole(service, port), port)),
        retries: mesh.config().retries.clone(),
        routing,
    })
}

fn whole(service: &MeshService, port: Port) -> Destination {
    Destination {
        host: service.host.clone(),
        subset: None,
        port: Some(port),
    }
}

/// What a destination turns out to be for callers on `port`.
pub(super) fn backend(
    mesh: &Mesh,
    scope: &Scope,
    destination: &Destination,
    port: Port,
) -> Backend {
    let missing = |what: String| Backend::Missing {
        wanted: what.into(),
    };
    let Some(service) = mesh.reached(scope, &destination.host) else {
        return missing(format!("no service {} exists", destination.host));
    };
    let host = &service.host;
    let only = || match &*service.ports {
        [only] => Some(only.number),
        _ => None,
    };
    let number = destination.port.or_else(only).unwrap_or(port);
    if service.port(number).is_none() {
        return missing(format!("service {host} has no port {number}"));
    }
    let key = ClusterKey {
        host: host.clone(),
        port: number,
        subset: destination.subset.clone(),
    };
    match cluster::see(mesh, scope, &key) {
        Some(seen) => Backend::Cluster {
            name: key.name(),
            service: Some(service.reference()),
            alpn: cluster::alpn(mesh, &seen),
            hash: cluster::hash_key(&seen.policy).cloned(),
        },
        None => {
            let subset = destination
                .subset
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            missing(format!(
                "no DestinationRule makes a subset {subset} of {host}"
            ))
        }
    }
}

/// The names by which callers address a service. Each name leads to one virtual host of a table only: a name
/// that another service or a VirtualService bears in full is theirs, an address is the first service's.
fn domains_of(mesh: &Mesh, scope: &Scope, service: &MeshService, port: Port) -> Arc<[Arc<str>]> {
    let mut domains: BTreeSet<Arc<str>> = BTreeSet::from([service.host.as_str().into()]);
    let mut names = aliases(scope, service);
    let external = mesh.aliases().of(&service.host).into_iter();
    for alias in external.filter(|alias| scope.sees(&alias.export_to)) {
        names.push(alias.host.clone());
        names.extend(short_names(scope, &alias.host, &alias.namespace));
    }
    names.retain(|alias| !listener::claims_http(mesh, scope, alias, port));
    domains.extend(names.iter().map(|alias| Arc::from(alias.as_str())));
    if service.is_headless() {
        let patterns = domains
            .iter()
            .filter_map(|domain| HostPattern::suffix(domain)?.service_host());
        let free = patterns.filter(|host| !listener::claims_http(mesh, scope, host, port));
        let wildcards: Vec<Arc<str>> = free.map(|host| host.as_str().into()).collect();
        domains.extend(wildcards);
    }
    // An address is no name that could be resolved.
    let addresses = mesh.services().addresses(service);
    let own = addresses
        .iter()
        .filter(|address| !service.resolves_hosts() && scope.families.has(address));
    for address in own {
        let mut bearers = mesh.services().at_address(*address);
        let first = bearers.find(|host| {
            let other = mesh.services().visible(scope, host);
            other.is_some_and(|other| mesh.services().bears(other, *address))
                && listener::serves_http(mesh, scope, host, port)
        });
        let named =
            as_host(*address).is_some_and(|host| listener::claims_http(mesh, scope, &host, port));
        if first == Some(&service.host) && !named {
            domains.insert(match address {
                IpAddr::V4(v4) => v4.to_string().into(),
                IpAddr::V6(v6) => format!("[{v6}]").into(),
            });
        }
    }
    domains.into_iter().collect()
}

/// `name` (in its own namespace only), `name.namespace`, `name.namespace.svc`.
fn aliases(scope: &Scope, service: &MeshService) -> Vec<Hostname> {
    match service.registry {
        ir::Registry::Kubernetes => short_names(scope, &service.host, service.namespace()),
        ir::Registry::External => Vec::new(),
    }
}

fn short_names(scope: &Scope, host: &Hostname, own: &Namespace) -> Vec<Hostname> {
    let Some((name, namespace)) = host.service_parts() else {
        return Vec::new();
    };
    let bare = scope.is_in(own).then(|| name.to_owned());
    let longer = [
        format!("{name}.{namespace}"),
        format!("{name}.{namespace}.svc"),
    ];
    bare.into_iter()
        .chain(longer)
        .filter_map(|alias| alias.parse().ok())
        .collect()
}

/// An address as a host that objects may name: IPv4 only, since no host name has colons.
fn as_host(address: IpAddr) -> Option<Hostname> {
    address.to_string().parse().ok()
}

/// The names, other than its own, that a host may be addressed by in some scope.
pub(crate) fn possible_aliases(mesh: &Mesh, host: &Hostname) -> Vec<Hostname> {
    let external = mesh.aliases().of(host).into_iter().map(|alias| &alias.host);
    let external: Vec<&Hostname> = external.collect();
    let names = external
        .iter()
        .copied()
        .chain([host])
        .filter_map(Hostname::service_parts);
    let names = names.flat_map(|(name, namespace)| {
        [
            name.to_owned(),
            format!("{name}.{namespace}"),
            format!("{name}.{namespace}.svc"),
        ]
    });
    let services = mesh.services();
    let addresses = services.all(host).iter().flat_map(|service| {
        services
            .addresses(service)
            .iter()
            .copied()
            .collect::<Vec<_>>()
    });
    names
        .filter_map(|alias| alias.parse().ok())
        .chain(addresses.filter_map(as_host))
        .chain(external.iter().copied().cloned())
        .collect()
}
