//! Discovery between a client that behaves as Envoy and a control plane that the test plays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

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
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use wire::NAME_TABLE;
use wire::istio::networking::nds::v1::{NameTable, name_table::NameInfo};

use crate::control_plane::{Delta, Fake, Proof, rotation};
use crate::secrets::connect;

const SOON: Duration = Duration::from_secs(10);

/// A relay that has a certificate, and an Envoy in front of it.
struct Bench {
    fake: Fake,
    envoy: AggregatedDiscoveryServiceClient<Channel>,
    names: watch::Receiver<Arc<Names>>,
}

impl Bench {
    async fn new() -> Self {
        let fake = Fake::start("istiod.istio-system.svc").await;
        let (sender, mut current) = watch::channel(None);
        tokio::spawn(rotation(fake.client(), SystemClock, fake.folder.path()).run(sender));
        current.changed().await.unwrap();
        let (store, names) = NameStore::new("shop");
        let relay = Relay::new(fake.client(), current, store, Arc::new(Metrics::default()));
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
    assert_eq!(
        upstream.proof,
        Proof::Certificate("spiffe://cluster.local/ns/shop/sa/cart".to_owned())
    );
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
