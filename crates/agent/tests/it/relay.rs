//! Discovery between a client that behaves as Envoy and a control plane that the test plays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agent::certificate::Certificate;
use agent::metrics::Metrics;
use agent::names::{NameStore, Names};
use agent::relay::Relay;
use agent::rotation::SystemClock;
use envoy_api::envoy::config::core::v3::Node;
use envoy_api::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use envoy_api::type_url::{CLUSTER, LISTENER};
use envoy_api::{Any, pack};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use wire::NAME_TABLE;
use wire::istio::networking::nds::v1::{NameTable, name_table::NameInfo};

use crate::control_plane::{Authority, Delta, Fake, Proof, rotation};
use crate::secrets::{certificate, connect};

const SOON: Duration = Duration::from_secs(10);
const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";

/// A relay that has a certificate, and an Envoy in front of it.
struct Bench {
    fake: Fake,
    envoy: AggregatedDiscoveryServiceClient<Channel>,
    names: watch::Receiver<Arc<Names>>,
}

impl Bench {
    async fn new() -> Self {
        let fake = Fake::start("istiod.istio-system.svc").await;
        let certificate = certificate(fake.authority());
        Self::with(fake, certificate).await
    }

    async fn with(fake: Fake, certificate: Arc<Certificate>) -> Self {
        let (sender, current) = watch::channel(Some(certificate));
        let (refused, refusals) = mpsc::channel(1);
        let mut rotation = rotation(fake.client(), SystemClock, fake.folder.path());
        rotation.refused = refusals;
        tokio::spawn(rotation.run(sender));
        let (store, names) = NameStore::new("shop");
        let metrics = Arc::new(Metrics::default());
        let relay = Relay::new(fake.client(), current, refused, store, metrics);
        let path = fake.path("xds.sock");
        let listener = UnixListenerStream::new(UnixListener::bind(&path).unwrap());
        let server = tonic::transport::Server::builder().add_service(relay.into_server());
        tokio::spawn(server.serve_with_incoming(listener));
        let envoy = AggregatedDiscoveryServiceClient::new(connect(&path).await);
        Self { fake, envoy, names }
    }

    /// A delta stream from Envoy to the control plane, with both ends in hand.
    async fn delta(&mut self) -> (Envoy, Delta) {
        let (requests, queue) = mpsc::channel(8);
        let mut client = self.envoy.clone();
        let opened = client
            .delta_aggregated_resources(ReceiverStream::new(queue))
            .await
            .unwrap();
        let upstream = tokio::time::timeout(SOON, self.fake.delta.recv())
            .await
            .unwrap()
            .unwrap();
        let responses = opened.into_inner();
        (
            Envoy {
                requests,
                responses,
            },
            upstream,
        )
    }
}

struct Envoy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Envoy {
    async fn ask(&self, type_url: &str) {
        let request = DeltaDiscoveryRequest {
            node: Some(Node {
                id: "sidecar~198.18.0.7~cart.shop~shop.svc.cluster.local".to_owned(),
                ..Node::default()
            }),
            ..delta_request(type_url)
        };
        self.requests.send(request).await.unwrap();
    }

    async fn next(&mut self) -> Result<Option<DeltaDiscoveryResponse>, Status> {
        tokio::time::timeout(SOON, self.responses.message())
            .await
            .unwrap()
    }
}

fn delta_request(type_url: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: type_url.to_owned(),
        ..DeltaDiscoveryRequest::default()
    }
}

async fn received<T>(requests: &mut Streaming<T>) -> T {
    tokio::time::timeout(SOON, requests.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap()
}

fn table(ip: &str) -> Any {
    let reviews = NameInfo {
        ips: vec![ip.to_owned()],
        shortname: "reviews".to_owned(),
        namespace: "shop".to_owned(),
        ..NameInfo::default()
    };
    pack(&NameTable {
        table: [("reviews.shop.svc.cluster.local".to_owned(), reviews)].into(),
    })
}

fn delta_response(type_url: &str, nonce: &str, resource: Any) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        type_url: type_url.to_owned(),
        nonce: nonce.to_owned(),
        resources: vec![Resource {
            name: "names".to_owned(),
            version: "v1".to_owned(),
            resource: Some(resource),
            ..Resource::default()
        }],
        ..DeltaDiscoveryResponse::default()
    }
}

