//! Virtual hosts: from a VirtualService and what its destinations are to the routes of one Envoy.

use std::sync::Arc;

use ir::{
    Backend, Forward, Mirror, NewPath, PathMatch, Redirect, Retry, Route, RouteAction, RouteMatch,
    VirtualHost, WeightedBackend,
};
use model::{
    Delegate, Destination, HttpAction, HttpMatch, HttpRedirect, HttpRoute, PathRewrite,
    RedirectPath, RedirectPort, RedirectScheme, Retries, StringMatch, WeightedDestination,
};

use crate::select::VirtualHostInputs;

/// Istio's default `retryOn`.
const DEFAULT_RETRY_ON: &str =
    "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
/// Istio's default number of retries.
const DEFAULT_RETRIES: u32 = 2;

/// The routes of one host.
pub(crate) fn virtual_host(inputs: &VirtualHostInputs) -> VirtualHost {
    let mut routes = Vec::new();
    for route in inputs
        .routing
        .iter()
        .flat_map(|service| service.http.iter())
    {
        let ends = route.matches.is_empty();
        routes.extend(routes_of(inputs, route));
        if ends {
            break;
        }
    }
    if routes.is_empty() {
        routes.extend(
            inputs
                .own
                .as_ref()
                .map(|own| own_route(inputs, own.clone())),
        );
    }
    VirtualHost {
        name: Arc::clone(&inputs.name),
        domains: Arc::clone(&inputs.domains),
        routes: routes.into(),
    }
}

fn own_route(inputs: &VirtualHostInputs, own: Backend) -> Route {
    let forward = Forward {
        retry: retry(inputs.retries.as_ref()),
        ..Forward::to(own)
    };
    Route::of("default", RouteAction::Forward(forward))
}

/// One route of Envoy for each match that may hold on this port.
fn routes_of(inputs: &VirtualHostInputs, route: &HttpRoute) -> Vec<Route> {
    let named = |matched: Option<&HttpMatch>| -> Arc<str> {
        let name = route.name.as_deref().unwrap_or("default");
        match (&route.name, matched.and_then(|m| m.name.as_deref())) {
            (Some(_), Some(matched)) => format!("{name}.{matched}").into(),
            _ => name.into(),
        }
    };
    let of = |matched: Option<&HttpMatch>| Route {
        stat_prefix: matched.and_then(|m| m.stat_prefix.clone()),
        matcher: matched.map(matcher).unwrap_or_default(),
        headers: route.headers.clone().unwrap_or_default(),
        fault: route.fault.clone(),
        cors: route.cors.clone(),
        ..Route::of(named(matched), action(inputs, route))
    };
    if route.matches.is_empty() {
        return vec![of(None)];
    }
    let is_client = |m: &HttpMatch| m.client.is_anyone() || inputs.clients.contains(&m.client);
    let is_port = |m: &HttpMatch| m.port.is_none_or(|port| port == inputs.port);
    let holds = |m: &&HttpMatch| !m.never && is_port(m) && is_client(m);
    let holding = route.matches.iter().filter(holds);
    holding.map(|m| of(Some(m))).collect()
}

fn matcher(m: &HttpMatch) -> RouteMatch {
    let path = match &m.uri {
        Some(StringMatch::Exact(text)) => PathMatch::Exact(Arc::clone(text)),
        Some(StringMatch::Prefix(text)) => PathMatch::Prefix(Arc::clone(text)),
        Some(StringMatch::Regex(regex)) => PathMatch::Regex(regex.as_str().into()),
        Some(StringMatch::Present) | None => PathMatch::Prefix("/".into()),
    };
    RouteMatch {
        path,
        ignore_path_case: m.ignore_uri_case,
        scheme: m.scheme.clone(),
        method: m.method.clone(),
        authority: m.authority.clone(),
        headers: Arc::clone(&m.headers),
        without_headers: Arc::clone(&m.without_headers),
        query_params: Arc::clone(&m.query_params),
    }
}

fn action(inputs: &VirtualHostInputs, route: &HttpRoute) -> RouteAction {
    let unavailable = |reason: &str| RouteAction::Respond {
        status: 503,
        body: reason.as_bytes().into(),
    };
    match &route.action {
        HttpAction::Unavailable(reason) => unavailable(reason),
        // Merged before; a delegate that is not there is unavailable.
        HttpAction::Delegate(delegate) => {
            let Delegate { namespace, name } = delegate;
            unavailable(&format!("the delegate {namespace}/{name} is not merged"))
        }
        HttpAction::DirectResponse { status, body } => RouteAction::Respond {
            status: *status,
            body: Arc::clone(body),
        },
        HttpAction::Redirect(to) => RouteAction::Redirect(redirect(inputs, to)),
        HttpAction::Route(destinations) => {
            RouteAction::Forward(forward(inputs, route, destinations))
        }
    }
}

