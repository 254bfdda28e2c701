//! From inputs to `ir`: pure, and memoised by its caller, since equal inputs make equal nodes.

mod route;

use std::sync::Arc;

use ir::{
    AuthorizationFilter, AuthorizationFilterName, Backend, Cluster, ClusterName, Discovery,
    Forward, MeshTls, Node, OutboundListener, Route, RouteAction, RouteTable, Servers,
    UpstreamProtocol, UpstreamTls, VirtualHost, VirtualInbound, VirtualOutbound,
};
use model::{ClientTls, ConnectionPool, Families, LoadBalancer, OutboundTrafficPolicy};

use crate::select::{ClusterInputs, ClusterSource, InboundInputs, Inputs};

/// The node that inputs make.
#[must_use]
pub fn build(inputs: &Inputs) -> Node {
    match inputs {
        Inputs::Cluster(inputs) => Node::Cluster(cluster(inputs)),
        Inputs::Fixed(name, families) => Node::Cluster(fixed(name, *families)),
        Inputs::RouteTable(name) => Node::RouteTable(RouteTable { name: name.clone() }),
        Inputs::VirtualHost(inputs) => Node::VirtualHost(route::virtual_host(inputs)),
        Inputs::CatchAll(policy, _) => Node::VirtualHost(catch_all(*policy)),
        Inputs::Listener(inputs) => Node::OutboundListener(OutboundListener {
            name: inputs.name.clone(),
            families: inputs.families,
            chosen: Arc::clone(&inputs.chosen),
            traffic: inputs.traffic.clone(),
            fallback: inputs.fallback,
            resolves_hosts: inputs.resolves_hosts,
            settings: inputs.settings.clone(),
        }),
        Inputs::VirtualOutbound(fallback, settings, families) => {
            Node::VirtualOutbound(VirtualOutbound {
                families: *families,
                fallback: *fallback,
                settings: settings.clone(),
            })
        }
        Inputs::Name(entry) => Node::NameEntry(entry.clone()),
    }
}

/// The inbound half of a workload: its listener, the filters that guard it, the clusters of its ports.
#[must_use]
pub fn build_inbound(inputs: &InboundInputs) -> Vec<Node> {
    let InboundInputs {
        families,
        trust_domains,
        ports,
        pools,
        passthrough,
        passthrough_ports,
        authorization,
        settings,
    } = inputs;
    let listener = VirtualInbound {
        families: *families,
        trust_domains: trust_domains.clone(),
        ports: Arc::clone(ports),
        passthrough: *passthrough,
        passthrough_ports: Arc::clone(passthrough_ports),
        settings: settings.clone(),
    };
    let pool = |wanted| {
        let found = pools.iter().find(|(port, _)| *port == wanted);
        found.map(|(_, pool)| pool.clone()).unwrap_or_default()
    };
    let discovery = Discovery::Inbound(*families);
    let clusters = ports.iter().map(|port| {
        let name = ClusterName::Inbound(port.port);
        Node::Cluster(Cluster {
            connection_pool: pool(port.port),
            ..bare(name, discovery.clone(), UpstreamProtocol::FollowCaller)
        })
    });
    let filters = AuthorizationFilterName::all().map(|name| {
        Node::AuthorizationFilter(AuthorizationFilter {
            name,
            authorization: authorization.of_stage(name.stage),
        })
    });
    std::iter::once(Node::VirtualInbound(listener))
        .chain(filters)
        .chain(clusters)
        .collect()
}

fn bare(name: ClusterName, discovery: Discovery, protocol: UpstreamProtocol) -> Cluster {
    Cluster {
        name,
        discovery,
        dns_refresh: None,
        load_balancer: LoadBalancer::Passthrough,
        weighs_localities: false,
        warmup: None,
        connection_pool: ConnectionPool::default(),
        outlier_detection: None,
        retry_budget: None,
        proxy_protocol: None,
        protocol,
        tls: UpstreamTls::Plaintext,
        service: None,
    }
}

fn fixed(name: &ClusterName, families: Families) -> Cluster {
    let discovery = match name {
        ClusterName::BlackHole => Discovery::Nothing,
        ClusterName::AllowAnyDynamicDns => Discovery::DynamicDns(families),
        ClusterName::InboundPassthrough | ClusterName::Inbound(_) => Discovery::Inbound(families),
        ClusterName::Passthrough | ClusterName::Outbound { .. } => Discovery::OriginalDestination,
    };
    bare(name.clone(), discovery, UpstreamProtocol::FollowCaller)
}

