//! WorkloadEntry, and the endpoints of a ServiceEntry: workloads that are no Pods.

use std::collections::BTreeMap;

use super::notes::{At, Notes};
use super::value::{UNSIGNED, text};
use crate::{EndpointAddress, Labels, Locality, Port, PortName, ServiceAccount, WorkloadEntry};

/// Reads a workload. `metadata` are the labels of the object around it, if there is one.
pub(super) fn read(
    wire: istio_api::WorkloadEntrySpec,
    at: &At<'_>,
    metadata: Option<&Labels>,
    notes: &mut Notes<'_>,
) -> Option<WorkloadEntry> {
    let istio_api::WorkloadEntrySpec {
        address,
        ports,
        labels,
        network,
        locality,
        weight,
        service_account,
    } = wire;
    let own = notes.labels(&at.field("labels"), labels);
    let inherited = metadata.into_iter().flat_map(Labels::iter);
    let address = text(address);
    if address.is_none() && network.is_none() {
        notes.missing(
            &at.field("address"),
            "give an address, a name or unix:// and a path",
        );
    }
    let address = address.and_then(|address| read_address(&address, &at.field("address"), notes));
    let ports = read_ports(ports, &at.field("ports"), notes);
    if matches!(address, Some(EndpointAddress::Unix(_))) && !ports.is_empty() {
        notes.refuse(
            &at.field("ports"),
            "a Unix socket has no ports",
            "leave `ports` out",
        );
    }
    let service_account: Option<ServiceAccount> = service_account
        .filter(|account| !account.is_empty())
        .and_then(|account| notes.name(&at.field("serviceAccount"), &account));
    Some(WorkloadEntry {
        address,
        ports,
        labels: inherited.chain(own.iter()).collect(),
        locality: locality.as_deref().map(Locality::new).unwrap_or_default(),
        network: text(network),
        // Istio takes 0 to say nothing.
        weight: notes
            .number(&at.field("weight"), weight, &UNSIGNED)
            .filter(|&weight| weight > 0)
            .unwrap_or(1),
        service_account,
    })
}

fn read_address(address: &str, at: &At<'_>, notes: &mut Notes<'_>) -> Option<EndpointAddress> {
    if let Some(path) = address.strip_prefix("unix://") {
        // `@` begins the name of an abstract socket.
        if !path.starts_with(['/', '@']) || path.contains('\0') {
            notes.refuse(
                at,
                format!("{address:?} is not a socket's absolute path"),
                "",
            );
            return None;
        }
        return Some(EndpointAddress::Unix(path.into()));
    }
    match address.parse() {
        Ok(ip) => Some(EndpointAddress::Ip(ip)),
        Err(_) => notes.name(at, address).map(EndpointAddress::Dns),
    }
}

fn read_ports(
    wire: BTreeMap<String, i64>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> BTreeMap<PortName, Port> {
    let mut found = BTreeMap::new();
    for (name, number) in wire {
        let at = at.field(&name);
        let number = notes.port(&at, Some(number));
        let name = notes.name(&at, &name);
        found.extend(name.zip(number));
    }
    found
}
