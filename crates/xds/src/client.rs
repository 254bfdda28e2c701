//! A delta ADS client: what the agent's relay and the benchmarks speak to a control plane with.

use std::collections::BTreeMap;

use envoy_api::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use envoy_api::google::rpc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::{Bytes, StdError};
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status, Streaming};

/// Requests that wait for the connection before `send` waits as well.
const QUEUE: usize = 16;

/// The half of a stream that requests go into. When all clones are dropped the stream ends.
#[derive(Clone, Debug)]
pub struct Requests(mpsc::Sender<DeltaDiscoveryRequest>);

impl Requests {
    /// Sends a request.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the stream has ended; the responses tell why.
    pub async fn send(&self, request: DeltaDiscoveryRequest) -> Result<(), Status> {
        self.0
            .send(request)
            .await
            .map_err(|_| Status::unavailable("the stream has ended"))
    }
}

/// Opens a delta stream with its first request, which should name the node. `metadata` carries the credentials.
///
/// # Errors
/// The server's status when it refuses the stream, or `UNAVAILABLE` when there is no connection.
pub async fn connect<T>(
    channel: T,
    metadata: MetadataMap,
    first: DeltaDiscoveryRequest,
) -> Result<(Requests, Streaming<DeltaDiscoveryResponse>), Status>
where
    T: GrpcService<Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
{
    let (sender, receiver) = mpsc::channel(QUEUE);
    let requests = Requests(sender);
    // before the call, because a server may wait for it before it answers at all
    requests.send(first).await?;
    let mut request = Request::new(ReceiverStream::new(receiver));
    *request.metadata_mut() = metadata;
    let mut client =
        AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
    let responses = client
        .delta_aggregated_resources(request)
        .await?
        .into_inner();
    Ok((requests, responses))
}

/// A request that subscribes to names, or to everything if there are none and the type has a wildcard. `initial` says
/// what the client has from an earlier stream: name and version.
pub fn subscribe(
    type_url: &str,
    names: Vec<String>,
    initial: BTreeMap<String, String>,
) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: type_url.to_owned(),
        resource_names_subscribe: names,
        initial_resource_versions: initial,
        ..DeltaDiscoveryRequest::default()
    }
}

/// The request that accepts a response.
pub fn ack(response: &DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        ..DeltaDiscoveryRequest::default()
    }
}

/// The request that refuses a response.
pub fn nack(
    response: &DeltaDiscoveryResponse,
    message: impl Into<String>,
) -> DeltaDiscoveryRequest {
    let status = rpc::Status {
        code: Code::InvalidArgument as i32,
        message: message.into(),
        details: Vec::new(),
    };
    DeltaDiscoveryRequest {
        error_detail: Some(status),
        ..ack(response)
    }
}
