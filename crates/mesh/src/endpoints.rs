//! The endpoints of one cluster, and what of them the cluster itself must know. The hot path.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ir::{Endpoint, Endpoints, Hashed, PodName};
use model::{EndpointAddress, Families, Labels, MtlsMode, Name, SpiffeId};

use crate::instance::{Instance, instances};
use crate::key::EndpointsKey;
use crate::mesh::Mesh;
use crate::proximity::{Arranging, Proximity};
use crate::service::{MeshPort, MeshService};

/// The endpoints that a key names, as a client at a place prefers them; empty when its service or port does not exist.
#[must_use]
pub fn endpoints(mesh: &Mesh, key: &EndpointsKey, client: Option<&Proximity>) -> Hashed<Endpoints> {
    let services = mesh.services().of_object(&key.service);
    let service = services.iter().find(|service| service.host == key.host);
    let arranging = Arranging::new(key.preference.as_ref(), client).node_local(key.node_local);
    let found = service.and_then(|service| {
        let port = service.port(key.port)?;
        let wanted = Wanted {
            labels: &key.labels,
            families: key.families,
        };
        Some(of_port(mesh, service, port, &wanted, arranging))
    });
    Hashed::new(found.unwrap_or_default())
}

/// Which endpoints a client wants.
pub(crate) struct Wanted<'a> {
    /// What they bear.
    pub labels: &'a Labels,
    /// The families of the client's addresses.
    pub families: Families,
}

/// The endpoints of a port of a service that a client wants.
#[must_use]
pub(crate) fn of_port(
    mesh: &Mesh,
    service: &MeshService,
    port: &MeshPort,
    wanted: &Wanted<'_>,
    mut arranging: Arranging<'_>,
) -> Endpoints {
    for instance in of_families(instances(mesh, service), wanted.families) {
        if !instance.labels.contain(wanted.labels) {
            continue;
        }
        let Some(number) = instance.port(port) else {
            continue;
        };
        let mesh_tls = takes_mesh_tls(mesh, &instance, number);
        let endpoint = Endpoint {
            address: instance.address.clone(),
            more_addresses: instance.more_addresses.clone().into(),
            port: number,
            weight: instance.weight.max(1),
            health: instance.health,
            mesh_tls,
            workload: instance.workload.clone(),
        };
        arranging.add(instance.place(), endpoint);
    }
    arranging.finish()
}

/// The instances that a client of these families reaches. A pod that it reaches by both is one of them all the same:
/// its addresses of the other family are what is tried next.
fn of_families(mut found: Vec<Instance>, families: Families) -> Vec<Instance> {
    found.retain(|instance| match &instance.address {
        EndpointAddress::Ip(address) => families.has(address),
        EndpointAddress::Dns(_) | EndpointAddress::Unix(_) => true,
    });
    if families != Families::Dual {
        return found;
    }
    found.sort_by(|a, b| a.address.cmp(&b.address));
    let mut united: Vec<Instance> = Vec::with_capacity(found.len());
    let mut places: BTreeMap<Name, usize> = BTreeMap::new();
    for instance in found {
        let first = instance.pod.as_ref().and_then(|pod| places.get(pod));
        let first = first.and_then(|place| united.get_mut(*place));
        match (first, &instance.address) {
            (Some(first), EndpointAddress::Ip(address)) if first.ports == instance.ports => {
                first.more_addresses.push(*address);
            }
            (_, _) => {
                if let Some(pod) = &instance.pod {
                    places.entry(pod.clone()).or_insert(united.len());
                }
                united.push(instance);
            }
        }
    }
    united
}

/// Whether auto mTLS calls an instance with mutual TLS: it bears the mark, and no PeerAuthentication switches it off.
fn takes_mesh_tls(mesh: &Mesh, instance: &Instance, port: model::Port) -> bool {
    let Some(identity) = &instance.identity else {
        return instance.mesh_tls;
    };
    instance.mesh_tls
        && mesh.mtls_mode(&identity.namespace, &instance.labels, port) != MtlsMode::Disable
}

/// What a cluster must know of its endpoints. Changes far less often than they do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EndpointFacts {
    /// Who the servers are (secure naming), ordered.
    pub identities: Arc<[SpiffeId]>,
    /// Whether there are endpoints and all of them take mutual TLS; what clusters without endpoints of their own go by.
    pub all_mesh_tls: bool,
    /// Their addresses, for the listeners and names of a headless service, ordered.
    pub addresses: Arc<[IpAddr]>,
    /// What a headless service calls its pods, ordered.
    pub pods: Arc<[PodName]>,
}

/// What the clusters, listeners and names of a service must know of its endpoints.
#[must_use]
pub fn facts(mesh: &Mesh, service: &MeshService) -> EndpointFacts {
    let found = instances(mesh, service);
    let identities: BTreeSet<SpiffeId> = found
        .iter()
        .filter_map(|instance| instance.identity.clone())
        .collect();
    let takes = |instance: &Instance| {
        service
            .ports
            .iter()
            .filter_map(|port| instance.port(port))
            .all(|port| takes_mesh_tls(mesh, instance, port))
    };
    let ip = |instance: &Instance| match &instance.address {
        EndpointAddress::Ip(ip) => Some(*ip),
        EndpointAddress::Dns(_) | EndpointAddress::Unix(_) => None,
    };
    let addresses: BTreeSet<IpAddr> = found.iter().filter_map(ip).collect();
    let of_headless = EndpointFacts {
        identities: identities.into_iter().collect(),
        all_mesh_tls: !found.is_empty() && found.iter().all(takes),
        addresses: addresses.into_iter().collect(),
        pods: pods(&found),
    };
    if service.is_headless() {
        return of_headless;
    }
    EndpointFacts {
        addresses: Arc::new([]),
        pods: Arc::new([]),
        ..of_headless
    }
}

/// The instances that have a name of their own; a name of several has the addresses of all.
fn pods(found: &[Instance]) -> Arc<[PodName]> {
    let mut addresses: BTreeMap<&Arc<str>, BTreeSet<IpAddr>> = BTreeMap::new();
    for instance in found {
        if let (Some(name), EndpointAddress::Ip(ip)) = (&instance.hostname, &instance.address) {
            addresses.entry(name).or_default().insert(*ip);
        }
    }
    let pods = addresses.into_iter().map(|(name, addresses)| PodName {
        hostname: Arc::clone(name),
        addresses: addresses.into_iter().collect(),
    });
    pods.collect()
}
