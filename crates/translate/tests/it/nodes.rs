//! Nodes that set everything that can be set, at its bounds and beyond.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ir::model::*;
use ir::*;

use crate::world::*;

/// Clusters that set everything that can be set.
pub fn clusters() -> Vec<Cluster> {
    let security = securities().into_iter().map(|tls| Cluster {
        tls,
        ..cluster(outbound(""))
    });
    let protocols = [
        UpstreamProtocol::Tcp,
        UpstreamProtocol::Http1,
        UpstreamProtocol::Http2,
        UpstreamProtocol::FollowCaller,
    ];
    let limits = protocols.map(|protocol| Cluster {
        protocol,
        tls: UpstreamTls::Simple(ServerName::default()),
        connection_pool: connection_pool(),
        outlier_detection: Some(outlier_detection()),
        ..cluster(outbound(""))
    });
    let found = discoveries().into_iter().map(|discovery| Cluster {
        discovery,
        ..cluster(outbound(""))
    });
    let policies = [
        LoadBalancer::Passthrough,
        LoadBalancer::RoundRobin,
        LoadBalancer::Random,
    ];
    let balanced = policies.map(|load_balancer| Cluster {
        load_balancer,
        ..cluster(outbound(""))
    });
    let outbound = security.chain(limits).chain(found).chain(balanced);
    outbound
        .zip(1000..)
        .map(|(cluster, number)| Cluster {
            name: ClusterName::Outbound {
                port: port(number),
                subset: "v1".parse().ok(),
                host: HOST.parse().unwrap(),
            },
            ..cluster
        })
        .chain([fixed(ClusterName::Inbound(port(8080)), Discovery::Inbound)])
        .chain(fixed_clusters())
        .collect()
}

fn securities() -> [UpstreamTls; 7] {
    let server = ServerName {
        sni: Some("example.com".into()),
        subject_alt_names: Arc::new([
            "example.com".into(),
            "spiffe://x/y".into(),
            "10.0.0.1".into(),
            "a@example.com".into(),
        ]),
        ca_certificates: Some("/etc/ca.pem".into()),
        insecure_skip_verify: false,
    };
    let careless = ServerName {
        insecure_skip_verify: true,
        sni: Some("x".repeat(400).into()),
        ..server.clone()
    };
    [
        UpstreamTls::Plaintext,
        UpstreamTls::Auto(mesh_tls(&["a", "b"])),
        UpstreamTls::Mesh(mesh_tls(&[])),
        UpstreamTls::Mesh(MeshTls {
            sni: "x".into(),
            server: Servers::Names(Arc::new(["example.com".into()])),
        }),
        UpstreamTls::Simple(server),
        UpstreamTls::Simple(ServerName::default()),
        UpstreamTls::Files {
            server: careless,
            certificate: "/etc/cert.pem".into(),
            private_key: "/etc/key.pem".into(),
        },
    ]
}

fn connection_pool() -> ConnectionPool {
    ConnectionPool {
        max_connections: Some(1),
        connect_timeout: Some(Duration::ZERO),
        tcp_keepalive: Some(TcpKeepalive {
            probes: Some(3),
            time: Some(Duration::from_millis(10)),
            interval: None,
        }),
        max_connection_duration: Some(Duration::from_secs(1)),
        http1_max_pending_requests: Some(2),
        http2_max_requests: Some(0),
        max_requests_per_connection: Some(0),
        max_retries: Some(u32::MAX),
        http_idle_timeout: Some(Duration::MAX),
        max_concurrent_streams: Some(u32::MAX),
        http2_keepalive: Some((Duration::ZERO, Duration::ZERO)),
        ..ConnectionPool::default()
    }
}

fn outlier_detection() -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: Some(0),
        consecutive_gateway: Some(5),
        consecutive_local_origin: Some(5),
        split_local_origin: true,
        interval: Some(Duration::ZERO),
        base_ejection_time: Some(Duration::ZERO),
        max_ejection_percent: Some(1000),
        min_health_percent: 1000,
    }
}

