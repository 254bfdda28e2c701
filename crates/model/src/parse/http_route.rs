//! `spec.http[]` of a VirtualService: what is done with a request.

use std::sync::Arc;
use std::time::Duration;

use super::notes::{At, Notes, Written};
use super::value::{self, COUNT};
use super::{cors, fault, header_operations, http_answer, http_match, http_retry, mirror, rewrite};
use crate::{
    Delegate, Destination, Headers, HttpAction, HttpRewrite, HttpRoute, WeightedDestination,
};

/// Reads one route.
pub(super) fn read(
    wire: istio_api::HttpRoute,
    in_mesh: bool,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> HttpRoute {
    let istio_api::HttpRoute {
        name,
        r#match,
        route,
        redirect,
        direct_response,
        delegate,
        rewrite,
        timeout,
        retries,
        fault,
        mirror,
        mirrors,
        mirror_percent,
        mirror_percent_snake,
        mirror_percentage,
        cors_policy,
        headers,
    } = wire;
    let match_at = at.field("match");
    let mut matches = Vec::with_capacity(r#match.len());
    for (index, wire) in r#match.into_iter().enumerate() {
        matches.push(http_match::read(
            wire,
            in_mesh,
            &match_at.item(index),
            notes,
        ));
    }
    let actions = Actions {
        route,
        redirect,
        direct_response,
        delegate,
    };
    for (name, written) in [
        ("rewrite", rewrite.is_written()),
        ("fault", fault.is_written()),
    ] {
        if let Some(answer) = actions.answering().filter(|_| written) {
            let message = format!("`{name}` and `{answer}` exclude each other");
            notes.refuse(&at.field(name), message, "keep one of them");
        }
    }
    let rewrite = rewrite::read(rewrite, &at.field("rewrite"), notes);
    let headers = header_operations::read(headers, &at.field("headers"), notes);
    one_authority(rewrite.as_ref(), headers.as_ref(), at, notes);
    let (mirror, mirrors) = mirror::read(
        mirror::Wire {
            mirror,
            mirrors,
            percentage: mirror_percentage,
            percent: mirror_percent,
            percent_snake: mirror_percent_snake,
        },
        at,
        notes,
    );
    let timeout = timeout.as_deref();
    HttpRoute {
        name: value::text(name),
        matches: matches.into(),
        action: action(actions, at, notes),
        rewrite,
        timeout: notes.duration(&at.field("timeout"), timeout, Duration::ZERO),
        retries: retries.map(|retries| http_retry::read(retries, &at.field("retries"), notes)),
        fault: fault::read(fault, &at.field("fault"), notes),
        mirror,
        mirrors,
        cors: cors::read(cors_policy, &at.field("corsPolicy"), notes),
        headers,
    }
}

/// The host of the request is said in one place only.
fn one_authority(
    rewrite: Option<&HttpRewrite>,
    headers: Option<&Headers>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) {
    let rewritten = rewrite.is_some_and(|rewrite| rewrite.authority.is_some());
    if rewritten && headers.is_some_and(|headers| headers.authority.is_some()) {
        let at = at.field("rewrite");
        notes.refuse(
            &at.field("authority"),
            "`headers.request` sets the host of the request too",
            "keep one of them",
        );
    }
}

/// The fields of a route that exclude each other.
struct Actions {
    route: Vec<istio_api::HttpRouteDestination>,
    redirect: Option<istio_api::HttpRedirect>,
    direct_response: Option<istio_api::HttpDirectResponse>,
    delegate: Option<istio_api::Delegate>,
}

impl Actions {
    /// The field by which the route answers by itself.
    fn answering(&self) -> Option<&'static str> {
        let redirect = self.redirect.is_some().then_some("redirect");
        redirect.or(self.direct_response.is_some().then_some("directResponse"))
    }
}

