//! Which Envoys are sent a node in the same form.

use ir::model::{AccessLog, EnvoyMinor, Headers, format};
use ir::{Cluster, Node, RouteAction, VirtualHost};

use crate::{cluster, telemetry};

/// The oldest Envoy that is sent a node just as the newest is. For each older one it is encoded apart.
#[must_use]
pub fn since(node: &Node) -> EnvoyMinor {
    match node {
        Node::Cluster(cluster) => of_cluster(cluster),
        Node::VirtualHost(host) => of_host(host),
        Node::OutboundListener(listener) => of_listener(listener.settings.access_log.as_ref()),
        Node::VirtualOutbound(listener) => of_listener(listener.settings.access_log.as_ref()),
        Node::VirtualInbound(listener) => of_listener(listener.settings.access_log.as_ref()),
        Node::RouteTable(_) | Node::AuthorizationFilter(_) | Node::NameEntry(_) => {
            EnvoyMinor::OLDEST
        }
    }
}

fn of_cluster(cluster: &Cluster) -> EnvoyMinor {
    match &cluster.retry_budget {
        Some(budget) if budget.interval.is_some() => cluster::BUDGETS_HAVE_INTERVALS_SINCE,
        Some(_) | None => EnvoyMinor::OLDEST,
    }
}

fn of_listener(log: Option<&AccessLog>) -> EnvoyMinor {
    let formats = log.into_iter().flat_map(|log| log.format.own());
    newest(formats.map(|text| &**text)).max(telemetry::METRICS_HAVE_SCOPES_SINCE)
}

fn of_host(host: &VirtualHost) -> EnvoyMinor {
    let of_backends = host.routes.iter().filter_map(|route| match &route.action {
        RouteAction::Forward(forward) => Some(forward.backends.iter()),
        RouteAction::Redirect(_) | RouteAction::Respond { status: _, body: _ } => None,
    });
    let of_backends = of_backends.flatten().map(|backend| &backend.headers);
    let all = host.routes.iter().map(|route| &route.headers);
    newest(all.chain(of_backends).flat_map(values))
}

fn values(headers: &Headers) -> impl Iterator<Item = &str> {
    let directions = [&headers.request, &headers.response].into_iter();
    let changes = directions.flat_map(|direction| direction.set.iter().chain(&*direction.add));
    changes.map(|(_, value)| &**value)
}

fn newest<'a>(formats: impl Iterator<Item = &'a str>) -> EnvoyMinor {
    formats
        .map(format::since)
        .max()
        .unwrap_or(EnvoyMinor::OLDEST)
}
