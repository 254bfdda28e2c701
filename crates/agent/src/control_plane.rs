//! Connections to the control plane: TLS that verifies its name, and our certificate or our token as proof.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::client::ResolvesClientCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::args::{Authority, ControlPlaneArguments};
use crate::certificate::{Certificate, certificates};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A control plane that vanished is noticed after [`KEEP_ALIVE`] and [`CONNECT_TIMEOUT`].
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Envoy's receive windows: the 64 KB of the protocol halve the speed of a large configuration.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 24 << 20;
/// A join token has 400 bytes, one of Kubernetes 1,500.
const MAX_TOKEN: usize = 16 << 10;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The roots of the control plane cannot be used.
    #[error("--rootCert {0}: {1}")]
    Roots(String, String),
    /// There is no proof to show.
    #[error("--tokenFile {0}: {1}")]
    Token(String, String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The control plane cannot be reached.
    #[error("{0}: {1}")]
    Connect(String, String),
    /// It does not take our certificate, or is not who it should be.
    #[error("{0}: {1}")]
    Refused(String, String),
}

/// Where the control plane is, and how to prove oneself to it. Files are read at each connection, so that new roots and
/// tokens are taken up.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    arguments: Arc<ControlPlaneArguments>,
    server_name: ServerName<'static>,
    cluster_id: MetadataValue<Ascii>,
}

/// An open connection and what to say in each call on it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The connection.
    pub channel: Channel,
    headers: MetadataMap,
}

impl Connection {
    /// A call with the proof in its headers.
    pub fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = self.headers.clone();
        request
    }
}

/// Who the control plane must be: what was said, or the Service that is called. Any other address (a loopback, a load
/// balancer) is a way to the usual one.
fn server_name(arguments: &ControlPlaneArguments) -> &str {
    const USUAL: &str = "istiod.istio-system.svc";
    let host = arguments.discovery_address.host.as_str();
    let is_service = host.ends_with(".svc") || host.contains(".svc.");
    let called = is_service.then_some(host);
    arguments.server_name.as_deref().or(called).unwrap_or(USUAL)
}

