//! Route tables, virtual hosts and routes.

use envoy_api::envoy::config::route::v3 as envoy;
use ir::model::{EnvoyMinor, StringMatch};
use ir::{PathMatch, Route, RouteAction, RouteMatch, RouteTable, VirtualHost};

use crate::forward::{Forwarded, forward};
use crate::header_operations::changes;
use crate::proto::{inline, regex, string_match};
use crate::redirect::redirect;
use crate::{peer_metadata, route_filters};

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
pub fn virtual_host(host: &VirtualHost, envoy: EnvoyMinor) -> envoy::VirtualHost {
    let VirtualHost {
        name,
        domains,
        routes,
    } = host;
    envoy::VirtualHost {
        name: name.to_string(),
        domains: domains.iter().map(ToString::to_string).collect(),
        routes: routes.iter().map(|one| route(one, name, envoy)).collect(),
        ..Default::default()
    }
}

/// One route. `operation` is what traces call a request here, before `/*`.
fn route(route: &Route, operation: &str, envoy: EnvoyMinor) -> envoy::Route {
    let Route {
        name,
        stat_prefix,
        matcher,
        action,
        headers,
        fault,
        cors,
    } = route;
    let of_filters = route_filters::of_route(fault.as_ref(), cors.as_deref());
    let routed = match action {
        RouteAction::Respond { status, body } => Forwarded::from(respond(*status, body)),
        RouteAction::Redirect(to) => Forwarded::from(redirect(to, matcher)),
        RouteAction::Forward(to) => forward(to, matcher, envoy),
    };
    let Forwarded {
        action,
        per_filter,
        headers: more,
    } = routed;
    let places = [Some(headers), more];
    let places = || places.iter().flatten();
    let request = changes(places().map(|headers| &headers.request), envoy);
    let response = changes(places().map(|headers| &headers.response), envoy);
    envoy::Route {
        name: name.to_string(),
        r#match: Some(route_match(matcher)),
        decorator: decorator(operation, &action),
        action: Some(action),
        typed_per_filter_config: per_filter.into_iter().chain(of_filters).collect(),
        request_headers_to_add: request.add,
        request_headers_to_remove: request.remove,
        response_headers_to_add: response.add,
        response_headers_to_remove: response.remove,
        stat_prefix: stat_prefix.as_deref().unwrap_or_default().to_owned(),
        ..Default::default()
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
pub(crate) fn respond(status: u16, body: &[u8]) -> envoy::route::Action {
    envoy::route::Action::DirectResponse(envoy::DirectResponseAction {
        // Envoy takes 200 to 599.
        status: u32::from(status).clamp(200, 599),
        body: (!body.is_empty()).then(|| inline(body)),
        ..Default::default()
    })
}

/// All that is set must hold.
pub(crate) fn route_match(matcher: &RouteMatch) -> envoy::RouteMatch {
    use envoy::route_match::PathSpecifier;
    let RouteMatch {
        path,
        ignore_path_case,
        scheme,
        method,
        authority,
        headers,
        without_headers,
        query_params,
    } = matcher;
    let parts = [
        (":method", method),
        (":authority", authority),
        (":scheme", scheme),
    ];
    let parts = parts
        .into_iter()
        .filter_map(|(name, value)| Some(header(name, value.as_ref()?)));
    let with = headers.iter().map(|(name, value)| header(name, value));
    let absent = without_headers.iter();
    let absent = absent.map(|(name, value)| without_header(name, value));
    envoy::RouteMatch {
        path_specifier: Some(match path {
            PathMatch::Exact(path) => PathSpecifier::Path(path.to_string()),
            PathMatch::Prefix(prefix) => PathSpecifier::Prefix(prefix.to_string()),
            PathMatch::Regex(expression) => PathSpecifier::SafeRegex(regex(&**expression)),
        }),
        case_sensitive: ignore_path_case.then_some(false),
        headers: parts.chain(with).chain(absent).collect(),
        query_parameters: query_params
            .iter()
            .map(|(name, value)| query_parameter(name, value))
            .collect(),
        ..Default::default()
    }
}

/// A header that must not match; one that is absent does not, so it counts as empty where a value is asked for.
fn without_header(name: &str, value: &StringMatch) -> envoy::HeaderMatcher {
    envoy::HeaderMatcher {
        invert_match: true,
        treat_missing_header_as_empty: *value != StringMatch::Present,
        ..header(name, value)
    }
}

fn query_parameter(name: &str, value: &StringMatch) -> envoy::QueryParameterMatcher {
    use envoy::query_parameter_matcher::QueryParameterMatchSpecifier;
    envoy::QueryParameterMatcher {
        name: name.to_owned(),
        query_parameter_match_specifier: Some(match value {
            StringMatch::Present => QueryParameterMatchSpecifier::PresentMatch(true),
            StringMatch::Exact(_) | StringMatch::Prefix(_) | StringMatch::Regex(_) => {
                QueryParameterMatchSpecifier::StringMatch(string_match(value))
            }
        }),
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
