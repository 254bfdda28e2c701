//! Policies and raw connections through the real Envoy.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::sync::Arc;

use ir::model::*;
use ir::*;

use crate::envoy::exchange;
use crate::local::at;
use crate::peers::{talk, tcp_app};
use crate::routing::{Setup, get, has};
use crate::world::*;

/// A server whose port demands mutual TLS and checks these policies; its caller is `cart`.
fn with(traffic: InboundTraffic, authorization: Authorization) -> Setup {
    let base = Setup::http();
    let inbound = inbound_port(1, traffic, MtlsMode::Permissive);
    let base = Setup {
        authorization,
        ..base
    };
    match traffic {
        InboundTraffic::Http => Setup { inbound, ..base },
        InboundTraffic::Tcp | InboundTraffic::Detect => Setup {
            inbound,
            traffic: OutboundTraffic::Tcp(tcp_backend()),
            protocol: UpstreamProtocol::Tcp,
            app: tcp_app(),
            ..base
        },
    }
}

fn allow(rules: Vec<AuthorizationRule>) -> Authorization {
    Authorization {
        allow: Arc::new([policy(rules)]),
        ..Authorization::default()
    }
}

fn deny(rules: Vec<AuthorizationRule>) -> Authorization {
    Authorization {
        deny: Arc::new([policy(rules)]),
        ..Authorization::default()
    }
}

fn from(source: Source) -> AuthorizationRule {
    rule(vec![source], Vec::new())
}

fn asking(operation: Operation) -> AuthorizationRule {
    rule(Vec::new(), vec![operation])
}

/// The status of a request for a path.
fn status(port: u16, path: &str) -> u16 {
    let request = format!("GET {path} HTTP/1.1\r\nhost: cart\r\nconnection: close\r\n\r\n");
    let answer = exchange(at(port), &request);
    answer
        .split(' ')
        .nth(1)
        .unwrap_or_default()
        .parse()
        .unwrap_or(0)
}

/// Each rule of one ALLOW policy has a path of its own, so that one Envoy answers for all of them.
#[test]
fn sec_12_principals_match_as_they_are_written() {
    let namespace = |text| Source {
        namespaces: Values::any(patterns(&[text])),
        ..Source::default()
    };
    let account = |text: &str| Source {
        service_accounts: Values::any([AccountPattern {
            namespace: "shop".parse().unwrap(),
            account: text.parse().unwrap(),
        }]),
        ..Source::default()
    };
    let not_cart = Source {
        principals: Values::none(patterns(&["*/sa/cart"])),
        ..Source::default()
    };
    let unknown = Source {
        unknown: true,
        ..principals(&["*"])
    };
    let cases = [
        (principals(&["cluster.local/ns/shop/sa/cart"]), true),
        (principals(&["cluster.local/ns/shop/sa/car."]), false),
        (principals(&["cluster.local/ns/shop/*"]), true),
        (principals(&["*/sa/cart"]), true),
        (principals(&["*/sa/car."]), false),
        (principals(&["*/cluster.local/ns/shop/sa/cart"]), false),
        (principals(&["*"]), true),
        (namespace("shop"), true),
        (namespace("sho"), false),
        (namespace("sh*"), true),
        (namespace("s*p"), false),
        (namespace("*op"), true),
        (namespace("*"), true),
        (account("cart"), true),
        (account("car.t"), false),
        (not_cart, false),
        (unknown, false),
    ];
    let rules = cases.iter().zip(0..).map(|((source, _), number)| {
        rule(vec![source.clone()], vec![paths(&[&format!("/{number}")])])
    });
    let mesh = with(InboundTraffic::Http, allow(rules.collect())).start();
    for ((source, matches), number) in cases.iter().zip(0..) {
        let path = format!("/{number}");
        assert_eq!(status(mesh.client, &path) == 200, *matches, "{source:?}");
        // Plaintext has no name, so it is never one of these, and always not one of those.
        let nobody = status(mesh.server, &path) == 200;
        assert_eq!(nobody, !source.principals.none.is_empty(), "{source:?}");
    }
}

