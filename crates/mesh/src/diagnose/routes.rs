//! What the routes of a VirtualService lead to and is not there: destinations, mirrors, delegates.

use model::{
    Code, Delegate, Finding, HttpAction, HttpRoute, Namespace, VirtualService, WeightedDestination,
};

use super::Found;
use super::destination::{self, Asked};
use crate::delegates::{NoDelegate, delegated, within};
use crate::mesh::Mesh;

/// What is to be said of the routes of a VirtualService of a namespace.
pub(super) fn of_routes(mesh: &Mesh, namespace: &Namespace, service: &VirtualService) -> Found {
    let mut found = Vec::new();
    for (index, route) in service.http.iter().enumerate() {
        let at = format!("spec.http[{index}]");
        for asked in named(route, &at) {
            destination::of(mesh, namespace, &asked, &mut found);
        }
        if let HttpAction::Delegate(delegate) = &route.action {
            of_delegate(mesh, namespace, route, delegate, &at, &mut found);
        }
    }
    for (field, routes) in [("tls", &service.tls), ("tcp", &service.tcp)] {
        for (index, route) in routes.iter().enumerate() {
            let at = format!("spec.{field}[{index}]");
            for asked in weighted(&route.destinations, &at, NO_CONNECTION, false) {
                destination::of(mesh, namespace, &asked, &mut found);
            }
        }
    }
    found
}

const NO_ANSWER: &str = "until then requests get 503";
const NO_COPY: &str = "until then nothing is mirrored";
const NO_CONNECTION: &str = "until then connections are closed";

/// The destinations of a route of requests.
fn named<'a>(route: &'a HttpRoute, at: &str) -> Vec<Asked<'a>> {
    let mut found = Vec::new();
    if let HttpAction::Route(list) = &route.action {
        found.extend(weighted(list, at, NO_ANSWER, true));
    }
    let one = route.mirror.iter().map(|one| (format!("{at}.mirror"), one));
    let several = route.mirrors.iter().enumerate();
    let several = several.map(|(index, one)| (format!("{at}.mirrors[{index}].destination"), one));
    found.extend(one.chain(several).map(|(at, mirror)| Asked {
        destination: &mirror.destination,
        at,
        effect: NO_COPY,
        needs_port: true,
    }));
    found
}

fn weighted<'a>(
    list: &'a [WeightedDestination],
    at: &str,
    effect: &'static str,
    needs_port: bool,
) -> impl Iterator<Item = Asked<'a>> {
    let list = list.iter().enumerate();
    list.map(move |(index, to)| Asked {
        destination: &to.destination,
        at: format!("{at}.route[{index}].destination"),
        effect,
        needs_port,
    })
}

fn of_delegate(
    mesh: &Mesh,
    namespace: &Namespace,
    route: &HttpRoute,
    delegate: &Delegate,
    at: &str,
    found: &mut Found,
) {
    let mut warn = |code, message, hint: String| {
        let finding = Finding::warning(code, message, hint);
        found.push((format!("{at}.delegate"), finding));
    };
    let routes = match delegated(mesh.snapshot(), namespace, delegate) {
        Ok(delegate) => &delegate.http,
        Err(why) => {
            let hint = match why {
                NoDelegate::Missing(_) => "create it without hosts, or correct the name",
                NoDelegate::Rejected(_) => "correct it",
                NoDelegate::HasHosts(_) => "leave its hosts out",
                NoDelegate::Hidden(..) => "add this namespace to its `exportTo`",
            };
            let hint = format!("{hint}; {NO_ANSWER}");
            return warn(Code::ReferencedResourceNotFound, why.to_string(), hint);
        }
    };
    for (index, own) in routes.iter().enumerate() {
        if within(route, own).is_none() {
            let Delegate { namespace, name } = delegate;
            let message = format!(
                "`spec.http[{index}]` of {namespace}/{name} reaches out of this route's conditions, so it is left out"
            );
            let hint = "let each of its matches lie within one of this route's, or have none";
            warn(Code::Conflict, message, hint.to_owned());
        }
    }
}
