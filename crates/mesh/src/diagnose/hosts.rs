//! The hosts of a VirtualService: those that an older one routes, and routes that do not fit what they serve.

use std::collections::BTreeSet;

use model::{
    Code, Finding, HostPattern, Layer, Namespace, ObjectKey, Port, Protocol, VirtualService,
};

use super::Found;
use super::destination::ports_of;
use crate::mesh::Mesh;
use crate::scope::Scope;
use crate::service::MeshService;

/// The hosts of a VirtualService, by index, whose requests an older one routes already.
pub(super) fn conflicts(
    mesh: &Mesh,
    key: &ObjectKey,
    service: &VirtualService,
) -> Vec<(usize, Finding)> {
    let scope = Scope::of(key.namespace.clone());
    let rival_for = |pattern: &HostPattern| {
        let under = mesh.virtual_services().under(pattern);
        let mut older = under.take_while(|other| *other != key);
        older.find(|other| {
            let rival = mesh.virtual_service(other);
            rival.is_some_and(|rival| rival.in_mesh && scope.sees(&rival.export_to))
        })
    };
    // Connections are routed by all, one after the other.
    let counts = service.in_mesh && !(service.http.is_empty() && service.routes_connections());
    let lost = if service.routes_connections() {
        "for requests to it this VirtualService is ignored, for connections it comes after"
    } else {
        "this VirtualService is ignored for it"
    };
    let mut found = Vec::new();
    for (index, pattern) in service.hosts.iter().enumerate() {
        if let Some(rival) = rival_for(pattern).filter(|_| counts) {
            let finding = Finding::warning(
                Code::Conflict,
                format!("{rival} routes {pattern} already; {lost}"),
                "put the routes of one host into one VirtualService",
            );
            found.push((index, finding));
        }
    }
    found
}

/// One without hosts to which nobody delegates.
pub(super) fn unused_delegate(mesh: &Mesh, key: &ObjectKey, service: &VirtualService) -> Found {
    if !service.hosts.is_empty() || mesh.delegating_to(key).next().is_some() {
        return Vec::new();
    }
    let message = "without hosts it is a delegate, and no VirtualService delegates to it";
    let hint = "name its hosts, or let another VirtualService delegate to it";
    let finding = Finding::info(Code::NoEffect, message, hint);
    vec![("spec.hosts".to_owned(), finding)]
}

/// Routes of a kind that none of the hosts' ports takes, and conditions on ports that none has. That is known only where
/// all hosts are services, and no gateway is meant.
pub(super) fn unserved(mesh: &Mesh, namespace: &Namespace, service: &VirtualService) -> Found {
    let scope = Scope::of(namespace.clone());
    let of_host = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(host) => mesh.reached(&scope, host).map(|service| &**service),
        HostPattern::Suffix(_) | HostPattern::Any => None,
    };
    let services: Option<Vec<&MeshService>> = service.hosts.iter().map(of_host).collect();
    let known = services.filter(|services| !services.is_empty() && !service.at_gateways);
    let Some(services) = known else {
        return Vec::new();
    };
    let mut found = kinds(service, &services);
    let ports: BTreeSet<Port> = services
        .iter()
        .flat_map(|service| service.ports.iter().map(|port| port.number))
        .collect();
    for (at, port) in asked_ports(service) {
        if !ports.contains(&port) {
            let served: Vec<String> = services.iter().map(|one| ports_of(one)).collect();
            let message = format!("none of the hosts has a port {port}, so this never matches");
            let hint = format!("ports are those of the services: {}", served.join(", "));
            found.push((at, Finding::warning(Code::NoEffect, message, hint)));
        }
    }
    found
}

/// The kinds of routes for which no port is.
fn kinds(service: &VirtualService, services: &[&MeshService]) -> Found {
    let speaks = |of_kind: &dyn Fn(Protocol) -> bool| {
        let mut ports = services.iter().flat_map(|service| service.ports.iter());
        ports.any(|port| of_kind(port.protocol))
    };
    let is_tls = |protocol| matches!(protocol, Protocol::Https | Protocol::Tls);
    let http = speaks(&|protocol| protocol.layer() != Layer::Tcp);
    let tcp = speaks(&|protocol| protocol.layer() != Layer::Http && !is_tls(protocol));
    let wrong = [
        ("http", "HTTP", !service.http.is_empty() && !http),
        ("tls", "TLS", !service.tls.is_empty() && !speaks(&is_tls)),
        ("tcp", "TCP", !service.tcp.is_empty() && !tcp),
    ];
    let wrong = wrong.into_iter().filter(|(_, _, is_wrong)| *is_wrong);
    let finding = |(field, protocol, _): (&str, &str, bool)| {
        let message =
            format!("no port of the hosts is declared as {protocol}, so these routes do nothing");
        let hint =
            "correct the names or `appProtocol` of the services' ports, or route what they speak";
        let finding = Finding::warning(Code::NoEffect, message, hint);
        (format!("spec.{field}"), finding)
    };
    wrong.map(finding).collect()
}

/// Every port that a condition names, with its field.
fn asked_ports(service: &VirtualService) -> Vec<(String, Port)> {
    let mut found = Vec::new();
    let mut add = |kind: &str, route: usize, index: usize, port: Option<Port>| {
        let at = format!("spec.{kind}[{route}].match[{index}].port");
        found.extend(port.map(|port| (at, port)));
    };
    for (route, http) in service.http.iter().enumerate() {
        for (index, one) in http.matches.iter().enumerate() {
            add("http", route, index, one.port.filter(|_| !one.never));
        }
    }
    for (kind, routes) in [("tls", &service.tls), ("tcp", &service.tcp)] {
        for (route, connections) in routes.iter().enumerate() {
            for (index, one) in connections.matches.iter().enumerate() {
                add(kind, route, index, one.port.filter(|_| !one.never));
            }
        }
    }
    found
}
