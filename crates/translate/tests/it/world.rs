//! Values of `ir` as tests need them: small builders over complete defaults.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ir::model::*;
use ir::*;

/// Whose form is tried where all are alike.
pub const ENVOY: EnvoyMinor = EnvoyMinor::NEWEST;

pub const HOST: &str = "cart.shop.svc.cluster.local";

pub fn port(number: u16) -> Port {
    Port::new(number.into()).unwrap()
}

pub fn identity(account: &str) -> SpiffeId {
    format!("spiffe://cluster.local/ns/shop/sa/{account}")
        .parse()
        .unwrap()
}

pub fn cart(in_mesh: bool) -> ServiceRef {
    ServiceRef {
        host: HOST.into(),
        name: "cart".into(),
        namespace: "shop".into(),
        in_mesh,
    }
}

pub fn outbound(subset: &str) -> ClusterName {
    ClusterName::Outbound {
        port: port(80),
        subset: subset.parse().ok(),
        host: HOST.parse().unwrap(),
    }
}

pub fn mesh_tls(accounts: &[&str]) -> MeshTls {
    MeshTls {
        sni: outbound("").sni().into(),
        server: Servers::Identities(accounts.iter().map(|name| identity(name)).collect()),
    }
}

pub fn cluster(name: ClusterName) -> Cluster {
    Cluster {
        name,
        discovery: Discovery::Eds,
        dns_refresh: None,
        load_balancer: LoadBalancer::LeastRequest,
        weighs_localities: false,
        warmup: None,
        connection_pool: ConnectionPool::default(),
        outlier_detection: None,
        retry_budget: None,
        proxy_protocol: None,
        protocol: UpstreamProtocol::Http1,
        tls: UpstreamTls::Plaintext,
        service: Some(cart(true)),
    }
}

pub fn fixed(name: ClusterName, discovery: Discovery) -> Cluster {
    Cluster {
        discovery,
        protocol: UpstreamProtocol::FollowCaller,
        service: None,
        ..cluster(name)
    }
}

/// The clusters that every proxy has.
pub fn fixed_clusters() -> Vec<Cluster> {
    vec![
        fixed(ClusterName::BlackHole, Discovery::Nothing),
        fixed(ClusterName::Passthrough, Discovery::OriginalDestination),
        fixed(
            ClusterName::InboundPassthrough,
            Discovery::Inbound(Families::V4),
        ),
    ]
}

pub fn endpoint(number: u16, mesh_tls: bool) -> Endpoint {
    Endpoint {
        address: EndpointAddress::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        more_addresses: Arc::new(["2001:db8::7".parse().unwrap()]),
        port: port(number),
        weight: 1,
        health: Health::Healthy,
        mesh_tls,
        workload: WorkloadRef {
            name: "cart-v1".into(),
            namespace: "shop".into(),
            canonical_service: "cart".into(),
            canonical_revision: "v1".into(),
            principal: identity("cart").to_string().into(),
        },
    }
}

pub fn endpoints(endpoints: Vec<Endpoint>) -> Endpoints {
    Endpoints {
        localities: Arc::new([LocalityEndpoints {
            locality: Locality::new("r/z/s"),
            priority: 0,
            weight: None,
            endpoints: endpoints.into(),
        }]),
    }
}

pub fn to(name: ClusterName, weight: u32) -> WeightedBackend {
    WeightedBackend {
        backend: Backend::Cluster {
            name,
            service: Some(cart(true)),
            alpn: Some(MeshAlpn::Http1),
            hash: None,
        },
        weight,
        headers: Headers::default(),
    }
}

pub fn missing(wanted: &str, weight: u32) -> WeightedBackend {
    WeightedBackend {
        backend: Backend::Missing {
            wanted: wanted.into(),
        },
        weight,
        headers: Headers::default(),
    }
}

pub fn forward(backends: Vec<WeightedBackend>) -> Route {
    Route::of("default", RouteAction::Forward(Forward::among(backends)))
}

pub fn virtual_host(routes: Vec<Route>) -> VirtualHost {
    VirtualHost {
        name: format!("{HOST}:80").into(),
        domains: Arc::new(["cart".into(), HOST.into()]),
        routes: routes.into(),
    }
}

pub fn listener(traffic: OutboundTraffic) -> OutboundListener {
    OutboundListener {
        name: ListenerName {
            address: None,
            port: port(80),
        },
        families: Families::V4,
        chosen: Arc::new([]),
        traffic,
        fallback: OutboundTrafficPolicy::AllowAny,
        resolves_hosts: false,
        settings: ListenerSettings::default(),
    }
}

pub fn http_listener() -> OutboundListener {
    listener(OutboundTraffic::Http(RouteTableName::Port(port(80))))
}

pub fn tcp_backend() -> TcpBackend {
    TcpBackend::to(outbound(""))
}

pub fn inbound_port(number: u16, traffic: InboundTraffic, mtls: MtlsMode) -> InboundPort {
    InboundPort {
        port: port(number),
        traffic,
        mtls,
        service: cart(true),
    }
}

pub fn inbound(ports: Vec<InboundPort>) -> VirtualInbound {
    VirtualInbound {
        families: Families::V4,
        trust_domains: trust_domains(TrustDomain::cluster_local()),
        ports: ports.into(),
        passthrough: MtlsMode::default(),
        passthrough_ports: Arc::new([]),
        settings: ListenerSettings::default(),
    }
}

pub fn policy(rules: Vec<AuthorizationRule>) -> Policy {
    Policy {
        namespace: "shop".parse().unwrap(),
        name: "cart".parse().unwrap(),
        trust_domains: trust_domains(TrustDomain::cluster_local()),
        rules: Rules::Any(rules.into()),
    }
}

/// A mesh without aliases.
pub fn trust_domains(own: TrustDomain) -> TrustDomains {
    TrustDomains::new(own, [])
}

pub fn patterns(texts: &[&str]) -> Arc<[StringPattern]> {
    texts.iter().map(|text| StringPattern::new(text)).collect()
}

/// A rule of these sources and operations.
pub fn rule(from: Vec<Source>, to: Vec<Operation>) -> AuthorizationRule {
    AuthorizationRule {
        from: from.into(),
        to: to.into(),
        ..AuthorizationRule::default()
    }
}

pub fn principals(texts: &[&str]) -> Source {
    Source {
        principals: Values::any(patterns(texts)),
        ..Source::default()
    }
}

pub fn path_patterns(texts: &[&str]) -> Vec<PathPattern> {
    let pattern = |text: &&str| {
        if text.contains('{') {
            PathPattern::Template((*text).into())
        } else {
            PathPattern::Text(StringPattern::new(text))
        }
    };
    texts.iter().map(pattern).collect()
}

pub fn paths(texts: &[&str]) -> Operation {
    Operation {
        paths: Values::any(path_patterns(texts)),
        ..Operation::default()
    }
}

/// What holds for listeners that log.
pub fn logging(path: &str, format: AccessLogFormat) -> ListenerSettings {
    ListenerSettings {
        access_log: Some(AccessLog {
            path: path.into(),
            format,
        }),
        ..ListenerSettings::default()
    }
}
