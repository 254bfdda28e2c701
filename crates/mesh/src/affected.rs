//! From the objects that changed to the things that may differ: never a list of proxies, never every service.

use std::collections::BTreeSet;

use ir::{ClusterName, ListenerName, RouteTableName};
use model::{
    HostPattern, Hostname, Kind, Labels, Layer, Name, Namespace, ObjectKey, Port, Selector,
    SubsetName,
};

use crate::endpoints::facts;
use crate::host_index::domains_over;
use crate::key::{ClusterKey, Key, VirtualHostKey};
use crate::mesh::Mesh;
use crate::policies::selector_of;
use crate::service::{MeshPort, MeshService};

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

    fn touch_workloads(&mut self, old: &Mesh, new: &Mesh, affected: &mut Affected) {
        for key in &self.workloads {
            for mesh in [old, new] {
                self.endpoints.extend(mesh.naming(key));
                let Some(workload) = mesh.workload(key) else {
                    continue;
                };
                for service in mesh.services().in_namespace(&key.namespace) {
                    let selector = service.selector.as_ref();
                    if selector.is_some_and(|selector| selector.matches(&workload.labels)) {
                        self.endpoints.insert(service.host.clone());
                    }
                }
            }
            affected.inbound.push(InboundTouch {
                namespace: Some(key.namespace.clone()),
                selector: None,
                name: Some(key.name.clone()),
            });
        }
        let served = self.served.iter().cloned();
        let selecting = self.selecting.iter().cloned();
        let selecting = selecting.map(|namespace| (namespace, None));
        let touch = |(namespace, selector)| InboundTouch {
            namespace: Some(namespace),
            selector,
            name: None,
        };
        affected.inbound.extend(served.chain(selecting).map(touch));
        let clients = self.clients.iter().cloned();
        affected.inbound.extend(clients.map(|labels| InboundTouch {
            namespace: None,
            selector: Selector::new(labels),
            name: None,
        }));
    }

    fn touch_policies(&mut self, old: &Mesh, new: &Mesh, affected: &mut Affected) {
        for key in &self.policies {
            let roots = [&old.config().root_namespace, &new.config().root_namespace];
            let in_root = roots.contains(&&key.namespace);
            for mesh in [old, new] {
                let object = mesh.object(key);
                affected.inbound.push(InboundTouch {
                    namespace: (!in_root).then(|| key.namespace.clone()),
                    selector: object.and_then(|object| selector_of(object)).cloned(),
                    name: None,
                });
                if key.kind == Kind::PeerAuthentication {
                    let services = mesh.services();
                    let own = services
                        .in_namespace(&key.namespace)
                        .map(|service| &service.host);
                    let all = in_root.then(|| services.hosts()).into_iter().flatten();
                    self.endpoints.extend(own.chain(all).cloned());
                }
            }
            if new.snapshot().refused.contains_key(key) || old.snapshot().refused.contains_key(key)
            {
                let namespace = Some(key.namespace.clone());
                affected.inbound.push(InboundTouch {
                    namespace,
                    selector: None,
                    name: None,
                });
            }
        }
    }

    /// Whoever asks a provider looks at its service, wherever he is.
    fn touch_providers(&self, old: &Mesh, new: &Mesh, affected: &mut Affected) {
        let providers = [old, new].into_iter().flat_map(|mesh| {
            let authorizers = mesh.config().authorizers.values();
            authorizers.map(|authorizer| &authorizer.host)
        });
        if providers
            .into_iter()
            .any(|host| self.services.contains(host))
        {
            affected.inbound.push(InboundTouch {
                namespace: None,
                selector: None,
                name: None,
            });
        }
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

/// What every proxy has.
pub fn fixed() -> impl Iterator<Item = Key> {
    let clusters = [
        ClusterName::BlackHole,
        ClusterName::Passthrough,
        ClusterName::InboundPassthrough,
    ];
    clusters
        .into_iter()
        .map(Key::Fixed)
        .chain([Key::VirtualOutbound])
}

impl Mesh {
    /// Every outbound thing that some scope may have.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<Key> {
        let mut keys: BTreeSet<Key> = fixed().collect();
        for host in self.services().hosts() {
            self.keys_of_host(host, &mut keys);
        }
        for pattern in self.routed_patterns() {
            self.virtual_hosts_under(pattern, &mut keys);
        }
        keys.extend(self.aliases().hosts().cloned().map(Key::Name));
        keys
    }

    /// Every cluster that the services of a host make, in any scope.
    #[must_use]
    pub fn cluster_keys(&self, host: &Hostname) -> BTreeSet<ClusterKey> {
        let mut keys = BTreeSet::new();
        for port in self
            .services()
            .all(host)
            .iter()
            .flat_map(|service| service.ports.iter())
        {
            self.clusters_of(host, port, [].iter(), &mut keys);
        }
        let cluster = |key| match key {
            Key::Cluster(cluster) => Some(cluster),
            Key::Fixed(_)
            | Key::RouteTable(_)
            | Key::VirtualHost(..)
            | Key::Listener(_)
            | Key::VirtualOutbound
            | Key::Name(_) => None,
        };
        keys.into_iter().filter_map(cluster).collect()
    }

    /// Everything that the services of a host make.
    fn keys_of_host(&self, host: &Hostname, keys: &mut BTreeSet<Key>) {
        for service in self.services().all(host) {
            for port in service.ports.iter() {
                self.clusters_of(host, port, [].iter(), keys);
                self.listeners_of(service, port, keys);
            }
        }
        self.virtual_hosts_of(host, keys);
        if !self.services().all(host).is_empty() || self.aliases().end(host).is_some() {
            keys.insert(Key::Name(host.clone()));
        }
    }

    /// The clusters of a port: the whole, and every subset that some rule makes of it.
    fn clusters_of<'a>(
        &self,
        host: &Hostname,
        port: &MeshPort,
        more: impl Iterator<Item = &'a SubsetName>,
        keys: &mut BTreeSet<Key>,
    ) {
        let of_rules = self
            .destination_rules()
            .matches(host)
            .filter_map(|key| self.destination_rule(key));
        let named: BTreeSet<SubsetName> = of_rules
            .flat_map(|rule| rule.subsets.iter())
            .map(|subset| subset.name.clone())
            .chain(more.cloned())
            .collect();
        let subsets = std::iter::once(None).chain(named.into_iter().map(Some));
        keys.extend(subsets.map(|subset| {
            Key::Cluster(ClusterKey {
                host: host.clone(),
                port: port.number,
                subset,
            })
        }));
    }

    fn listeners_of(&self, service: &MeshService, port: &MeshPort, keys: &mut BTreeSet<Key>) {
        let number = port.number;
        let listener = |address| {
            Key::Listener(ListenerName {
                address,
                port: number,
            })
        };
        if port.layer() == Layer::Http {
            let table = RouteTableName::Port(number);
            keys.insert(listener(None));
            keys.insert(Key::VirtualHost(table.clone(), VirtualHostKey::CatchAll));
            keys.insert(Key::RouteTable(table));
            return;
        }
        if port.layer() == Layer::Detect {
            keys.insert(Key::RouteTable(RouteTableName::Service(
                service.host.clone(),
                number,
            )));
        }
        if service.is_headless() {
            keys.extend(
                facts(self, service)
                    .addresses
                    .iter()
                    .map(|address| listener(Some(*address))),
            );
        } else {
            if service.is_open() {
                keys.insert(listener(None));
            }
            let addresses = self.services().addresses(service);
            keys.extend(addresses.iter().map(|address| listener(Some(*address))));
        }
    }

    /// The virtual hosts that a host has: on its HTTP ports, or everywhere if no service bears its name.
    fn virtual_hosts_of(&self, host: &Hostname, keys: &mut BTreeSet<Key>) {
        let pattern = host.pattern();
        let key = || VirtualHostKey::Host(pattern.clone());
        for service in self.services().all(host) {
            for port in service.ports.iter() {
                let table = match port.layer() {
                    Layer::Http => RouteTableName::Port(port.number),
                    Layer::Detect => RouteTableName::Service(host.clone(), port.number),
                    Layer::Tcp => continue,
                };
                keys.insert(Key::VirtualHost(table, key()));
            }
        }
        if self.virtual_services().under(&pattern).next().is_some() {
            keys.extend(self.everywhere(&pattern));
        }
    }

    fn everywhere(&self, pattern: &HostPattern) -> impl Iterator<Item = Key> {
        let host = VirtualHostKey::Host(pattern.clone());
        let ports = self.services().http_ports().into_iter();
        ports.map(move |port| Key::VirtualHost(RouteTableName::Port(port), host.clone()))
    }

    /// The virtual hosts that a VirtualService for `pattern` may route.
    fn virtual_hosts_under(&self, pattern: &HostPattern, keys: &mut BTreeSet<Key>) {
        keys.extend(self.everywhere(pattern));
        for host in self.hosts_under(pattern) {
            self.virtual_hosts_of(&host, keys);
            self.virtual_hosts_with_alias(&host, keys);
        }
        if let HostPattern::Exact(host) = pattern {
            self.virtual_hosts_with_alias(host, keys);
        }
        self.virtual_hosts_without_wildcard(pattern, keys);
    }

    /// A headless service answers to `*.` before its names, unless something else bears that name.
    fn virtual_hosts_without_wildcard(&self, pattern: &HostPattern, keys: &mut BTreeSet<Key>) {
        if let HostPattern::Suffix(suffix) = pattern {
            self.virtual_hosts_of(suffix.host(), keys);
            self.virtual_hosts_with_alias(suffix.host(), keys);
        }
    }

    /// The listeners of the connections that a VirtualService for `pattern` may route.
    fn listeners_under(&self, pattern: &HostPattern, keys: &mut BTreeSet<Key>) {
        let wider = domains_over(pattern).filter_map(|domain| domain.service_host());
        for host in self.hosts_under(pattern).into_iter().chain(wider) {
            for service in self.services().all(&host) {
                for port in service.ports.iter().filter(|p| p.layer() != Layer::Http) {
                    self.listeners_of(service, port, keys);
                }
            }
        }
    }

    /// What the VirtualServices route that lead to a host.
    fn routed_leading_to(&self, host: &Hostname, keys: &mut BTreeSet<Key>) {
        for key in self.leading_to(host) {
            let Some(service) = self.virtual_service(key) else {
                continue;
            };
            for pattern in service.hosts.iter() {
                self.virtual_hosts_under(pattern, keys);
                if service.routes_connections() {
                    self.listeners_under(pattern, keys);
                }
            }
        }
    }

    /// The virtual hosts of the services to which `cart.shop` or an address would be another name.
    fn virtual_hosts_with_alias(&self, alias: &Hostname, keys: &mut BTreeSet<Key>) {
        if let Ok(address) = alias.as_str().parse() {
            for host in self.services().at_address(address) {
                self.virtual_hosts_of(host, keys);
            }
            return;
        }
        let mut labels = alias.as_str().split('.');
        let (name, namespace, svc) = (labels.next(), labels.next(), labels.next());
        let (Some(name), Some(namespace)) = (name, namespace) else {
            let same = |host: &&Hostname| {
                host.service_parts()
                    .is_some_and(|(first, _)| Some(first) == name)
            };
            let hosts = self.services().hosts().chain(self.aliases().hosts());
            let named: Vec<Hostname> = hosts.filter(same).cloned().collect();
            named
                .iter()
                .for_each(|host| self.virtual_hosts_named(host, keys));
            return;
        };
        if let Some(target) = self.aliases().end(alias) {
            self.virtual_hosts_of(target, keys);
            return;
        }
        if labels.next().is_some() || svc.is_some_and(|svc| svc != "svc") {
            return;
        }
        if let (Ok(name), Ok(namespace)) = (name.parse(), namespace.parse()) {
            self.virtual_hosts_named(&Hostname::of_service(&name, &namespace), keys);
        }
    }

    /// The virtual hosts that a host has, or that it is another name of.
    fn virtual_hosts_named(&self, host: &Hostname, keys: &mut BTreeSet<Key>) {
        self.virtual_hosts_of(host, keys);
        if let Some(target) = self.aliases().end(host) {
            self.virtual_hosts_of(target, keys);
        }
    }

    /// The hosts of services that a pattern names.
    fn hosts_under(&self, pattern: &HostPattern) -> Vec<Hostname> {
        match pattern {
            HostPattern::Exact(host) => vec![host.clone()],
            HostPattern::Suffix(_) | HostPattern::Any => self
                .services()
                .hosts()
                .filter(|host| pattern.matches(host))
                .cloned()
                .collect(),
        }
    }
}
