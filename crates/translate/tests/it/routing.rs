//! Requests through two listeners of one Envoy, the client's and the server's: what arrives, and what is counted.

use std::sync::Arc;

use envoy_api::envoy::config::listener::v3::Listener;
use envoy_api::envoy::config::route::v3::RouteConfiguration;
use ir::model::*;
use ir::*;

use crate::envoy::{Config, Envoy, exchange};
use crate::local::{self, at, free_port};
use crate::peers::{Authority, http_app, talk, tcp_app};
use crate::world::*;

/// What the agent would set.
const ENVIRONMENT: [(&str, &str); 5] = [
    (translate::env::WORKLOAD_NAME, "web-v1"),
    (translate::env::NAMESPACE, "shop"),
    (translate::env::CANONICAL_SERVICE, "web"),
    (translate::env::CANONICAL_REVISION, "v1"),
    (translate::env::CLUSTER_ID, "Kubernetes"),
];

/// An Envoy that is client and server at once.
pub struct Mesh {
    pub envoy: Envoy,
    /// Where the app calls.
    pub client: u16,
    /// The same, by HTTP/2.
    pub client_http2: u16,
    pub server: u16,
}

pub struct Setup {
    pub routes: Vec<Route>,
    pub upstream: UpstreamTls,
    pub protocol: UpstreamProtocol,
    pub inbound: InboundPort,
    pub traffic: OutboundTraffic,
    pub app: u16,
    /// What the app speaks; none: what its caller speaks.
    pub app_protocol: UpstreamProtocol,
    pub mesh_tls: bool,
    /// Whom the server takes.
    pub trust_domain: TrustDomain,
    /// Whom the server serves.
    pub authorization: Authorization,
    pub settings: ListenerSettings,
}

impl Setup {
    /// HTTP by mutual TLS from one proxy to the other.
    pub fn http() -> Self {
        Self {
            routes: vec![forward(vec![to(outbound(""), 1)])],
            upstream: UpstreamTls::Auto(mesh_tls(&["cart"])),
            protocol: UpstreamProtocol::Http1,
            inbound: inbound_port(1, InboundTraffic::Http, MtlsMode::Permissive),
            traffic: OutboundTraffic::Http(RouteTableName::Port(port(80))),
            app: http_app(),
            app_protocol: UpstreamProtocol::Http1,
            mesh_tls: true,
            trust_domain: TrustDomain::cluster_local(),
            authorization: Authorization::default(),
            settings: ListenerSettings::default(),
        }
    }

    pub fn start(self) -> Mesh {
        let (client, client_http2, server) = (free_port(), free_port(), free_port());
        let app = translate::load_assignment("", &endpoints(vec![endpoint(self.app, false)]));
        let server_port = Port::new(server.into()).unwrap();
        let clusters = [
            (
                Cluster {
                    tls: self.upstream,
                    protocol: self.protocol,
                    ..cluster(outbound(""))
                },
                translate::load_assignment("", &endpoints(vec![endpoint(server, self.mesh_tls)])),
            ),
            (
                Cluster {
                    protocol: self.app_protocol,
                    ..fixed(
                        ClusterName::Inbound(server_port),
                        Discovery::Inbound(Families::V4),
                    )
                },
                app.clone(),
            ),
            (
                fixed(
                    ClusterName::InboundPassthrough,
                    Discovery::Inbound(Families::V4),
                ),
                app,
            ),
        ];
        let front = ClusterName::Outbound {
            port: port(81),
            subset: None,
            host: HOST.parse().unwrap(),
        };
        let front_routes = vec![forward(vec![to(front.clone(), 1)])];
        let mut clusters: Vec<_> = clusters
            .into_iter()
            .chain([(
                Cluster {
                    protocol: UpstreamProtocol::Http2,
                    service: None,
                    ..cluster(front)
                },
                translate::load_assignment("", &endpoints(vec![endpoint(client, false)])),
            )])
            .map(|(cluster, assignment)| {
                local::cluster(translate::cluster(&cluster, ENVOY), assignment)
            })
            .collect();
        clusters.extend(
            fixed_clusters()[..2]
                .iter()
                .map(|node| translate::cluster(node, ENVOY)),
        );
        let routes = table(self.routes);
        let outbound = translate::outbound_listener(&listener(self.traffic), ENVOY);
        let inbound = translate::virtual_inbound(
            &VirtualInbound {
                settings: self.settings,
                trust_domains: trust_domains(self.trust_domain),
                ..inbound(vec![InboundPort {
                    port: server_port,
                    ..self.inbound
                }])
            },
            ENVOY,
        );
        let inbound = local::authorized(inbound, &self.authorization);
        let config = Config {
            clusters,
            listeners: vec![
                local::listener(
                    Listener {
                        name: "front".to_owned(),
                        ..translate::outbound_listener(&http_listener(), ENVOY)
                    },
                    client_http2,
                    &table(front_routes),
                ),
                local::listener(outbound, client, &routes),
                local::listener(inbound, server, &routes),
            ],
            secrets: Authority::new().secrets(&identity("cart").to_string()),
            remote: false,
        };
        Mesh {
            envoy: Envoy::start(config, &ENVIRONMENT),
            client,
            client_http2,
            server,
        }
    }
}

