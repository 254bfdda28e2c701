//! All services: by host, by port and by address.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use ir::Registry;
use model::{Hostname, Layer, Namespace, ObjectKey, Port};

use crate::allocate::{Allocated, allocate};
use crate::scope::Scope;
use crate::service::MeshService;

/// All services of the mesh.
#[derive(Clone, Debug, Default)]
pub struct Services {
    by_host: OrdMap<Hostname, Vec<Arc<MeshService>>>,
    by_object: OrdMap<ObjectKey, Vec<Arc<MeshService>>>,
    by_port: OrdMap<(Port, Layer), OrdSet<Hostname>>,
    by_address: OrdMap<IpAddr, OrdSet<Hostname>>,
    restricted: OrdMap<Port, OrdSet<Hostname>>,
    by_namespace: OrdMap<Namespace, OrdSet<ObjectKey>>,
    allocating: OrdSet<Hostname>,
    allocated: OrdMap<Hostname, Allocated>,
}

impl Services {
    /// Puts the services that one object declares in the place of those that it declared before.
    /// Answers the hosts that are touched; addresses are settled by [`Services::settle_addresses`].
    pub fn replace(&mut self, object: &ObjectKey, now: Vec<MeshService>) -> BTreeSet<Hostname> {
        let before = self.by_object.remove(object).unwrap_or_default();
        let hosts: BTreeSet<Hostname> = before
            .iter()
            .map(|s| s.host.clone())
            .chain(now.iter().map(|s| s.host.clone()))
            .collect();
        for host in &hosts {
            self.index(host, false);
        }
        for old in &before {
            self.take(old);
        }
        let now: Vec<Arc<MeshService>> = now.into_iter().map(Arc::new).collect();
        for new in &now {
            self.put(new);
        }
        for host in &hosts {
            self.index(host, true);
        }
        let of_namespace = self
            .by_namespace
            .entry(object.namespace.clone())
            .or_default();
        if now.is_empty() {
            of_namespace.remove(object);
        } else {
            of_namespace.insert(object.clone());
            self.by_object.insert(object.clone(), now);
        }
        hosts
    }

    fn take(&mut self, old: &Arc<MeshService>) {
        if let Some(list) = self.by_host.get_mut(&old.host) {
            list.retain(|service| service.rank != old.rank);
            if list.is_empty() {
                self.by_host.remove(&old.host);
            }
        }
    }

    fn put(&mut self, new: &Arc<MeshService>) {
        let list = self.by_host.entry(new.host.clone()).or_default();
        list.push(Arc::clone(new));
        list.sort_by(|a, b| preference(a).cmp(&preference(b)));
    }

    /// Adds a host to the indexes by port and address, or takes it away.
    fn index(&mut self, host: &Hostname, add: bool) {
        let services = self.by_host.get(host).cloned().unwrap_or_default();
        for service in &services {
            for port in service.ports.iter() {
                change(&mut self.by_port, (port.number, port.layer()), host, add);
                if services.len() > 1 || !service.export_to.is_everywhere() {
                    change(&mut self.restricted, port.number, host, add);
                }
            }
            for address in service.addresses.iter() {
                change(&mut self.by_address, *address, host, add);
            }
        }
        if add && services.iter().any(|service| service.allocates) {
            self.allocating.insert(host.clone());
        } else {
            self.allocating.remove(host);
        }
    }

    /// Allocates addresses anew if one of the hosts that were touched needs one now, or does so no longer; answers the
    /// hosts whose address changed.
    pub fn settle_addresses(&mut self, touched: &BTreeSet<Hostname>) -> BTreeSet<Hostname> {
        let is_settled = |host| self.allocating.contains(host) == self.allocated.contains_key(host);
        if touched.iter().all(is_settled) {
            return BTreeSet::new();
        }
        let now = allocate(self.allocating.iter());
        let before = std::mem::replace(&mut self.allocated, now.clone());
        let hosts = before.keys().chain(now.keys());
        let moved: BTreeSet<Hostname> = hosts
            .filter(|host| before.get(*host) != now.get(*host))
            .cloned()
            .collect();
        for host in &moved {
            for address in before.get(host).into_iter().flatten() {
                change(&mut self.by_address, *address, host, false);
            }
        }
        for host in &moved {
            for address in now.get(host).into_iter().flatten() {
                change(&mut self.by_address, *address, host, true);
            }
        }
        moved
    }

