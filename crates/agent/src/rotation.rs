//! Gets the workload's certificate and renews it at half of its life, or when discovery is refused with it.
//!
//! A new key each time. The current certificate is the proof; when the control plane does not take it (its root is
//! another, after a new installation), the token is. Trying never ends: a proxy goes on with what it has.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use model::{Namespace, ServiceAccount, TrustDomain};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use tokio::sync::{mpsc, watch};
use wire::istio::v1::auth::IstioCertificateRequest;
use wire::istio::v1::auth::istio_certificate_service_client::IstioCertificateServiceClient;
use zeroize::Zeroizing;

use crate::certificate::{Certificate, InvalidCertificate, Store};
use crate::control_plane::{ConnectError, ControlPlane};
use crate::metrics::Metrics;

/// The certificate that holds now; none before the first.
pub type Current = watch::Receiver<Option<Arc<Certificate>>>;

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// How long to wait at most before the clock is read again: a machine that slept has missed time.
const NAP: Duration = Duration::from_secs(60);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why no certificate came.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// No key or request could be made.
    #[error("no certificate request: {0}")]
    Request(#[from] rcgen::Error),
    /// The control plane is not there.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It refused.
    #[error("{:?}: {}", .0.code(), .0.message())]
    Refused(Box<tonic::Status>),
    /// It refused the token.
    #[error("--tokenFile {0}: {1}; `lateen token create` makes a new one")]
    Token(String, String),
    /// It took neither proof.
    #[error("{token}; and with the current certificate: {certificate}")]
    Both {
        /// Why not for the certificate.
        certificate: Box<IssueError>,
        /// Why not for the token.
        token: Box<IssueError>,
    },
    /// What came is not for us.
    #[error("the certificate is not used: {0}")]
    Invalid(#[from] InvalidCertificate),
    /// It is somebody else's.
    #[error("the certificate is for {0}, not for {1}: is the token of another service account?")]
    Foreign(String, String),
}

/// The time. Tests have their own.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> SystemTime;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// Who signs.
pub trait Issuer: Send + Sync {
    /// Has a request signed for whom the proof shows: leaf, intermediates, root bundle.
    fn issue(
        &self,
        csr: String,
        proof: Option<&Certificate>,
    ) -> impl Future<Output = Result<Vec<String>, IssueError>> + Send;
}

impl Issuer for ControlPlane {
    async fn issue(
        &self,
        csr: String,
        proof: Option<&Certificate>,
    ) -> Result<Vec<String>, IssueError> {
        let connection = self.connect(proof).await?;
        let mut request = connection.request(IstioCertificateRequest {
            csr,
            validity_duration: self.secret_ttl().as_secs().try_into().unwrap_or(i64::MAX),
            metadata: None,
        });
        request.set_timeout(CALL_TIMEOUT);
        let mut client = IstioCertificateServiceClient::new(connection.channel.clone());
        let answer = client.create_certificate(request).await;
        let answer = answer.map_err(|status| match (proof, status.code()) {
            (None, tonic::Code::Unauthenticated) => IssueError::Token(
                self.token_file().display().to_string(),
                status.message().to_owned(),
            ),
            _ => IssueError::Refused(Box::new(status)),
        })?;
        Ok(answer.into_inner().cert_chain)
    }
}

/// Whose certificate it must be.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The trust domain that was configured.
    pub trust_domain: TrustDomain,
    /// The namespace.
    pub namespace: Namespace,
    /// The service account.
    pub service_account: ServiceAccount,
}

impl Identity {
    fn path(&self) -> String {
        format!("/ns/{}/sa/{}", self.namespace, self.service_account)
    }

    /// The SPIFFE ID.
    #[must_use]
    pub fn spiffe_id(&self) -> String {
        format!("spiffe://{}{}", self.trust_domain, self.path())
    }

    /// Whether a certificate is this workload's. The trust domain is the control plane's to say.
    fn owns(&self, certificate: &Certificate) -> bool {
        let rest = certificate
            .identity
            .strip_prefix("spiffe://")
            .unwrap_or_default();
        let trust_domain = rest.strip_suffix(&self.path());
        trust_domain.is_some_and(|domain| !domain.is_empty() && !domain.contains('/'))
    }
}

