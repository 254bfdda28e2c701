//! Istio's gRPC service `IstioCertificateService/CreateCertificate`, as istiod answers it: a workload
//! sends a CSR with its credentials and gets a chain for the identity that they prove.
//!
//! Whatever name or metadata the request carries is ignored: it cannot ask to be somebody else.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tonic::{Request, Response, Status};
use wire::istio::v1::auth::istio_certificate_service_server::{
    IstioCertificateService, IstioCertificateServiceServer,
};
use wire::istio::v1::auth::{IstioCertificateRequest, IstioCertificateResponse};

use crate::authority::{Authority, IssuedChain, Refused};
use crate::csr::MAX_CSR_BYTES;
use crate::identity::{Caller, Credentials, Denied, Reviewer};

/// The largest message that is read: a CSR and some metadata. Longer ones are refused unread.
const MAX_MESSAGE_BYTES: usize = 2 * MAX_CSR_BYTES;

/// What Istio counts as `citadel_server_*`. Each only grows; the metrics endpoint reads them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests received.
    pub csr_count: AtomicU64,
    /// Certificates issued.
    pub success_cert_issuance_count: AtomicU64,
    /// Requests whose sender proved no identity.
    pub authentication_failure_count: AtomicU64,
    /// Requests whose CSR was refused.
    pub csr_parsing_err_count: AtomicU64,
    /// Requests that failed when the certificate was to be made.
    pub csr_sign_err_count: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The service. Clones share everything.
#[derive(Clone)]
pub struct CertificateService {
    authority: Arc<Authority>,
    reviewer: Arc<dyn Reviewer>,
    counters: Arc<Counters>,
    clock: fn() -> SystemTime,
}

impl fmt::Debug for CertificateService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateService")
            .field("authority", &self.authority)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl CertificateService {
    /// Issues from `authority` to whom `reviewer` recognises; `clock` is `SystemTime::now` but in tests.
    #[must_use]
    pub fn new(
        authority: Arc<Authority>,
        reviewer: Arc<dyn Reviewer>,
        clock: fn() -> SystemTime,
    ) -> Self {
        Self {
            authority,
            reviewer,
            counters: Arc::default(),
            clock,
        }
    }

    /// Its counters, for the metrics endpoint.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// The service for tonic's router, with a bound on the size of a message.
    #[must_use]
    pub fn into_server(self) -> IstioCertificateServiceServer<Self> {
        IstioCertificateServiceServer::new(self).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn issue(
        &self,
        request: &IstioCertificateRequest,
        caller: &Caller,
        now: SystemTime,
    ) -> Result<IssuedChain, Refused> {
        let identity = caller.spiffe_id(self.authority.trust_domain());
        let ttl = match u64::try_from(request.validity_duration) {
            Ok(0) | Err(_) => None, // as istiod: the default
            Ok(seconds) => Some(Duration::from_secs(seconds)),
        };
        self.authority
            .issue(request.csr.as_bytes(), &identity, ttl, now)
    }
}

#[tonic::async_trait]
impl IstioCertificateService for CertificateService {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        count(&self.counters.csr_count);
        let now = (self.clock)();
        let peer = request.remote_addr();
        let (metadata, extensions, request) = request.into_parts();
        let credentials = Credentials::of(&metadata.into_headers(), &extensions);
        let proof = credentials.kind();
        let caller = match self.reviewer.review(&credentials, now).await {
            Ok(caller) => caller,
            Err(denied) => {
                count(&self.counters.authentication_failure_count);
                tracing::warn!(target: "ca::audit", proof, ?peer, reason = %denied, "caller denied");
                return Err(denied.into());
            }
        };
        match self.issue(&request, &caller, now) {
            Ok(issued) => {
                count(&self.counters.success_cert_issuance_count);
                audit(&issued, proof, peer);
                Ok(Response::new(IstioCertificateResponse {
                    cert_chain: issued.chain,
                }))
            }
            Err(refused) => {
                count(match refused {
                    Refused::Csr(_) => &self.counters.csr_parsing_err_count,
                    Refused::TtlTooLong(_)
                    | Refused::ForeignTrustDomain { .. }
                    | Refused::ServingName(_)
                    | Refused::AuthorityExpired
                    | Refused::Signing(_) => &self.counters.csr_sign_err_count,
                });
                let Caller {
                    namespace,
                    service_account,
                    pod: _,
                } = caller;
                tracing::warn!(
                    target: "ca::audit", %namespace, %service_account, proof, ?peer, reason = %refused,
                    "certificate refused"
                );
                Err(refused.into())
            }
        }
    }
}

/// The one line that every issue leaves.
fn audit(issued: &IssuedChain, proof: &'static str, peer: Option<std::net::SocketAddr>) {
    let seconds = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default().as_secs()
    };
    tracing::info!(
        target: "ca::audit",
        identity = %issued.identity,
        serial = %issued.serial,
        not_before = seconds(issued.not_before),
        not_after = seconds(issued.not_after),
        proof,
        ?peer,
        "certificate issued"
    );
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        let message = denied.to_string();
        match denied {
            Denied::NoCredentials
            | Denied::Token(_)
            | Denied::Reviewed(_)
            | Denied::Certificate(_) => Self::unauthenticated(message),
            Denied::Unavailable(_) => Self::unavailable(message),
        }
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::Csr(_) | Refused::TtlTooLong(_) | Refused::ServingName(_) => {
                Self::invalid_argument(message)
            }
            Refused::ForeignTrustDomain { .. } => Self::permission_denied(message),
            Refused::AuthorityExpired => Self::failed_precondition(message),
            Refused::Signing(_) => Self::internal(message),
        }
    }
}
