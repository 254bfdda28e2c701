//! The server over a socket, spoken to by tonic's generated client: the bytes are those that prost would write.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use envoy_api::envoy::config::core::v3::{ControlPlane, Node};
use envoy_api::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_api::envoy::service::discovery::v3::{
    DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource as Entry,
};
use envoy_api::{Any, type_url};
use http_body_util::BodyExt as _;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Server};
use tonic::{Code, Status};
use xds::{
    AdsService, Arrival, Backend, Connect, Event, Half, Kind, Part, Resource, StreamId,
    Subscription, View, client,
};

use crate::world::World;

/// Gives everybody the same view, and writes down what happens.
#[derive(Clone)]
struct Recorder {
    views: watch::Receiver<View>,
    log: mpsc::UnboundedSender<String>,
    refused: Arc<Mutex<Option<Status>>>,
}

impl Backend for Recorder {
    type Caller = String;

    async fn admit(&self, arrival: Arrival) -> Result<String, Status> {
        if let Some(status) = self.refused.lock().unwrap().take() {
            return Err(status);
        }
        let token = arrival.metadata.get("authorization");
        let token = token.and_then(|value| value.to_str().ok());
        Ok(token.unwrap_or("nobody").to_owned())
    }

    async fn connect(&self, first: Connect<String>) -> Result<Subscription, Status> {
        let Connect { caller, node, mode } = first;
        let _ = self.log.send(format!("{} {caller} {mode:?}", node.id));
        Ok(Subscription {
            views: self.views.clone(),
            stream: StreamId(7),
        })
    }

    fn report(&self, stream: StreamId, event: Event) {
        assert_eq!(stream, StreamId(7));
        let text = match event {
            Event::Sent {
                kind,
                resources,
                bytes,
                ..
            } => format!("sent {} {resources} {bytes}", kind.unwrap().short()),
            Event::Acked { kind, epoch, .. } => format!("acked {} {epoch}", kind.short()),
            Event::Rejected { kind, message, .. } => format!("rejected {} {message}", kind.short()),
            Event::FullySynced { epoch } => format!("synced {epoch}"),
        };
        let _ = self.log.send(text);
    }

    fn disconnected(&self, stream: StreamId) {
        assert_eq!(stream, StreamId(7));
        let _ = self.log.send("disconnected".to_owned());
    }
}

struct Harness {
    channel: Channel,
    views: watch::Sender<View>,
    log: mpsc::UnboundedReceiver<String>,
    refused: Arc<Mutex<Option<Status>>>,
}