fn address(names: &watch::Receiver<Arc<Names>>) -> Option<String> {
    let found = names.borrow().find("reviews", &[])?;
    Some(found.addresses[0].to_string())
}

#[tokio::test]
async fn envoys_stream_reaches_the_control_plane_and_names_stay_here() {
    let mut bench = Bench::new().await;
    let (mut envoy, mut upstream) = bench.delta().await;
    assert_eq!(upstream.proof, Proof::Certificate(CART.to_owned()));
    envoy.ask(CLUSTER).await;
    let first = received(&mut upstream.requests).await;
    assert_eq!(
        (first.type_url.as_str(), first.node.is_some()),
        (CLUSTER, true)
    );
    envoy.ask(LISTENER).await;
    assert_eq!(received(&mut upstream.requests).await.type_url, LISTENER);
    // The agent's own question follows that for listeners, and none follows the next.
    assert_eq!(
        received(&mut upstream.requests).await,
        delta_request(NAME_TABLE)
    );
    envoy.ask(LISTENER).await;
    assert_eq!(received(&mut upstream.requests).await.type_url, LISTENER);

    let send = async |response| upstream.responses.send(Ok(response)).await.unwrap();
    send(delta_response(NAME_TABLE, "n1", table("240.240.0.1"))).await;
    send(delta_response(CLUSTER, "c1", pack(&NameTable::default()))).await;
    let forwarded = envoy.next().await.unwrap().unwrap();
    assert_eq!(
        (forwarded.type_url.as_str(), forwarded.nonce.as_str()),
        (CLUSTER, "c1")
    );
    let acknowledged = received(&mut upstream.requests).await;
    assert_eq!(
        (
            acknowledged.response_nonce.as_str(),
            acknowledged.error_detail
        ),
        ("n1", None)
    );
    assert_eq!(address(&bench.names).as_deref(), Some("240.240.0.1"));

    let mut broken = table("240.240.0.2");
    broken.value = bytes::Bytes::from_static(b"\xff");
    send(delta_response(NAME_TABLE, "n2", broken)).await;
    let refused = received(&mut upstream.requests).await;
    assert_eq!(
        (
            refused.response_nonce.as_str(),
            refused.error_detail.is_some()
        ),
        ("n2", true)
    );
    assert_eq!(address(&bench.names).as_deref(), Some("240.240.0.1"));
}