fn table(routes: Vec<Route>) -> RouteConfiguration {
    RouteConfiguration {
        virtual_hosts: vec![translate::virtual_host(
            &VirtualHost {
                domains: Arc::new(["*".into()]),
                ..virtual_host(routes)
            },
            ENVOY,
        )],
        ..translate::route_configuration(&RouteTable {
            name: RouteTableName::Port(port(80)),
        })
    }
}

pub fn get(port: u16, headers: &str) -> String {
    exchange(
        at(port),
        &format!("GET /x HTTP/1.1\r\nhost: cart\r\nconnection: close\r\n{headers}\r\n"),
    )
}

/// Whether a series bears a label.
pub fn has(series: &str, label: &str, value: &str) -> bool {
    series.contains(&format!("{label}=\"{value}\""))
}

#[test]
fn a_request_goes_by_mutual_tls_and_both_sides_tell_who_it_was() {
    let mesh = Setup::http().start();
    let answer = get(
        mesh.client,
        "x-lateen-peer: forged\r\nx-forwarded-client-cert: By=forged\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        !answer.contains("x-lateen-peer"),
        "the app sees no peer header: {answer}"
    );
    let me = identity("cart");
    assert!(answer.contains(&format!("URI={me}")), "{answer}");
    assert!(!answer.contains("forged"), "{answer}");

    mesh.envoy.until("/stats/prometheus", |text| {
        text.matches("\nenvoy_istio_requests_total").count() == 2
    });
    let series = mesh.envoy.metrics("istio_requests_total");
    let of = |reporter| {
        series
            .iter()
            .find(|line| has(line, "reporter", reporter))
            .unwrap()
    };
    for line in [of("source"), of("destination")] {
        for (label, value) in [
            ("source_workload", "web-v1"),
            ("source_workload_namespace", "shop"),
            ("source_canonical_service", "web"),
            ("source_canonical_revision", "v1"),
            ("source_app", "web"),
            ("source_version", "v1"),
            ("source_cluster", "Kubernetes"),
            ("source_principal", &me.to_string()),
            ("destination_principal", &me.to_string()),
            ("destination_service", HOST),
            ("destination_service_name", "cart"),
            ("destination_service_namespace", "shop"),
            ("request_protocol", "http"),
            ("response_code", "200"),
            ("response_flags", "-"),
        ] {
            assert!(has(line, label, value), "{label}: {line}");
        }
    }
    assert!(has(of("source"), "destination_workload", "cart-v1"));
    assert!(has(of("source"), "destination_cluster", "Kubernetes"));
    assert!(has(of("source"), "connection_security_policy", "unknown"));
    assert!(
        has(of("destination"), "destination_workload", "web-v1"),
        "its own environment"
    );
    assert!(has(
        of("destination"),
        "connection_security_policy",
        "mutual_tls"
    ));
}

#[test]
fn nobody_outside_the_mesh_is_told_who_calls() {
    let outside = |weight| WeightedBackend {
        backend: Backend::Cluster {
            name: outbound(""),
            service: Some(cart(false)),
            alpn: None,
            hash: None,
        },
        weight,
        headers: Headers::default(),
    };
    for backends in [vec![outside(1)], vec![outside(1), outside(1)]] {
        let mesh = Setup {
            routes: vec![forward(backends)],
            upstream: UpstreamTls::Plaintext,
            inbound: inbound_port(1, InboundTraffic::Tcp, MtlsMode::Disable),
            ..Setup::http()
        }
        .start();
        let answer = get(mesh.client, "x-lateen-peer: forged\r\n");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(!answer.contains("x-lateen-peer"), "{answer}");
    }
}

/// A route with this ALPN.
fn announced(alpn: MeshAlpn) -> Route {
    forward(vec![WeightedBackend {
        backend: Backend::Cluster {
            name: outbound(""),
            service: Some(cart(true)),
            alpn: Some(alpn),
            hash: None,
        },
        weight: 1,
        headers: Headers::default(),
    }])
}

#[test]
fn an_undeclared_port_carries_http_and_bytes() {
    let setup = |app, app_protocol| Setup {
        routes: vec![announced(MeshAlpn::FollowCaller)],
        protocol: UpstreamProtocol::FollowCaller,
        inbound: inbound_port(1, InboundTraffic::Detect, MtlsMode::Permissive),
        traffic: OutboundTraffic::Detect(RouteTableName::Port(port(80)), tcp_backend()),
        app,
        app_protocol,
        ..Setup::http()
    };
    let http = setup(http_app(), UpstreamProtocol::Http1).start();
    assert!(get(http.client, "").starts_with("HTTP/1.1 200"));
    let tcp = setup(tcp_app(), UpstreamProtocol::Http1).start();
    assert_eq!(talk(tcp.client).as_deref(), Some("ping"));
}