    /// The service of a host that a scope sees: its own namespace's first, then a Service before a
    /// ServiceEntry, then the oldest.
    #[must_use]
    pub fn visible(&self, scope: &Scope, host: &Hostname) -> Option<&Arc<MeshService>> {
        let candidates = self.all(host);
        let seen = || {
            candidates
                .iter()
                .filter(|service| scope.sees(&service.export_to))
        };
        seen()
            .find(|service| scope.is_in(service.namespace()))
            .or_else(|| seen().next())
    }

    /// Every service of a host, the preferred first.
    #[must_use]
    pub fn all(&self, host: &Hostname) -> &[Arc<MeshService>] {
        self.by_host.get(host).map_or(&[], Vec::as_slice)
    }

    /// The services that an object declares.
    #[must_use]
    pub fn of_object(&self, object: &ObjectKey) -> &[Arc<MeshService>] {
        self.by_object.get(object).map_or(&[], Vec::as_slice)
    }

    /// The objects of a namespace that declare services.
    pub fn in_namespace(&self, namespace: &Namespace) -> impl Iterator<Item = &Arc<MeshService>> {
        self.by_namespace
            .get(namespace)
            .into_iter()
            .flatten()
            .flat_map(|object| self.of_object(object))
    }

    /// The addresses that callers may use for a service.
    #[must_use]
    pub fn addresses(&self, service: &MeshService) -> Arc<[IpAddr]> {
        if service.allocates {
            let own = self.allocated.get(&service.host);
            own.into_iter().flatten().copied().collect()
        } else {
            Arc::clone(&service.addresses)
        }
    }

    /// Whether callers may use an address for a service.
    #[must_use]
    pub fn bears(&self, service: &MeshService, address: IpAddr) -> bool {
        if service.allocates {
            let own = self.allocated.get(&service.host);
            own.is_some_and(|own| own.contains(&address))
        } else {
            service.addresses.contains(&address)
        }
    }

    /// The hosts with a port of this number and kind, ordered.
    pub fn on_port(&self, port: Port, layer: Layer) -> impl Iterator<Item = &Hostname> {
        self.by_port.get(&(port, layer)).into_iter().flatten()
    }

    /// The hosts with a port of this number of which not every namespace sees the same, ordered.
    pub fn restricted_on(&self, port: Port) -> impl Iterator<Item = &Hostname> {
        self.restricted.get(&port).into_iter().flatten()
    }

    /// Every port on which some service speaks HTTP, declared, ordered.
    pub fn http_ports(&self) -> BTreeSet<Port> {
        self.by_port
            .keys()
            .filter(|(_, layer)| *layer == Layer::Http)
            .map(|(port, _)| *port)
            .collect()
    }

    /// The hosts that bear an address, ordered.
    pub fn at_address(&self, address: IpAddr) -> impl Iterator<Item = &Hostname> {
        self.by_address.get(&address).into_iter().flatten()
    }

    /// Every host, ordered.
    pub fn hosts(&self) -> impl Iterator<Item = &Hostname> {
        self.by_host.keys()
    }

    /// How many hosts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_host.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_host.is_empty()
    }
}

fn preference(service: &MeshService) -> (bool, &crate::host_index::Ranked) {
    (service.registry == Registry::External, &service.rank)
}

/// Adds a value to an index under a key, or takes it away.
pub(crate) fn change<K: Ord + Clone, V: Ord + Clone>(
    index: &mut OrdMap<K, OrdSet<V>>,
    key: K,
    value: &V,
    add: bool,
) {
    let mut set = index.remove(&key).unwrap_or_default();
    if add {
        set.insert(value.clone());
    } else {
        set.remove(value);
    }
    if !set.is_empty() {
        index.insert(key, set);
    }
}
