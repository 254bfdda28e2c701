//! Who is let in, and what nobody can do: the rules SEC 01, 05, 09 and 37 over the wire.

use std::time::Duration;

use envoy_api::envoy::config::core::v3::Node;
use tonic::Code;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use xds::Kind;
use xds::client::subscribe;

use super::client::{Proxy, all, bearer, cart, certificate, node, plaintext, secure};
use super::process::{Home, Lateend};

/// How a stream of this node ends, or OK if it is answered.
async fn outcome(channel: &Channel, metadata: MetadataMap, node: Node) -> Code {
    match Proxy::open(channel.clone(), metadata, node, all(Kind::Cluster)).await {
        Ok(mut proxy) => proxy
            .next()
            .await
            .map_or_else(|status| status.code(), |_| Code::Ok),
        Err(status) => status.code(),
    }
}

fn header(name: &'static str, value: &str) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    metadata.insert(name, value.parse().unwrap());
    metadata
}

const ID: &str = "sidecar~198.18.0.7~cart-1.shop~shop.svc.cluster.local";
const OF_OTHER: &str = "sidecar~198.18.0.7~cart-1.other~other.svc.cluster.local";

#[tokio::test]
async fn sec_37_a_stream_needs_credentials() {
    let (home, other) = (Home::new(), Home::new());
    let lateend = Lateend::start(&home, &[]).await;
    let channel = secure(&lateend, &home.roots(), None).await.unwrap();
    let xfcc =
        "By=spiffe://cluster.local/ns/shop/sa/cart;URI=spiffe://cluster.local/ns/shop/sa/cart";
    let fresh = Duration::ZERO;
    let table = [
        ("nothing", MetadataMap::new()),
        (
            "SEC 05: a header of a proxy",
            header("x-forwarded-client-cert", xfcc),
        ),
        ("no token", bearer("token")),
        ("another scheme", header("authorization", "Basic Y2FydA==")),
        (
            "another mesh's token",
            bearer(&other.token("shop", "cart", fresh)),
        ),
        (
            "an old token",
            bearer(&home.token("shop", "cart", Duration::from_secs(3000))),
        ),
    ];
    for (name, metadata) in table {
        assert_eq!(
            outcome(&channel, metadata.clone(), cart()).await,
            Code::Unauthenticated,
            "{name}"
        );
        let denied = certificate(channel.clone(), metadata).await.err().unwrap();
        assert_eq!(denied.code(), Code::Unauthenticated, "{name}");
    }
    let its_own = bearer(&home.token("shop", "cart", fresh));
    assert_eq!(outcome(&channel, its_own, cart()).await, Code::Ok);
}

#[tokio::test]
async fn sec_37_a_node_must_be_whom_its_credentials_prove() {
    let home = Home::new();
    let lateend = Lateend::start(&home, &[]).await;
    let channel = secure(&lateend, &home.roots(), None).await.unwrap();
    let token = |namespace, account| bearer(&home.token(namespace, account, Duration::ZERO));
    let own = certificate(channel.clone(), token("shop", "cart"))
        .await
        .unwrap();
    let named = secure(&lateend, &home.roots(), Some(&own)).await.unwrap();
    let (other_account, other_namespace) = ([("SERVICE_ACCOUNT", "web")], [("NAMESPACE", "other")]);
    let denied = Code::PermissionDenied;
    for (namespace, account, node, expected) in [
        ("shop", "cart", node(ID, &[]), Code::Ok),
        ("shop", "web", cart(), denied),
        ("other", "cart", cart(), denied),
        ("shop", "cart", node(OF_OTHER, &[]), denied),
        ("shop", "cart", node(ID, &other_namespace), denied),
        ("shop", "cart", node(ID, &other_account), denied),
    ] {
        let shown = format!("{namespace}/{account} {node:?}");
        assert_eq!(
            outcome(&channel, token(namespace, account), node).await,
            expected,
            "{shown}"
        );
    }
    for (metadata, node, expected) in [
        (MetadataMap::new(), cart(), Code::Ok),
        (MetadataMap::new(), node(ID, &other_account), denied),
        // A certificate is the identity, whatever stands beside it.
        (token("other", "cart"), node(OF_OTHER, &[]), denied),
    ] {
        assert_eq!(
            outcome(&named, metadata, node.clone()).await,
            expected,
            "{node:?}"
        );
    }
}

