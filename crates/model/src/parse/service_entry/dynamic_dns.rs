//! `resolution: DYNAMIC_DNS`: what it needs, and what cannot be with it.

use std::sync::Arc;

use super::super::notes::{Notes, SPEC};
use crate::{Code, EntryPort, HostPattern, Location, Protocol, ServiceEntry};

/// The entry without what means nothing under DYNAMIC_DNS.
pub(super) fn read(entry: ServiceEntry, has_selector: bool, notes: &mut Notes<'_>) -> ServiceEntry {
    for (index, host) in entry.hosts.iter().enumerate() {
        if matches!(host, HostPattern::Exact(_)) {
            let message = format!("DYNAMIC_DNS is for a whole domain, and {host} is one host");
            let hint = format!("write `*.{host}`, or the resolution DNS");
            notes.refuse(&SPEC.field("hosts").item(index), message, hint);
        }
    }
    if entry.location == Location::Internal {
        let message = "DYNAMIC_DNS is for hosts outside of the mesh";
        let hint = "write MESH_EXTERNAL, or another resolution";
        notes.refuse(&SPEC.field("location"), message, hint);
    }
    let written = [
        ("endpoints", !entry.endpoints.is_empty()),
        ("workloadSelector", has_selector),
    ];
    for (field, _) in written.into_iter().filter(|(_, is_written)| *is_written) {
        let message = format!("`{field}` has no effect under DYNAMIC_DNS");
        let hint = "leave it out: requests go to the host that they name";
        notes.warn(&SPEC.field(field), Code::SchemaWarning, message, hint);
    }
    ServiceEntry {
        ports: naming_ports(&entry.ports, notes),
        endpoints: Arc::new([]),
        selector: None,
        ..entry
    }
}

/// The ports on which callers say the host that they want.
fn naming_ports(ports: &[EntryPort], notes: &mut Notes<'_>) -> Arc<[EntryPort]> {
    let at = SPEC.field("ports");
    let mut found = Vec::with_capacity(ports.len());
    for (index, port) in ports.iter().enumerate() {
        let at = at.item(index);
        match port.protocol {
            Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb => {
                if port.target != port.number {
                    let message =
                        "requests go to the port in their Host, whatever `targetPort` says";
                    let hint = "leave it out; without a port in Host, 80 is called, or 443 where a DestinationRule \
                                makes TLS of it";
                    notes.warn(&at.field("targetPort"), Code::SchemaWarning, message, hint);
                }
                found.push(port.clone());
            }
            Protocol::Tls => found.push(port.clone()),
            Protocol::Https => {
                let message =
                    "under DYNAMIC_DNS a port of the protocol HTTPS is dropped, as Istio does";
                notes.error(
                    &at.field("protocol"),
                    message,
                    "write TLS, which is routed by SNI",
                );
            }
            Protocol::Auto
            | Protocol::Tcp
            | Protocol::Mongo
            | Protocol::Redis
            | Protocol::MySql
            | Protocol::Udp => {
                let message = format!(
                    "port {} is dropped: only HTTP and TLS say which host is wanted",
                    port.number
                );
                let hint = "write HTTP, HTTP2, GRPC, GRPC-WEB or TLS, or another resolution";
                notes.error(&at.field("protocol"), message, hint);
            }
        }
    }
    found.into()
}
