//! A real Envoy that is sent one resource after the other, and says of each whether it takes it.

use std::net::Ipv4Addr;
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;

use ads::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_api::envoy::service::discovery::v3 as ads;
use envoy_api::{Any, type_url};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use crate::mesh::envoy;

/// How long Envoy may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);
/// After so long without a word a resource is taken and warms: what breaks a constraint is refused at once.
const WARMS: Duration = Duration::from_secs(2);

/// What Envoy says about a resource.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Taken,
    /// It keeps every answer back until something has come that the resource waits for.
    Warms,
    Refused(String),
    /// It crashes: a fault of Envoy's own, and no constraint.
    Crashed,
}

/// The name that a resource must bear.
pub fn name(number: u32) -> String {
    format!("mutated-{number}")
}

/// Envoy's stream.
struct Line {
    requests: Streaming<ads::DeltaDiscoveryRequest>,
    responses: mpsc::Sender<Result<ads::DeltaDiscoveryResponse, Status>>,
}

/// An Envoy under questioning. It ends when this is dropped.
pub struct Judge {
    line: Line,
    asked: u32,
    /// The name and type of what it holds.
    held: Option<(String, String)>,
    _envoy: Child,
    _home: TempDir,
}

impl Judge {
    /// Starts an Envoy that has nothing yet.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (give, mut lines) = mpsc::channel(1);
        let service = AggregatedDiscoveryServiceServer::new(Server { give })
            .max_decoding_message_size(usize::MAX);
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("bootstrap.json");
        std::fs::write(&path, bootstrap(port)).unwrap();
        let envoy = Command::new(envoy())
            .args([
                "--use-dynamic-base-id",
                "--concurrency",
                "1",
                "--drain-time-s",
                "1",
            ])
            .args(["-l", "off", "-c"])
            .arg(&path)
            .kill_on_drop(true)
            // where it crashes it tells its own story at length
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let line = timeout(PATIENCE, lines.recv())
            .await
            .expect("Envoy does not come")
            .unwrap();
        let mut judge = Self {
            line,
            asked: 0,
            held: None,
            _envoy: envoy,
            _home: home,
        };
        for kind in [type_url::CLUSTER, type_url::LISTENER] {
            judge.await_subscription(kind).await;
            judge.send(kind, None).await;
        }
        judge
    }

    /// What Envoy says next; none: it is gone.
    async fn hear(&mut self) -> Option<ads::DeltaDiscoveryRequest> {
        self.line.requests.message().await.ok().flatten()
    }

    async fn await_subscription(&mut self, kind: &str) {
        let found = async { while self.hear().await.expect("Envoy hung up").type_url != kind {} };
        timeout(PATIENCE, found)
            .await
            .expect("Envoy does not subscribe");
    }

    /// Sends a resource, or none, in the place of the one before.
    async fn send(&mut self, kind: &str, resource: Option<Any>) {
        self.asked += 1;
        let name = name(self.asked);
        let same = self.held.take_if(|(_, of)| of == kind);
        let resource = resource.map(|resource| ads::Resource {
            name: name.clone(),
            version: self.asked.to_string(),
            resource: Some(resource),
            ..Default::default()
        });
        let response = ads::DeltaDiscoveryResponse {
            type_url: kind.to_owned(),
            nonce: self.asked.to_string(),
            resources: resource.into_iter().collect(),
            removed_resources: same.into_iter().map(|(name, _)| name).collect(),
            ..Default::default()
        };
        self.line.responses.send(Ok(response)).await.unwrap();
    }

    /// The number of the next resource.
    pub fn next(&self) -> u32 {
        self.asked + 1
    }

    /// What Envoy says about a packed resource.
    pub async fn ask(&mut self, resource: Any) -> Verdict {
        let kind = resource.type_url.clone();
        self.send(&kind, Some(resource)).await;
        let nonce = self.asked.to_string();
        let answer = async {
            loop {
                let request = self.hear().await?;
                if request.response_nonce == nonce {
                    return Some(request.error_detail);
                }
            }
        };
        match timeout(WARMS, answer).await {
            Err(_) => Verdict::Warms,
            Ok(None) => Verdict::Crashed,
            Ok(Some(Some(error))) => Verdict::Refused(error.message),
            Ok(Some(None)) => {
                self.held = Some((name(self.asked), kind));
                Verdict::Taken
            }
        }
    }
}

fn bootstrap(port: u16) -> String {
    let http2 = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }});
    let server = json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let endpoint = json!({"lb_endpoints": [{"endpoint": {"address": server}}]});
    let cluster = json!({
        "name": "xds-grpc",
        "type": "STATIC",
        "typed_extension_protocol_options": http2,
        "load_assignment": {"cluster_name": "xds-grpc", "endpoints": [endpoint]},
    });
    let ads = json!({"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"});
    let bootstrap = json!({
        "node": {"id": "test", "cluster": "test", "metadata": {"CLUSTER_ID": "Kubernetes"}},
        "static_resources": {"clusters": [cluster, {"name": "sds-grpc", "type": "STATIC"}]},
        "dynamic_resources": {
            "cds_config": ads,
            "lds_config": ads,
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
        },
    });
    bootstrap.to_string()
}

/// Hands over every stream that Envoy opens.
struct Server {
    give: mpsc::Sender<Line>,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Server {
    type StreamAggregatedResourcesStream = Responses<ads::DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<ads::DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<ads::DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("only delta is asked"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<ads::DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (responses, answered) = mpsc::channel(1);
        let requests = request.into_inner();
        let line = Line {
            requests,
            responses,
        };
        self.give
            .send(line)
            .await
            .map_err(|_| Status::cancelled("nobody asks"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(answered))))
    }
}
