//! VirtualServices: which of them routes a host, and where its routes lead.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{
    Destination, HostPattern, Hostname, HttpAction, HttpRoute, Meta, ObjectKey, Spec,
    VirtualService, WeightedDestination,
};
use store::{RefusedScope, Snapshot};

use crate::mesh::Mesh;
use crate::scope::Scope;

impl Mesh {
    /// A VirtualService by key, or what stands for one that was refused without a good version.
    #[must_use]
    pub fn virtual_service(&self, key: &ObjectKey) -> Option<&Arc<VirtualService>> {
        virtual_service_in(self.snapshot(), key).map(|(_, service)| service)
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

/// Every destination that the routes of a VirtualService name.
pub fn destinations(service: &VirtualService) -> BTreeSet<&Destination> {
    let of_http = service.http.iter().flat_map(weighted);
    let of_connections = service.tls.iter().chain(service.tcp.iter());
    let of_connections = of_connections.flat_map(|route| route.destinations.iter());
    let all = of_http.chain(of_connections);
    all.map(|weighted| &weighted.destination).collect()
}

fn weighted(route: &HttpRoute) -> &[WeightedDestination] {
    match &route.action {
        HttpAction::Route(list) => list,
        HttpAction::Unavailable(_) => &[],
    }
}

/// Every host that the routes of a VirtualService lead to.
pub fn destination_hosts(service: &VirtualService) -> BTreeSet<&Hostname> {
    destinations(service)
        .into_iter()
        .map(|destination| &destination.host)
        .collect()
}
