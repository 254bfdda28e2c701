//! Which objects a resource comes from. Looked up when somebody asks, so that nobody else pays for it.

use ir::RouteTableName;
use mesh::{Key, Mesh, Scope, VirtualHostKey};
use model::{HostPattern, Hostname, ObjectKey};
use xds::Kind;

use crate::proxy::Proxy;
use crate::slot::Slot;

/// An object that had a say in a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The object.
    pub object: ObjectKey,
    /// Its file, relative to the folder that was given.
    pub file: Option<std::sync::Arc<str>>,
    /// The line at which it begins.
    pub line: Option<u32>,
}

/// The objects behind a slot of a proxy's outbound half, or behind its inbound half.
pub(crate) fn origins(
    mesh: &Mesh,
    proxy: &Proxy,
    slot: Option<&Slot>,
    kind: Kind,
    resource: &str,
) -> Vec<Origin> {
    let inbound = proxy.inbound.get(kind, resource).is_some();
    let mut objects = if inbound {
        mesh.inbound_origins(&proxy.workload)
    } else {
        slot.map(|slot| of_key(mesh, &proxy.place.class.scope, &slot.key()))
            .unwrap_or_default()
    };
    objects.sort();
    objects.dedup();
    let place = |object: ObjectKey| {
        let refused = || mesh.snapshot().refused.get(&object).map(|r| &r.place);
        let place = mesh.object(&object).map(|object| &object.place);
        let place = place.or_else(refused);
        Origin {
            file: place.and_then(|place| place.file.clone()),
            line: place.and_then(|place| place.line_of("")),
            object,
        }
    };
    objects.into_iter().map(place).collect()
}

fn of_key(mesh: &Mesh, scope: &Scope, key: &Key) -> Vec<ObjectKey> {
    match key {
        Key::Fixed(_) | Key::VirtualOutbound => Vec::new(),
        Key::Cluster(cluster) => of_service(mesh, scope, &cluster.host, true),
        Key::Name(host) | Key::RouteTable(RouteTableName::Service(host, _)) => {
            of_service(mesh, scope, host, false)
        }
        Key::RouteTable(RouteTableName::Port(_))
        | Key::VirtualHost(_, VirtualHostKey::CatchAll) => Vec::new(),
        Key::VirtualHost(_, VirtualHostKey::Host(pattern)) => {
            let routing = match pattern {
                HostPattern::Exact(host) => mesh.route_of(scope, host),
                HostPattern::Suffix(_) | HostPattern::Any => mesh.route_under(scope, pattern),
            };
            let own = match pattern {
                HostPattern::Exact(host) => of_service(mesh, scope, host, false),
                HostPattern::Suffix(_) | HostPattern::Any => Vec::new(),
            };
            routing
                .map(|(key, _)| key.clone())
                .into_iter()
                .chain(own)
                .collect()
        }
        Key::Listener(name) => {
            let hosts = name
                .address
                .map(|address| mesh.services().at_address(address).cloned().collect());
            let hosts: Vec<Hostname> = hosts.unwrap_or_default();
            hosts
                .iter()
                .flat_map(|host| of_service(mesh, scope, host, true))
                .collect()
        }
    }
}

fn of_service(mesh: &Mesh, scope: &Scope, host: &Hostname, rules: bool) -> Vec<ObjectKey> {
    let Some(service) = mesh.services().visible(scope, host) else {
        return Vec::new();
    };
    let applied = mesh.rules(scope, host, service.namespace());
    let rules = applied.keys().filter(|_| rules).cloned();
    std::iter::once(service.rank.key.clone())
        .chain(rules)
        .collect()
}