fn forward(
    inputs: &VirtualHostInputs,
    route: &HttpRoute,
    destinations: &[WeightedDestination],
) -> Forward {
    let rewrite = route.rewrite.as_ref();
    let path = rewrite.and_then(|rewrite| rewrite.path.as_ref());
    let by_headers = || route.headers.as_ref()?.authority.clone();
    let mirrors = route.all_mirrors().filter(|mirror| !mirror.share.is_none());
    Forward {
        timeout: route.timeout.filter(|timeout| !timeout.is_zero()),
        retry: retry(route.retries.as_ref().or(inputs.retries.as_ref())),
        path: path.map(|path| match path {
            PathRewrite::Matched(path) => NewPath::Matched(Arc::clone(path)),
            PathRewrite::Regex {
                pattern,
                substitution,
            } => NewPath::Regex {
                pattern: pattern.as_str().into(),
                substitution: Arc::clone(substitution),
            },
        }),
        authority: rewrite
            .and_then(|rewrite| rewrite.authority.clone())
            .or_else(by_headers),
        mirrors: mirrors.filter_map(|one| mirror(inputs, one)).collect(),
        ..Forward::among(destinations.iter().map(|to| WeightedBackend {
            backend: resolved(inputs, &to.destination),
            weight: to.weight,
            headers: to.headers.clone(),
        }))
    }
}

/// Copies to what does not exist are not made.
fn mirror(inputs: &VirtualHostInputs, mirror: &model::Mirror) -> Option<Mirror> {
    match resolved(inputs, &mirror.destination) {
        Backend::Cluster {
            name,
            service,
            alpn: _,
            hash: _,
        } => Some(Mirror {
            cluster: name,
            in_mesh: service.is_some_and(|service| service.in_mesh),
            share: mirror.share,
        }),
        Backend::Missing { wanted: _ } => None,
    }
}

/// The port that the scheme stands for is not named. What a sidecar gets is plaintext, so its scheme is `http`.
fn redirect(inputs: &VirtualHostInputs, to: &HttpRedirect) -> Redirect {
    let port = match to.port {
        RedirectPort::OfScheme => None,
        RedirectPort::OfRequest => Some(inputs.port),
        RedirectPort::Number(port) => Some(port),
    };
    let usual = match to.scheme {
        Some(RedirectScheme::Https) => 443,
        Some(RedirectScheme::Http) | None => 80,
    };
    Redirect {
        path: to.path.as_ref().map(|path| match path {
            RedirectPath::Whole(path) => NewPath::Whole(Arc::clone(path)),
            RedirectPath::Prefix(path) => NewPath::Matched(Arc::clone(path)),
        }),
        authority: to.authority.clone(),
        scheme: to.scheme,
        port: port.filter(|port| port.get() != usual),
        code: to.code,
    }
}

fn resolved(inputs: &VirtualHostInputs, wanted: &Destination) -> Backend {
    let found = inputs
        .destinations
        .iter()
        .find(|(destination, _)| destination == wanted);
    found.map_or_else(
        || Backend::Missing {
            wanted: wanted.host.as_str().into(),
        },
        |(_, backend)| backend.clone(),
    )
}

fn retry(retries: Option<&Retries>) -> Option<Retry> {
    let Some(retries) = retries else {
        return Some(Retry {
            attempts: DEFAULT_RETRIES,
            on: DEFAULT_RETRY_ON.into(),
            status_codes: Arc::new([]),
            per_try_timeout: None,
            backoff: None,
            avoid_previous_hosts: true,
            remote_localities: false,
        });
    };
    let words = retries
        .retry_on
        .as_deref()
        .unwrap_or(if retries.status_codes.is_empty() {
            DEFAULT_RETRY_ON
        } else {
            ""
        });
    let mut on: Vec<&str> = words.split(',').filter(|word| !word.is_empty()).collect();
    if !retries.status_codes.is_empty() && !on.contains(&"retriable-status-codes") {
        on.push("retriable-status-codes");
    }
    (retries.attempts > 0).then(|| Retry {
        attempts: retries.attempts,
        on: on.join(",").into(),
        status_codes: Arc::clone(&retries.status_codes),
        per_try_timeout: retries.per_try_timeout,
        backoff: retries.backoff,
        avoid_previous_hosts: retries.ignore_previous_hosts.unwrap_or(true),
        remote_localities: retries.remote_localities,
    })
}