fn discoveries() -> [Discovery; 6] {
    let unix = Endpoint {
        address: EndpointAddress::Unix("/run/app".into()),
        weight: u32::MAX,
        ..endpoint(80, false)
    };
    let all = endpoints(vec![
        Endpoint {
            address: EndpointAddress::Dns("example.com".parse().unwrap()),
            ..endpoint(80, false)
        },
        unix.clone(),
        Endpoint {
            health: Health::Draining,
            weight: u32::MAX,
            ..endpoint(81, true)
        },
    ]);
    [
        Discovery::Eds,
        Discovery::StrictDns(all.clone()),
        Discovery::StrictDns(Endpoints::default()),
        Discovery::LogicalDns(all),
        Discovery::LogicalDns(Endpoints::default()),
        Discovery::LogicalDns(endpoints(vec![unix])),
    ]
}

pub fn outbound_listeners() -> Vec<OutboundListener> {
    let table = RouteTableName::Port(port(80));
    let named = |number, address: Option<&str>, traffic| OutboundListener {
        name: ListenerName {
            address: address.map(|text| text.parse().unwrap()),
            port: port(number),
        },
        access_log: access_log("/dev/null", AccessLogFormat::DefaultText),
        ..listener(traffic)
    };
    let more: IpAddr = "127.0.0.3".parse().unwrap();
    vec![
        named(80, None, OutboundTraffic::Http(table.clone())),
        OutboundListener {
            fallback: OutboundTrafficPolicy::RegistryOnly,
            more_addresses: Arc::new([more]),
            ..named(80, Some("127.0.0.2"), OutboundTraffic::Http(table.clone()))
        },
        named(
            81,
            Some("127.0.0.2"),
            OutboundTraffic::Detect(table.clone(), tcp_backend()),
        ),
        named(
            82,
            None,
            OutboundTraffic::Detect(table.clone(), tcp_backend()),
        ),
        OutboundListener {
            chosen: chosen(),
            ..named(84, None, OutboundTraffic::Http(table))
        },
        OutboundListener {
            chosen: chosen(),
            ..named(85, None, OutboundTraffic::Fallback)
        },
        OutboundListener {
            access_log: access_log(
                "/dev/null",
                AccessLogFormat::Json(Arc::new([(
                    "p".into(),
                    "%REQ_WITHOUT_QUERY(:PATH)%".into(),
                )])),
            ),
            ..named(
                83,
                None,
                OutboundTraffic::Tcp(TcpBackend {
                    idle_timeout: Some(Duration::from_secs(5)),
                    ..tcp_backend()
                }),
            )
        },
    ]
}

/// Every mode with every protocol, policies of every kind.
pub fn virtual_inbounds() -> Vec<VirtualInbound> {
    let modes = [MtlsMode::Disable, MtlsMode::Permissive, MtlsMode::Strict];
    let traffics = [
        InboundTraffic::Http,
        InboundTraffic::Tcp,
        InboundTraffic::Detect,
    ];
    let everything = Policy {
        rules: Rules::Everything,
        ..policy(Vec::new())
    };
    let authorization = Authorization {
        deny: Arc::new([policy(vec![full_rule()]), everything]),
        allow: Arc::new([policy(vec![full_rule(), rule(Vec::new(), Vec::new())])]),
    };
    let rule = |mtls| InboundRule {
        mtls,
        authorization: authorization.clone(),
    };
    modes
        .iter()
        .enumerate()
        .map(|(number, &mode)| {
            let ports = modes.iter().zip([0, 10, 20]).flat_map(|(&mtls, base)| {
                let authorization = authorization.clone();
                traffics
                    .iter()
                    .zip(0..)
                    .map(move |(&traffic, offset)| InboundPort {
                        rule: InboundRule {
                            mtls,
                            authorization: authorization.clone(),
                        },
                        ..inbound_port(8000 + base + offset, traffic, mtls)
                    })
            });
            VirtualInbound {
                passthrough: rule(mode),
                passthrough_ports: Arc::new([
                    (port(8000), rule(MtlsMode::Strict)),
                    (port(9000), rule(MtlsMode::Disable)),
                    (port(9001), rule(MtlsMode::Strict)),
                ]),
                access_log: access_log("/dev/null", AccessLogFormat::DefaultJson),
                ports: ports.skip(number).collect(),
                ..inbound(Vec::new())
            }
        })
        .collect()
}

