//! What the routes of a VirtualService lead to and is not there: destinations, mirrors, delegates.

use model::{
    Code, Delegate, Destination, Finding, HttpAction, HttpRoute, Namespace, VirtualService,
};

use super::Found;
use crate::delegates::{delegated, within};
use crate::mesh::Mesh;
use crate::scope::Scope;
use crate::service::MeshService;

/// What is to be said of the routes of a VirtualService of a namespace.
pub(super) fn of_routes(mesh: &Mesh, namespace: &Namespace, service: &VirtualService) -> Found {
    let scope = Scope::of(namespace.clone());
    let mut found = Vec::new();
    for (index, route) in service.http.iter().enumerate() {
        let at = format!("spec.http[{index}]");
        for (field, destination, effect) in named(route, &at) {
            of_destination(mesh, &scope, destination, &field, effect, &mut found);
        }
        if let HttpAction::Delegate(delegate) = &route.action {
            of_delegate(mesh, namespace, route, delegate, &at, &mut found);
        }
    }
    found
}

const NO_ANSWER: &str = "until then requests get 503";
const NO_COPY: &str = "until then nothing is mirrored";

/// The destinations of a route, each with its field and what comes of it where it does not exist.
fn named<'a>(route: &'a HttpRoute, at: &str) -> Vec<(String, &'a Destination, &'static str)> {
    let mut found = Vec::new();
    if let HttpAction::Route(list) = &route.action {
        for (index, to) in list.iter().enumerate() {
            let field = format!("{at}.route[{index}].destination");
            found.push((field, &to.destination, NO_ANSWER));
        }
    }
    if let Some(mirror) = &route.mirror {
        found.push((format!("{at}.mirror"), &mirror.destination, NO_COPY));
    }
    for (index, mirror) in route.mirrors.iter().enumerate() {
        let field = format!("{at}.mirrors[{index}].destination");
        found.push((field, &mirror.destination, NO_COPY));
    }
    found
}

fn of_destination(
    mesh: &Mesh,
    scope: &Scope,
    destination: &Destination,
    at: &str,
    effect: &str,
    found: &mut Found,
) {
    let missing = Code::ReferencedResourceNotFound;
    let mut warn = |field: &str, code, message, hint| {
        let finding = Finding::warning(code, message, hint);
        found.push((format!("{at}.{field}"), finding));
    };
    let Destination { host, subset, port } = destination;
    let Some(target) = mesh.services().visible(scope, host) else {
        let hint = format!("create the Service or ServiceEntry, or correct the host; {effect}");
        return warn("host", missing, format!("no service {host} exists"), hint);
    };
    if port.is_some_and(|port| target.port(port).is_none()) {
        let hint = format!("it has: {}", ports_of(target));
        warn(
            "port.number",
            missing,
            format!("{host} has no such port"),
            hint,
        );
    }
    if port.is_none() && target.ports.len() > 1 {
        let message = format!("{host} has several ports and the route names none");
        let hint = format!(
            "set destination.port.number to one of: {}",
            ports_of(target)
        );
        warn("host", Code::DestinationPortSelectorRequired, message, hint);
    }
    let rules = mesh.rules(scope, host, target.namespace());
    let unmade = subset.as_ref().filter(|name| rules.subset(name).is_none());
    if let Some(subset) = unmade {
        let message = format!("no DestinationRule makes a subset {subset} of {host}");
        let hint = format!("add the subset to the host's DestinationRule; {effect}");
        warn("subset", missing, message, hint);
    }
}

fn of_delegate(
    mesh: &Mesh,
    namespace: &Namespace,
    route: &HttpRoute,
    delegate: &Delegate,
    at: &str,
    found: &mut Found,
) {
    let mut warn = |code, message, hint: &str| {
        let finding = Finding::warning(code, message, hint);
        found.push((format!("{at}.delegate"), finding));
    };
    let routes = match delegated(mesh.snapshot(), namespace, delegate) {
        Ok(delegate) => &delegate.http,
        Err(reason) => {
            let hint = "create it without hosts and show it to this namespace; until then requests get 503";
            return warn(Code::ReferencedResourceNotFound, reason, hint);
        }
    };
    for (index, own) in routes.iter().enumerate() {
        if within(route, own).is_none() {
            let Delegate { namespace, name } = delegate;
            let message = format!(
                "`spec.http[{index}]` of {namespace}/{name} reaches out of this route's conditions, so it is left out"
            );
            let hint = "let each of its matches lie within one of this route's, or have none";
            warn(Code::Conflict, message, hint);
        }
    }
}

fn ports_of(service: &MeshService) -> String {
    let numbers: Vec<String> = service
        .ports
        .iter()
        .map(|port| port.number.to_string())
        .collect();
    numbers.join(", ")
}
