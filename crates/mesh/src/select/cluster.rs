//! What a cluster is made of: a port of the service that the scope sees, and the DestinationRules that it applies.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ir::{ClusterName, Endpoints, MeshAlpn, ServiceRef, UpstreamProtocol};
use model::{
    ClientTls, ConnectionPool, ConsistentHash, Families, HashKey, Labels, LoadBalancer, MeshConfig,
    Port, PortPolicy, Protocol, SpiffeId, TargetPort,
};

use crate::endpoints::{Wanted, facts, of_port};
use crate::key::{ClusterKey, EndpointsKey};
use crate::mesh::Mesh;
use crate::proximity::{Arranging, Preference, Proximity};
use crate::scope::Scope;
use crate::service::{MeshPort, MeshService, ServiceDiscovery};

/// Everything that a cluster is built from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClusterInputs {
    /// Its name.
    pub name: ClusterName,
    /// How its endpoints are found.
    pub source: ClusterSource,
    /// How often names are looked up again, where they are and the mesh says.
    pub dns_refresh: Option<Duration>,
    /// What the DestinationRules say.
    pub policy: PortPolicy,
    /// Whether localities have shares of their own.
    pub weighs_localities: bool,
    /// What is spoken upstream.
    pub protocol: UpstreamProtocol,
    /// Whether mutual TLS is used without being asked for.
    pub auto_mtls: bool,
    /// Who the servers are, ordered.
    pub identities: Arc<[SpiffeId]>,
    /// The names that the servers must bear instead.
    pub subject_alt_names: Arc<[Arc<str>]>,
    /// What telemetry says of it.
    pub service: ServiceRef,
}

/// How the endpoints of a cluster are found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClusterSource {
    /// By EDS.
    Eds,
    /// By DNS, all addresses.
    StrictDns(Endpoints, Families),
    /// By DNS, the first address.
    LogicalDns(Endpoints, Families),
    /// By DNS, the name that the caller asks for.
    DynamicDns(Families),
    /// The caller addresses them.
    OriginalDestination {
        /// Whether there are endpoints and all of them take mutual TLS.
        all_mesh_tls: bool,
    },
}

/// A service's port as a scope sees it, with the rules that apply.
pub(crate) struct Seen<'a> {
    pub service: &'a Arc<MeshService>,
    pub port: &'a MeshPort,
    pub labels: Labels,
    pub policy: PortPolicy,
    /// Whether the mesh carries HTTP/1.1 over HTTP/2 where no rule says.
    pub upgrades: bool,
}

/// What MeshConfig says where the rules leave something open.
fn with_defaults(config: &MeshConfig, mut policy: PortPolicy) -> PortPolicy {
    if config.connect_timeout.is_none() && config.tcp_keepalive.is_none() {
        return policy;
    }
    let pool = policy.connection_pool.get_or_insert_default();
    pool.connect_timeout = pool.connect_timeout.or(config.connect_timeout);
    if let Some(mesh) = &config.tcp_keepalive {
        let own = pool.tcp_keepalive.get_or_insert_default();
        own.probes = own.probes.or(mesh.probes);
        own.time = own.time.or(mesh.time);
        own.interval = own.interval.or(mesh.interval);
    }
    policy
}

/// How a server's proxy connects to its app: as the rules say that the server's own namespace applies to its service.
pub(super) fn pool_of_server(
    mesh: &Mesh,
    scope: &Scope,
    service: &MeshService,
    port: Port,
) -> ConnectionPool {
    let rules = mesh.rules(scope, &service.host, service.namespace());
    let policy = with_defaults(mesh.config(), rules.policy(port, None));
    policy.connection_pool.unwrap_or_default()
}

