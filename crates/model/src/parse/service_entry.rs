//! ServiceEntry: a service that Kubernetes does not know.

mod dynamic_dns;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::notes::{At, Notes, SPEC, Written};
use super::value::strings;
use super::workload_entry;
use crate::{
    Code, EndpointAddress, EntryPort, HostPattern, Layer, Location, Port, PortName, Protocol,
    Resolution, ServiceEntry, WorkloadEntry,
};

/// Reads `spec`.
pub(super) fn read(
    wire: istio_api::ServiceEntrySpec,
    notes: &mut Notes<'_>,
) -> Option<ServiceEntry> {
    let istio_api::ServiceEntrySpec {
        hosts,
        addresses,
        ports,
        location,
        resolution,
        endpoints,
        workload_selector,
        export_to,
        subject_alt_names,
    } = wire;
    if endpoints.is_written() && workload_selector.is_written() {
        let message = "`endpoints` and `workloadSelector` exclude each other";
        notes.refuse(&SPEC.field("endpoints"), message, "keep one of them");
    }
    let at = SPEC.field("endpoints");
    let mut found = Vec::with_capacity(endpoints.len());
    for (index, endpoint) in endpoints.into_iter().enumerate() {
        found.extend(workload_entry::read(endpoint, &at.item(index), None, notes));
    }
    let has_selector = workload_selector.is_written();
    let selector = notes.workload_labels(&SPEC.field("workloadSelector"), workload_selector);
    let entry = ServiceEntry {
        hosts: read_hosts(&hosts, notes),
        addresses: notes.networks(&addresses, &SPEC.field("addresses")).into(),
        ports: read_ports(ports, notes),
        location: match location.unwrap_or(istio_api::Location::MeshExternal) {
            istio_api::Location::MeshExternal => Location::External,
            istio_api::Location::MeshInternal => Location::Internal,
        },
        resolution: read_resolution(resolution),
        endpoints: found.into(),
        selector,
        export_to: notes.export_to(&SPEC.field("exportTo"), &export_to),
        subject_alt_names: strings(subject_alt_names),
    };
    check_resolution(&entry, has_selector, notes);
    check_ranges(&entry, notes);
    check_endpoints(&entry, notes);
    check_addresses(&entry, notes);
    Some(match entry.resolution {
        Resolution::DynamicDns => dynamic_dns::read(entry, has_selector, notes),
        Resolution::None | Resolution::Static | Resolution::Dns | Resolution::DnsRoundRobin => {
            entry
        }
    })
}

fn read_hosts(hosts: &[String], notes: &mut Notes<'_>) -> Arc<[HostPattern]> {
    let at = SPEC.field("hosts");
    if hosts.is_empty() {
        notes.missing(&at, "name the hosts of the service");
    }
    let mut seen = BTreeSet::new();
    let mut found = Vec::with_capacity(hosts.len());
    for (index, host) in hosts.iter().enumerate() {
        let at = at.item(index);
        match notes.valid(&at, HostPattern::literal(host)) {
            Some(HostPattern::Any) => {
                notes.refuse(&at, "`*` is too wide for a service", "name the host");
            }
            Some(pattern) if seen.insert(pattern.clone()) => found.push(pattern),
            Some(_) => notes.error(
                &at,
                format!("the host {host} stands here twice"),
                "leave one out",
            ),
            None => {}
        }
    }
    found.into()
}

fn read_ports(wire: Vec<istio_api::ServiceEntryPort>, notes: &mut Notes<'_>) -> Arc<[EntryPort]> {
    let at = SPEC.field("ports");
    let (mut numbers, mut names) = (BTreeSet::new(), BTreeSet::new());
    let mut found = Vec::with_capacity(wire.len());
    for (index, wire) in wire.into_iter().enumerate() {
        let at = at.item(index);
        let Some(port) = read_port(wire, &at, notes) else {
            continue;
        };
        if numbers.insert(port.number) && names.insert(port.name.clone()) {
            found.push(port);
        } else {
            let message = format!(
                "a port {} or {} stands here already",
                port.number, port.name
            );
            notes.error(
                &at,
                message,
                "the second is dropped; numbers and names must differ",
            );
        }
    }
    found.into()
}

