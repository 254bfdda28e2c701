//! A control plane on loopback: it signs for whom a token or a certificate names, and its discovery says what a test
//! puts into it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use agent::args::ControlPlaneArguments;
use agent::control_plane::ControlPlane;
use agent::metrics::Metrics;
use agent::rotation::{Clock, Identity, Rotation};
use envoy_api::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair,
    SanType,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tower::ServiceExt as _;
use wire::istio::v1::auth::istio_certificate_service_server::{
    IstioCertificateService, IstioCertificateServiceServer,
};
use wire::istio::v1::auth::{IstioCertificateRequest, IstioCertificateResponse};

/// How a caller proved who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    Token(String),
    Certificate(String),
    None,
}

/// One discovery stream, as the control plane sees it.
pub struct Stream<Q, A> {
    pub proof: Proof,
    pub requests: Streaming<Q>,
    pub responses: mpsc::Sender<Result<A, Status>>,
}

pub type Delta = Stream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;
pub type StateOfTheWorld = Stream<DiscoveryRequest, DiscoveryResponse>;

/// A running control plane.
pub struct Fake {
    pub address: SocketAddr,
    pub folder: TempDir,
    pub delta: mpsc::Receiver<Delta>,
    pub sotw: mpsc::Receiver<StateOfTheWorld>,
    shared: Arc<Shared>,
    _running: oneshot::Sender<()>,
}

struct Shared {
    authority: Authority,
    proofs: Mutex<Vec<Proof>>,
    delta: mpsc::Sender<Delta>,
    sotw: mpsc::Sender<StateOfTheWorld>,
}

/// A root that signs what it is asked.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
    der: CertificateDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "root");
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Signs a request for an identity: leaf and root.
    pub fn sign(&self, csr: &str, identity: &str, life: Duration) -> Vec<String> {
        let mut request = CertificateSigningRequestParams::from_pem(csr).unwrap();
        request.params = leaf(vec![SanType::URI(identity.try_into().unwrap())], life);
        vec![
            request.signed_by(&self.issuer).unwrap().pem(),
            self.pem.clone(),
        ]
    }

    fn serving(&self, name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = leaf(
            vec![SanType::DnsName(name.try_into().unwrap())],
            Duration::from_secs(3600),
        );
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (
            certificate.der().clone(),
            key.serialize_der().try_into().unwrap(),
        )
    }
}

fn leaf(names: Vec<SanType>, life: Duration) -> CertificateParams {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.not_before = (now - Duration::from_secs(120)).into();
    params.not_after = (now + life).into();
    params
}

/// Where the proof of a connection stands.
#[derive(Clone)]
struct Peer(Option<CertificateDer<'static>>);

fn proof<T>(request: &Request<T>) -> Proof {
    if let Some(Peer(Some(certificate))) = request.extensions().get() {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).unwrap();
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        let x509_parser::extensions::GeneralName::URI(uri) = names.value.general_names[0] else {
            panic!("no URI");
        };
        return Proof::Certificate(uri.to_owned());
    }
    match request.metadata().get("authorization") {
        Some(value) => Proof::Token(value.to_str().unwrap().to_owned()),
        None => Proof::None,
    }
}

impl Fake {
    /// Starts, with a name in its certificate. A token `NS/SA` proves that service account.
    pub async fn start(name: &str) -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("root.pem"), &authority.pem).unwrap();
        std::fs::write(folder.path().join("token"), "shop/cart\n").unwrap();
        let (delta, delta_streams) = mpsc::channel(8);
        let (sotw, sotw_streams) = mpsc::channel(8);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = acceptor(&authority, name);
        let shared = Arc::new(Shared {
            authority,
            proofs: Mutex::default(),
            delta,
            sotw,
        });
        let (running, stopped) = oneshot::channel();
        tokio::spawn(serve(listener, acceptor, Arc::clone(&shared), stopped));
        Self {
            address,
            folder,
            delta: delta_streams,
            sotw: sotw_streams,
            shared,
            _running: running,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn authority(&self) -> &Authority {
        &self.shared.authority
    }

    /// The proofs of all requests for certificates so far.
    pub fn proofs(&self) -> Vec<Proof> {
        self.shared.proofs.lock().unwrap().clone()
    }

    pub fn arguments(&self) -> ControlPlaneArguments {
        ControlPlaneArguments {
            discovery_address: self.address.to_string().parse().unwrap(),
            server_name: Some("istiod.istio-system.svc".to_owned()),
            root_cert: self.path("root.pem"),
            token_file: self.path("token"),
            secret_ttl: Duration::from_secs(86_400),
        }
    }

    /// The agent's side of it.
    pub fn client(&self) -> ControlPlane {
        ControlPlane::new(self.arguments(), "Kubernetes").unwrap()
    }
}