#[test]
fn http2_goes_to_an_undeclared_port_whatever_the_caller_speaks() {
    let mesh = Setup {
        routes: vec![announced(MeshAlpn::Http2)],
        protocol: UpstreamProtocol::Http2,
        inbound: inbound_port(1, InboundTraffic::Detect, MtlsMode::Strict),
        ..Setup::http()
    }
    .start();
    assert!(get(mesh.client, "").starts_with("HTTP/1.1 200"));
}

#[test]
fn the_alpn_follows_the_caller_where_the_cluster_does() {
    let mesh = Setup {
        routes: vec![announced(MeshAlpn::FollowCaller)],
        protocol: UpstreamProtocol::FollowCaller,
        inbound: inbound_port(1, InboundTraffic::Detect, MtlsMode::Strict),
        ..Setup::http()
    }
    .start();
    for port in [mesh.client, mesh.client_http2] {
        let answer = get(port, "content-type: application/grpc+proto\r\n");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let stats = mesh
        .envoy
        .until("/stats", |text| text.contains("http2.tx_flush_timeout"));
    for (counter, requests) in [("http1_total", 1), ("http2_total", 1)] {
        let line = format!(
            "http.inbound_0.0.0.0_{};.downstream_cx_{counter}: {requests}",
            mesh.server
        );
        assert!(stats.contains(&line), "{line}");
    }
    let series = mesh.envoy.metrics("istio_requests_total");
    let of_server = |line: &&String| has(line, "reporter", "destination");
    assert!(has(
        series.iter().find(of_server).unwrap(),
        "request_protocol",
        "grpc"
    ));
}

#[test]
fn plaintext_is_refused_by_strict_and_served_by_permissive_without_a_name() {
    let strict = Setup {
        upstream: UpstreamTls::Plaintext,
        inbound: inbound_port(1, InboundTraffic::Http, MtlsMode::Strict),
        ..Setup::http()
    }
    .start();
    assert!(get(strict.client, "").starts_with("HTTP/1.1 503"));

    let permissive = Setup {
        mesh_tls: false,
        ..Setup::http()
    }
    .start();
    let forged = "x-lateen-peer: admin;admin;admin;v1;c\r\nx-forwarded-client-cert: By=forged\r\n";
    let answer = get(permissive.server, forged);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        !answer.contains("admin") && !answer.contains("forged"),
        "{answer}"
    );
    let series = permissive.envoy.metrics("istio_requests_total");
    assert!(
        has(&series[0], "connection_security_policy", "none"),
        "{series:?}"
    );
    assert!(has(&series[0], "source_principal", ""), "{series:?}");
    assert!(has(&series[0], "source_workload", ""), "{series:?}");
    assert!(
        get(permissive.client, "").starts_with("HTTP/1.1 200"),
        "tlsMode disabled"
    );
}

#[test]
fn sec_38_a_server_that_is_not_of_the_service_is_refused() {
    for accounts in [&["other"][..], &[]] {
        let mesh = Setup {
            upstream: UpstreamTls::Auto(mesh_tls(accounts)),
            ..Setup::http()
        }
        .start();
        let answer = get(mesh.client, "");
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
}

#[test]
fn a_caller_of_another_trust_domain_is_refused() {
    let mesh = Setup {
        trust_domain: "elsewhere".parse().unwrap(),
        ..Setup::http()
    }
    .start();
    assert!(get(mesh.client, "").starts_with("HTTP/1.1 503"));
}

#[test]
fn a_share_that_does_not_exist_is_answered_with_503() {
    let split = forward(vec![to(outbound(""), 1), missing("gone.shop", 1)]);
    let mesh = Setup {
        routes: vec![
            Route {
                matcher: RouteMatch {
                    headers: Arc::new([("x-split".into(), StringMatch::Present)]),
                    ..RouteMatch::default()
                },
                ..split
            },
            forward(vec![missing("gone.shop", 1)]),
        ],
        ..Setup::http()
    }
    .start();
    let answer = get(mesh.client, "");
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("gone.shop"),
        "{answer}"
    );
    let answers: Vec<String> = (0..40)
        .map(|_| get(mesh.client, "x-split: 1\r\n"))
        .collect();
    let served = answers
        .iter()
        .filter(|answer| answer.starts_with("HTTP/1.1 200"))
        .count();
    let refused = answers
        .iter()
        .filter(|answer| answer.starts_with("HTTP/1.1 503"))
        .count();
    assert!(
        served > 0 && refused > 0 && served + refused == 40,
        "{served} {refused}"
    );
}
