//! Delegates: VirtualServices without hosts, whose routes others take in the place of a route of theirs.
//!
//! As Istio merges them: each route of the delegate must lie within the delegating route's conditions, and inherits what
//! it does not say itself. A delegating route whose delegate is not there answers 503 with the reason.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use model::{
    Client, Conditions, Delegate, HttpAction, HttpMatch, HttpRoute, Kind, Labels, Namespace,
    ObjectKey, Spec, StringMatch, VirtualService,
};
use store::Snapshot;

/// The delegates that a VirtualService names.
pub fn delegates(service: &VirtualService) -> impl Iterator<Item = ObjectKey> {
    service.http.iter().filter_map(|route| match &route.action {
        HttpAction::Delegate(delegate) => Some(key_of(delegate)),
        HttpAction::Route(_)
        | HttpAction::Redirect(_)
        | HttpAction::DirectResponse { .. }
        | HttpAction::Unavailable(_) => None,
    })
}

fn key_of(delegate: &Delegate) -> ObjectKey {
    ObjectKey {
        kind: Kind::VirtualService,
        namespace: delegate.namespace.clone(),
        name: delegate.name.clone(),
    }
}

/// A VirtualService of a namespace with its delegates' routes in the place of its own; none: it delegates nothing.
pub fn merged(
    snapshot: &Snapshot,
    namespace: &Namespace,
    root: &VirtualService,
) -> Option<VirtualService> {
    delegates(root).next()?;
    let mut routes = Vec::new();
    for route in root.http.iter() {
        let HttpAction::Delegate(delegate) = &route.action else {
            routes.push(route.clone());
            continue;
        };
        match delegated(snapshot, namespace, delegate) {
            Ok(found) => routes.extend(found.http.iter().filter_map(|own| within(route, own))),
            Err(reason) => routes.push(HttpRoute {
                action: HttpAction::Unavailable(reason.to_string().into()),
                ..route.clone()
            }),
        }
    }
    Some(VirtualService {
        http: routes.into(),
        ..root.clone()
    })
}

/// Why there is no delegate, in words for whoever sends requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoDelegate {
    /// Nothing has this name.
    Missing(ObjectKey),
    /// What has the name cannot be applied.
    Rejected(ObjectKey),
    /// What has the name stands for itself.
    HasHosts(ObjectKey),
    /// The namespace does not see it.
    Hidden(ObjectKey, Namespace),
}

impl fmt::Display for NoDelegate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(key) => write!(f, "no delegate {key} exists"),
            Self::Rejected(key) => write!(f, "the delegate {key} is rejected"),
            Self::HasHosts(key) => write!(f, "{key} has hosts, so it is no delegate"),
            Self::Hidden(key, from) => write!(f, "the delegate {key} is not exported to {from}"),
        }
    }
}

/// The VirtualService to which one of a namespace delegates.
///
/// # Errors
/// [`NoDelegate`], when it is none or is not to be seen.
pub fn delegated<'a>(
    snapshot: &'a Snapshot,
    namespace: &Namespace,
    delegate: &Delegate,
) -> Result<&'a VirtualService, NoDelegate> {
    let key = key_of(delegate);
    let found = snapshot.get(&key).map(|object| &object.spec);
    let Some(Spec::VirtualService(found)) = found else {
        return Err(match snapshot.refused.get(&key) {
            Some(_) => NoDelegate::Rejected(key),
            None => NoDelegate::Missing(key),
        });
    };
    if !found.hosts.is_empty() {
        return Err(NoDelegate::HasHosts(key));
    }
    if !found.export_to.shows_to(namespace) {
        return Err(NoDelegate::Hidden(key, namespace.clone()));
    }
    Ok(found)
}

/// A delegate's route within the route that delegates; none: it reaches out of it.
pub fn within(root: &HttpRoute, own: &HttpRoute) -> Option<HttpRoute> {
    let HttpRoute {
        name,
        matches,
        action,
        rewrite,
        timeout,
        retries,
        fault,
        mirror,
        mirrors,
        cors,
        headers,
    } = own;
    Some(HttpRoute {
        name: joined(root.name.as_ref(), name.as_ref()),
        matches: all_within(&root.matches, matches)?,
        action: action.clone(),
        rewrite: rewrite.clone().or_else(|| root.rewrite.clone()),
        timeout: timeout.or(root.timeout),
        retries: retries.clone().or_else(|| root.retries.clone()),
        fault: fault.clone().or_else(|| root.fault.clone()),
        mirror: mirror.clone().or_else(|| root.mirror.clone()),
        mirrors: Arc::clone(if mirrors.is_empty() {
            &root.mirrors
        } else {
            mirrors
        }),
        cors: cors.clone().or_else(|| root.cors.clone()),
        headers: headers.clone().or_else(|| root.headers.clone()),
    })
}