/// The port or subset that a key names, if the scope sees the service and the subset exists.
pub(crate) fn see<'a>(mesh: &'a Mesh, scope: &Scope, key: &ClusterKey) -> Option<Seen<'a>> {
    let service = mesh.services().visible(scope, &key.host)?;
    let port = service.port(key.port)?;
    let rules = mesh.rules(scope, &key.host, service.namespace());
    let subset = match &key.subset {
        Some(name) => Some(rules.subset(name)?.clone()),
        None => None,
    };
    let policy = with_defaults(mesh.config(), rules.policy(key.port, subset.as_ref()));
    let labels = subset.map(|subset| subset.labels).unwrap_or_default();
    Some(Seen {
        service,
        port,
        labels,
        policy,
        upgrades: mesh.config().h2_upgrade,
    })
}

/// What a cluster is made of, for a client at a place if that is known.
pub(crate) fn select(
    mesh: &Mesh,
    scope: &Scope,
    key: &ClusterKey,
    client: Option<&Proximity>,
) -> Option<ClusterInputs> {
    let seen = see(mesh, scope, key)?;
    let preference = preference_of(mesh, &seen);
    let facts = facts(mesh, seen.service);
    let listed = || {
        let arranging = Arranging::new(preference.as_ref(), client);
        let wanted = Wanted {
            labels: &seen.labels,
            families: scope.families,
        };
        of_port(mesh, seen.service, seen.port, &wanted, arranging)
    };
    let source = match source_of(&seen) {
        ServiceDiscovery::Endpoints => ClusterSource::Eds,
        ServiceDiscovery::StrictDns => ClusterSource::StrictDns(listed(), scope.families),
        ServiceDiscovery::LogicalDns => ClusterSource::LogicalDns(listed(), scope.families),
        ServiceDiscovery::DynamicDns => ClusterSource::DynamicDns(scope.families),
        ServiceDiscovery::OriginalDestination => ClusterSource::OriginalDestination {
            all_mesh_tls: facts.all_mesh_tls,
        },
    };
    let looks_up = matches!(
        source,
        ClusterSource::StrictDns(..) | ClusterSource::LogicalDns(..)
    );
    Some(ClusterInputs {
        name: key.name(),
        source,
        dns_refresh: mesh.config().dns_refresh.filter(|_| looks_up),
        protocol: upstream_protocol(&seen),
        auto_mtls: mesh.config().auto_mtls && seen.service.in_mesh,
        identities: in_all_domains(mesh, facts.identities),
        weighs_localities: matches!(preference, Some(Preference::Distribute(_))),
        subject_alt_names: Arc::clone(&seen.service.subject_alt_names),
        service: seen.service.reference(),
        policy: PortPolicy {
            // It is the listener's.
            tunnel: None,
            ..seen.policy
        },
    })
}

/// While a mesh changes its trust domain, servers of all of its domains are its own.
fn in_all_domains(mesh: &Mesh, identities: Arc<[SpiffeId]>) -> Arc<[SpiffeId]> {
    let config = mesh.config();
    if config.trust_domain_aliases.is_empty() {
        return identities;
    }
    let domains = config.trust_domains();
    let all: BTreeSet<SpiffeId> = identities
        .iter()
        .flat_map(|identity| {
            domains.iter().map(|domain| SpiffeId {
                trust_domain: domain.clone(),
                ..identity.clone()
            })
        })
        .collect();
    all.into_iter().collect()
}

/// The port that is called where the name that TLS asks for is resolved, and of which families its addresses are; none: other things decide where to.
pub(crate) fn resolved_on(seen: &Seen<'_>, scope: &Scope) -> Option<(Port, Families)> {
    let target = match seen.port.target {
        TargetPort::Number(number) => number,
        TargetPort::Named(_) => seen.port.number,
    };
    (source_of(seen) == ServiceDiscovery::DynamicDns).then_some((target, scope.families))
}

/// `PASSTHROUGH` turns any service into one that the caller addresses.
fn source_of(seen: &Seen<'_>) -> ServiceDiscovery {
    let balancing = seen.policy.load_balancer.as_ref();
    if balancing.is_some_and(|lb| lb.policy == LoadBalancer::Passthrough) {
        ServiceDiscovery::OriginalDestination
    } else {
        seen.service.discovery
    }
}