fn read_port(
    wire: istio_api::ServiceEntryPort,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<EntryPort> {
    let istio_api::ServiceEntryPort {
        number,
        protocol,
        name,
        target_port,
    } = wire;
    if number.is_none() {
        notes.missing(&at.field("number"), "give the number of the port");
    }
    let number: Option<Port> = notes.port(&at.field("number"), number);
    let name: Option<PortName> = match name.filter(|name| !name.is_empty()) {
        Some(name) => notes.name(&at.field("name"), &name),
        None => {
            notes.missing(&at.field("name"), "endpoints refer to a port by its name");
            None
        }
    };
    let target = notes.port(&at.field("targetPort"), target_port);
    let declared = protocol.filter(|word| !word.is_empty());
    let known = declared.as_deref().and_then(Protocol::of_word);
    if let Some(word) = declared.filter(|_| known.is_none()) {
        let hint = "one of HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, MONGO, MYSQL, REDIS, TCP, TLS, UDP";
        notes.refuse(
            &at.field("protocol"),
            format!("{word:?} is not a protocol"),
            hint,
        );
    }
    let (number, name) = (number?, name?);
    Some(EntryPort {
        number,
        protocol: known.unwrap_or_else(|| Protocol::select(None, Some(&name), number)),
        name,
        target: target.unwrap_or(number),
    })
}

fn read_resolution(wire: Option<istio_api::Resolution>) -> Resolution {
    match wire.unwrap_or(istio_api::Resolution::None) {
        istio_api::Resolution::None => Resolution::None,
        istio_api::Resolution::Static => Resolution::Static,
        istio_api::Resolution::Dns => Resolution::Dns,
        istio_api::Resolution::DnsRoundRobin => Resolution::DnsRoundRobin,
        istio_api::Resolution::DynamicDns => Resolution::DynamicDns,
    }
}

/// What each way to find endpoints needs and forbids.
fn check_resolution(entry: &ServiceEntry, has_selector: bool, notes: &mut Notes<'_>) {
    let at = SPEC.field("endpoints");
    let none = entry.endpoints.is_empty();
    match entry.resolution {
        Resolution::None if !none => notes.refuse(
            &at,
            "`endpoints` exclude the resolution NONE",
            "write STATIC or DNS, or leave the endpoints out",
        ),
        Resolution::Static if none && !has_selector => {
            notes.missing(&at, "STATIC needs `endpoints` or a `workloadSelector`");
        }
        Resolution::Dns | Resolution::DnsRoundRobin if none && !has_selector => {
            let hosts = SPEC.field("hosts");
            for (index, host) in entry.hosts.iter().enumerate() {
                if !matches!(host, HostPattern::Exact(_)) {
                    let message = format!("{host} cannot be resolved by DNS");
                    notes.refuse(
                        &hosts.item(index),
                        message,
                        "name a host, or write `endpoints`",
                    );
                }
            }
        }
        Resolution::DnsRoundRobin if entry.endpoints.len() > 1 => {
            let message = "DNS_ROUND_ROBIN takes one endpoint only";
            notes.refuse(&at, message, "write DNS, or keep one endpoint");
        }
        Resolution::None
        | Resolution::Static
        | Resolution::Dns
        | Resolution::DnsRoundRobin
        | Resolution::DynamicDns => {}
    }
}

/// Istio: who is found by DNS is not called at any address of a range.
fn check_ranges(entry: &ServiceEntry, notes: &mut Notes<'_>) {
    let by_dns = match entry.resolution {
        Resolution::Dns | Resolution::DnsRoundRobin | Resolution::DynamicDns => true,
        Resolution::None | Resolution::Static => false,
    };
    let at = SPEC.field("addresses");
    for (index, net) in entry.addresses.iter().enumerate() {
        if by_dns && net.prefix_len() < net.max_prefix_len() {
            let message = "ranges of addresses exclude the resolutions by DNS";
            let hint = "write single addresses, or the resolution NONE or STATIC";
            notes.refuse(&at.item(index), message, hint);
        }
    }
}

/// What endpoints may be depends on how they are found.
fn check_endpoints(entry: &ServiceEntry, notes: &mut Notes<'_>) {
    let at = SPEC.field("endpoints");
    let known: BTreeSet<&PortName> = entry.ports.iter().map(|port| &port.name).collect();
    for (index, endpoint) in entry.endpoints.iter().enumerate() {
        let at = at.item(index);
        let WorkloadEntry { address, ports, .. } = endpoint;
        let fits = match (address, entry.resolution) {
            (Some(EndpointAddress::Dns(_)), Resolution::Static) => Err("a name needs DNS"),
            (
                Some(EndpointAddress::Unix(_)),
                Resolution::Dns | Resolution::DnsRoundRobin | Resolution::None,
            ) => Err("a Unix socket needs STATIC"),
            (Some(EndpointAddress::Unix(_)), Resolution::Static) if entry.ports.len() > 1 => {
                Err("a Unix socket serves one port only")
            }
            (
                None
                | Some(EndpointAddress::Ip(_) | EndpointAddress::Dns(_) | EndpointAddress::Unix(_)),
                Resolution::None
                | Resolution::Static
                | Resolution::Dns
                | Resolution::DnsRoundRobin
                | Resolution::DynamicDns,
            ) => Ok(()),
        };
        if let Err(why) = fits {
            notes.refuse(
                &at.field("address"),
                why,
                "change the address or `resolution`",
            );
        }
        let ports_at = at.field("ports");
        for name in ports.keys() {
            if !known.contains(name) {
                let message = format!("the service has no port {name}");
                notes.error(
                    &ports_at.field(name.as_str()),
                    message,
                    "name a port of `spec.ports`",
                );
            }
        }
    }
}

/// Bytes without an address to tell them by take the whole port (IST0134).
fn check_addresses(entry: &ServiceEntry, notes: &mut Notes<'_>) {
    let at = SPEC.field("ports");
    for (index, port) in entry.ports.iter().enumerate() {
        let by_name = matches!(
            port.protocol,
            Protocol::Https | Protocol::Tls | Protocol::Udp
        );
        if entry.addresses.is_empty() && port.protocol.layer() == Layer::Tcp && !by_name {
            notes.warn(
                &at.item(index),
                Code::ServiceEntryAddressesRequired,
                format!(
                    "without `addresses` the service takes port {} of every address",
                    port.number
                ),
                "give it addresses",
            );
        }
    }
}