/// What renews the certificate of shop/cart, keeping it in a folder.
pub fn rotation<I, C: Clock>(issuer: I, clock: C, folder: &Path) -> Rotation<I, C> {
    Rotation {
        issuer,
        clock,
        identity: Identity {
            trust_domain: "cluster.local".parse().unwrap(),
            namespace: "shop".parse().unwrap(),
            service_account: "cart".parse().unwrap(),
        },
        store: agent::certificate::Store::new(folder),
        refused: mpsc::channel(1).1,
        metrics: Arc::new(Metrics::default()),
    }
}

fn acceptor(authority: &Authority, name: &str) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der.clone()).unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let (certificate, key) = authority.serving(name);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.allow_unauthenticated().build().unwrap())
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    mut stopped: oneshot::Receiver<()>,
) {
    let routes = Routes::new(IstioCertificateServiceServer::from_arc(Arc::clone(&shared)))
        .add_service(AggregatedDiscoveryServiceServer::from_arc(shared));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => return,
        };
        let (acceptor, routes) = (acceptor.clone(), routes.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(accepted.unwrap().0).await else {
                return;
            };
            let peer = stream.get_ref().1.peer_certificates();
            let peer = Peer(peer.map(|chain| chain[0].clone().into_owned()));
            let service =
                routes.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
                    request.extensions_mut().insert(peer.clone());
                    request.map(tonic::body::Body::new)
                });
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let service = TowerToHyperService::new(service);
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

#[tonic::async_trait]
impl IstioCertificateService for Shared {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let proof = proof(&request);
        self.proofs.lock().unwrap().push(proof.clone());
        let identity = match &proof {
            Proof::Certificate(uri) => uri.clone(),
            Proof::Token(token) if token.ends_with("/expired") => {
                return Err(Status::unauthenticated(
                    "the token is refused: it has expired",
                ));
            }
            Proof::Token(token) => {
                let (namespace, account) = token
                    .strip_prefix("Bearer ")
                    .unwrap()
                    .split_once('/')
                    .unwrap();
                format!("spiffe://cluster.local/ns/{namespace}/sa/{account}")
            }
            Proof::None => return Err(Status::unauthenticated("nobody")),
        };
        let request = request.into_inner();
        let life = Duration::from_secs(request.validity_duration.try_into().unwrap());
        let cert_chain = self.authority.sign(&request.csr, &identity, life);
        Ok(Response::new(IstioCertificateResponse { cert_chain }))
    }
}

type Answered<A> = Response<ReceiverStream<Result<A, Status>>>;

fn stream<Q, A>(request: Request<Streaming<Q>>) -> (Stream<Q, A>, Answered<A>) {
    let proof = proof(&request);
    let (responses, out) = mpsc::channel(8);
    let stream = Stream {
        proof,
        requests: request.into_inner(),
        responses,
    };
    (stream, Response::new(ReceiverStream::new(out)))
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Shared {
    type StreamAggregatedResourcesStream = ReceiverStream<Result<DiscoveryResponse, Status>>;
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let (seen, response) = stream(request);
        self.sotw
            .send(seen)
            .await
            .map_err(|_| Status::unavailable("over"))?;
        Ok(response)
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (seen, response) = stream(request);
        self.delta
            .send(seen)
            .await
            .map_err(|_| Status::unavailable("over"))?;
        Ok(response)
    }
}
