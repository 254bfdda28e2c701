//! `tcp` and `tls` of a VirtualService: routes of connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

use super::http_route;
use super::notes::{At, Notes, Written};
use super::virtual_service::MESH;
use crate::{ConnectionMatch, ConnectionRoute, HostPattern, WeightedDestination};

/// What holds for the whole object.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    /// Whether sidecars are meant.
    pub(super) in_mesh: bool,
    /// Its hosts.
    pub(super) hosts: &'a [HostPattern],
}

/// What stands in both kinds of matches.
struct Wire {
    destination_subnets: Vec<String>,
    port: Option<i64>,
    source_labels: BTreeMap<String, String>,
    source_namespace: Option<String>,
    gateways: Vec<String>,
}

/// Reads `spec.tcp[]`.
pub(super) fn read_tcp(
    wire: istio_api::TcpRoute,
    object: Object<'_>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> ConnectionRoute {
    let istio_api::TcpRoute { r#match, route } = wire;
    let here = at.field("match");
    let mut matches = Vec::with_capacity(r#match.len());
    for (index, wire) in r#match.into_iter().enumerate() {
        let at = here.item(index);
        let istio_api::L4MatchAttributes {
            destination_subnets,
            port,
            source_subnet,
            source_labels,
            gateways,
            source_namespace,
        } = wire;
        if source_subnet.is_written() {
            let hint = "Istio ignores it too; use `sourceLabels` or an AuthorizationPolicy";
            notes.error(&at.field("sourceSubnet"), "the field has no effect", hint);
        }
        let wire = Wire {
            destination_subnets,
            port,
            source_labels,
            source_namespace,
            gateways,
        };
        matches.push(conditions(wire, Arc::new([]), object, &at, notes));
    }
    ConnectionRoute {
        matches: matches.into(),
        destinations: destinations(route, &at.field("route"), notes),
    }
}

/// Reads `spec.tls[]`.
pub(super) fn read_tls(
    wire: istio_api::TlsRoute,
    object: Object<'_>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> ConnectionRoute {
    let istio_api::TlsRoute { r#match, route } = wire;
    let here = at.field("match");
    if r#match.is_empty() {
        notes.missing(&here, "say which `sniHosts` the route is for");
    }
    let mut matches = Vec::with_capacity(r#match.len());
    for (index, wire) in r#match.into_iter().enumerate() {
        let at = here.item(index);
        let istio_api::TlsMatchAttributes {
            sni_hosts,
            destination_subnets,
            port,
            source_labels,
            gateways,
            source_namespace,
        } = wire;
        let sni = read_sni(&sni_hosts, object, &at.field("sniHosts"), notes);
        let wire = Wire {
            destination_subnets,
            port,
            source_labels,
            source_namespace,
            gateways,
        };
        matches.push(conditions(wire, sni, object, &at, notes));
    }
    ConnectionRoute {
        matches: matches.into(),
        destinations: destinations(route, &at.field("route"), notes),
    }
}

fn conditions(
    wire: Wire,
    sni: Arc<[HostPattern]>,
    object: Object<'_>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> ConnectionMatch {
    let Wire {
        destination_subnets,
        port,
        source_labels,
        source_namespace,
        gateways,
    } = wire;
    let mut never = notes.has_unknown_under(at);
    // Conditions for other gateways than the sidecars' are right as they are: no sidecar meets them.
    let elsewhere = !gateways.is_empty() && !gateways.iter().any(|gateway| gateway == MESH);
    never |= object.in_mesh && elsewhere;
    ConnectionMatch {
        sni,
        destinations: read_subnets(&destination_subnets, &at.field("destinationSubnets"), notes),
        port: notes.port(&at.field("port"), port),
        client: notes.client(source_namespace.as_deref(), source_labels, at),
        never,
    }
}

/// Istio: what is asked for must be a name under a host of the object.
fn read_sni(
    wire: &[String],
    object: Object<'_>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Arc<[HostPattern]> {
    if wire.is_empty() {
        notes.missing(at, "name the hosts that clients ask TLS for");
    }
    let namespace = notes.namespace();
    let mut found = Vec::with_capacity(wire.len());
    for (index, text) in wire.iter().enumerate() {
        let at = at.item(index);
        let Some(sni) = notes.valid(&at, HostPattern::literal(text)) else {
            continue;
        };
        let names = [Ok(sni.clone()), HostPattern::resolve(text, &namespace)];
        let is_own = |name: &HostPattern| object.hosts.iter().any(|host| host.covers(name));
        // Without hosts that is what is wrong, and is said there.
        if object.hosts.is_empty() || names.iter().flatten().any(is_own) {
            found.push(sni);
        } else {
            let message = format!("{text} is not under a host of this VirtualService");
            notes.refuse(&at, message, "add it to `spec.hosts`, or name one of them");
        }
    }
    found.into()
}

fn read_subnets(wire: &[String], at: &At<'_>, notes: &mut Notes<'_>) -> Arc<[IpNet]> {
    let networks = notes.networks(wire, at).into_iter();
    let mut found: Vec<IpNet> = networks.map(|net| net.trunc()).collect();
    found.sort();
    found.dedup();
    found.into()
}

/// As those of HTTP, but without headers.
fn destinations(
    wire: Vec<istio_api::RouteDestination>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Arc<[WeightedDestination]> {
    if wire.is_empty() {
        notes.missing(at, "name a destination");
        return Arc::new([]);
    }
    let of_http = |wire| {
        let istio_api::RouteDestination {
            destination,
            weight,
        } = wire;
        istio_api::HttpRouteDestination {
            destination,
            weight,
            headers: None,
        }
    };
    http_route::destinations(wire.into_iter().map(of_http).collect(), at, notes)
}
