//! Which requests a route of a VirtualService takes.

use model::{HttpMatch, HttpRoute, StringMatch};
use regex::Regex;

use super::route::Request;
use crate::folder::Workload;

/// Whether a route takes a caller's request.
pub(super) fn takes(route: &HttpRoute, caller: &Workload, request: &Request) -> bool {
    let mut matches = route.matches.iter();
    route.matches.is_empty() || matches.any(|one| fits(one, caller, request))
}

fn fits(wanted: &HttpMatch, caller: &Workload, request: &Request) -> bool {
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
    } = wanted;
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let path_fits = |uri: &StringMatch| match uri {
        StringMatch::Exact(exact) if *ignore_uri_case => path.eq_ignore_ascii_case(exact),
        StringMatch::Prefix(prefix) if *ignore_uri_case => {
            let start = path.get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        }
        StringMatch::Exact(_)
        | StringMatch::Prefix(_)
        | StringMatch::Regex(_)
        | StringMatch::Present => holds(uri, path),
    };
    let parts = [
        (scheme, "http"),
        (method, &*request.method),
        (authority, &*request.authority()),
    ];
    let header = |(name, wanted): &(std::sync::Arc<str>, StringMatch)| {
        let value = request.headers.get(&**name);
        value.is_some_and(|value| holds(wanted, value))
    };
    let parameter = |(name, wanted): &(std::sync::Arc<str>, StringMatch)| {
        let mut pairs = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let found = pairs.find(|(key, _)| *key == &**name);
        found.is_some_and(|(_, value)| holds(wanted, value))
    };
    let is_there = client
        .namespace
        .as_ref()
        .is_none_or(|namespace| namespace.as_str() == caller.namespace);
    let bears = |(key, value): (&str, &str)| {
        let own = caller.labels.get(key);
        own.is_some_and(|own| own == value)
    };
    !never
        && uri.as_ref().is_none_or(path_fits)
        && parts
            .into_iter()
            .all(|(wanted, value)| wanted.as_ref().is_none_or(|wanted| holds(wanted, value)))
        && headers.iter().all(header)
        && !without_headers.iter().any(header)
        && query_params.iter().all(parameter)
        && is_there
        && client.labels.iter().all(bears)
        && port.is_none_or(|port| port.get() == request.port)
}

fn holds(wanted: &StringMatch, value: &str) -> bool {
    match wanted {
        StringMatch::Exact(exact) => value == &**exact,
        StringMatch::Prefix(prefix) => value.starts_with(&**prefix),
        StringMatch::Regex(regex) => Regex::new(&format!("^(?:{})$", regex.as_str()))
            .is_ok_and(|regex| regex.is_match(value)),
        StringMatch::Present => true,
    }
}
