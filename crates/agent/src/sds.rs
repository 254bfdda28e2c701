//! Envoy's secrets over a Unix socket: `default` and `ROOTCA` are the workload's certificate and the roots of the mesh,
//! `file-cert:CHAIN~KEY` and `file-root:ROOTS` are files of the pod (SVID 35), `file-root:system` the machine's roots.
//!
//! Each pair of Envoy and name is a stream of its own, which is sent a secret when it is there and again when it is new.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use envoy_api::envoy::config::core::v3::{DataSource, data_source::Specifier};
use envoy_api::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret,
};
use envoy_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_api::envoy::service::secret::v3::secret_discovery_service_server::{
    SecretDiscoveryService, SecretDiscoveryServiceServer,
};
use envoy_api::type_url::SECRET;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use xxhash_rust::xxh3::xxh3_128;
use zeroize::Zeroizing;

use crate::certificate::Certificate;
use crate::rotation::Current;

/// The name of the workload's certificate.
const DEFAULT: &str = "default";
/// The name of the roots of the mesh.
const ROOT: &str = "ROOTCA";
/// How often files are looked at again. Kubernetes replaces them by switching a link, which no watch of a file sees.
const FILES: Duration = Duration::from_secs(2);
/// A chain or a bundle in a file is no larger.
const MAX_FILE: u64 = 1 << 20;
/// How many names a stream may ask for; Envoy asks for one.
const MAX_NAMES: usize = 100;

/// The service.
#[derive(Clone, Debug)]
pub struct Secrets {
    current: Current,
    root_file: Arc<str>,
    versions: Versions,
}

impl Secrets {
    /// Serves this certificate. Peers are trusted by the roots that came with it, and by those of `root_file`: a mesh
    /// that is given another root says so there long before all its certificates are renewed.
    #[must_use]
    pub fn new(current: Current, root_file: Arc<str>) -> Self {
        Self {
            current,
            root_file,
            versions: Versions::default(),
        }
    }

    /// The service for tonic.
    #[must_use]
    pub fn into_server(self) -> SecretDiscoveryServiceServer<Self> {
        SecretDiscoveryServiceServer::new(self)
    }
}

/// What Envoy asked for.
enum Name<'a> {
    Default,
    Root,
    FileCert { chain: &'a str, key: &'a str },
    FileRoot(&'a str),
    SystemRoots,
}

impl<'a> Name<'a> {
    fn parse(name: &'a str) -> Result<Self, Status> {
        if let Some(files) = name.strip_prefix("file-cert:")
            && let Some((chain, key)) = files.split_once('~')
        {
            return Ok(Self::FileCert { chain, key });
        }
        match (name, name.strip_prefix("file-root:")) {
            (DEFAULT, _) => Ok(Self::Default),
            (ROOT, _) => Ok(Self::Root),
            (_, Some("system")) => Ok(Self::SystemRoots),
            (_, Some(path)) => Ok(Self::FileRoot(path)),
            (_, None) => Err(Status::invalid_argument(format!(
                "there is no secret {name:?}"
            ))),
        }
    }
}

/// A secret, or nothing while it is not there.
async fn secret(
    name: &str,
    current: Option<&Certificate>,
    root_file: &str,
) -> Result<Option<Secret>, Status> {
    let kind = match Name::parse(name)? {
        Name::Default => current
            .map(|certificate| tls(certificate.chain().to_owned(), certificate.key().to_owned())),
        Name::Root => match current {
            Some(certificate) => {
                let file = read(root_file).await.unwrap_or_default();
                Some(roots(united(certificate.roots(), &file)))
            }
            None => None,
        },
        Name::FileCert { chain, key } => match (read(chain).await, read(key).await) {
            (Some(chain), Some(key)) => Some(tls(chain, key)),
            _ => None,
        },
        Name::FileRoot(path) => read(path).await.map(roots),
        Name::SystemRoots => system_roots().await.map(roots),
    };
    Ok(kind.map(|kind| Secret {
        name: name.to_owned(),
        r#type: Some(kind),
    }))
}

/// The certificates of two PEM bundles, each once.
fn united(one: &str, other: &str) -> String {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut seen: Vec<String> = Vec::new();
    let mut bundle = String::new();
    for text in [one, other] {
        for block in text.split(BEGIN).skip(1) {
            let Some((body, _)) = block.split_once(END) else {
                continue;
            };
            let content: String = body.split_whitespace().collect();
            if !seen.contains(&content) {
                bundle += &format!("{BEGIN}\n{}\n{END}\n", body.trim());
                seen.push(content);
            }
        }
    }
    bundle
}

fn inline(text: String) -> Option<DataSource> {
    Some(DataSource {
        watched_directory: None,
        specifier: Some(Specifier::InlineBytes(text.into_bytes())),
    })
}

fn tls(chain: String, key: String) -> secret::Type {
    secret::Type::TlsCertificate(TlsCertificate {
        certificate_chain: inline(chain),
        private_key: inline(key),
        ..TlsCertificate::default()
    })
}

fn roots(bundle: String) -> secret::Type {
    secret::Type::ValidationContext(CertificateValidationContext {
        trusted_ca: inline(bundle),
        ..CertificateValidationContext::default()
    })
}

