//! From the objects that changed to the things that may differ: never a list of proxies, never every service.

mod inbound;

use std::collections::BTreeSet;

use ir::RouteTableName;
use model::{
    HostPattern, Hostname, Labels, Layer, Name, Namespace, ObjectKey, Port, Selector, SubsetName,
};

use crate::endpoints::facts;
use crate::key::{Key, VirtualHostKey};
use crate::keys::fixed;
use crate::mesh::Mesh;

/// What may differ between two meshes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affected {
    /// Outbound things to select again, in the base and in the scopes that stand apart.
    pub keys: BTreeSet<Key>,
    /// Hosts whose endpoints are to be looked at again.
    pub endpoints: BTreeSet<Hostname>,
    /// Workloads whose class and inbound half are to be looked at again.
    pub inbound: Vec<InboundTouch>,
}

/// Some workloads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InboundTouch {
    /// Of this namespace; none: of all.
    pub namespace: Option<Namespace>,
    /// That bear these labels, before or after; none: whatever they bear.
    pub selector: Option<Selector>,
    /// Of this name; none: of any.
    pub name: Option<Name>,
}

/// What was touched while the indexes were kept up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    pub everything: bool,
    /// Whether every workload is to be looked at again.
    pub everywhere: bool,
    pub services: BTreeSet<Hostname>,
    /// Whom the services lead to, before and after: the workloads of a namespace that a selector matches. Without one,
    /// addresses and EndpointSlices say whom.
    pub served: BTreeSet<(Namespace, Option<Selector>)>,
    pub endpoints: BTreeSet<Hostname>,
    pub workloads: BTreeSet<ObjectKey>,
    pub routed: BTreeSet<HostPattern>,
    /// The hosts of VirtualServices that route connections.
    pub connected: BTreeSet<HostPattern>,
    pub ruled: BTreeSet<HostPattern>,
    pub subsets: BTreeSet<SubsetName>,
    pub policies: BTreeSet<ObjectKey>,
    pub selecting: BTreeSet<Namespace>,
    /// Labels of clients that VirtualServices tell apart now, or did.
    pub clients: BTreeSet<Labels>,
}

impl Touched {
    /// Everything that may differ between `old` and `new`; also keeps up what `new` knows of headless services.
    pub fn spread(mut self, old: &Mesh, new: &mut Mesh) -> Affected {
        let mut affected = Affected::default();
        if self.everything {
            self.services.extend(
                old.services()
                    .hosts()
                    .chain(new.services().hosts())
                    .cloned(),
            );
            self.routed
                .extend(old.routed_patterns().chain(new.routed_patterns()).cloned());
            affected.keys.extend(fixed());
        }
        if self.everything || self.everywhere {
            affected.inbound.push(InboundTouch {
                namespace: None,
                selector: None,
                name: None,
            });
        }
        self.touch_workloads(old, new, &mut affected);
        self.touch_policies(old, new, &mut affected);
        self.touch_providers(old, new, &mut affected);
        self.touch_endpoints(old, new, &mut affected);
        for mesh in [old, &*new] {
            self.keys_in(mesh, &mut affected.keys);
        }
        self.touch_ports(old, new, &mut affected.keys);
        affected.endpoints = self.endpoints;
        affected
    }

    /// A service whose servers have other identities, or that is headless, changes with its endpoints.
    fn touch_endpoints(&mut self, old: &Mesh, new: &mut Mesh, affected: &mut Affected) {
        self.endpoints.extend(self.services.iter().cloned());
        for host in &self.endpoints {
            let before: Vec<_> = old
                .services()
                .all(host)
                .iter()
                .map(|s| facts(old, s))
                .collect();
            let after: Vec<_> = new
                .services()
                .all(host)
                .iter()
                .map(|s| facts(new, s))
                .collect();
            new.set_headless(host, before.iter().flat_map(|f| f.addresses.iter()), false);
            new.set_headless(host, after.iter().flat_map(|f| f.addresses.iter()), true);
            let resolved = |mesh: &Mesh| {
                mesh.services()
                    .all(host)
                    .iter()
                    .any(|s| s.resolves_by_dns())
            };
            if before != after || resolved(old) || resolved(new) {
                self.services.insert(host.clone());
            }
            // Whom a selector leads to does not depend on endpoints.
            let listing = new.services().all(host).iter();
            for service in listing.filter(|service| service.selector.is_none()) {
                let namespace = Some(service.namespace().clone());
                affected.inbound.push(InboundTouch {
                    namespace,
                    selector: None,
                    name: None,
                });
            }
        }
        affected.inbound.sort();
        affected.inbound.dedup();
    }

    fn keys_in(&self, mesh: &Mesh, keys: &mut BTreeSet<Key>) {
        for host in &self.services {
            mesh.keys_of_host(host, keys);
            for service in mesh.services().all(host) {
                for address in mesh.services().addresses(service).iter() {
                    for other in mesh.services().at_address(*address) {
                        mesh.virtual_hosts_of(other, keys);
                    }
                }
            }
            mesh.virtual_hosts_with_alias(host, keys);
            mesh.virtual_hosts_without_wildcard(&host.pattern(), keys);
            mesh.routed_leading_to(host, keys);
            for alias in mesh.aliases().of(host) {
                keys.insert(Key::Name(alias.host.clone()));
                mesh.routed_leading_to(&alias.host, keys);
            }
        }
        for pattern in &self.routed {
            mesh.virtual_hosts_under(pattern, keys);
        }
        for pattern in &self.connected {
            mesh.listeners_under(pattern, keys);
        }
        for pattern in &self.ruled {
            for host in mesh.hosts_under(pattern) {
                for service in mesh.services().all(&host) {
                    for port in service.ports.iter() {
                        mesh.clusters_of(&host, port, self.subsets.iter(), keys);
                        mesh.listeners_of(service, port, keys);
                    }
                }
                mesh.virtual_hosts_of(&host, keys);
                mesh.routed_leading_to(&host, keys);
                for alias in mesh.aliases().of(&host) {
                    mesh.routed_leading_to(&alias.host, keys);
                }
            }
        }
    }

    /// Hosts that only VirtualServices name stand in the route table of every HTTP port.
    fn touch_ports(&self, old: &Mesh, new: &Mesh, keys: &mut BTreeSet<Key>) {
        let services = self.services.iter().flat_map(|host| {
            old.services()
                .all(host)
                .iter()
                .chain(new.services().all(host))
        });
        let ports: BTreeSet<Port> = services
            .flat_map(|service| service.ports.iter())
            .filter(|port| port.layer() == Layer::Http)
            .map(|port| port.number)
            .collect();
        // A table that a service holds open which everybody sees, before and after, is there before and after.
        let is_held_open = |port: Port| {
            let restricted: BTreeSet<&Hostname> = new.services().restricted_on(port).collect();
            let mut hosts = new.services().on_port(port, Layer::Http);
            hosts.any(|host| !self.services.contains(host) && !restricted.contains(host))
        };
        for port in ports.into_iter().filter(|port| !is_held_open(*port)) {
            for pattern in old.routed_patterns().chain(new.routed_patterns()) {
                let host = VirtualHostKey::Host(pattern.clone());
                keys.insert(Key::VirtualHost(RouteTableName::Port(port), host));
            }
        }
    }
}