/// Starts a server on loopback and connects to it.
async fn serve(view: View) -> Harness {
    let (views, receiver) = watch::channel(view);
    let (sender, log) = mpsc::unbounded_channel();
    let refused = Arc::default();
    let backend = Recorder {
        views: receiver,
        log: sender,
        refused: Arc::clone(&refused),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(AdsService::new(backend, "lateen"));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    Harness {
        channel,
        views,
        log,
        refused,
    }
}

/// Clusters small and large, in one part and in several.
fn clusters() -> View {
    let mut half = Half::default();
    let body =
        |length: usize| Bytes::from((0..length).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    for (name, length) in [
        ("empty", 0),
        ("small", 10),
        ("page", 4096),
        ("large", 300_000),
    ] {
        half.insert(
            Kind::Cluster,
            Arc::new(Resource::single(
                name,
                Part::new(body(length), Arc::from([])),
            )),
        );
    }
    let parts = (0..2000).fold(Resource::new("parts"), |resource, n| {
        resource.with_part(
            Arc::from(format!("{n:04}")),
            Part::new(body(n % 97), Arc::from([])),
        )
    });
    half.insert(Kind::Cluster, Arc::new(parts));
    View {
        epoch: 1,
        outbound: Arc::new(half),
        near: Arc::default(),
        inbound: Arc::default(),
    }
}

fn any(resource: &Resource) -> Any {
    let parts = resource
        .parts()
        .values()
        .flat_map(|part| part.body.to_vec());
    Any {
        type_url: type_url::CLUSTER.to_owned(),
        value: parts.collect::<Vec<_>>().into(),
    }
}

/// The first gRPC message of a response, undecoded.
async fn first_message(channel: Channel, method: &str, request: impl prost::Message) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend(u32::try_from(request.encoded_len()).unwrap().to_be_bytes());
    frame.extend(request.encode_to_vec());
    let (sender, receiver) = mpsc::channel::<Result<http_body::Frame<Bytes>, Status>>(1);
    sender
        .send(Ok(http_body::Frame::data(frame.into())))
        .await
        .unwrap();
    let body = tonic::body::Body::new(http_body_util::StreamBody::new(ReceiverStream::new(
        receiver,
    )));
    let path = format!("/envoy.service.discovery.v3.AggregatedDiscoveryService/{method}");
    let request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let response = tower::ServiceExt::oneshot(channel, request.body(body).unwrap())
        .await
        .unwrap();
    let (mut body, mut bytes) = (response.into_body(), Vec::new());
    loop {
        bytes.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
        if let Some(length) = bytes.get(1..5) {
            let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if bytes.len() >= length + 5 {
                assert_eq!(bytes.len(), length + 5, "no second message");
                return bytes.split_off(5);
            }
        }
    }
}

#[tokio::test]
async fn delta_bytes_are_prosts_own() {
    let view = clusters();
    let harness = serve(view.clone()).await;
    let mut request = client::subscribe(type_url::CLUSTER, Vec::new(), Default::default());
    request.resource_names_subscribe = vec!["*".to_owned(), "absent".to_owned()];
    let bytes = first_message(harness.channel, "DeltaAggregatedResources", request).await;
    let message = DeltaDiscoveryResponse::decode(bytes.as_slice()).unwrap();
    let entries = view.resources(Kind::Cluster).map(|resource| Entry {
        name: resource.name().to_string(),
        version: resource.version().to_string(),
        resource: Some(any(resource)),
        ..Entry::default()
    });
    let expected = DeltaDiscoveryResponse {
        system_version_info: message.system_version_info.clone(),
        resources: entries.collect(),
        type_url: type_url::CLUSTER.to_owned(),
        nonce: "1".to_owned(),
        removed_resources: vec!["absent".to_owned()],
        control_plane: Some(ControlPlane {
            identifier: "lateen".to_owned(),
        }),
        ..DeltaDiscoveryResponse::default()
    };
    assert_eq!(message, expected);
    assert!(bytes == expected.encode_to_vec());
}

#[tokio::test]
async fn sotw_bytes_are_prosts_own() {
    let view = clusters();
    let harness = serve(view.clone()).await;
    let request = DiscoveryRequest {
        type_url: type_url::CLUSTER.to_owned(),
        ..DiscoveryRequest::default()
    };
    let bytes = first_message(harness.channel, "StreamAggregatedResources", request).await;
    let message = DiscoveryResponse::decode(bytes.as_slice()).unwrap();
    let expected = DiscoveryResponse {
        version_info: message.version_info.clone(),
        resources: view
            .resources(Kind::Cluster)
            .map(|resource| any(resource))
            .collect(),
        type_url: type_url::CLUSTER.to_owned(),
        nonce: "1".to_owned(),
        control_plane: Some(ControlPlane {
            identifier: "lateen".to_owned(),
        }),
        ..DiscoveryResponse::default()
    };
    assert_eq!(message, expected);
    assert!(bytes == expected.encode_to_vec());
}

#[tokio::test]
async fn a_stream_from_its_first_request_to_its_end() {
    let world = World::default().cluster("a", "1").listener("l", "1", &[]);
    let mut harness = serve(world.view()).await;
    let mut metadata = tonic::metadata::MetadataMap::new();
    metadata.insert("authorization", "somebody".parse().unwrap());
    let mut first = client::subscribe(type_url::CLUSTER, Vec::new(), Default::default());
    first.node = Some(Node {
        id: "sidecar~me".to_owned(),
        ..Node::default()
    });
    let (requests, mut responses) = client::connect(harness.channel, metadata, first)
        .await
        .unwrap();
    let response = responses.message().await.unwrap().unwrap();
    let bytes = response.encoded_len();
    requests.send(client::ack(&response)).await.unwrap();
    requests
        .send(client::subscribe(
            type_url::LISTENER,
            Vec::new(),
            Default::default(),
        ))
        .await
        .unwrap();
    let response = responses.message().await.unwrap().unwrap();
    requests
        .send(client::nack(&response, "goo.gle/debugstr bad"))
        .await
        .unwrap();
    let mut log = Vec::new();
    while log.len() < 5 {
        log.push(harness.log.recv().await.unwrap());
    }
    let sent = format!("sent cds 1 {bytes}");
    assert_eq!(
        log[..3],
        ["sidecar~me somebody Delta", &sent, "acked cds 0"]
    );
    assert_eq!(log[4], "rejected lds bad");

    harness
        .views
        .send_replace(World { epoch: 2, ..world }.listener("l", "2", &[]).view());
    let response = responses.message().await.unwrap().unwrap();
    requests.send(client::ack(&response)).await.unwrap();
    while harness.log.recv().await.unwrap() != "synced 2" {}
    drop(requests);
    assert!(
        responses.message().await.unwrap().is_none(),
        "a client that is done ends the stream in peace"
    );
    while harness.log.recv().await.unwrap() != "disconnected" {}
}

#[tokio::test]
async fn refused_and_abandoned_streams() {
    let mut harness = serve(clusters()).await;
    let first = || client::subscribe(type_url::CLUSTER, Vec::new(), Default::default());
    *harness.refused.lock().unwrap() = Some(Status::permission_denied("not you\n"));
    let (_requests, mut responses) =
        client::connect(harness.channel.clone(), Default::default(), first())
            .await
            .unwrap();
    let status = responses.message().await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::PermissionDenied, "not you\n")
    );

    // a client that vanishes in the middle of a response
    let (_requests, responses) =
        client::connect(harness.channel.clone(), Default::default(), first())
            .await
            .unwrap();
    drop((responses, _requests));
    while harness.log.recv().await.unwrap() != "disconnected" {}

    // the control plane goes away
    let (_requests, mut responses) = client::connect(harness.channel, Default::default(), first())
        .await
        .unwrap();
    responses.message().await.unwrap().unwrap();
    drop(harness.views);
    assert_eq!(
        responses.message().await.unwrap_err().code(),
        Code::Unavailable
    );
}

#[tokio::test]
async fn requests_that_are_too_long_end_the_stream() {
    let harness = serve(clusters()).await;
    let mut client = AggregatedDiscoveryServiceClient::new(harness.channel);
    let (sender, receiver) = mpsc::channel(1);
    let long = DiscoveryRequest {
        version_info: "x".repeat(xds::MAX_REQUEST),
        ..DiscoveryRequest::default()
    };
    sender.send(long).await.unwrap();
    let mut responses = client
        .stream_aggregated_resources(ReceiverStream::new(receiver))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        responses.message().await.unwrap_err().code(),
        Code::OutOfRange
    );
}
