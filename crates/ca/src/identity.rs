//! Who is calling: from a client certificate of the mesh, or from a token. Never from a header that
//! a proxy may have set, and never because a call came over loopback (SEC 05).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::SystemTime;

use model::{Name, Namespace, ServiceAccount, SpiffeId, TrustDomain};
use rustls_pki_types::CertificateDer;
use tonic::codegen::http::{Extensions, HeaderMap, header::AUTHORIZATION};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::path::system_time;
use crate::token::TokenVerifier;

/// The workload that a caller has proved to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its service account.
    pub service_account: ServiceAccount,
    /// The Pod that its token is bound to; none with a certificate, which says nothing of Pods.
    pub pod: Option<Name>,
}

impl Caller {
    /// Its identity in `trust_domain`.
    #[must_use]
    pub fn spiffe_id(&self, trust_domain: &TrustDomain) -> SpiffeId {
        SpiffeId {
            trust_domain: trust_domain.clone(),
            namespace: self.namespace.clone(),
            service_account: self.service_account.clone(),
        }
    }
}

/// The certificates that the client presented in the TLS handshake, leaf first.
///
/// The TLS listener puts it into the extensions of every request of the connection, after it has
/// verified the chain against [`Authority::roots`](crate::Authority::roots).
#[derive(Clone, Debug, Default)]
pub struct PeerCertificates(pub Vec<CertificateDer<'static>>);

/// What a caller offers as proof.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The token of `authorization: Bearer`.
    pub bearer: Option<String>,
    /// The client certificate and its chain, verified by TLS; empty without one.
    pub peer_certificates: Vec<CertificateDer<'static>>,
}

impl Credentials {
    /// The credentials of a request: its one `authorization` header, and the [`PeerCertificates`]
    /// that the listener put into its extensions. No other header is looked at.
    #[must_use]
    pub fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let bearer = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().and_then(bearer),
            (None, _) | (Some(_), Some(_)) => None,
        };
        let peer = extensions.get::<PeerCertificates>();
        Self {
            bearer,
            peer_certificates: peer.map(|peer| peer.0.clone()).unwrap_or_default(),
        }
    }

    /// What kind of proof decides, for logs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match (self.peer_certificates.is_empty(), &self.bearer) {
            (false, _) => "certificate",
            (true, Some(_)) => "token",
            (true, None) => "none",
        }
    }
}

fn bearer(value: &str) -> Option<String> {
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials").field(&self.kind()).finish()
    }
}

/// Why a caller is nobody. The text says what is wrong with the proof, never what it contains.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Neither a client certificate nor a bearer token.
    #[error("no credentials: present a mesh certificate or a bearer token with audience istio-ca")]
    NoCredentials,
    /// The token proves nothing.
    #[error("the token is refused: {0}")]
    Token(&'static str),
    /// The API server has judged the token.
    #[error("the API server refuses the token: {0}")]
    Reviewed(String),
    /// The client certificate proves nothing.
    #[error("the client certificate is refused: {0}")]
    Certificate(&'static str),
    /// Nobody could tell just now (an API server is away); try again.
    #[error("credentials cannot be checked at the moment: {0}")]
    Unavailable(String),
}

/// The answer of a [`Reviewer`], in the future because one may have to ask an API server.
pub type Review<'a> = Pin<Box<dyn Future<Output = Result<Caller, Denied>> + Send + 'a>>;

/// Turns credentials into a caller.
pub trait Reviewer: Send + Sync {
    /// Says who presents `credentials` at the time `now`.
    fn review<'a>(&'a self, credentials: &'a Credentials, now: SystemTime) -> Review<'a>;
}

/// The reviewer of a mesh without Kubernetes: a current certificate of our own, or a join token.
///
/// A client certificate, when presented, is the identity, and a token beside it changes nothing.
#[derive(Clone, Debug)]
pub struct MeshReviewer {
    trust_domain: TrustDomain,
    tokens: TokenVerifier,
}

impl MeshReviewer {
    /// A reviewer of certificates of `trust_domain` and of tokens that `tokens` accepts.
    #[must_use]
    pub fn new(trust_domain: TrustDomain, tokens: TokenVerifier) -> Self {
        Self {
            trust_domain,
            tokens,
        }
    }

    /// The same as [`Reviewer::review`], which never waits here.
    ///
    /// # Errors
    /// [`Denied`] when the credentials prove nothing.
    pub fn review_now(&self, credentials: &Credentials, now: SystemTime) -> Result<Caller, Denied> {
        if let Some(leaf) = credentials.peer_certificates.first() {
            return Caller::of_certificate(leaf, &self.trust_domain, now);
        }
        let token = credentials.bearer.as_deref().ok_or(Denied::NoCredentials)?;
        self.tokens.verify(token, now)
    }
}

impl Reviewer for MeshReviewer {
    fn review<'a>(&'a self, credentials: &'a Credentials, now: SystemTime) -> Review<'a> {
        Box::pin(std::future::ready(self.review_now(credentials, now)))
    }
}

impl Caller {
    /// The workload of a client certificate whose chain TLS has verified against our own roots.
    ///
    /// It is read again here, because TLS knows nothing of SPIFFE and a connection outlives a
    /// certificate: within its validity, a leaf, exactly one URI, an identity of `trust_domain`.
    ///
    /// # Errors
    /// [`Denied::Certificate`] says which rule it breaks.
    pub fn of_certificate(
        der: &CertificateDer<'_>,
        trust_domain: &TrustDomain,
        now: SystemTime,
    ) -> Result<Self, Denied> {
        let denied = Denied::Certificate;
        let Ok(([], leaf)) = parse_x509_certificate(der) else {
            return Err(denied("it is not readable"));
        };
        if now < system_time(leaf.validity().not_before) {
            return Err(denied("it is not valid yet"));
        }
        if now >= system_time(leaf.validity().not_after) {
            return Err(denied("it has expired"));
        }
        check_leaf(&leaf)?;
        let san = leaf.subject_alternative_name();
        let san = san.map_err(|_| denied("its names are not readable"))?;
        let names = san.map(|san| san.value.general_names.as_slice());
        let mut uris = names
            .unwrap_or_default()
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            });
        let (Some(uri), None) = (uris.next(), uris.next()) else {
            return Err(denied("it must have exactly one URI name"));
        };
        let identity: SpiffeId = uri
            .parse()
            .map_err(|_| denied("its URI is not a SPIFFE ID of a workload"))?;
        if identity.trust_domain != *trust_domain {
            return Err(denied("it is of another trust domain"));
        }
        Ok(Self {
            namespace: identity.namespace,
            service_account: identity.service_account,
            pod: None,
        })
    }
}

/// X509-SVID section 4: a leaf is no CA and signs nothing.
fn check_leaf(leaf: &X509Certificate<'_>) -> Result<(), Denied> {
    let unreadable = |_| Denied::Certificate("its extensions are not readable");
    let basic = leaf.basic_constraints().map_err(unreadable)?;
    let usage = leaf.key_usage().map_err(unreadable)?;
    let signs = usage.is_some_and(|u| u.value.key_cert_sign() || u.value.crl_sign());
    if signs || basic.is_some_and(|basic| basic.value.ca) {
        return Err(Denied::Certificate(
            "it is a signing certificate, not a workload's",
        ));
    }
    Ok(())
}
