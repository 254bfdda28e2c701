//! From inputs to `ir`: pure, and memoised by its caller, since equal inputs make equal nodes.

use std::sync::Arc;

use ir::{
    AuthorizationFilter, AuthorizationFilterName, Backend, Cluster, ClusterName, Discovery,
    Forward, MeshTls, Node, OutboundListener, PathMatch, Retry, Route, RouteAction, RouteMatch,
    RouteTable, Servers, UpstreamProtocol, UpstreamTls, VirtualHost, VirtualInbound,
    VirtualOutbound, WeightedBackend,
};
use model::{
    ClientTls, ConnectionPool, Destination, HttpAction, HttpMatch, HttpRoute, LoadBalancer,
    OutboundTrafficPolicy, Retries, StringMatch,
};

use crate::select::{ClusterInputs, ClusterSource, InboundInputs, Inputs, VirtualHostInputs};

/// Istio's default `retryOn`.
const DEFAULT_RETRY_ON: &str =
    "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
/// Istio's default number of retries.
const DEFAULT_RETRIES: u32 = 2;

/// The node that inputs make.
#[must_use]
pub fn build(inputs: &Inputs) -> Node {
    match inputs {
        Inputs::Cluster(inputs) => Node::Cluster(cluster(inputs)),
        Inputs::Fixed(name) => Node::Cluster(fixed(name)),
        Inputs::RouteTable(name) => Node::RouteTable(RouteTable { name: name.clone() }),
        Inputs::VirtualHost(inputs) => Node::VirtualHost(virtual_host(inputs)),
        Inputs::CatchAll(policy, _) => Node::VirtualHost(catch_all(*policy)),
        Inputs::Listener(inputs) => Node::OutboundListener(OutboundListener {
            name: inputs.name.clone(),
            // Each address of a service has a listener of its own: services may share some of them.
            more_addresses: Arc::new([]),
            chosen: Arc::clone(&inputs.chosen),
            traffic: inputs.traffic.clone(),
            fallback: inputs.fallback,
            access_log: inputs.access_log.clone(),
        }),
        Inputs::VirtualOutbound(fallback, access_log) => Node::VirtualOutbound(VirtualOutbound {
            fallback: *fallback,
            access_log: access_log.clone(),
        }),
        Inputs::Name(entry) => Node::NameEntry(entry.clone()),
    }
}

/// The inbound half of a workload: its listener, the filters that guard it, the clusters of its ports.
#[must_use]
pub fn build_inbound(inputs: &InboundInputs) -> Vec<Node> {
    let InboundInputs {
        trust_domains,
        ports,
        passthrough,
        passthrough_ports,
        authorization,
        access_log,
    } = inputs;
    let listener = VirtualInbound {
        trust_domains: trust_domains.clone(),
        ports: Arc::clone(ports),
        passthrough: *passthrough,
        passthrough_ports: Arc::clone(passthrough_ports),
        access_log: access_log.clone(),
    };
    let cluster = |name| bare(name, Discovery::Inbound, UpstreamProtocol::FollowCaller);
    let clusters = ports
        .iter()
        .map(|port| Node::Cluster(cluster(ClusterName::Inbound(port.port))));
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

fn fixed(name: &ClusterName) -> Cluster {
    let discovery = match name {
        ClusterName::BlackHole => Discovery::Nothing,
        ClusterName::InboundPassthrough | ClusterName::Inbound(_) => Discovery::Inbound,
        ClusterName::Passthrough | ClusterName::Outbound { .. } => Discovery::OriginalDestination,
    };
    bare(name.clone(), discovery, UpstreamProtocol::FollowCaller)
}

fn cluster(inputs: &ClusterInputs) -> Cluster {
    let policy = &inputs.policy;
    let balancing = policy.load_balancer.as_ref();
    let load_balancer = match inputs.source {
        ClusterSource::OriginalDestination { .. } => LoadBalancer::Passthrough,
        ClusterSource::Eds | ClusterSource::StrictDns(_) | ClusterSource::LogicalDns(_) => {
            balancing.map(|lb| lb.policy.clone()).unwrap_or_default()
        }
    };
    Cluster {
        name: inputs.name.clone(),
        discovery: match &inputs.source {
            ClusterSource::Eds => Discovery::Eds,
            ClusterSource::StrictDns(endpoints) => Discovery::StrictDns(endpoints.clone()),
            ClusterSource::LogicalDns(endpoints) => Discovery::LogicalDns(endpoints.clone()),
            ClusterSource::OriginalDestination { .. } => Discovery::OriginalDestination,
        },
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
        ClusterSource::Eds | ClusterSource::StrictDns(_) | ClusterSource::LogicalDns(_) => {
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
    let (name, action) = match policy {
        OutboundTrafficPolicy::AllowAny => {
            let passthrough = Backend::Cluster {
                name: ClusterName::Passthrough,
                service: None,
                alpn: None,
                hash: None,
            };
            let backends = Arc::new([WeightedBackend {
                backend: passthrough,
                weight: 1,
            }]);
            (
                "allow_any",
                RouteAction::Forward(Forward {
                    backends,
                    timeout: None,
                    retry: None,
                }),
            )
        }
        OutboundTrafficPolicy::RegistryOnly => (
            "block_all",
            RouteAction::Respond {
                status: 502,
                body: "".into(),
            },
        ),
    };
    VirtualHost {
        name: name.into(),
        domains: Arc::new(["*".into()]),
        routes: Arc::new([Route {
            name: name.into(),
            matcher: RouteMatch::default(),
            action,
        }]),
    }
}

fn virtual_host(inputs: &VirtualHostInputs) -> VirtualHost {
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
        routes.extend(inputs.own.as_ref().map(|own| own_route(own.clone())));
    }
    VirtualHost {
        name: Arc::clone(&inputs.name),
        domains: Arc::clone(&inputs.domains),
        routes: routes.into(),
    }
}

fn own_route(own: Backend) -> Route {
    let backends = Arc::new([WeightedBackend {
        backend: own,
        weight: 1,
    }]);
    Route {
        name: "default".into(),
        matcher: RouteMatch::default(),
        action: RouteAction::Forward(Forward {
            backends,
            timeout: None,
            retry: retry(None),
        }),
    }
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
    let action = action(inputs, route);
    if route.matches.is_empty() {
        return vec![Route {
            name: named(None),
            matcher: RouteMatch::default(),
            action,
        }];
    }
    let holds = |m: &&HttpMatch| !m.never && m.port.is_none_or(|port| port == inputs.port);
    let of_match = |m: &HttpMatch| Route {
        name: named(Some(m)),
        matcher: matcher(m),
        action: action.clone(),
    };
    route.matches.iter().filter(holds).map(of_match).collect()
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
        method: m.method.clone(),
        headers: Arc::clone(&m.headers),
    }
}

fn action(inputs: &VirtualHostInputs, route: &HttpRoute) -> RouteAction {
    match &route.action {
        HttpAction::Unavailable(reason) => RouteAction::Respond {
            status: 503,
            body: Arc::clone(reason),
        },
        HttpAction::Route(destinations) => RouteAction::Forward(Forward {
            backends: destinations
                .iter()
                .map(|d| WeightedBackend {
                    backend: resolved(inputs, &d.destination),
                    weight: d.weight,
                })
                .collect(),
            timeout: route.timeout.filter(|timeout| !timeout.is_zero()),
            retry: retry(route.retries.as_ref()),
        }),
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
    })
}