impl ControlPlane {
    /// Checks the arguments.
    ///
    /// # Errors
    /// The argument that cannot be used.
    pub fn new(arguments: ControlPlaneArguments, cluster_id: &str) -> Result<Self, String> {
        let server_name = server_name(&arguments);
        let server_name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| format!("--serverName {server_name:?} is not a name"))?;
        let cluster_id = cluster_id
            .parse()
            .map_err(|_| format!("--clusterId {cluster_id:?} is not plain text"))?;
        Ok(Self {
            arguments: Arc::new(arguments),
            server_name,
            cluster_id,
        })
    }

    /// The lifetime of certificates to ask for.
    #[must_use]
    pub fn secret_ttl(&self) -> Duration {
        self.arguments.secret_ttl
    }

    /// Where the token is, for messages.
    #[must_use]
    pub fn token_file(&self) -> &Path {
        &self.arguments.token_file
    }

    /// The address, for messages.
    #[must_use]
    pub fn address(&self) -> &Authority {
        &self.arguments.discovery_address
    }

    /// The roots that are known before there is a certificate.
    ///
    /// # Errors
    /// The file cannot be read or has no certificate in it.
    pub fn file_roots(&self) -> Result<RootCertStore, ConnectError> {
        let path = &self.arguments.root_cert;
        let failed = |error: String| ConnectError::Roots(path.display().to_string(), error);
        let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        add_roots(&mut roots, &pem).map_err(&failed)?;
        if roots.is_empty() {
            return Err(failed("there is no certificate in it".to_owned()));
        }
        Ok(roots)
    }

    /// Connects with a certificate, or with the token when there is none. A connection lives for one call or one
    /// stream, so that each starts with the newest certificate and none is cut by a new one.
    ///
    /// # Errors
    /// [`ConnectError`]; trying again later may help with each.
    pub async fn connect(
        &self,
        certificate: Option<&Certificate>,
    ) -> Result<Connection, ConnectError> {
        let mut headers = MetadataMap::new();
        headers.insert("clusterid", self.cluster_id.clone());
        if certificate.is_none() {
            headers.insert("authorization", self.bearer()?);
        }
        let tls = TlsConnector::from(Arc::new(self.tls(certificate)?));
        let address = &self.arguments.discovery_address;
        let failed = |error: &(dyn std::error::Error + 'static)| {
            let failed = if is_tls_refusal(error) {
                ConnectError::Refused
            } else {
                ConnectError::Connect
            };
            failed(address.to_string(), causes(error))
        };
        // The scheme says nothing: TLS is the connector's.
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| failed(&error))?
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(CONNECT_TIMEOUT);
        let (server_name, target) = (self.server_name.clone(), address.clone());
        let connector = tower::service_fn(move |_: Uri| {
            let (tls, server_name, target) = (tls.clone(), server_name.clone(), target.clone());
            async move {
                let connect = async {
                    let tcp = TcpStream::connect((target.host.as_str(), target.port)).await?;
                    tcp.set_nodelay(true)?;
                    tls.connect(server_name, tcp).await
                };
                let timed = tokio::time::timeout(CONNECT_TIMEOUT, connect).await;
                timed
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                    .map(TokioIo::new)
            }
        });
        let channel = endpoint.connect_with_connector(connector).await;
        Ok(Connection {
            channel: channel.map_err(|error| failed(&error))?,
            headers,
        })
    }

    fn bearer(&self) -> Result<MetadataValue<Ascii>, ConnectError> {
        let path = &self.arguments.token_file;
        let failed =
            |error: &str| ConnectError::Token(path.display().to_string(), error.to_owned());
        let token = read_small(path).map_err(|error| failed(&error.to_string()))?;
        let header = format!("Bearer {}", token.trim()).parse::<MetadataValue<Ascii>>();
        let mut header = header.map_err(|_| failed("there is no token in it"))?;
        header.set_sensitive(true);
        Ok(header)
    }

    fn tls(&self, certificate: Option<&Certificate>) -> Result<ClientConfig, ConnectError> {
        // A mesh that changes its root says so in its certificates before the file of the pod does.
        let mut roots = self.file_roots().or_else(|error| match certificate {
            Some(_) => Ok(RootCertStore::empty()),
            None => Err(error),
        })?;
        if let Some(certificate) = certificate {
            add_roots(&mut roots, certificate.roots().as_bytes())
                .map_err(|error| ConnectError::Roots("of the certificate".to_owned(), error))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match certificate {
            Some(certificate) => {
                builder.with_client_cert_resolver(always(&certificate.certified()))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

fn always(certified: &Arc<CertifiedKey>) -> Arc<dyn ResolvesClientCert> {
    Arc::new(SingleCertAndKey::from(Arc::clone(certified)))
}

fn add_roots(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), String> {
    for certificate in certificates(pem).map_err(|error| error.to_string())? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn read_small(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let limit = u64::try_from(MAX_TOKEN).unwrap_or(u64::MAX);
    std::fs::File::open(path)?
        .take(limit)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// Whether TLS ended a connection: by an alert of the other side, or by ours. In TLS 1.3 a client's certificate is refused
/// only behind the handshake, in the first call.
pub(crate) fn is_tls_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut all = std::iter::successors(Some(error), |error| error.source());
    all.any(|error| {
        let error = error.downcast_ref::<io::Error>();
        // What rustls refuses or is told is this kind, and nothing else on the way is.
        error.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
    })
}

/// An error with its causes, of which tonic's own text says nothing.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<String> = Vec::new();
    for text in all.map(ToString::to_string) {
        if texts.last() != Some(&text) {
            texts.push(text);
        }
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use crate::args::{Arguments, Command};
    use clap::Parser as _;

    use super::*;

    #[test]
    fn the_control_plane_must_be_the_service_that_is_called() {
        let name = |words: &[&str]| {
            let base = ["lateen-agent", "proxy", "--namespace", "a", "--pod", "b"];
            let arguments = Arguments::try_parse_from(base.iter().chain(words)).unwrap();
            let Command::Proxy(proxy) = arguments.command else {
                panic!("not proxy");
            };
            server_name(&proxy.control_plane).to_owned()
        };
        assert_eq!(name(&[]), "istiod.istio-system.svc");
        let canary = ["--discoveryAddress", "istiod-canary.mesh.svc:15012"];
        assert_eq!(name(&canary), "istiod-canary.mesh.svc");
        let loopback = ["--discoveryAddress", "127.0.0.1:15012"];
        assert_eq!(name(&loopback), "istiod.istio-system.svc");
        let said = [&canary[..], &["--serverName", "other"]].concat();
        assert_eq!(name(&said), "other");
    }
}
