//! Which objects must be looked at again when others change: those that name the same host, and those that select
//! workloads where workloads changed. Rather one too many than one too few.

use std::collections::{BTreeMap, BTreeSet};

use mesh::{Mesh, delegates, destination_hosts, virtual_service_in};
use model::{AuthorizationAction, HostPattern, Hostname, Kind, Namespace, ObjectKey, Spec};
use store::Snapshot;

/// Who refers to what.
#[derive(Debug, Default)]
pub(super) struct References {
    /// The VirtualServices and DestinationRules that name a host.
    naming: BTreeMap<HostPattern, BTreeSet<ObjectKey>>,
    /// The objects of a namespace that select workloads, or are selected with them.
    selecting: BTreeMap<Namespace, BTreeSet<ObjectKey>>,
    /// The AuthorizationPolicies that ask a provider, which is a service somewhere, and whose rivals may ask another.
    asking: BTreeSet<ObjectKey>,
}

impl References {
    /// Takes the changed objects in.
    pub(super) fn update(
        &mut self,
        before: &Snapshot,
        now: &Snapshot,
        changed: &BTreeSet<ObjectKey>,
    ) {
        for key in changed {
            for host in hosts(before, key) {
                forget(&mut self.naming, &host, key);
            }
            for host in hosts(now, key) {
                self.naming.entry(host).or_default().insert(key.clone());
            }
            if asks(now, key) {
                self.asking.insert(key.clone());
            } else {
                self.asking.remove(key);
            }
            if selects(now, key) {
                let selecting = self.selecting.entry(key.namespace.clone());
                selecting.or_default().insert(key.clone());
            } else {
                forget(&mut self.selecting, &key.namespace, key);
            }
        }
    }

    /// The objects of which something else may have to be said now; none: all of them.
    pub(super) fn again(
        &self,
        earlier: &Mesh,
        mesh: &Mesh,
        before: &Snapshot,
        now: &Snapshot,
        changed: &BTreeSet<ObjectKey>,
    ) -> Option<BTreeSet<ObjectKey>> {
        let mut again = BTreeSet::new();
        for key in changed {
            match key.kind {
                Kind::MeshConfig => return None,
                Kind::Node | Kind::Namespace | Kind::ServiceAccount => {}
                Kind::VirtualService => {
                    let both = hosts(before, key).into_iter().chain(hosts(now, key));
                    both.for_each(|host| self.of_host(&host, &mut again));
                    let roots = [earlier, mesh].into_iter();
                    again.extend(roots.flat_map(|mesh| mesh.delegating_to(key)).cloned());
                    let services = [before, now].map(|snapshot| virtual_service_in(snapshot, key));
                    let services = services.iter().flatten();
                    again.extend(services.flat_map(|(_, service)| delegates(service)));
                }
                Kind::DestinationRule => {
                    for host in hosts(before, key).into_iter().chain(hosts(now, key)) {
                        match host {
                            HostPattern::Exact(host) => {
                                self.of_names([earlier, mesh], &host, &mut again);
                            }
                            HostPattern::Suffix(_) | HostPattern::Any => {
                                again.extend(self.naming.values().flatten().cloned());
                            }
                        }
                    }
                }
                Kind::Service | Kind::ServiceEntry => {
                    again.extend(self.asking.iter().cloned());
                    self.of_service([earlier, mesh], key, &mut again);
                }
                Kind::Pod | Kind::WorkloadEntry | Kind::EndpointSlice | Kind::Deployment => {
                    self.of_workloads([earlier, mesh], &key.namespace, &mut again);
                    again.extend(self.asking.iter().cloned());
                }
                Kind::AuthorizationPolicy => again.extend(self.asking.iter().cloned()),
                Kind::PeerAuthentication => {
                    self.of_authentication([earlier, mesh], &key.namespace, &mut again);
                }
            }
        }
        Some(again)
    }

    fn of_host(&self, host: &HostPattern, again: &mut BTreeSet<ObjectKey>) {
        again.extend(self.naming.get(host).into_iter().flatten().cloned());
    }

