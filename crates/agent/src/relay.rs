//! Envoy's discovery streams, carried to the control plane over mutual TLS.
//!
//! Each stream of Envoy is one stream of ours: when either ends, so does the other, and Envoy comes back saying what it
//! holds. On the same stream the agent asks for the name table and keeps the answers for itself.

use std::fmt::{Debug, Display};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use envoy_api::Any;
use envoy_api::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_api::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_api::google::rpc;
use envoy_api::type_url::LISTENER;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};
use wire::NAME_TABLE;

use crate::certificate::Certificate;
use crate::control_plane::{ConnectError, Connection, ControlPlane, is_tls_refusal};
use crate::metrics::Metrics;
use crate::names::NameStore;
use crate::rotation::Current;

/// The largest message that is carried: a mesh of 100,000 clusters in one response has about 150 MB.
const MAX_MESSAGE: usize = 256 << 20;
/// Messages that wait for a slow reader; then the other side's sending stops.
const QUEUE: usize = 4;
/// `INVALID_ARGUMENT` of google.rpc.Code.
const INVALID_ARGUMENT: i32 = 3;

/// The service that Envoy talks to.
#[derive(Clone, Debug)]
pub struct Relay {
    control_plane: ControlPlane,
    current: Current,
    refused: mpsc::Sender<Arc<Certificate>>,
    names: Arc<Mutex<NameStore>>,
    metrics: Arc<Metrics>,
    is_away: Arc<AtomicBool>,
}

impl Relay {
    /// Relays to `control_plane` with the certificate of `current`, and says which was `refused`.
    #[must_use]
    pub fn new(
        control_plane: ControlPlane,
        current: Current,
        refused: mpsc::Sender<Arc<Certificate>>,
        names: NameStore,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            control_plane,
            current,
            refused,
            names: Arc::new(Mutex::new(names)),
            metrics,
            is_away: Arc::default(),
        }
    }

    /// The service for tonic.
    #[must_use]
    pub fn into_server(self) -> AggregatedDiscoveryServiceServer<Self> {
        AggregatedDiscoveryServiceServer::new(self).max_decoding_message_size(MAX_MESSAGE)
    }

    /// An outage is worth one line, not one for each try.
    fn failed(&self, reason: &dyn Display) {
        self.metrics.istiod_connection_failures.add();
        if self.is_away.swap(true, Ordering::Relaxed) {
            tracing::debug!(%reason, "still no discovery");
        } else {
            tracing::warn!(%reason, "no discovery; Envoy goes on with what it has");
        }
    }

    /// What renews the certificate need not wait for its half-life.
    fn refused(&self, certificate: Option<Arc<Certificate>>) {
        if let Some(certificate) = certificate {
            // A full queue says it already.
            let _ = self.refused.try_send(certificate);
        }
    }

    fn succeeded(&self) {
        if self.is_away.swap(false, Ordering::Relaxed) {
            tracing::info!("discovery is back");
        }
    }

    fn names<T>(&self, with: impl FnOnce(&mut NameStore) -> T) -> T {
        with(&mut self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn carry<K: Kind>(
        &self,
        envoy: Streaming<K::Request>,
    ) -> ReceiverStream<Result<K::Response, Status>> {
        let (out, responses) = mpsc::channel(QUEUE);
        let relay = self.clone();
        tokio::spawn(async move {
            // Envoy's end of the stream may be gone; then nobody needs the reason.
            if let Err(status) = Carrier::<K>::run(&relay, envoy, &out).await {
                tracing::debug!(%status, "a discovery stream ended");
                let _ = out.send(Err(status)).await;
            }
        });
        ReceiverStream::new(responses)
    }
}

/// One of the two forms of discovery.
trait Kind: 'static {
    type Request: Debug + Send + 'static;
    type Response: Debug + Send + 'static;

    fn open(
        connection: &Connection,
        requests: ReceiverStream<Self::Request>,
    ) -> impl Future<Output = Result<Response<Streaming<Self::Response>>, Status>> + Send;

    fn request_type(request: &Self::Request) -> &str;
    fn response_type(response: &Self::Response) -> &str;
    /// The first request for the name table.
    fn subscribe(names: &NameStore) -> Self::Request;
    /// Takes the name table in, and the answer to it.
    fn keep(names: &mut NameStore, response: Self::Response) -> Self::Request;
}

struct Carrier<'a, K: Kind> {
    relay: &'a Relay,
    control_plane: mpsc::Sender<K::Request>,
}

impl<'a, K: Kind> Carrier<'a, K> {
    async fn run(
        relay: &'a Relay,
        envoy: Streaming<K::Request>,
        out: &mpsc::Sender<Result<K::Response, Status>>,
    ) -> Result<(), Status> {
        let certificate = relay.current.borrow().clone();
        let connected = relay.control_plane.connect(certificate.as_deref()).await;
        let connection = match connected {
            Ok(connection) => connection,
            Err(error) => {
                relay.failed(&error);
                if matches!(error, ConnectError::Refused(..)) {
                    relay.refused(certificate);
                }
                return Err(Status::unavailable(error.to_string()));
            }
        };
        let (control_plane, requests) = mpsc::channel(QUEUE);
        let carrier = Carrier::<K> {
            relay,
            control_plane,
        };
        let down = async {
            // Some control planes answer the call itself only with the first message, so requests already flow.
            let opened = K::open(&connection, ReceiverStream::new(requests)).await;
            let responses = opened.inspect_err(|status| relay.failed(&status))?;
            relay.succeeded();
            carrier.down(responses.into_inner(), out).await
        };
        let ended = tokio::select! {
            ended = carrier.up(envoy) => ended,
            ended = down => ended,
        };
        if ended.as_ref().is_err_and(is_refusal) {
            relay.refused(certificate);
        }
        ended
    }