fn joined(root: Option<&Arc<str>>, own: Option<&Arc<str>>) -> Option<Arc<str>> {
    match (root, own) {
        (Some(root), Some(own)) => Some(format!("{root}-{own}").into()),
        (name, None) | (None, name) => name.cloned(),
    }
}

/// Each condition of the delegate together with every one of the root's that it lies within; each must have one.
fn all_within(root: &Arc<[HttpMatch]>, own: &Arc<[HttpMatch]>) -> Option<Arc<[HttpMatch]>> {
    if root.is_empty() || own.is_empty() {
        return Some(Arc::clone(if root.is_empty() { own } else { root }));
    }
    let mut found = Vec::new();
    for own in own.iter() {
        let before = found.len();
        let fitting = root.iter().filter(|root| !conflict(root, own));
        found.extend(fitting.map(|root| both(root, own)));
        if found.len() == before {
            return None;
        }
    }
    Some(found.into())
}

fn both(root: &HttpMatch, own: &HttpMatch) -> HttpMatch {
    let HttpMatch {
        name,
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
        stat_prefix,
        never,
    } = own;
    let either = |own: &Option<StringMatch>, root: &Option<StringMatch>| {
        own.clone().or_else(|| root.clone())
    };
    HttpMatch {
        name: joined(root.name.as_ref(), name.as_ref()),
        uri: either(uri, &root.uri),
        ignore_uri_case: *ignore_uri_case,
        scheme: either(scheme, &root.scheme),
        method: either(method, &root.method),
        authority: either(authority, &root.authority),
        headers: united(&root.headers, headers),
        without_headers: united(&root.without_headers, without_headers),
        query_params: united(&root.query_params, query_params),
        port: port.or(root.port),
        client: Client {
            namespace: client
                .namespace
                .clone()
                .or_else(|| root.client.namespace.clone()),
            labels: all_labels(&root.client.labels, &client.labels),
        },
        stat_prefix: stat_prefix.clone().or_else(|| root.stat_prefix.clone()),
        never: *never || root.never,
    }
}

fn united(root: &Conditions, own: &Conditions) -> Conditions {
    let both = root.iter().chain(own.iter()).cloned();
    let by_name: BTreeMap<Arc<str>, StringMatch> = both.collect();
    by_name.into_iter().collect()
}

fn all_labels(root: &Labels, own: &Labels) -> Labels {
    root.iter().chain(own.iter()).collect()
}

/// Whether a delegate's condition reaches out of the root's.
fn conflict(root: &HttpMatch, own: &HttpMatch) -> bool {
    let parts = [
        (&root.uri, &own.uri),
        (&root.scheme, &own.scheme),
        (&root.method, &own.method),
        (&root.authority, &own.authority),
    ];
    let by_name = [
        (&root.headers, &own.headers),
        (&root.without_headers, &own.without_headers),
        (&root.query_params, &own.query_params),
    ];
    let in_parts = parts.into_iter().any(|(root, own)| match (root, own) {
        (Some(root), Some(own)) => !lies_within(root, own),
        (None, _) | (_, None) => false,
    });
    let in_named = by_name.into_iter().any(|(root, own)| {
        let of = |name: &Arc<str>| root.iter().find(|(other, _)| other == name);
        own.iter()
            .any(|(name, own)| of(name).is_some_and(|(_, root)| !lies_within(root, own)))
    });
    let other_port = root.port.is_some() && own.port.is_some() && root.port != own.port;
    in_parts
        || in_named
        || root.ignore_uri_case != own.ignore_uri_case
        || other_port
        || other_client(&root.client, &own.client)
}

/// Istio: where the root names a namespace, the delegate must name it too.
fn other_client(root: &Client, own: &Client) -> bool {
    let other_namespace = root.namespace.is_some() && root.namespace != own.namespace;
    let other_label = own.labels.iter().any(|(name, value)| {
        let root = root.labels.get(name);
        root.is_some_and(|root| root != value)
    });
    other_namespace || other_label
}

/// Whether it can be seen that one pattern matches only what the other does; expressions are not compared (Istio).
fn lies_within(root: &StringMatch, own: &StringMatch) -> bool {
    match (root, own) {
        (StringMatch::Exact(root), StringMatch::Exact(own)) => root == own,
        (StringMatch::Prefix(root), StringMatch::Exact(own) | StringMatch::Prefix(own)) => {
            own.starts_with(&**root)
        }
        (StringMatch::Exact(_), StringMatch::Prefix(_))
        | (StringMatch::Regex(_) | StringMatch::Present, _)
        | (_, StringMatch::Regex(_) | StringMatch::Present) => false,
    }
}