    /// Who names a host, by whichever of its names.
    fn of_names(&self, meshes: [&Mesh; 2], host: &Hostname, again: &mut BTreeSet<ObjectKey>) {
        self.of_host(&HostPattern::Exact(host.clone()), again);
        for name in meshes.iter().flat_map(|mesh| mesh.aliases_of(host)) {
            self.of_host(&HostPattern::Exact(name.clone()), again);
        }
    }

    /// Who names a service, leads to the same workloads, or claims the same host or address.
    fn of_service(&self, meshes: [&Mesh; 2], key: &ObjectKey, again: &mut BTreeSet<ObjectKey>) {
        // An ExternalName has a name, but is no service.
        if key.kind == Kind::Service {
            let own = Hostname::of_service(&key.name, &key.namespace);
            self.of_names(meshes, &own, again);
        }
        for mesh in meshes {
            let services = mesh.services();
            for service in services.of_object(key) {
                self.of_names(meshes, &service.host, again);
                let addresses = service.addresses.iter();
                let there = addresses.flat_map(|address| services.at_address(*address));
                let rivals = there.chain([&service.host]);
                let rivals = rivals.flat_map(|host| services.all(host));
                again.extend(rivals.map(|rival| rival.rank.key.clone()));
            }
            for from in [&key.namespace, &mesh.config().root_namespace] {
                again.extend(self.selecting.get(from).into_iter().flatten().cloned());
            }
        }
    }

    /// Who says something of connections to the workloads of a namespace, or of the whole mesh.
    fn of_authentication(
        &self,
        meshes: [&Mesh; 2],
        namespace: &Namespace,
        again: &mut BTreeSet<ObjectKey>,
    ) {
        self.of_workloads(meshes, namespace, again);
        if meshes
            .iter()
            .any(|mesh| mesh.config().root_namespace == *namespace)
        {
            again.extend(self.selecting.values().flatten().cloned());
            again.extend(self.naming.values().flatten().cloned());
        }
    }

    /// Who selects workloads of a namespace: by labels, or as a service that a DestinationRule divides into subsets.
    fn of_workloads(
        &self,
        meshes: [&Mesh; 2],
        namespace: &Namespace,
        again: &mut BTreeSet<ObjectKey>,
    ) {
        for mesh in meshes {
            for from in [namespace, &mesh.config().root_namespace] {
                again.extend(self.selecting.get(from).into_iter().flatten().cloned());
            }
            for service in mesh.services().in_namespace(namespace) {
                self.of_host(&HostPattern::Exact(service.host.clone()), again);
            }
        }
    }
}

/// Whether an object asks a provider.
fn asks(snapshot: &Snapshot, key: &ObjectKey) -> bool {
    match snapshot.get(key).map(|object| &object.spec) {
        Some(Spec::AuthorizationPolicy(policy)) => {
            matches!(policy.action, AuthorizationAction::Custom(_))
        }
        _ => false,
    }
}

/// Whether an object selects workloads, or is one that services select.
fn selects(snapshot: &Snapshot, key: &ObjectKey) -> bool {
    match snapshot.get(key).map(|object| &object.spec) {
        Some(Spec::DestinationRule(rule)) => rule.workload_selector.is_some(),
        Some(_) => matches!(
            key.kind,
            Kind::AuthorizationPolicy
                | Kind::PeerAuthentication
                | Kind::Service
                | Kind::ServiceEntry
                | Kind::WorkloadEntry
        ),
        None => false,
    }
}

/// The hosts that an object names.
fn hosts(snapshot: &Snapshot, key: &ObjectKey) -> Vec<HostPattern> {
    if let Some((_, service)) = virtual_service_in(snapshot, key) {
        let destinations = destination_hosts(service).into_iter();
        let destinations = destinations.cloned().map(HostPattern::Exact);
        return service.hosts.iter().cloned().chain(destinations).collect();
    }
    match snapshot.get(key).map(|object| &object.spec) {
        Some(Spec::DestinationRule(rule)) => vec![rule.host.clone()],
        _ => Vec::new(),
    }
}

fn forget<K: Ord>(index: &mut BTreeMap<K, BTreeSet<ObjectKey>>, at: &K, key: &ObjectKey) {
    let Some(keys) = index.get_mut(at) else {
        return;
    };
    keys.remove(key);
    if keys.is_empty() {
        index.remove(at);
    }
}