pub(crate) fn endpoints_key(mesh: &Mesh, scope: &Scope, key: &ClusterKey) -> Option<EndpointsKey> {
    let seen = see(mesh, scope, key)?;
    (source_of(&seen) == ServiceDiscovery::Endpoints).then(|| EndpointsKey {
        service: seen.service.rank.key.clone(),
        host: key.host.clone(),
        port: key.port,
        preference: preference_of(mesh, &seen),
        node_local: seen.service.node_local,
        families: scope.families,
        labels: seen.labels,
    })
}

/// Whether the endpoints of a cluster depend on where a client of the scope is.
pub(crate) fn is_choosy(mesh: &Mesh, scope: &Scope, key: &ClusterKey) -> bool {
    see(mesh, scope, key)
        .is_some_and(|seen| seen.service.node_local || preference_of(mesh, &seen).is_some())
}

fn preference_of(mesh: &Mesh, seen: &Seen<'_>) -> Option<Preference> {
    match source_of(seen) {
        ServiceDiscovery::OriginalDestination | ServiceDiscovery::DynamicDns => return None,
        ServiceDiscovery::Endpoints
        | ServiceDiscovery::StrictDns
        | ServiceDiscovery::LogicalDns => {}
    }
    let own = seen.policy.load_balancer.as_ref();
    let own = own.and_then(|lb| lb.locality.as_ref());
    let ejects = seen.policy.outlier_detection.is_some();
    let of_service = Preference::of_service(seen.service.distribution);
    match (own, of_service) {
        (None, Some(of_service)) => Some(of_service),
        (own, _) => Preference::of(own.unwrap_or(&mesh.config().locality), ejects),
    }
}

fn upstream_protocol(seen: &Seen<'_>) -> UpstreamProtocol {
    let pool = seen.policy.connection_pool.as_ref();
    let upgrade = pool.and_then(|pool| pool.h2_upgrade);
    match seen.port.protocol {
        Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb => UpstreamProtocol::Http2,
        Protocol::Http | Protocol::Auto if pool.is_some_and(|pool| pool.use_client_protocol) => {
            UpstreamProtocol::FollowCaller
        }
        Protocol::Http | Protocol::Auto if upgrade == Some(true) => UpstreamProtocol::Http2,
        // The mesh's wish is for ports that are HTTP for sure.
        Protocol::Http if upgrade.is_none() && seen.upgrades => UpstreamProtocol::Http2,
        Protocol::Http => UpstreamProtocol::Http1,
        Protocol::Auto => UpstreamProtocol::FollowCaller,
        Protocol::Https
        | Protocol::Tls
        | Protocol::Tcp
        | Protocol::Mongo
        | Protocol::Redis
        | Protocol::MySql
        | Protocol::Udp => UpstreamProtocol::Tcp,
    }
}

/// What of a request or connection the cluster finds its endpoints by.
pub(crate) fn hash_key(policy: &PortPolicy) -> Option<&HashKey> {
    match &policy.load_balancer.as_ref()?.policy {
        LoadBalancer::ConsistentHash(ConsistentHash { key, table: _ }) => key.as_ref(),
        LoadBalancer::LeastRequest
        | LoadBalancer::RoundRobin
        | LoadBalancer::Random
        | LoadBalancer::Passthrough => None,
    }
}

/// How requests announce themselves to a cluster that may speak Istio's mutual TLS.
pub(crate) fn alpn(mesh: &Mesh, seen: &Seen<'_>) -> Option<MeshAlpn> {
    let mesh_tls = match &seen.policy.tls {
        Some(ClientTls::IstioMutual { .. }) => true,
        Some(ClientTls::Disable | ClientTls::Simple(_) | ClientTls::Mutual { .. }) => false,
        None => mesh.config().auto_mtls && seen.service.in_mesh,
    };
    let alpn = match upstream_protocol(seen) {
        UpstreamProtocol::Http1 => MeshAlpn::Http1,
        UpstreamProtocol::Http2 => MeshAlpn::Http2,
        UpstreamProtocol::FollowCaller => MeshAlpn::FollowCaller,
        UpstreamProtocol::Tcp => return None,
    };
    mesh_tls.then_some(alpn)
}
