//! A proxy as far as `lateend` sees one: TLS, credentials, certificates, a delta stream.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use envoy_api::envoy::config::core::v3::Node;
use envoy_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use hyper_util::rt::TokioIo;
use prost_types::value::Kind as Shape;
use prost_types::{Struct, Value};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use wire::istio::v1::auth::IstioCertificateRequest;
use wire::istio::v1::auth::istio_certificate_service_client::IstioCertificateServiceClient;
use xds::Kind;
use xds::client::{Requests, ack, connect, subscribe};

use super::process::{Home, Lateend, PATIENCE};

/// The name in the control plane's certificate.
pub const SERVER: &str = "istiod.istio-system.svc";

/// A certificate with its key, as PEM.
#[derive(Clone)]
pub struct Identity {
    pub chain: Vec<String>,
    pub key: String,
}

/// The TLS settings of a client that trusts `roots`.
pub fn tls(roots: &str, identity: Option<&Identity>) -> ClientConfig {
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots.as_bytes()) {
        store.add(root.unwrap()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store);
    match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { chain, key }) => {
            let own = chain.split_last().unwrap().1.concat();
            let chain = CertificateDer::pem_slice_iter(own.as_bytes())
                .map(Result::unwrap)
                .collect();
            builder
                .with_client_auth_cert(
                    chain,
                    PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
                )
                .unwrap()
        }
    }
}

/// A connection to the secure port, by a client that trusts `roots`.
pub async fn secure(
    lateend: &Lateend,
    roots: &str,
    identity: Option<&Identity>,
) -> Result<Channel, tonic::transport::Error> {
    let address = lateend.address("secureGRPCAddr").unwrap();
    Ok(secure_at(address, roots, identity).await?.0)
}

/// As [`secure`], wherever the port is: the connection and the address from which it comes.
pub async fn secure_at(
    address: &str,
    roots: &str,
    identity: Option<&Identity>,
) -> Result<(Channel, SocketAddr), tonic::transport::Error> {
    let mut config = tls(roots, identity);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (tls, address) = (TlsConnector::from(Arc::new(config)), address.to_owned());
    let own: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
    let seen = Arc::clone(&own);
    let connector = tower::service_fn(move |_| {
        let (tls, address, seen) = (tls.clone(), address.clone(), Arc::clone(&seen));
        async move {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            *seen.lock().unwrap() = Some(socket.local_addr()?);
            let name = SERVER.try_into().unwrap();
            std::io::Result::Ok(TokioIo::new(tls.connect(name, socket).await?))
        }
    });
    let channel = Endpoint::from_static("http://istiod.istio-system.svc")
        .connect_with_connector(connector)
        .await?;
    let own = own.lock().unwrap().unwrap();
    Ok((channel, own))
}

/// A connection to the plaintext port.
pub async fn plaintext(lateend: &Lateend) -> Channel {
    let address = format!("http://{}", lateend.address("grpcAddr").unwrap());
    Endpoint::from_shared(address)
        .unwrap()
        .connect()
        .await
        .unwrap()
}

/// Headers with a bearer token.
pub fn bearer(token: &str) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    metadata.insert("authorization", format!("Bearer {token}").parse().unwrap());
    metadata
}

/// A new P-256 key, and a request for a certificate for it, as PEM.
pub fn key_and_csr() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key);
    (key.serialize_pem(), csr.unwrap().pem().unwrap())
}

/// Asks for a certificate for a new key.
pub async fn certificate(channel: Channel, metadata: MetadataMap) -> Result<Identity, Status> {
    let (key, csr) = key_and_csr();
    let chain = sign(channel, metadata, csr).await?;
    Ok(Identity { chain, key })
}

/// Asks for the certificate of a request that is ready.
pub async fn sign(
    channel: Channel,
    metadata: MetadataMap,
    csr: String,
) -> Result<Vec<String>, Status> {
    let mut request = Request::new(IstioCertificateRequest {
        csr,
        ..Default::default()
    });
    *request.metadata_mut() = metadata;
    let answer = IstioCertificateServiceClient::new(channel)
        .create_certificate(request)
        .await?;
    Ok(answer.into_inner().cert_chain)
}

/// A node as the agent sends it.
pub fn node(id: &str, metadata: &[(&str, &str)]) -> Node {
    let value = |text: &str| Value {
        kind: Some(Shape::StringValue(text.to_owned())),
    };
    let fields = metadata
        .iter()
        .map(|(name, text)| ((*name).to_owned(), value(text)))
        .collect();
    Node {
        id: id.to_owned(),
        metadata: Some(Struct { fields }),
        ..Node::default()
    }
}

/// The node of the proxy beside `shop/cart-1`.
pub fn cart() -> Node {
    let metadata = [
        ("NAMESPACE", "shop"),
        ("SERVICE_ACCOUNT", "cart"),
        ("ISTIO_VERSION", "1.32.0"),
    ];
    node(
        "sidecar~198.18.0.7~cart-1.shop~shop.svc.cluster.local",
        &metadata,
    )
}

/// A delta stream.
pub struct Proxy {
    requests: Requests,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Proxy {
    /// Opens a stream that begins with this request.
    pub async fn open(
        channel: Channel,
        metadata: MetadataMap,
        node: Node,
        first: DeltaDiscoveryRequest,
    ) -> Result<Self, Status> {
        let first = DeltaDiscoveryRequest {
            node: Some(node),
            ..first
        };
        let (requests, responses) = connect(channel, metadata, first).await?;
        Ok(Self {
            requests,
            responses,
        })
    }

    /// A stream of `shop/cart-1` that joined with a token and asks for all clusters.
    pub async fn join(lateend: &Lateend, home: &Home) -> Self {
        let channel = secure(lateend, &home.roots(), None).await.unwrap();
        let token = bearer(&home.token("shop", "cart", std::time::Duration::ZERO));
        Self::open(channel, token, cart(), all(Kind::Cluster))
            .await
            .unwrap()
    }

    pub async fn send(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(request).await.unwrap();
    }

    /// The next response, or how the stream ended.
    pub async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let next = tokio::time::timeout(PATIENCE, self.responses.message())
            .await
            .expect("an answer in time");
        next?.ok_or_else(|| Status::ok("the stream ended"))
    }

    /// The next response, accepted.
    pub async fn accept(&mut self) -> DeltaDiscoveryResponse {
        let response = self.next().await.unwrap();
        self.send(ack(&response)).await;
        response
    }

    /// The next response of a kind; those that come before it are accepted, it is not.
    pub async fn next_of(&mut self, kind: Kind) -> DeltaDiscoveryResponse {
        loop {
            let response = self.next().await.unwrap();
            if response.type_url == kind.type_url() {
                return response;
            }
            self.send(ack(&response)).await;
        }
    }
}

/// A request for everything of a kind.
pub fn all(kind: Kind) -> DeltaDiscoveryRequest {
    subscribe(kind.type_url(), Vec::new(), BTreeMap::new())
}

/// A request for one resource.
pub fn one(kind: Kind, name: &str) -> DeltaDiscoveryRequest {
    subscribe(kind.type_url(), vec![name.to_owned()], BTreeMap::new())
}

/// Names and versions of a response.
pub fn versions(response: &DeltaDiscoveryResponse) -> BTreeMap<String, String> {
    response
        .resources
        .iter()
        .map(|resource| (resource.name.clone(), resource.version.clone()))
        .collect()
}
