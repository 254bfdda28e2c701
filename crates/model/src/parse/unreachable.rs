//! Routes of a VirtualService that no request and no connection reaches, because earlier ones take all of theirs.

use super::notes::{At, Notes, SPEC};
use crate::{
    Client, Code, Conditions, ConnectionMatch, HttpAction, HttpMatch, HttpRoute, StringMatch,
    VirtualService,
};

/// Says which routes, and which of their conditions, are never reached.
pub(super) fn check(service: &VirtualService, notes: &mut Notes<'_>) {
    let of_requests = |route: &HttpRoute| !matches!(route.action, HttpAction::Delegate(_));
    let http = service.http.iter();
    let http: Vec<_> = http
        .map(|route| (&*route.matches, of_requests(route)))
        .collect();
    compare(&http, covers_requests, &SPEC.field("http"), notes);
    for (field, list) in [("tls", &service.tls), ("tcp", &service.tcp)] {
        let list: Vec<_> = list.iter().map(|route| (&*route.matches, true)).collect();
        compare(&list, covers_connections, &SPEC.field(field), notes);
    }
}

/// Compares the conditions of each route, of which none means everything, with those of the routes before. The second of
/// the pair is whether a route takes whatever meets its conditions: a delegate may leave some to the routes behind it.
fn compare<M: Default>(
    routes: &[(&[M], bool)],
    covers: impl Fn(&M, &M) -> bool,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) {
    let everything = [M::default()];
    for (index, (matches, _)) in routes.iter().enumerate() {
        let own = if matches.is_empty() {
            &everything
        } else {
            *matches
        };
        let earlier = || routes.iter().take(index).enumerate();
        let taker = |one: &M| {
            let takes = |other: &[M]| {
                other.is_empty() || other.iter().any(|condition| covers(condition, one))
            };
            let taker = earlier().find(|(_, (other, all))| *all && takes(other));
            taker.map(|(number, _)| number)
        };
        let takers: Vec<Option<usize>> = own.iter().map(taker).collect();
        let at_route = at.item(index);
        if let (true, Some(Some(first))) = (takers.iter().all(Option::is_some), takers.first()) {
            let message = format!(
                "`{}` takes all that this route would, so it is never reached",
                at.item(*first)
            );
            let hint = "put the routes with narrower conditions first";
            notes.warn(&at_route, Code::UnreachableRule, message, hint);
            continue;
        }
        let at_match = at_route.field("match");
        for (number, taker) in takers.into_iter().enumerate() {
            let Some(taker) = taker else { continue };
            let message = format!("`{}` takes all that meets it already", at.item(taker));
            let at = at_match.item(number);
            notes.info(&at, Code::IneffectiveMatch, message, "leave it out");
        }
    }
}

/// Whether every request that meets `other` meets `one`, as far as that can be told.
fn covers_requests(one: &HttpMatch, other: &HttpMatch) -> bool {
    let HttpMatch {
        name: _,
        uri,
        ignore_uri_case,
        scheme,
        method,
        authority,
        headers,
        without_headers,
        query_params,
        port,
        client,
        stat_prefix: _,
        never,
    } = one;
    if *never || other.never {
        return false;
    }
    let strict_case = !ignore_uri_case && other.ignore_uri_case;
    let path = match (uri, &other.uri) {
        (uri, _) if is_any_path(uri.as_ref()) => true,
        (
            Some(StringMatch::Prefix(one)),
            Some(StringMatch::Exact(path) | StringMatch::Prefix(path)),
        ) => path.starts_with(&**one) && !strict_case,
        (Some(one), Some(path)) => one == path && !strict_case,
        (None, _) | (Some(_), None) => false,
    };
    path && is_same_or_any(scheme, &other.scheme)
        && is_same_or_any(method, &other.method)
        && is_same_or_any(authority, &other.authority)
        && is_same_or_any(port, &other.port)
        && are_among(headers, &other.headers)
        && are_among(without_headers, &other.without_headers)
        && are_among(query_params, &other.query_params)
        && covers_clients(client, &other.client)
}

fn is_any_path(uri: Option<&StringMatch>) -> bool {
    match uri {
        None => true,
        Some(StringMatch::Prefix(prefix)) => &**prefix == "/",
        Some(StringMatch::Regex(regex)) => matches!(regex.as_str(), ".*" | "/.*"),
        Some(StringMatch::Exact(_) | StringMatch::Present) => false,
    }
}

/// The same of connections. Of names and addresses Envoy takes the narrowest first, in whatever order they stand, so
/// that only equal ones count.
fn covers_connections(one: &ConnectionMatch, other: &ConnectionMatch) -> bool {
    let ConnectionMatch {
        sni,
        destinations,
        port,
        client,
        never,
    } = one;
    let names = other.sni.iter().all(|name| sni.contains(name));
    let nets = other
        .destinations
        .iter()
        .all(|net| destinations.contains(net));
    !(*never || other.never)
        && (sni.is_empty() || names)
        && (destinations.is_empty() || nets && !other.destinations.is_empty())
        && is_same_or_any(port, &other.port)
        && covers_clients(client, &other.client)
}

fn is_same_or_any<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
    one.is_none() || one == other
}

fn are_among(some: &Conditions, all: &Conditions) -> bool {
    some.iter().all(|condition| all.contains(condition))
}

fn covers_clients(one: &Client, other: &Client) -> bool {
    is_same_or_any(&one.namespace, &other.namespace) && other.labels.contain(&one.labels)
}