#[test]
fn policies_on_paths_and_methods_and_their_names_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let deny = policy(vec![
        asking(paths(&["/never"])),
        asking(Operation {
            paths: Values::any(path_patterns(&["/x*"])),
            methods: Values::none(patterns(&["POST"])),
            ..Operation::default()
        }),
    ]);
    let mesh = Setup {
        settings: logging(
            log.to_str().unwrap(),
            AccessLogFormat::Text("%RESPONSE_CODE_DETAILS%".into()),
        ),
        ..with(
            InboundTraffic::Http,
            Authorization {
                deny: Arc::new([deny]),
                ..Authorization::default()
            },
        )
    }
    .start();
    assert!(get(mesh.client, "").starts_with("HTTP/1.1 403"));
    mesh.envoy.until("/ready", |_| {
        let text = std::fs::read_to_string(&log).unwrap();
        text.contains("rbac_access_denied_matched_policy[ns[shop]-policy[cart]-rule[1]]")
    });
}

#[test]
fn an_allow_policy_without_rules_denies_all() {
    for traffic in [InboundTraffic::Http, InboundTraffic::Tcp] {
        let mesh = with(traffic, allow(Vec::new())).start();
        match traffic {
            InboundTraffic::Http => assert_eq!(status(mesh.client, "/x"), 403),
            InboundTraffic::Tcp | InboundTraffic::Detect => assert_eq!(talk(mesh.client), None),
        }
    }
}

#[test]
fn sec_13_policies_on_tcp() {
    let here = |ports: &[u16]| Operation {
        ports: Values::any(ports.iter().map(|&number| port(number)).collect::<Vec<_>>()),
        ..Operation::default()
    };
    let both = Operation {
        paths: Values::any(path_patterns(&["/x"])),
        ..here(&[])
    };
    let unknown = Operation {
        unknown: true,
        ..Operation::default()
    };
    let unknown_or_any = rule(Vec::new(), vec![unknown, here(&[])]);
    for (authorization, served) in [
        (
            allow(vec![from(principals(&["cluster.local/ns/shop/sa/cart"]))]),
            true,
        ),
        (
            allow(vec![from(principals(&["cluster.local/ns/shop/sa/other"]))]),
            false,
        ),
        (allow(vec![from(principals(&["*/sa/car."]))]), false),
        (allow(vec![asking(here(&[9]))]), false),
        (allow(vec![asking(both.clone())]), false),
        (allow(vec![unknown_or_any.clone()]), false),
        (deny(vec![unknown_or_any]), false),
        (deny(vec![asking(both)]), false),
        (deny(vec![asking(here(&[9]))]), true),
        (deny(vec![from(principals(&["*/sa/other"]))]), true),
        (deny(vec![from(principals(&["*/sa/cart"]))]), false),
    ] {
        let what = format!("{authorization:?}");
        let mesh = with(InboundTraffic::Tcp, authorization).start();
        let answer = talk(mesh.client);
        assert_eq!(answer.as_deref(), served.then_some("ping"), "{what}");
    }
}

#[test]
fn a_server_may_speak_first() {
    let mesh = with(InboundTraffic::Tcp, Authorization::default()).start();
    let mut greeting = String::new();
    let stream = TcpStream::connect(at(mesh.client)).unwrap();
    BufReader::new(stream).read_line(&mut greeting).unwrap();
    assert_eq!(greeting, "hello\n");
}

#[test]
fn connections_are_counted_on_both_sides() {
    let mesh = with(InboundTraffic::Detect, Authorization::default()).start();
    assert_eq!(talk(mesh.client).as_deref(), Some("ping"));
    for (name, value) in [
        ("istio_tcp_connections_opened_total", 1),
        ("istio_tcp_connections_closed_total", 1),
        ("istio_tcp_received_bytes_total", 5),
        ("istio_tcp_sent_bytes_total", 11),
    ] {
        mesh.envoy.until("/stats/prometheus", |text| {
            text.matches(&format!("\nenvoy_{name}{{")).count() == 2
        });
        for line in mesh.envoy.metrics(name) {
            assert!(line.ends_with(&format!(" {value}")), "{line}");
            assert!(has(&line, "destination_service", HOST), "{line}");
            assert!(
                has(&line, "source_principal", &identity("cart").to_string()),
                "{line}"
            );
            assert!(has(&line, "request_protocol", "tcp"), "{line}");
        }
    }
}
