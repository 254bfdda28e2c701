//! Secrets over a Unix socket, asked for as Envoy does.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent::certificate::Certificate;
use agent::sds::Secrets;
use envoy_api::envoy::config::core::v3::DataSource;
use envoy_api::envoy::config::core::v3::data_source::Specifier;
use envoy_api::envoy::extensions::transport_sockets::tls::v3::{Secret, secret::Type};
use envoy_api::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_api::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::control_plane::Authority;

/// A client of a service on a Unix socket.
pub async fn connect(path: &std::path::Path) -> Channel {
    let path = path.to_owned();
    let connect = move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    };
    let endpoint = Endpoint::from_static("http://agent");
    endpoint
        .connect_with_connector(tower::service_fn(connect))
        .await
        .unwrap()
}

/// A certificate of shop/cart.
pub fn certificate(authority: &Authority) -> Arc<Certificate> {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default()
        .serialize_request(&key)
        .unwrap()
        .pem()
        .unwrap();
    let chain = authority.sign(
        &csr,
        "spiffe://cluster.local/ns/shop/sa/cart",
        Duration::from_secs(3600),
    );
    Arc::new(Certificate::new(key.serialize_pem().into(), &chain, SystemTime::now()).unwrap())
}

/// The service with no certificate yet, and a client of it.
async fn serve() -> (
    watch::Sender<Option<Arc<Certificate>>>,
    SecretDiscoveryServiceClient<Channel>,
    tempfile::TempDir,
) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sds.sock");
    let (sender, current) = watch::channel(None);
    let listener = UnixListenerStream::new(UnixListener::bind(&path).unwrap());
    let server = tonic::transport::Server::builder()
        .add_service(Secrets::new(current, "no-file".into()).into_server());
    tokio::spawn(server.serve_with_incoming(listener));
    (
        sender,
        SecretDiscoveryServiceClient::new(connect(&path).await),
        folder,
    )
}

struct Stream {
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
}

fn ask(name: &str) -> DiscoveryRequest {
    DiscoveryRequest {
        resource_names: vec![name.to_owned()],
        type_url: envoy_api::type_url::SECRET.to_owned(),
        ..DiscoveryRequest::default()
    }
}

async fn subscribe(client: &mut SecretDiscoveryServiceClient<Channel>, name: &str) -> Stream {
    let (requests, queue) = mpsc::channel(4);
    requests.send(ask(name)).await.unwrap();
    let responses = client
        .stream_secrets(ReceiverStream::new(queue))
        .await
        .unwrap()
        .into_inner();
    Stream {
        requests,
        responses,
    }
}

impl Stream {
    /// The next secret, acknowledged.
    async fn next(&mut self) -> Type {
        let response =
            tokio::time::timeout(Duration::from_secs(10), self.responses.message()).await;
        let response = response.expect("a secret").unwrap().unwrap();
        assert_eq!(response.type_url, envoy_api::type_url::SECRET);
        let secret: Secret = response.resources[0].unpack().unwrap().unwrap();
        let acknowledgement = DiscoveryRequest {
            version_info: response.version_info,
            response_nonce: response.nonce,
            ..ask(&secret.name)
        };
        self.requests.send(acknowledgement).await.unwrap();
        secret.r#type.unwrap()
    }
}

fn text(source: Option<DataSource>) -> String {
    match source.unwrap().specifier {
        Some(Specifier::InlineBytes(bytes)) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn pair(secret: Type) -> (String, String) {
    match secret {
        Type::TlsCertificate(tls) => (text(tls.certificate_chain), text(tls.private_key)),
        other => panic!("{other:?}"),
    }
}

fn roots(secret: Type) -> String {
    match secret {
        Type::ValidationContext(context) => text(context.trusted_ca),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn svid_35_the_certificate_and_the_roots_come_when_they_are_there_and_again_when_they_are_new()
 {
    let (sender, mut client, _folder) = serve().await;
    let mut default = subscribe(&mut client, "default").await;
    let mut root = subscribe(&mut client, "ROOTCA").await;
    assert!(client.fetch_secrets(ask("default")).await.is_err());
    let authorities = [Authority::new(), Authority::new()];
    for authority in &authorities {
        let certificate = certificate(authority);
        sender.send_replace(Some(Arc::clone(&certificate)));
        assert_eq!(
            pair(default.next().await),
            (certificate.chain().to_owned(), certificate.key().to_owned())
        );
        assert_eq!(roots(root.next().await), certificate.roots());
    }
    let fetched = client
        .fetch_secrets(ask("ROOTCA"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(fetched.resources.len(), 1);
}

#[tokio::test]
async fn versions_are_numbers_and_tell_nothing_of_a_key() {
    let (sender, mut client, _folder) = serve().await;
    sender.send_replace(Some(certificate(&Authority::new())));
    let mut versions = Vec::new();
    for _ in 0..2 {
        let fetched = client.fetch_secrets(ask("default")).await.unwrap();
        versions.push(fetched.into_inner().version_info);
    }
    let mut stream = subscribe(&mut client, "default").await;
    let sent = tokio::time::timeout(Duration::from_secs(10), stream.responses.message()).await;
    versions.push(sent.unwrap().unwrap().unwrap().version_info);
    assert_eq!(versions, ["1", "2", "3"]);
}

#[tokio::test]
async fn svid_35_files_of_the_pod_come_by_name_and_are_watched() {
    let (_sender, mut client, folder) = serve().await;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut cert = subscribe(
        &mut client,
        &format!("file-cert:{}~{}", path("chain"), path("key")),
    )
    .await;
    std::fs::write(path("chain"), "chain 1").unwrap();
    std::fs::write(path("key"), "key 1").unwrap();
    assert_eq!(
        pair(cert.next().await),
        ("chain 1".to_owned(), "key 1".to_owned())
    );
    std::fs::write(path("roots"), "roots 1").unwrap();
    let mut root = subscribe(&mut client, &format!("file-root:{}", path("roots"))).await;
    assert_eq!(roots(root.next().await), "roots 1");
    std::fs::write(path("roots"), "roots 2").unwrap();
    assert_eq!(roots(root.next().await), "roots 2");

    let unknown = subscribe(&mut client, "kubernetes://credential")
        .await
        .responses
        .message()
        .await;
    assert_eq!(unknown.unwrap_err().code(), tonic::Code::InvalidArgument);
}
