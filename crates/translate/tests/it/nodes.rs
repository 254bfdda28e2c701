//! Nodes that set everything that can be set, at its bounds and beyond.

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
    let hashed = |table| LoadBalancer::ConsistentHash(ConsistentHash { key: None, table });
    let policies = [
        LoadBalancer::Passthrough,
        LoadBalancer::RoundRobin,
        LoadBalancer::Random,
        LoadBalancer::LeastRequest,
        hashed(HashTable::Ring(None)),
        hashed(HashTable::Ring(Some(8_388_608))),
        hashed(HashTable::Maglev(65_537)),
    ];
    let balanced = policies.map(|load_balancer| Cluster {
        load_balancer,
        warmup: Some(Warmup {
            duration: Duration::from_millis(1),
            minimum_percent: Decimal::new(0.0),
            aggression: Decimal::new(1.5),
        }),
        retry_budget: Some(RetryBudget {
            percent: Decimal::new(100.0),
            min_concurrency: Some(0),
            interval: Some(Duration::from_millis(1)),
        }),
        ..cluster(outbound(""))
    });
    let headed = securities().map(|tls| Cluster {
        tls,
        proxy_protocol: Some(ProxyProtocol::V2),
        ..cluster(outbound(""))
    });
    let outbound = security.chain(limits).chain(found).chain(balanced);
    let outbound = outbound.chain(headed);
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
        .chain([fixed(
            ClusterName::Inbound(port(8080)),
            Discovery::Inbound(Families::Dual),
        )])
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
        // Envoy reads it when it takes the cluster.
        revoked: None,
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
        error_codes: Arc::new([404, 500]),
    }
}

fn discoveries() -> [Discovery; 7] {
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
        Discovery::StrictDns(all.clone(), Families::V4),
        Discovery::StrictDns(Endpoints::default(), Families::V6),
        Discovery::LogicalDns(all, Families::Dual),
        Discovery::LogicalDns(Endpoints::default(), Families::V4),
        Discovery::LogicalDns(endpoints(vec![unix]), Families::V4),
        Discovery::DynamicDns(Families::V4),
    ]
}