fn action(actions: Actions, at: &At<'_>, notes: &mut Notes<'_>) -> HttpAction {
    let Actions {
        route,
        redirect,
        direct_response,
        delegate,
    } = actions;
    let written: Vec<&str> = [
        ("route", route.is_written()),
        ("redirect", redirect.is_written()),
        ("directResponse", direct_response.is_written()),
        ("delegate", delegate.is_written()),
    ]
    .into_iter()
    .filter_map(|(name, written)| written.then_some(name))
    .collect();
    if written.len() > 1 {
        let message = format!("{} exclude each other", value::listed(&written));
        notes.refuse(at, message, "keep one of them");
    }
    if let Some(wire) = redirect {
        return HttpAction::Redirect(http_answer::redirect(wire, &at.field("redirect"), notes));
    }
    if let Some(wire) = direct_response {
        return http_answer::direct_response(wire, &at.field("directResponse"), notes);
    }
    if let Some(wire) = delegate {
        return read_delegate(wire, &at.field("delegate"), notes);
    }
    if written.is_empty() {
        notes.missing(
            &at.field("route"),
            "name a destination, or a redirect or direct response",
        );
        return HttpAction::Unavailable("the route has no destination".into());
    }
    HttpAction::Route(destinations(route, &at.field("route"), notes))
}

fn read_delegate(wire: istio_api::Delegate, at: &At<'_>, notes: &mut Notes<'_>) -> HttpAction {
    let istio_api::Delegate { name, namespace } = wire;
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        notes.missing(&at.field("name"), "name a VirtualService without hosts");
        return HttpAction::Unavailable("the delegate has no name".into());
    };
    let name = notes.name(&at.field("name"), &name);
    let namespace = match namespace.filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => notes.name(&at.field("namespace"), &namespace),
        None => Some(notes.namespace()),
    };
    match (namespace, name) {
        (Some(namespace), Some(name)) => HttpAction::Delegate(Delegate { namespace, name }),
        (None, _) | (_, None) => HttpAction::Unavailable("the delegate's name is wrong".into()),
    }
}

pub(super) fn destinations(
    wire: Vec<istio_api::HttpRouteDestination>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Arc<[WeightedDestination]> {
    let single = wire.len() == 1;
    let mut found = Vec::with_capacity(wire.len());
    let mut sum = 0_u64;
    for (index, wire) in wire.into_iter().enumerate() {
        let at = at.item(index);
        let istio_api::HttpRouteDestination {
            destination,
            weight,
            headers,
        } = wire;
        let headers = header_operations::read(headers, &at.field("headers"), notes);
        let weight = notes.number(&at.field("weight"), weight, &COUNT);
        // Istio: the only destination gets everything, whatever its weight.
        let weight = if single { 100 } else { weight.unwrap_or(0) };
        sum += u64::from(weight);
        let destination = read_destination(destination, &at.field("destination"), notes);
        found.extend(destination.map(|destination| WeightedDestination {
            destination,
            weight,
            headers: headers.unwrap_or_default(),
        }));
    }
    if sum == 0 {
        notes.refuse(
            at,
            "the weights sum to 0",
            "give at least one destination a weight",
        );
    }
    if sum > u64::from(u32::MAX) {
        notes.refuse(
            at,
            "the weights sum to more than 4294967295",
            "use smaller weights",
        );
    }
    found.into()
}

/// Reads a destination, which is required.
pub(super) fn read_destination(
    wire: Option<istio_api::Destination>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<Destination> {
    let Some(istio_api::Destination { host, subset, port }) = wire else {
        notes.missing(at, "name the host that requests go to");
        return None;
    };
    let subset = subset.filter(|subset| !subset.is_empty());
    let port_at = at.field("port");
    let port = port.and_then(|istio_api::PortSelector { number }| {
        if number.is_none() {
            notes.missing(
                &port_at.field("number"),
                "give the number of the service's port",
            );
        }
        notes.port(&port_at.field("number"), number)
    });
    let subset = match subset {
        Some(subset) => Some(notes.name(&at.field("subset"), &subset)?),
        None => None,
    };
    Some(Destination {
        host: notes.host(&at.field("host"), host.as_deref())?,
        subset,
        port,
    })
}