fn full_rule() -> AuthorizationRule {
    let every = patterns(&[
        "cluster.local/ns/a.b/sa/c",
        "cluster.local/*",
        "*/sa/x(",
        "*",
    ]);
    let accounts: Arc<[AccountPattern]> = Arc::new([AccountPattern {
        namespace: "shop".parse().unwrap(),
        account: "a.b".parse().unwrap(),
    }]);
    let ports: Arc<[Port]> = Arc::new([port(8000), port(9000)]);
    rule(
        vec![
            Source {
                principals: every.clone(),
                not_principals: every.clone(),
                namespaces: every.clone(),
                not_namespaces: every.clone(),
                service_accounts: accounts.clone(),
                not_service_accounts: accounts,
                unknown: true,
            },
            Source::default(),
        ],
        vec![
            Operation {
                paths: every.clone(),
                not_paths: every.clone(),
                methods: every.clone(),
                not_methods: every,
                ports: ports.clone(),
                not_ports: ports,
                unknown: true,
            },
            Operation::default(),
        ],
    )
}

pub fn virtual_hosts() -> Vec<VirtualHost> {
    let regex = |text: &str| StringMatch::Regex(Regex::new(text).unwrap());
    let matched = |path, method, header| Route {
        matcher: RouteMatch {
            path,
            method: Some(method),
            headers: Arc::new([("x-user".into(), header)]),
        },
        ..forward(vec![to(outbound("v1"), 1)])
    };
    let exact = StringMatch::Exact("GET".into());
    let retried = Route {
        action: RouteAction::Forward(Forward {
            backends: Arc::new([to(outbound("v1"), u32::MAX), to(outbound("v2"), u32::MAX)]),
            timeout: Some(Duration::from_millis(1500)),
            retry: Some(Retry {
                attempts: 2,
                on: "connect-failure,retriable-status-codes".into(),
                status_codes: Arc::new([503]),
                per_try_timeout: Some(Duration::from_secs(1)),
                backoff: Some(Duration::ZERO),
                avoid_previous_hosts: true,
            }),
        }),
        ..forward(Vec::new())
    };
    vec![virtual_host(vec![
        matched(PathMatch::Exact("/a".into()), exact, StringMatch::Present),
        matched(
            PathMatch::Prefix("/a".into()),
            StringMatch::Prefix("".into()),
            StringMatch::Prefix("a".into()),
        ),
        matched(
            PathMatch::Regex("/[a-z]{1,9}".into()),
            regex("G.*"),
            regex("[0-9]+"),
        ),
        retried,
        forward(vec![missing("gone", 1), to(outbound(""), 1)]),
        forward(vec![missing("gone", 1)]),
        Route {
            action: RouteAction::Respond {
                status: 1,
                body: "no".into(),
            },
            ..forward(Vec::new())
        },
    ])]
}

/// By name, by address, by both; to one cluster and to several.
fn chosen() -> Arc<[ChosenConnections]> {
    let share = |subset, weight| WeightedCluster {
        cluster: outbound(subset),
        weight,
    };
    let net = |text: &str| text.parse().unwrap();
    Arc::new([
        ChosenConnections {
            sni: Arc::new(["*.a.com".into(), "b.com".into()]),
            destinations: Arc::new([]),
            backend: tcp_backend(),
        },
        ChosenConnections {
            sni: Arc::new(["c.com".into()]),
            destinations: Arc::new([net("192.0.2.0/24"), net("2001:db8::/32")]),
            backend: TcpBackend {
                clusters: Arc::new([share("v1", 90), share("v2", 10), share("", 0)]),
                idle_timeout: None,
            },
        },
        ChosenConnections {
            sni: Arc::new([]),
            destinations: Arc::new([net("198.51.100.0/24")]),
            backend: tcp_backend(),
        },
    ])
}