/// Keeps the certificate new.
#[derive(Debug)]
pub struct Rotation<I, C> {
    /// Who signs.
    pub issuer: I,
    /// The time.
    pub clock: C,
    /// Whose certificate it is.
    pub identity: Identity,
    /// Where it is kept.
    pub store: Store,
    /// Certificates that the control plane did not take.
    pub refused: mpsc::Receiver<Arc<Certificate>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl<I: Issuer, C: Clock> Rotation<I, C> {
    /// The certificate kept from an earlier run, if it is this workload's, still valid, and of a root that
    /// `is_trusted`.
    #[must_use]
    pub fn kept(
        &self,
        is_trusted: impl FnOnce(&Certificate, SystemTime) -> bool,
    ) -> Option<Arc<Certificate>> {
        let now = self.clock.now();
        let certificate = self.store.load(now)?;
        (self.identity.owns(&certificate) && is_trusted(&certificate, now))
            .then(|| Arc::new(certificate))
    }

    /// Renews for ever.
    pub async fn run(mut self, current: watch::Sender<Option<Arc<Certificate>>>) {
        let mut retry = FIRST_RETRY;
        let mut is_away = false;
        let mut renew_at = current
            .borrow()
            .as_ref()
            .map(|certificate| certificate.renew_at(jitter()));
        let mut tried_at = SystemTime::UNIX_EPOCH;
        loop {
            let left = renew_at.and_then(|at| at.duration_since(self.clock.now()).ok());
            if let Some(left) = left.filter(|left| !left.is_zero()) {
                tokio::select! {
                    () = tokio::time::sleep(left.min(NAP)) => {}
                    Some(refused) = self.refused.recv() => {
                        let proof = current.borrow().clone();
                        // Another one may have come in the meantime.
                        if proof.is_some_and(|proof| Arc::ptr_eq(&proof, &refused)) {
                            renew_at = Some(tried_at + LAST_RETRY);
                        }
                    }
                }
                continue;
            }
            tried_at = self.clock.now();
            let proof = current.borrow().clone();
            match self.renew(proof.as_deref()).await {
                Ok(certificate) => {
                    self.announce(&certificate);
                    renew_at = Some(certificate.renew_at(jitter()));
                    current.send_replace(Some(Arc::new(certificate)));
                    retry = FIRST_RETRY;
                    is_away = false;
                }
                Err(error) => {
                    // An outage is worth one line, not one for each try.
                    if std::mem::replace(&mut is_away, true) {
                        tracing::debug!(%error, "still no certificate");
                    } else {
                        tracing::warn!(%error, "no certificate, trying again");
                    }
                    tokio::time::sleep(retry.mul_f64(1.0 + jitter() / 5.0)).await;
                    retry = LAST_RETRY.min(retry * 2);
                }
            }
        }
    }

    async fn renew(&self, current: Option<&Certificate>) -> Result<Certificate, IssueError> {
        let current = current.filter(|certificate| certificate.is_valid(self.clock.now()));
        let Some(certificate) = current else {
            return self.issue(None).await;
        };
        match self.issue(Some(certificate)).await {
            Ok(certificate) => Ok(certificate),
            Err(certificate) => match self.issue(None).await {
                Ok(issued) => {
                    tracing::info!(error = %certificate, "the token was taken, the current certificate was not");
                    Ok(issued)
                }
                Err(token) => Err(IssueError::Both {
                    certificate: Box::new(certificate),
                    token: Box::new(token),
                }),
            },
        }
    }

    async fn issue(&self, proof: Option<&Certificate>) -> Result<Certificate, IssueError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let identity = self.identity.spiffe_id();
        params.subject_alt_names = vec![rcgen::SanType::URI(identity.as_str().try_into()?)];
        let csr = params.serialize_request(&key)?.pem()?;
        self.metrics.outgoing_requests.add();
        let chain = self.issuer.issue(csr, proof).await?;
        let key = Zeroizing::new(key.serialize_pem());
        let certificate = Certificate::new(key, &chain, self.clock.now())?;
        if !self.identity.owns(&certificate) {
            return Err(IssueError::Foreign(certificate.identity, identity));
        }
        Ok(certificate)
    }

    fn announce(&self, certificate: &Certificate) {
        tracing::info!(identity = %certificate.identity, "new certificate");
        if certificate.identity != self.identity.spiffe_id() {
            tracing::warn!(
                identity = %certificate.identity,
                configured = %self.identity.trust_domain,
                "the mesh has another trust domain than --trustDomain"
            );
        }
        if let Err(error) = self.store.save(certificate) {
            tracing::warn!(%error, "the certificate cannot be kept for the next start");
        }
    }
}

/// From -1 to 1.
fn jitter() -> f64 {
    rand::random_range(-1.0..=1.0)
}