#[tokio::test]
async fn both_ends_end_together_and_the_next_stream_says_what_is_there() {
    let mut bench = Bench::new().await;
    let (mut envoy, mut upstream) = bench.delta().await;
    envoy.ask(LISTENER).await;
    for _ in 0..2 {
        received(&mut upstream.requests).await;
    }
    upstream
        .responses
        .send(Ok(delta_response(NAME_TABLE, "n1", table("240.240.0.1"))))
        .await
        .unwrap();
    received(&mut upstream.requests).await;
    drop(upstream);
    assert_eq!(envoy.next().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(
        address(&bench.names).as_deref(),
        Some("240.240.0.1"),
        "names outlive a stream"
    );

    let (envoy, mut upstream) = bench.delta().await;
    envoy.ask(LISTENER).await;
    received(&mut upstream.requests).await;
    let resumed = received(&mut upstream.requests)
        .await
        .initial_resource_versions;
    assert_eq!(
        resumed,
        BTreeMap::from([("names".to_owned(), "v1".to_owned())])
    );
    drop(envoy);
    let ended = tokio::time::timeout(SOON, upstream.requests.message())
        .await
        .unwrap();
    assert!(matches!(ended, Ok(None) | Err(_)), "{ended:?}");
}

#[tokio::test]
async fn without_a_control_plane_envoy_is_told_to_come_back() {
    let Bench {
        fake, mut envoy, ..
    } = Bench::new().await;
    drop(fake);
    let mut responses = envoy
        .delta_aggregated_resources(tokio_stream::pending())
        .await
        .unwrap()
        .into_inner();
    let ended = tokio::time::timeout(SOON, responses.message())
        .await
        .unwrap();
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
}

/// Envoy's streams until one comes through, which then has the certificate of the new mesh.
async fn renewed(bench: &mut Bench) -> Delta {
    let come_back = async {
        loop {
            let mut client = bench.envoy.clone();
            let first = tokio_stream::once(delta_request(LISTENER));
            let requests = first.chain(tokio_stream::pending());
            let opened = client.delta_aggregated_resources(requests);
            let mut responses = opened.await.unwrap().into_inner();
            tokio::select! {
                ended = responses.message() => assert!(ended.is_err()),
                upstream = bench.fake.delta.recv() => return upstream.unwrap(),
            }
        }
    };
    tokio::time::timeout(SOON, come_back).await.unwrap()
}

#[tokio::test]
async fn a_certificate_of_a_root_that_is_gone_is_renewed_by_token_at_once() {
    let fake = Fake::start("istiod.istio-system.svc").await;
    let foreign = certificate(&Authority::new());
    let mut bench = Bench::with(fake, foreign).await;
    let upstream = renewed(&mut bench).await;
    assert_eq!(upstream.proof, Proof::Certificate(CART.to_owned()));
    assert_eq!(
        bench.fake.proofs(),
        [Proof::Token("Bearer shop/cart".to_owned())]
    );
}

#[tokio::test]
async fn a_certificate_that_discovery_refuses_is_renewed_at_once() {
    let mut bench = Bench::new().await;
    let (mut envoy, upstream) = bench.delta().await;
    let refusal = Status::unauthenticated("the client certificate is refused");
    upstream.responses.send(Err(refusal)).await.unwrap();
    assert!(envoy.next().await.is_err());
    let renewed = async {
        while bench.fake.proofs().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, renewed).await.unwrap();
    assert_eq!(bench.fake.proofs(), [Proof::Certificate(CART.to_owned())]);
}

#[tokio::test]
async fn the_state_of_the_world_is_carried_too() {
    let mut bench = Bench::new().await;
    let (requests, queue) = mpsc::channel(8);
    let ask = |type_url: &str| DiscoveryRequest {
        type_url: type_url.to_owned(),
        ..DiscoveryRequest::default()
    };
    requests.send(ask(LISTENER)).await.unwrap();
    let opened = bench
        .envoy
        .stream_aggregated_resources(ReceiverStream::new(queue))
        .await
        .unwrap();
    let mut responses = opened.into_inner();
    let mut upstream = tokio::time::timeout(SOON, bench.fake.sotw.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(received(&mut upstream.requests).await, ask(LISTENER));
    assert_eq!(received(&mut upstream.requests).await, ask(NAME_TABLE));
    for (type_url, resource) in [
        (NAME_TABLE, table("240.240.0.1")),
        (LISTENER, Any::default()),
    ] {
        let response = DiscoveryResponse {
            type_url: type_url.to_owned(),
            version_info: "v1".to_owned(),
            nonce: type_url.to_owned(),
            resources: vec![resource],
            ..DiscoveryResponse::default()
        };
        upstream.responses.send(Ok(response)).await.unwrap();
    }
    let forwarded = tokio::time::timeout(SOON, responses.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(forwarded.type_url, LISTENER);
    let acknowledged = received(&mut upstream.requests).await;
    assert_eq!(
        (
            acknowledged.version_info.as_str(),
            acknowledged.response_nonce.as_str()
        ),
        ("v1", NAME_TABLE)
    );
    assert_eq!(address(&bench.names).as_deref(), Some("240.240.0.1"));
}
