//! Which scopes may select something else than the base does. Overlays are small because these are few.

use std::collections::BTreeSet;
use std::sync::Arc;

use ir::RouteTableName;
use model::{ExportTo, HostPattern, Hostname, Layer, Namespace, Port, VirtualService};

use crate::key::{Key, VirtualHostKey};
use crate::mesh::Mesh;
use crate::routes::{clients, destination_hosts};
use crate::select::possible_aliases;
use crate::service::MeshService;

/// Scopes that may select something else than the base does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Those of a namespace.
    Namespace(Namespace),
    /// Those whose clients bear the `sourceLabels` of some VirtualService.
    Labelled,
}

impl Mesh {
    /// The groups whose scopes may select something else for a key than the base does.
    #[must_use]
    pub fn apart(&self, key: &Key) -> BTreeSet<Group> {
        let mut apart = BTreeSet::new();
        match key {
            Key::Fixed(_) | Key::VirtualOutbound => {}
            Key::Cluster(cluster) => self.apart_by_host(&cluster.host, &mut apart),
            Key::Name(host) | Key::RouteTable(RouteTableName::Service(host, _)) => {
                self.apart_by_services(host, &mut apart);
            }
            Key::RouteTable(RouteTableName::Port(port)) => self.apart_by_port(*port, &mut apart),
            Key::VirtualHost(table, VirtualHostKey::CatchAll) => {
                self.apart_by_port(table.port(), &mut apart)
            }
            Key::VirtualHost(table, VirtualHostKey::Host(pattern)) => {
                self.apart_by_port(table.port(), &mut apart);
                self.apart_by_route(pattern, &mut apart);
            }
            Key::Listener(name) => {
                self.apart_by_port(name.port, &mut apart);
                if name.address.is_none() {
                    self.apart_by_open_port(name.port, &mut apart);
                }
                if let Some(address) = name.address {
                    let hosts = self
                        .services()
                        .at_address(address)
                        .chain(self.headless_at(address));
                    hosts.for_each(|host| {
                        self.apart_by_host(host, &mut apart);
                        self.apart_by_connections(host, &mut apart);
                    });
                }
            }
        }
        apart
    }

    fn apart_by_services(&self, host: &Hostname, apart: &mut BTreeSet<Group>) {
        let services = self.services().all(host);
        for service in services {
            listed(&service.export_to, apart);
            if services.len() > 1 {
                apart.insert(Group::Namespace(service.namespace().clone()));
            }
        }
        if let Some(alias) = self.aliases().get(host) {
            listed(&alias.export_to, apart);
        }
        if let Some(target) = self.aliases().end(host) {
            for service in self.services().all(target) {
                listed(&service.export_to, apart);
                apart.insert(Group::Namespace(service.namespace().clone()));
            }
        }
    }

    fn apart_by_port(&self, port: Port, apart: &mut BTreeSet<Group>) {
        for host in self.services().restricted_on(port) {
            self.apart_by_services(host, apart);
        }
    }

    /// By the services without an address that may take the whole port.
    fn apart_by_open_port(&self, port: Port, apart: &mut BTreeSet<Group>) {
        let layers = [Layer::Detect, Layer::Tcp].into_iter();
        for host in layers.flat_map(|layer| self.services().on_port(port, layer)) {
            let open = |service: &Arc<MeshService>| service.is_open();
            if self.services().all(host).iter().any(open) {
                self.apart_by_host(host, apart);
                self.apart_by_aliases(host, apart);
                self.apart_by_connections(host, apart);
            }
        }
    }

    /// By a host's services and by the DestinationRules for it, which each namespace may have its own of.
    fn apart_by_host(&self, host: &Hostname, apart: &mut BTreeSet<Group>) {
        self.apart_by_services(host, apart);
        let target = self.aliases().end(host).into_iter();
        let rules = target
            .chain([host])
            .flat_map(|host| self.destination_rules().matches(host));
        for key in rules {
            apart.insert(Group::Namespace(key.namespace.clone()));
            if let Some(rule) = self.destination_rule(key) {
                listed(&rule.export_to, apart);
            }
        }
    }

    /// By those who bear one of a host's other names in full, where not every namespace sees them.
    fn apart_by_aliases(&self, host: &Hostname, apart: &mut BTreeSet<Group>) {
        for alias in possible_aliases(self, host) {
            self.apart_by_services(&alias, apart);
            self.apart_by_wildcard(&alias, apart);
            for key in self.virtual_services().matches(&alias) {
                if let Some(service) = self.virtual_service(key) {
                    listed(&service.export_to, apart);
                }
            }
        }
    }

    /// By what bears `*.` before a name, which a headless service answers to otherwise.
    fn apart_by_wildcard(&self, host: &Hostname, apart: &mut BTreeSet<Group>) {
        let pattern = HostPattern::suffix(host.as_str());
        if let Some(wildcard) = pattern.as_ref().and_then(HostPattern::service_host) {
            self.apart_by_services(&wildcard, apart);
        }
        let routing = pattern
            .iter()
            .flat_map(|pattern| self.virtual_services().under(pattern));
        for service in routing.filter_map(|key| self.virtual_service(key)) {
            listed(&service.export_to, apart);
        }
    }

    /// By the VirtualServices that route the connections to a host, and by all that they lead to.
    fn apart_by_connections(&self, host: &Hostname, apart: &mut BTreeSet<Group>) {
        let routing = self.overlapping(host).into_iter();
        let routing = routing.filter_map(|key| self.virtual_service(key));
        for service in routing.filter(|service| service.routes_connections()) {
            listed(&service.export_to, apart);
            named(service, apart);
            for host in destination_hosts(service) {
                self.apart_by_host(host, apart);
            }
        }
    }

    /// By the bare names that only a service's own namespace uses, and by everything that its routes look at.
    fn apart_by_route(&self, pattern: &HostPattern, apart: &mut BTreeSet<Group>) {
        let routing = match pattern.service_host() {
            Some(host) if !self.services().all(&host).is_empty() || !host.is_wildcard() => {
                let host = &host;
                for service in self.services().all(host) {
                    apart.insert(Group::Namespace(service.namespace().clone()));
                    for address in self.services().addresses(service).iter() {
                        self.services()
                            .at_address(*address)
                            .for_each(|other| self.apart_by_services(other, apart));
                    }
                }
                for alias in self.aliases().of(host) {
                    listed(&alias.export_to, apart);
                    apart.insert(Group::Namespace(alias.namespace.clone()));
                }
                self.apart_by_host(host, apart);
                self.apart_by_aliases(host, apart);
                self.apart_by_wildcard(host, apart);
                self.virtual_services().matches(host).collect::<Vec<_>>()
            }
            Some(_) | None => self.virtual_services().under(pattern).collect(),
        };
        for service in routing
            .into_iter()
            .filter_map(|key| self.virtual_service(key))
        {
            listed(&service.export_to, apart);
            named(service, apart);
            destination_hosts(service)
                .into_iter()
                .for_each(|host| self.apart_by_host(host, apart));
        }
    }
}

/// Those whom a VirtualService's conditions on the client name.
fn named(service: &VirtualService, apart: &mut BTreeSet<Group>) {
    apart.extend(clients(service).into_iter().map(|client| {
        let namespace = client.namespace.clone();
        let namespace = namespace.filter(|_| client.labels.is_empty());
        namespace.map_or(Group::Labelled, Group::Namespace)
    }));
}

fn listed(export_to: &ExportTo, apart: &mut BTreeSet<Group>) {
    if let ExportTo::Namespaces(list) = export_to {
        apart.extend(list.iter().cloned().map(Group::Namespace));
    }
}
