//! Route tables, virtual hosts and routes.

use envoy_api::envoy::config::route::v3 as envoy;
use ir::model::StringMatch;
use ir::{PathMatch, Route, RouteAction, RouteMatch, RouteTable, VirtualHost};

use crate::forward::forward;
use crate::peer_metadata;
use crate::proto::{inline_string, regex, string_match};

/// The longest body of an answer of our own, as istiod.
const MAX_DIRECT_RESPONSE: u32 = 1 << 20;

/// The route table without its virtual hosts.
#[must_use]
pub fn route_configuration(table: &RouteTable) -> envoy::RouteConfiguration {
    let RouteTable { name } = table;
    envoy::RouteConfiguration {
        typed_per_filter_config: [(peer_metadata::NAME.to_owned(), peer_metadata::send())].into(),
        ..around(name.to_string())
    }
}

/// What stands around virtual hosts, whoever holds them.
pub(crate) fn around(name: String) -> envoy::RouteConfiguration {
    envoy::RouteConfiguration {
        name,
        // A cluster may come later, or go; its requests alone then fail.
        validate_clusters: Some(false),
        max_direct_response_body_size_bytes: Some(MAX_DIRECT_RESPONSE),
        ignore_port_in_host_matching: true,
        ..Default::default()
    }
}

/// One virtual host.
#[must_use]
pub fn virtual_host(host: &VirtualHost) -> envoy::VirtualHost {
    let VirtualHost {
        name,
        domains,
        routes,
    } = host;
    envoy::VirtualHost {
        name: name.to_string(),
        domains: domains.iter().map(ToString::to_string).collect(),
        routes: routes.iter().map(|one| route(one, name)).collect(),
        ..Default::default()
    }
}

/// One route. `operation` is what traces call a request here, before `/*`.
fn route(route: &Route, operation: &str) -> envoy::Route {
    let Route {
        name,
        matcher,
        action,
    } = route;
    let base = envoy::Route {
        name: name.to_string(),
        r#match: Some(route_match(matcher)),
        ..Default::default()
    };
    match action {
        RouteAction::Respond { status, body } => envoy::Route {
            action: Some(respond(*status, body)),
            ..base
        },
        RouteAction::Forward(to) => {
            let (action, typed_per_filter_config) = forward(to);
            envoy::Route {
                decorator: decorator(operation, &action),
                action: Some(action),
                typed_per_filter_config,
                ..base
            }
        }
    }
}

/// Istio's name of the operation in traces, on requests that are sent on.
pub(crate) fn decorator(
    operation: &str,
    action: &envoy::route::Action,
) -> Option<envoy::Decorator> {
    matches!(action, envoy::route::Action::Route(_)).then(|| envoy::Decorator {
        operation: format!("{operation}/*"),
        ..Default::default()
    })
}

/// An answer of our own.
pub(crate) fn respond(status: u16, body: &str) -> envoy::route::Action {
    envoy::route::Action::DirectResponse(envoy::DirectResponseAction {
        // Envoy takes 200 to 599.
        status: u32::from(status).clamp(200, 599),
        body: (!body.is_empty()).then(|| inline_string(body)),
        ..Default::default()
    })
}

/// All that is set must hold.
pub(crate) fn route_match(matcher: &RouteMatch) -> envoy::RouteMatch {
    use envoy::route_match::PathSpecifier;
    let RouteMatch {
        path,
        method,
        headers,
    } = matcher;
    let method = method.as_ref().map(|method| header(":method", method));
    envoy::RouteMatch {
        path_specifier: Some(match path {
            PathMatch::Exact(path) => PathSpecifier::Path(path.to_string()),
            PathMatch::Prefix(prefix) => PathSpecifier::Prefix(prefix.to_string()),
            PathMatch::Regex(expression) => PathSpecifier::SafeRegex(regex(&**expression)),
        }),
        headers: method
            .into_iter()
            .chain(headers.iter().map(|(name, value)| header(name, value)))
            .collect(),
        ..Default::default()
    }
}

pub(crate) fn header(name: &str, value: &StringMatch) -> envoy::HeaderMatcher {
    use envoy::header_matcher::HeaderMatchSpecifier;
    envoy::HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(match value {
            StringMatch::Present => HeaderMatchSpecifier::PresentMatch(true),
            StringMatch::Exact(_) | StringMatch::Prefix(_) | StringMatch::Regex(_) => {
                HeaderMatchSpecifier::StringMatch(string_match(value))
            }
        }),
        ..Default::default()
    }
}