    async fn up(&self, mut envoy: Streaming<K::Request>) -> Result<(), Status> {
        let mut is_subscribed = false;
        loop {
            let Ok(Some(request)) = envoy.message().await else {
                self.relay.metrics.envoy_connection_terminations.add();
                return Ok(());
            };
            let is_listeners = K::request_type(&request) == LISTENER;
            self.send(request).await?;
            // As Istio's agent: behind the first request for listeners, with which Envoy's own start is complete.
            if is_listeners && !is_subscribed {
                is_subscribed = true;
                let subscribe = self.relay.names(|names| K::subscribe(names));
                self.send(subscribe).await?;
            }
        }
    }

    async fn down(
        &self,
        mut responses: Streaming<K::Response>,
        out: &mpsc::Sender<Result<K::Response, Status>>,
    ) -> Result<(), Status> {
        loop {
            let Some(response) = responses
                .message()
                .await
                .inspect_err(|_| self.terminated())?
            else {
                self.terminated();
                return Err(Status::unavailable("the control plane ended the stream"));
            };
            self.relay.metrics.xds_proxy_responses.add();
            if K::response_type(&response) == NAME_TABLE {
                let answer = self.relay.names(|names| K::keep(names, response));
                self.send(answer).await?;
            } else if out.send(Ok(response)).await.is_err() {
                return Ok(());
            }
        }
    }

    fn terminated(&self) {
        self.relay.metrics.istiod_connection_terminations.add();
    }

    async fn send(&self, request: K::Request) -> Result<(), Status> {
        self.relay.metrics.xds_proxy_requests.add();
        let sent = self.control_plane.send(request).await;
        sent.map_err(|_| Status::unavailable("the control plane ended the stream"))
    }
}

/// Whether the control plane does not take who we say we are.
fn is_refusal(status: &Status) -> bool {
    status.code() == Code::Unauthenticated || is_tls_refusal(status)
}

/// A refusal of the name table.
fn error_detail(kept: Result<(), String>) -> Option<rpc::Status> {
    kept.err().map(|message| {
        tracing::warn!(message, "the name table is refused");
        rpc::Status {
            code: INVALID_ARGUMENT,
            message,
            details: Vec::new(),
        }
    })
}

struct Delta;

impl Kind for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    async fn open(
        connection: &Connection,
        requests: ReceiverStream<DeltaDiscoveryRequest>,
    ) -> Result<Response<Streaming<DeltaDiscoveryResponse>>, Status> {
        let mut client = client(connection);
        client
            .delta_aggregated_resources(connection.request(requests))
            .await
    }

    fn request_type(request: &DeltaDiscoveryRequest) -> &str {
        &request.type_url
    }

    fn response_type(response: &DeltaDiscoveryResponse) -> &str {
        &response.type_url
    }

    fn subscribe(names: &NameStore) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            type_url: NAME_TABLE.to_owned(),
            initial_resource_versions: names.versions(),
            ..DeltaDiscoveryRequest::default()
        }
    }

    fn keep(names: &mut NameStore, response: DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
        let resources = response.resources.into_iter();
        let resources = resources.map(|resource| {
            (
                resource.name,
                resource.version,
                resource.resource.unwrap_or_default(),
            )
        });
        let kept = names.update(resources.collect(), &response.removed_resources);
        DeltaDiscoveryRequest {
            type_url: NAME_TABLE.to_owned(),
            response_nonce: response.nonce,
            error_detail: error_detail(kept),
            ..DeltaDiscoveryRequest::default()
        }
    }
}

struct StateOfTheWorld;

impl Kind for StateOfTheWorld {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    async fn open(
        connection: &Connection,
        requests: ReceiverStream<DiscoveryRequest>,
    ) -> Result<Response<Streaming<DiscoveryResponse>>, Status> {
        let mut client = client(connection);
        client
            .stream_aggregated_resources(connection.request(requests))
            .await
    }

    fn request_type(request: &DiscoveryRequest) -> &str {
        &request.type_url
    }

    fn response_type(response: &DiscoveryResponse) -> &str {
        &response.type_url
    }

    fn subscribe(_names: &NameStore) -> DiscoveryRequest {
        DiscoveryRequest {
            type_url: NAME_TABLE.to_owned(),
            ..DiscoveryRequest::default()
        }
    }

    fn keep(names: &mut NameStore, response: DiscoveryResponse) -> DiscoveryRequest {
        let version = response.version_info;
        let resource = |(index, any): (usize, Any)| (index.to_string(), version.clone(), any);
        let kept = names.replace(
            response
                .resources
                .into_iter()
                .enumerate()
                .map(resource)
                .collect(),
        );
        DiscoveryRequest {
            type_url: NAME_TABLE.to_owned(),
            // With a refusal goes the version before, which for a stream's first table is none.
            version_info: if kept.is_ok() { version } else { String::new() },
            response_nonce: response.nonce,
            error_detail: error_detail(kept),
            ..DiscoveryRequest::default()
        }
    }
}

fn client(connection: &Connection) -> AggregatedDiscoveryServiceClient<tonic::transport::Channel> {
    let client = AggregatedDiscoveryServiceClient::new(connection.channel.clone());
    client
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Relay {
    type StreamAggregatedResourcesStream = ReceiverStream<Result<DiscoveryResponse, Status>>;
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Ok(Response::new(
            self.carry::<StateOfTheWorld>(request.into_inner()),
        ))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Ok(Response::new(self.carry::<Delta>(request.into_inner())))
    }
}
