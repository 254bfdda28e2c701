//! VirtualServices: which of them routes a host, and where its routes lead.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{
    Client, Destination, HostPattern, Hostname, HttpAction, HttpRoute, Labels, Meta, Namespace,
    ObjectKey, Spec, VirtualService, WeightedDestination,
};
use store::{RefusedScope, Snapshot};

use crate::mesh::Mesh;
use crate::scope::Scope;

impl Mesh {
    /// A VirtualService by key with its delegates' routes, or what stands for one that was refused without a good version.
    #[must_use]
    pub fn virtual_service(&self, key: &ObjectKey) -> Option<&Arc<VirtualService>> {
        let own = || virtual_service_in(self.snapshot(), key).map(|(_, service)| service);
        self.merged(key).or_else(own)
    }

    /// The `sourceLabels` of the VirtualServices that a namespace sees, ordered.
    pub fn source_labels(&self, namespace: &Namespace) -> impl Iterator<Item = &Labels> {
        let sees = |key: &ObjectKey| {
            let service = self.virtual_service(key);
            service.is_some_and(|service| service.export_to.shows_to(namespace))
        };
        let all = self.clients().iter();
        all.filter(move |(_, keys)| keys.iter().any(sees))
            .map(|(labels, _)| labels)
    }

    /// The VirtualService that routes a host for a scope: the most specific host, then the oldest.
    #[must_use]
    pub fn route_of(
        &self,
        scope: &Scope,
        host: &Hostname,
    ) -> Option<(&ObjectKey, &Arc<VirtualService>)> {
        self.virtual_services()
            .matches(host)
            .find_map(|key| self.routing(scope, key))
    }

    /// The VirtualService that names exactly this pattern for a scope; the oldest.
    #[must_use]
    pub fn route_under(
        &self,
        scope: &Scope,
        pattern: &HostPattern,
    ) -> Option<(&ObjectKey, &Arc<VirtualService>)> {
        self.virtual_services()
            .under(pattern)
            .find_map(|key| self.routing(scope, key))
    }

    /// The VirtualServices that route the connections of a host for a scope, in the order in which they are asked
    /// (Istio: of HTTP only the first counts, of TCP and TLS all).
    pub(crate) fn connection_routes<'a>(
        &'a self,
        scope: &'a Scope,
        host: &Hostname,
    ) -> impl Iterator<Item = &'a Arc<VirtualService>> {
        let keys = self.overlapping(host).into_iter();
        let routing = keys.filter_map(|key| self.routing(scope, key));
        routing
            .map(|(_, service)| service)
            .filter(|service| service.routes_connections())
    }

    /// The VirtualServices that name a service's host, or a host under it where it is a whole domain.
    pub(crate) fn overlapping(&self, host: &Hostname) -> Vec<&ObjectKey> {
        let index = self.virtual_services();
        let domain = host.is_wildcard().then(|| host.pattern());
        let under = domain.iter().flat_map(|domain| {
            let patterns = index.patterns();
            patterns.filter(move |pattern| *pattern != domain && domain.covers(pattern))
        });
        let under = under.flat_map(|pattern| index.under(pattern));
        index.matches(host).chain(under).collect()
    }

    fn routing<'a>(
        &'a self,
        scope: &Scope,
        key: &'a ObjectKey,
    ) -> Option<(&'a ObjectKey, &'a Arc<VirtualService>)> {
        let service = self.virtual_service(key)?;
        (service.in_mesh && scope.sees(&service.export_to)).then_some((key, service))
    }
}

/// A VirtualService and its metadata, or what stands for one that was refused without a good version.
#[must_use]
pub fn virtual_service_in<'a>(
    snapshot: &'a Snapshot,
    key: &ObjectKey,
) -> Option<(&'a Meta, &'a Arc<VirtualService>)> {
    if let Some(object) = snapshot.get(key) {
        return match &object.spec {
            Spec::VirtualService(service) => Some((&object.meta, service)),
            _ => None,
        };
    }
    let refusal = snapshot.refused.get(key)?;
    match refusal.scope.as_ref()? {
        RefusedScope::Hosts(service) => Some((&refusal.meta, service)),
        RefusedScope::Namespace | RefusedScope::Workloads(_) => None,
    }
}

/// Every destination, of requests and of copies, that the routes of a VirtualService name.
pub fn destinations(service: &VirtualService) -> BTreeSet<&Destination> {
    let of_http = service.http.iter().flat_map(destinations_of);
    let of_connections = service.tls.iter().chain(service.tcp.iter());
    let of_connections = of_connections.flat_map(|route| route.destinations.iter());
    let of_connections = of_connections.map(|weighted| &weighted.destination);
    of_http.chain(of_connections).collect()
}

fn destinations_of(route: &HttpRoute) -> impl Iterator<Item = &Destination> {
    let weighted: &[WeightedDestination] = match &route.action {
        HttpAction::Route(list) => list,
        HttpAction::Redirect(_)
        | HttpAction::DirectResponse { .. }
        | HttpAction::Delegate(_)
        | HttpAction::Unavailable(_) => &[],
    };
    let mirrors = route.all_mirrors().map(|mirror| &mirror.destination);
    weighted.iter().map(|to| &to.destination).chain(mirrors)
}

/// Every condition on the client that decides about some route of a VirtualService.
pub fn clients(service: &VirtualService) -> BTreeSet<&Client> {
    let of_http = service.http.iter().flat_map(|route| route.matches.iter());
    let of_http = of_http.map(|one| &one.client);
    let of_connections = service.tls.iter().chain(service.tcp.iter());
    let of_connections = of_connections.flat_map(|route| route.matches.iter());
    let of_connections = of_connections.map(|one| &one.client);
    of_http
        .chain(of_connections)
        .filter(|client| !client.is_anyone())
        .collect()
}

/// The labels of clients that decide about some route of a VirtualService.
pub fn client_labels(service: &VirtualService) -> BTreeSet<&Labels> {
    let labels = clients(service).into_iter().map(|client| &client.labels);
    labels.filter(|labels| !labels.is_empty()).collect()
}

/// Every host that the routes of a VirtualService lead to.
pub fn destination_hosts(service: &VirtualService) -> BTreeSet<&Hostname> {
    destinations(service)
        .into_iter()
        .map(|destination| &destination.host)
        .collect()
}
