//! TLS on the secure port: a serving certificate from our own CA, renewed while it is served, and client certificates
//! that are optional but must verify against our roots when they come.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use ca::{Authority, Refused};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};

/// How long a serving certificate is valid. It is replaced at half of it.
const TTL: Duration = Duration::from_secs(24 * 3600);
/// How often to look whether it is time: the wall clock may jump, a timer does not.
const LOOK: Duration = Duration::from_secs(60);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The CA made no certificate; the operator must renew the CA.
    #[error("no serving certificate: {0}")]
    Certificate(#[from] Refused),
    /// The library refuses what the CA made.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
    /// The roots cannot verify anybody.
    #[error("client certificates cannot be verified: {0}")]
    Verifier(#[from] VerifierBuilderError),
    /// No library of cryptography was installed.
    #[error("no crypto provider is installed")]
    NoProvider,
}

/// The certificate that is served now.
#[derive(Debug)]
pub struct Serving {
    authority: Arc<Authority>,
    /// Names beside [`ca::SERVING_NAMES`].
    names: Vec<String>,
    provider: Arc<CryptoProvider>,
    now: ArcSwap<(Arc<CertifiedKey>, SystemTime)>,
    clients: Arc<Clients>,
}

impl Serving {
    /// Has a certificate made for the usual names and `names`.
    ///
    /// # Errors
    /// [`TlsError`] when the CA cannot make one.
    pub fn new(authority: Arc<Authority>, names: Vec<String>) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::clone(CryptoProvider::get_default().ok_or(TlsError::NoProvider)?);
        let made = make(&authority, &names, &provider, SystemTime::now())?;
        let clients = Clients::new(&authority.roots(), Arc::clone(&provider))?;
        Ok(Arc::new(Self {
            clients: Arc::new(clients),
            authority,
            names,
            provider,
            now: ArcSwap::from_pointee(made),
        }))
    }

    /// Replaces the certificate whenever it is half over. Never ends.
    pub async fn keep_fresh(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.renew_if_due(SystemTime::now());
        }
    }

    fn renew_if_due(&self, now: SystemTime) {
        if now >= self.now.load().1 {
            self.renew(now);
        }
    }

    /// The authority signs with other files now. Clients of the new roots are let in at once. The certificate that is
    /// served stays until it is half over, so that nobody meets one before the roots that it needs; unless the roots
    /// that it hangs on are trusted no longer.
    ///
    /// # Errors
    /// [`TlsError`] when the new roots verify nobody.
    pub fn rotated(&self, now: SystemTime) -> Result<(), TlsError> {
        let roots = self.authority.roots();
        let kept = self.clients.roots().iter().all(|old| roots.contains(old));
        self.clients.trust(&roots)?;
        if !kept {
            self.renew(now);
        }
        Ok(())
    }

    fn renew(&self, now: SystemTime) {
        match make(&self.authority, &self.names, &self.provider, now) {
            Ok(made) => {
                self.now.store(Arc::new(made));
                tracing::info!("the serving certificate was renewed");
            }
            Err(error) => tracing::error!("the serving certificate was not renewed: {error}"),
        }
    }

    /// The configuration of the webhooks' listener: HTTP/1, and no client shows a certificate.
    ///
    /// # Errors
    /// [`TlsError`] when the library refuses it.
    pub fn webhooks(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Self>::clone(self);
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// The configuration of the TLS listener for proxies.
    ///
    /// # Errors
    /// [`TlsError`] when the CA's roots verify nothing.
    pub fn config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::clone(&self.provider);
        let clients: Arc<dyn ClientCertVerifier> = Arc::<Clients>::clone(&self.clients);
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Self>::clone(self);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Verifies client certificates against the roots of now.
#[derive(Debug)]
struct Clients {
    provider: Arc<CryptoProvider>,
    now: ArcSwap<Trusted>,
}

#[derive(Debug)]
struct Trusted {
    roots: Vec<CertificateDer<'static>>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Clients {
    fn new(
        roots: &[CertificateDer<'static>],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let now = ArcSwap::from_pointee(Trusted::new(roots, &provider)?);
        Ok(Self { provider, now })
    }

    fn trust(&self, roots: &[CertificateDer<'static>]) -> Result<(), TlsError> {
        let trusted = Trusted::new(roots, &self.provider)?;
        self.now.store(Arc::new(trusted));
        Ok(())
    }

    fn roots(&self) -> Vec<CertificateDer<'static>> {
        self.now.load().roots.clone()
    }
}

impl Trusted {
    fn new(
        roots: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.clone())?;
        }
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider));
        Ok(Self {
            roots: roots.to_vec(),
            verifier: builder.allow_unauthenticated().build()?,
        })
    }
}

impl ClientCertVerifier for Clients {
    /// Their names are only a hint, and change with the roots: none are told.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let trusted = self.now.load();
        trusted
            .verifier
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let trusted = self.now.load();
        trusted.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let trusted = self.now.load();
        trusted.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.now.load().verifier.supported_verify_schemes()
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.now.load().0))
    }
}

fn make(
    authority: &Authority,
    names: &[String],
    provider: &CryptoProvider,
    now: SystemTime,
) -> Result<(Arc<CertifiedKey>, SystemTime), TlsError> {
    let certificate = authority.serving_certificate(names, TTL, now)?;
    let key = CertifiedKey::from_der(certificate.chain, certificate.key, provider)?;
    Ok((Arc::new(key), certificate.renew_at))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ca::CaFiles;
    use model::TrustDomain;

    /// What a test serves TLS with.
    pub(crate) fn serving() -> Arc<Serving> {
        let (domain, now) = (TrustDomain::cluster_local(), SystemTime::now());
        let files = CaFiles::self_signed(&domain, now).unwrap();
        serving_of(Arc::new(Authority::new(&files, domain, now).unwrap()))
    }

    /// The same, of an authority.
    pub(crate) fn serving_of(authority: Arc<Authority>) -> Arc<Serving> {
        // Another test may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Serving::new(authority, Vec::new()).unwrap()
    }

    #[test]
    fn a_rotation_keeps_what_is_served_while_its_root_is_trusted() {
        let serving = serving();
        let served = || serving.now.load().0.cert.clone();
        let (first, now) = (served(), SystemTime::now());
        let old_root = serving.authority.root_bundle();
        let next = CaFiles::self_signed(&TrustDomain::cluster_local(), now).unwrap();
        let both = CaFiles {
            root_cert: format!("{old_root}{}", next.root_cert),
            ..next.clone()
        };
        assert!(serving.authority.replace(&both, now).unwrap());
        serving.rotated(now).unwrap();
        assert_eq!(served(), first);
        assert_eq!(serving.clients.roots().len(), 2);
        assert!(!serving.authority.replace(&both, now).unwrap());
        assert!(serving.authority.replace(&next, now).unwrap());
        serving.rotated(now).unwrap();
        assert_ne!(served(), first);
        assert_eq!(serving.clients.roots(), serving.authority.roots());
    }

    #[test]
    fn the_serving_certificate_is_replaced_at_half_of_its_life() {
        let serving = serving();
        let served = || serving.now.load().0.cert.clone();
        let first = served();
        serving.renew_if_due(SystemTime::now() + TTL / 3);
        assert_eq!(served(), first);
        serving.renew_if_due(SystemTime::now() + TTL * 2 / 3);
        assert_ne!(served(), first);
    }
}