/// Where distributions keep the roots that they trust, Debian's place first.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The machine's roots: what a client trusts whose DestinationRule names no `caCertificates`.
async fn system_roots() -> Option<String> {
    for path in SYSTEM_ROOTS {
        if tokio::fs::try_exists(path).await.unwrap_or(false) {
            return read(path).await;
        }
    }
    None
}

async fn read(path: &str) -> Option<String> {
    let read = async {
        let metadata = tokio::fs::metadata(path).await?;
        if metadata.len() > MAX_FILE {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        tokio::fs::read_to_string(path).await
    };
    match read.await {
        Ok(text) => Some(text),
        Err(error) => {
            tracing::debug!(path, %error, "a secret's file cannot be read");
            None
        }
    }
}

/// Numbers the responses: Envoy shows versions to whom it does not show keys, so they tell nothing of a key.
#[derive(Clone, Debug, Default)]
struct Versions(Arc<AtomicU64>);

impl Versions {
    fn response(&self, secrets: &[Secret]) -> DiscoveryResponse {
        let version = (self.0.fetch_add(1, Ordering::Relaxed) + 1).to_string();
        DiscoveryResponse {
            nonce: version.clone(),
            version_info: version,
            resources: secrets.iter().map(envoy_api::pack).collect(),
            type_url: SECRET.to_owned(),
            ..DiscoveryResponse::default()
        }
    }
}

/// One stream: the names that it wants, each with the hash of what it was sent.
struct Session {
    current: Current,
    root_file: Arc<str>,
    versions: Versions,
    wanted: BTreeMap<String, Option<u128>>,
    files: Interval,
}

impl Session {
    /// Takes a request in: an acknowledgement, a refusal, or other names.
    fn request(&mut self, request: DiscoveryRequest) -> Result<(), Status> {
        if let Some(error) = &request.error_detail {
            tracing::warn!(names = ?request.resource_names, error = %error.message, "Envoy refuses a secret");
        }
        if request.resource_names.len() > MAX_NAMES {
            return Err(Status::resource_exhausted("too many names"));
        }
        let names = request.resource_names.into_iter();
        self.wanted = names
            .map(|name| {
                let sent = self.wanted.get(&name).copied().flatten();
                (name, sent)
            })
            .collect();
        Ok(())
    }

    /// The names whose secrets are new to this stream, all of the stream's secrets with them: a response is the whole
    /// state of its names.
    async fn news(&mut self) -> Result<Option<DiscoveryResponse>, Status> {
        let current = self.current.borrow_and_update().clone();
        let mut secrets = Vec::new();
        let mut is_new = false;
        for (name, sent) in &mut self.wanted {
            let Some(secret) = secret(name, current.as_deref(), &self.root_file).await? else {
                continue;
            };
            let hash = xxh3_128(&Zeroizing::new(secret.encode_to_vec()));
            is_new |= *sent != Some(hash);
            *sent = Some(hash);
            secrets.push(secret);
        }
        Ok(is_new.then(|| self.versions.response(&secrets)))
    }

    async fn run(
        mut self,
        mut requests: Streaming<DiscoveryRequest>,
        out: mpsc::Sender<Result<DiscoveryResponse, Status>>,
    ) -> Result<(), Status> {
        loop {
            let has_files = self
                .wanted
                .keys()
                .any(|name| name == ROOT || name.starts_with("file-"));
            tokio::select! {
                request = requests.message() => match request? {
                    Some(request) => self.request(request)?,
                    None => return Ok(()),
                },
                changed = self.current.changed() => {
                    changed.map_err(|_| Status::unavailable("the agent ends"))?;
                }
                _ = self.files.tick(), if has_files => {}
            }
            if let Some(response) = self.news().await?
                && out.send(Ok(response)).await.is_err()
            {
                return Ok(());
            }
        }
    }
}

#[tonic::async_trait]
impl SecretDiscoveryService for Secrets {
    type StreamSecretsStream = ReceiverStream<Result<DiscoveryResponse, Status>>;
    type DeltaSecretsStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let (out, responses) = mpsc::channel(1);
        let mut files = interval_at(Instant::now() + FILES, FILES);
        files.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let session = Session {
            current: self.current.clone(),
            root_file: Arc::clone(&self.root_file),
            versions: self.versions.clone(),
            wanted: BTreeMap::new(),
            files,
        };
        tokio::spawn(async move {
            if let Err(status) = session.run(request.into_inner(), out.clone()).await {
                let _ = out.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn delta_secrets(
        &self,
        _request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        Err(Status::unimplemented(
            "the agent serves secrets to api_type GRPC",
        ))
    }

    async fn fetch_secrets(
        &self,
        request: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        let current = self.current.borrow().clone();
        let mut secrets = Vec::new();
        for name in request.into_inner().resource_names.iter().take(MAX_NAMES) {
            let secret = secret(name, current.as_deref(), &self.root_file).await?;
            secrets.push(
                secret.ok_or_else(|| Status::unavailable(format!("{name:?} is not there yet")))?,
            );
        }
        Ok(Response::new(self.versions.response(&secrets)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_two_bundles_have_stands_once() {
        let pem = |body: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
        };
        let both = united(&(pem("AA\nBB") + &pem("CC")), &(pem("AABB") + &pem("DD")));
        assert_eq!(both, pem("AA\nBB") + &pem("CC") + &pem("DD"));
        assert_eq!(united(&pem("AA"), ""), pem("AA"));
        assert_eq!(united(&pem("AA"), "no certificate"), pem("AA"));
    }
}
