//! Which outbound things there may be: those of a service, of a port, of what a VirtualService names.

use std::collections::BTreeSet;

use ir::{ClusterName, ListenerName, RouteTableName};
use model::{HostPattern, Hostname, Layer, SubsetName};

use crate::endpoints::facts;
use crate::host_index::domains_over;
use crate::key::{ClusterKey, Key, VirtualHostKey};
use crate::mesh::Mesh;
use crate::service::{MeshPort, MeshService};

/// What every proxy has.
pub fn fixed() -> impl Iterator<Item = Key> {
    let clusters = [
        ClusterName::BlackHole,
        ClusterName::Passthrough,
        ClusterName::AllowAnyDynamicDns,
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
    pub(crate) fn keys_of_host(&self, host: &Hostname, keys: &mut BTreeSet<Key>) {
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
    pub(crate) fn clusters_of<'a>(
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

    pub(crate) fn listeners_of(
        &self,
        service: &MeshService,
        port: &MeshPort,
        keys: &mut BTreeSet<Key>,
    ) {
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
    pub(crate) fn virtual_hosts_of(&self, host: &Hostname, keys: &mut BTreeSet<Key>) {
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

    pub(crate) fn everywhere(&self, pattern: &HostPattern) -> impl Iterator<Item = Key> {
        let host = VirtualHostKey::Host(pattern.clone());
        let ports = self.services().http_ports().into_iter();
        ports.map(move |port| Key::VirtualHost(RouteTableName::Port(port), host.clone()))
    }

    /// The virtual hosts that a VirtualService for `pattern` may route.
    pub(crate) fn virtual_hosts_under(&self, pattern: &HostPattern, keys: &mut BTreeSet<Key>) {
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
    pub(crate) fn virtual_hosts_without_wildcard(
        &self,
        pattern: &HostPattern,
        keys: &mut BTreeSet<Key>,
    ) {
        if let HostPattern::Suffix(suffix) = pattern {
            self.virtual_hosts_of(suffix.host(), keys);
            self.virtual_hosts_with_alias(suffix.host(), keys);
        }
    }

    /// The listeners of the connections that a VirtualService for `pattern` may route.
    pub(crate) fn listeners_under(&self, pattern: &HostPattern, keys: &mut BTreeSet<Key>) {
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
    pub(crate) fn routed_leading_to(&self, host: &Hostname, keys: &mut BTreeSet<Key>) {
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
    pub(crate) fn virtual_hosts_with_alias(&self, alias: &Hostname, keys: &mut BTreeSet<Key>) {
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
    pub(crate) fn hosts_under(&self, pattern: &HostPattern) -> Vec<Hostname> {
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