pub fn outbound_listeners() -> Vec<OutboundListener> {
    let table = RouteTableName::Port(port(80));
    let named = |number, address: Option<&str>, traffic| OutboundListener {
        name: ListenerName {
            address: address.map(|text| text.parse().unwrap()),
            port: port(number),
        },
        settings: logging("/dev/null", AccessLogFormat::DefaultText),
        ..listener(traffic)
    };
    vec![
        named(80, None, OutboundTraffic::Http(table.clone())),
        OutboundListener {
            fallback: OutboundTrafficPolicy::RegistryOnly,
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
            resolves_hosts: true,
            ..named(84, None, OutboundTraffic::Http(table))
        },
        OutboundListener {
            chosen: chosen(),
            ..named(85, None, OutboundTraffic::Fallback)
        },
        OutboundListener {
            settings: logging(
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
                    max_duration: Some(Duration::from_millis(1)),
                    hashes_source: true,
                    resolved_on: Some((port(443), Families::V4)),
                    tunnel: Some(Tunnel {
                        post: true,
                        host: EndpointAddress::Ip("2001:db8::1".parse().unwrap()),
                        port: port(443),
                    }),
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
    modes
        .iter()
        .enumerate()
        .map(|(number, &mode)| {
            let ports = modes.iter().zip([0, 10, 20]).flat_map(|(&mtls, base)| {
                traffics.iter().zip(0..).map(move |(&traffic, offset)| {
                    inbound_port(8000 + base + offset, traffic, mtls)
                })
            });
            VirtualInbound {
                passthrough: mode,
                passthrough_ports: Arc::new([
                    (port(8000), MtlsMode::Strict),
                    (port(9000), MtlsMode::Disable),
                    (port(9001), MtlsMode::Strict),
                ]),
                settings: logging("/dev/null", AccessLogFormat::DefaultJson),
                ports: ports.skip(number).collect(),
                ..inbound(Vec::new())
            }
        })
        .collect()
}

/// All that authorizes, with every condition there is: one that asks a provider in each way, one that refuses.
pub fn authorizations() -> Vec<Authorization> {
    let everything = Policy {
        rules: Rules::Everything,
        ..policy(Vec::new())
    };
    let policies: Arc<[Policy]> = Arc::new([policy(vec![full_rule()]), everything]);
    let custom = [
        Custom::Ask(
            Arc::new(provider(AuthorizerProtocol::Grpc)),
            policies.clone(),
        ),
        Custom::Ask(
            Arc::new(provider(AuthorizerProtocol::Http(full_check()))),
            policies.clone(),
        ),
        Custom::Refuse(policies.clone()),
    ];
    let with = |custom| Authorization {
        custom: Some(custom),
        audit: policies.clone(),
        deny: policies.clone(),
        allow: policies.clone(),
        dry_run: DryRun {
            deny: policies.clone(),
            allow: policies.clone(),
        },
    };
    custom
        .into_iter()
        .map(with)
        .chain([Authorization::default()])
        .collect()
}

fn provider(protocol: AuthorizerProtocol) -> Provider {
    Provider {
        name: "ext".into(),
        cluster: outbound(""),
        authorizer: ExternalAuthorizer {
            host: HOST.parse().unwrap(),
            namespace: None,
            port: port(80),
            timeout: Duration::from_secs(600),
            fail_open: true,
            clear_route_cache: true,
            status_on_error: Some(503),
            body: Some(CheckedBody {
                max_bytes: 1,
                partial: true,
                as_bytes: true,
            }),
            protocol,
        },
    }
}

fn full_check() -> HttpCheck {
    let headers = patterns(&["x-a", "x-*", "*-a", "*"]);
    HttpCheck {
        path_prefix: Some("/check".into()),
        request_headers: headers.clone(),
        additional_headers: Arc::new([("x-by".into(), "mesh".into())]),
        to_upstream: headers.clone(),
        to_downstream_on_allow: headers.clone(),
        to_downstream_on_deny: headers,
    }
}

fn both<T: Clone>(list: &[T]) -> Values<T> {
    Values {
        any: list.into(),
        none: list.into(),
    }
}

fn full_rule() -> AuthorizationRule {
    let every = both(&patterns(&[
        "cluster.local/ns/a.b/sa/c",
        "cluster.local/*",
        "*/sa/x(",
        "*",
    ]));
    let accounts = both(&[AccountPattern {
        namespace: "shop".parse().unwrap(),
        account: "a.b".parse().unwrap(),
    }]);
    let ports = both(&[port(8000), port(9000)]);
    let blocks = both(&[
        "10.0.0.0/8".parse().unwrap(),
        "fd00::1/128".parse().unwrap(),
    ]);
    let paths = both(&path_patterns(&[
        "/a",
        "/a*",
        "*a",
        "*",
        "/{*}/b.c-d_e~%20!$&'()+,;:@=/{*}.html/{**}/z/",
        "/{**}",
    ]));
    let metadata = both(&[
        MetadataPattern::Text(StringPattern::Present),
        MetadataPattern::Item(StringPattern::Prefix("a".into())),
    ]);
    AuthorizationRule {
        from: Arc::new([
            Source {
                principals: every.clone(),
                request_principals: every.clone(),
                namespaces: every.clone(),
                service_accounts: accounts.clone(),
                trust_domains: every.clone(),
                ip_blocks: blocks.clone(),
                remote_ip_blocks: blocks.clone(),
                unknown: true,
            },
            Source::default(),
        ]),
        to: Arc::new([
            Operation {
                hosts: every.clone(),
                ports: ports.clone(),
                methods: every.clone(),
                paths,
                unknown: true,
            },
            Operation::default(),
        ]),
        when: Arc::new([
            Condition::Header("x-a".into(), every.clone()),
            Condition::SourceIp(blocks.clone()),
            Condition::RemoteIp(blocks.clone()),
            Condition::Namespace(every.clone()),
            Condition::Principal(every.clone()),
            Condition::ServiceAccount(accounts),
            Condition::TrustDomain(every.clone()),
            Condition::RequestPrincipal(every.clone()),
            Condition::Claim(Arc::new(["a".into(), "b".into()]), every.clone()),
            Condition::DestinationIp(blocks),
            Condition::DestinationPort(ports),
            Condition::Sni(every),
            Condition::Metadata {
                filter: "envoy.filters.network.mongo_proxy".into(),
                key: "db".into(),
                values: metadata,
            },
        ]),
        unknown: false,
    }
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
                ..tcp_backend()
            },
        },
        ChosenConnections {
            sni: Arc::new([]),
            destinations: Arc::new([net("198.51.100.0/24")]),
            backend: tcp_backend(),
        },
    ])
}