fn cluster(inputs: &ClusterInputs) -> Cluster {
    let policy = &inputs.policy;
    let balancing = policy.load_balancer.as_ref();
    let load_balancer = match inputs.source {
        ClusterSource::OriginalDestination { .. } | ClusterSource::DynamicDns(_) => {
            LoadBalancer::Passthrough
        }
        ClusterSource::Eds | ClusterSource::StrictDns(..) | ClusterSource::LogicalDns(..) => {
            balancing.map(|lb| lb.policy.clone()).unwrap_or_default()
        }
    };
    Cluster {
        name: inputs.name.clone(),
        discovery: match &inputs.source {
            ClusterSource::Eds => Discovery::Eds,
            ClusterSource::StrictDns(endpoints, families) => {
                Discovery::StrictDns(endpoints.clone(), *families)
            }
            ClusterSource::LogicalDns(endpoints, families) => {
                Discovery::LogicalDns(endpoints.clone(), *families)
            }
            ClusterSource::DynamicDns(families) => Discovery::DynamicDns(*families),
            ClusterSource::OriginalDestination { .. } => Discovery::OriginalDestination,
        },
        dns_refresh: inputs.dns_refresh,
        load_balancer,
        weighs_localities: inputs.weighs_localities,
        warmup: balancing.and_then(|lb| lb.warmup),
        connection_pool: policy.connection_pool.clone().unwrap_or_default(),
        outlier_detection: policy.outlier_detection.clone(),
        retry_budget: policy.retry_budget,
        proxy_protocol: policy.proxy_protocol,
        protocol: inputs.protocol,
        tls: upstream_tls(inputs),
        service: Some(inputs.service.clone()),
    }
}

fn upstream_tls(inputs: &ClusterInputs) -> UpstreamTls {
    match &inputs.policy.tls {
        Some(ClientTls::Disable) => UpstreamTls::Plaintext,
        Some(ClientTls::Simple(server)) => UpstreamTls::Simple(server.clone()),
        Some(ClientTls::Mutual {
            server,
            certificate,
            private_key,
        }) => UpstreamTls::Files {
            server: server.clone(),
            certificate: Arc::clone(certificate),
            private_key: Arc::clone(private_key),
        },
        Some(ClientTls::IstioMutual {
            sni,
            subject_alt_names,
        }) => UpstreamTls::Mesh(mesh_tls(inputs, sni.as_ref(), subject_alt_names)),
        None => automatic_tls(inputs),
    }
}

/// Auto mTLS: by each endpoint's metadata, or, where there is none, by what all endpoints have in common.
fn automatic_tls(inputs: &ClusterInputs) -> UpstreamTls {
    let tls = || mesh_tls(inputs, None, &[]);
    match &inputs.source {
        _ if !inputs.auto_mtls => UpstreamTls::Plaintext,
        ClusterSource::OriginalDestination {
            all_mesh_tls: false,
        } => UpstreamTls::Plaintext,
        ClusterSource::OriginalDestination { all_mesh_tls: true } => UpstreamTls::Mesh(tls()),
        // Whoever is outside of the mesh has no mutual TLS of the mesh's.
        ClusterSource::DynamicDns(_) => UpstreamTls::Plaintext,
        ClusterSource::Eds | ClusterSource::StrictDns(..) | ClusterSource::LogicalDns(..) => {
            UpstreamTls::Auto(tls())
        }
    }
}

fn mesh_tls(inputs: &ClusterInputs, sni: Option<&Arc<str>>, names: &[Arc<str>]) -> MeshTls {
    let named = if names.is_empty() {
        &*inputs.subject_alt_names
    } else {
        names
    };
    MeshTls {
        sni: sni.cloned().unwrap_or_else(|| inputs.name.sni().into()),
        server: if named.is_empty() {
            Servers::Identities(Arc::clone(&inputs.identities))
        } else {
            Servers::Names(named.into())
        },
    }
}

fn catch_all(policy: OutboundTrafficPolicy) -> VirtualHost {
    let to = |name| {
        RouteAction::Forward(Forward::to(Backend::Cluster {
            name,
            service: None,
            alpn: None,
            hash: None,
        }))
    };
    let (name, action) = match policy {
        OutboundTrafficPolicy::AllowAny => ("allow_any", to(ClusterName::Passthrough)),
        OutboundTrafficPolicy::AllowAnyDynamicDns => {
            ("allow_any", to(ClusterName::AllowAnyDynamicDns))
        }
        OutboundTrafficPolicy::RegistryOnly => (
            "block_all",
            RouteAction::Respond {
                status: 502,
                body: Arc::new([]),
            },
        ),
    };
    VirtualHost {
        name: name.into(),
        domains: Arc::new(["*".into()]),
        routes: Arc::new([Route::of(name, action)]),
    }
}
