//! VirtualService: hosts, gateways and what stands around its routes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::connection_route::{Object, read_tcp, read_tls};
use super::http_route;
use super::notes::{Notes, SPEC, Written};
use super::refusal::{RefusedScope, standing_for};
use super::unreachable;
use crate::{HostPattern, VirtualService};

/// The name under which `gateways` means all sidecars.
pub(super) const MESH: &str = "mesh";

/// Reads `spec`, and what stands for it if it must not be applied.
pub(super) fn read(
    wire: istio_api::VirtualServiceSpec,
    notes: &mut Notes<'_>,
) -> (VirtualService, Option<RefusedScope>) {
    let istio_api::VirtualServiceSpec {
        hosts,
        gateways,
        http,
        tls,
        tcp,
        export_to,
    } = wire;
    let in_mesh = in_mesh(&gateways, notes);
    let at_gateways = gateways.iter().any(|gateway| gateway != MESH);
    if !(http.is_written() || tls.is_written() || tcp.is_written()) {
        notes.missing(
            &SPEC.field("http"),
            "a VirtualService without routes does nothing",
        );
    }
    let is_delegate = hosts.is_empty();
    if is_delegate {
        only_http(&gateways, &tls, &tcp, notes);
    }
    let hosts = read_hosts(&hosts, in_mesh, notes);
    let export_to = notes.export_to(&SPEC.field("exportTo"), &export_to);
    let object = Object {
        in_mesh,
        hosts: &hosts,
    };
    let at = SPEC.field("http");
    let of_tcp_only = !http.is_written() && (tls.is_written() || tcp.is_written());
    let mut routes = Vec::with_capacity(http.len());
    for (index, route) in http.into_iter().enumerate() {
        let at = at.item(index);
        if is_delegate && route.delegate.is_some() {
            let message = "a delegate cannot delegate further";
            notes.refuse(&at.field("delegate"), message, "let the routes stand here");
        }
        routes.push(http_route::read(route, in_mesh, &at, notes));
    }
    let at_tls = SPEC.field("tls");
    let tls = tls.into_iter().enumerate();
    let tls = tls.map(|(index, route)| read_tls(route, object, &at_tls.item(index), notes));
    let tls = tls.collect();
    let at_tcp = SPEC.field("tcp");
    let tcp = tcp.into_iter().enumerate();
    let tcp = tcp.map(|(index, route)| read_tcp(route, object, &at_tcp.item(index), notes));
    let tcp = tcp.collect();
    let service = VirtualService {
        hosts,
        in_mesh,
        at_gateways,
        export_to,
        http: routes.into(),
        tls,
        tcp,
    };
    // A condition that could not be read looks as if there were none.
    if !notes.is_refused() {
        unreachable::check(&service, notes);
    }
    let says_http = !of_tcp_only || notes.has_error_under(&at);
    let scope = notes
        .reason()
        .filter(|_| is_reach_known(notes))
        .and_then(|reason| standing_for(&service, says_http, reason));
    (service, scope)
}

/// Whether it can be said for which proxies the object is meant.
fn is_reach_known(notes: &Notes<'_>) -> bool {
    let fields = ["gateways", "exportTo"];
    !fields
        .iter()
        .any(|field| notes.has_error_under(&SPEC.field(field)))
}

fn in_mesh(gateways: &[String], notes: &mut Notes<'_>) -> bool {
    let at = SPEC.field("gateways");
    for (index, gateway) in gateways.iter().enumerate() {
        if gateway != MESH {
            notes.not_yet(&at.item(index), &Some(gateway));
        }
    }
    gateways.is_empty() || gateways.iter().any(|gateway| gateway == MESH)
}

/// A VirtualService without hosts is a delegate: those who delegate to it say for whom its routes are.
fn only_http(
    gateways: &[String],
    tls: &[istio_api::TlsRoute],
    tcp: &[istio_api::TcpRoute],
    notes: &mut Notes<'_>,
) {
    let wrong = [
        ("gateways", !gateways.is_empty()),
        ("tls", !tls.is_empty()),
        ("tcp", !tcp.is_empty()),
    ];
    for (field, _) in wrong.into_iter().filter(|(_, written)| *written) {
        let message =
            format!("a VirtualService without hosts is a delegate, which has no `{field}`");
        notes.refuse(&SPEC.field(field), message, "name hosts, or leave it out");
    }
}

fn read_hosts(hosts: &[String], in_mesh: bool, notes: &mut Notes<'_>) -> Arc<[HostPattern]> {
    let at = SPEC.field("hosts");
    let namespace = notes.namespace();
    let mut seen = BTreeSet::new();
    let mut found = Vec::with_capacity(hosts.len());
    for (index, host) in hosts.iter().enumerate() {
        let at = at.item(index);
        let Some(pattern) = notes.valid(&at, HostPattern::resolve(host, &namespace)) else {
            continue;
        };
        if pattern == HostPattern::Any && in_mesh {
            let message = "the host `*` is not possible for sidecars";
            notes.refuse(
                &at,
                message,
                "name the hosts, or leave `mesh` out of `gateways`",
            );
        }
        if seen.insert(pattern.clone()) {
            found.push(pattern);
        } else {
            notes.error(
                &at,
                format!("the host {host} stands here twice"),
                "leave one out",
            );
        }
    }
    found.into()
}