#[tokio::test]
async fn the_plaintext_port_asks_nobody_and_gives_nobody_a_certificate() {
    let home = Home::new();
    let lateend = Lateend::start(&home, &["--grpcAddr", ":0"]).await;
    let channel = plaintext(&lateend).await;
    assert_eq!(
        outcome(&channel, MetadataMap::new(), cart()).await,
        Code::Ok
    );
    let denied = certificate(channel.clone(), MetadataMap::new())
        .await
        .err()
        .unwrap();
    assert_eq!(denied.code(), Code::Unauthenticated);
    let token = bearer(&home.token("shop", "cart", Duration::ZERO));
    assert!(certificate(channel, token).await.is_ok());
}

#[tokio::test]
async fn sec_01_nothing_on_the_wire_crashes_it() {
    let home = Home::new();
    let lateend = Lateend::start(&home, &["--grpcAddr", ":0"]).await;
    let channel = plaintext(&lateend).await;
    let annotations = "x".repeat(3 << 20);
    let id = cart().id;
    for bad in [
        Node::default(),
        node("", &[]),
        node("sidecar~~~", &[]),
        node("~~~", &[]),
        node(&"~".repeat(100_000), &[]),
        node("sidecar~198.18.0.7~cart~d", &[]),
        node(&id, &[("NAMESPACE", "\u{0}")]),
        node(&id, &[("ANNOTATIONS", &annotations)]),
    ] {
        let shown: String = bad.id.chars().take(40).collect();
        assert_eq!(
            outcome(&channel, MetadataMap::new(), bad).await,
            Code::InvalidArgument,
            "{shown:?}"
        );
    }
    let huge = node(&id, &[("ANNOTATIONS", &annotations.repeat(2))]);
    assert_eq!(
        outcome(&channel, MetadataMap::new(), huge).await,
        Code::OutOfRange
    );

    let mut proxy = Proxy::open(channel, MetadataMap::new(), cart(), all(Kind::Cluster))
        .await
        .unwrap();
    proxy
        .send(subscribe(
            "type.googleapis.com/no.such.Type",
            vec!["a".to_owned()],
            Default::default(),
        ))
        .await;
    let mut stale = all(Kind::Listener);
    stale.response_nonce = "stale".to_owned();
    proxy.send(stale).await;
    let names = (0..200_000).map(|name| format!("n{name}")).collect();
    proxy
        .send(subscribe(
            Kind::Endpoint.type_url(),
            names,
            Default::default(),
        ))
        .await;
    let mut answered = 0;
    while answered < 200_000 {
        answered += proxy.next_of(Kind::Endpoint).await.removed_resources.len();
    }
    assert_eq!(lateend.get("/ready").await.0, 200);
}

#[tokio::test]
async fn sec_09_debugging_is_for_this_machine_and_plaintext_is_off() {
    let home = Home::new();
    let lateend = Lateend::start(&home, &[]).await;
    assert_eq!(lateend.address("grpcAddr"), None);
    for flag in ["secureGRPCAddr", "httpAddr", "monitoringAddr"] {
        assert!(
            lateend.address(flag).unwrap().starts_with("127.0.0.1:"),
            "{flag}"
        );
    }
    let paths = [
        "/debug",
        "/debug/configz",
        "/debug/syncz",
        "/debug/config_dump?proxyID=a.b",
        "/debug/diagnostics",
    ];
    for flag in ["httpAddr", "monitoringAddr"] {
        for path in paths {
            for host in ["localhost", "127.0.0.1:8080", "[::1]"] {
                let (status, _) = lateend.page(flag, "GET", path, host).await;
                assert_eq!(
                    status,
                    if path.contains('?') { 404 } else { 200 },
                    "{path} as {host}"
                );
            }
            for host in [
                "rebound.example",
                "198.18.0.1:8080",
                "",
                "localhost\r\nHost: rebound.example",
            ] {
                assert_eq!(
                    lateend.page(flag, "GET", path, host).await.0,
                    403,
                    "{path} as {host:?}"
                );
            }
            assert_eq!(
                lateend
                    .page(
                        flag,
                        "GET",
                        &format!("http://rebound.example{path}"),
                        "localhost"
                    )
                    .await
                    .0,
                403
            );
            assert_eq!(
                lateend.page(flag, "POST", path, "localhost").await.0,
                405,
                "{path}"
            );
        }
        assert_eq!(
            lateend
                .page(flag, "GET", "/debug/pprof", "localhost")
                .await
                .0,
            404
        );
        assert_eq!(
            lateend
                .page(flag, "GET", "/version", "rebound.example")
                .await
                .0,
            200
        );
    }
}
