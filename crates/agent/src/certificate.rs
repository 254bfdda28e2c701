//! The workload's certificate with its key and the roots of the mesh: checked when it arrives, kept over restarts.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

use crate::file;

/// Why what the control plane sent, or what was kept, is no certificate for us.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCertificate {
    /// Istio's rule: leaf and root bundle at least.
    #[error("the answer holds fewer than two certificates")]
    TooShort,
    /// It cannot be parsed.
    #[error("it is not readable")]
    Unreadable,
    /// Its public key is another's.
    #[error("it is not for our key: {0}")]
    Key(rustls::Error),
    /// No identity in it.
    #[error("it has no SPIFFE identity")]
    NoIdentity,
}

/// A certificate that fits its key.
#[derive(Clone)]
pub struct Certificate {
    kept: Kept,
    certified: Arc<CertifiedKey>,
    /// The identity in it: a SPIFFE ID.
    pub identity: String,
    /// When it ends.
    pub not_after: SystemTime,
}

/// The form on disk.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    key: Zeroizing<String>,
    /// Leaf and intermediates.
    chain: String,
    roots: String,
    /// When it arrived, in seconds since 1970. Half-life counts from here: its own start is backdated.
    issued_at: u64,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("identity", &self.identity)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Certificate {
    /// Checks the answer of the control plane: leaf, intermediates, and the root bundle last.
    ///
    /// # Errors
    /// [`InvalidCertificate`].
    pub fn new(
        key: Zeroizing<String>,
        chain: &[String],
        now: SystemTime,
    ) -> Result<Self, InvalidCertificate> {
        let Some((roots, chain @ [_, ..])) = chain.split_last() else {
            return Err(InvalidCertificate::TooShort);
        };
        let lines = |pem: &String| format!("{}\n", pem.trim_end());
        Self::check(Kept {
            key,
            chain: chain.iter().map(lines).collect(),
            roots: lines(roots),
            issued_at: now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        })
    }

    fn check(kept: Kept) -> Result<Self, InvalidCertificate> {
        let unreadable = |_| InvalidCertificate::Unreadable;
        let chain = certificates(kept.chain.as_bytes()).map_err(unreadable)?;
        let key = PrivateKeyDer::from_pem_slice(kept.key.as_bytes()).map_err(unreadable)?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let leaf = chain.first().ok_or(InvalidCertificate::Unreadable)?;
        let Ok(([], leaf)) = parse_x509_certificate(leaf) else {
            return Err(InvalidCertificate::Unreadable);
        };
        let not_after = u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or_default();
        let names = leaf.subject_alternative_name().ok().flatten();
        let names = names
            .map(|names| names.value.general_names.clone())
            .unwrap_or_default();
        let identity = names.iter().find_map(|name| match name {
            GeneralName::URI(uri) if uri.starts_with("spiffe://") => Some((*uri).to_owned()),
            _ => None,
        });
        let identity = identity.ok_or(InvalidCertificate::NoIdentity)?;
        let certified =
            CertifiedKey::from_der(chain, key, &provider).map_err(InvalidCertificate::Key)?;
        Ok(Self {
            kept,
            certified: Arc::new(certified),
            identity,
            not_after: UNIX_EPOCH + Duration::from_secs(not_after),
        })
    }

    /// The leaf and the intermediates, in PEM.
    #[must_use]
    pub fn chain(&self) -> &str {
        &self.kept.chain
    }

    /// The private key, in PEM.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.kept.key
    }

    /// The roots of the mesh, in PEM.
    #[must_use]
    pub fn roots(&self) -> &str {
        &self.kept.roots
    }

    /// For TLS.
    #[must_use]
    pub fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// Whether it still holds.
    #[must_use]
    pub fn is_valid(&self, now: SystemTime) -> bool {
        now < self.not_after
    }

    /// When to get the next one: at half of its life, moved by `jitter` (-1 to 1) hundredths of it, so that pods that
    /// were started together do not all ask together.
    #[must_use]
    pub fn renew_at(&self, jitter: f64) -> SystemTime {
        let issued_at = UNIX_EPOCH + Duration::from_secs(self.kept.issued_at);
        let life = self.not_after.duration_since(issued_at).unwrap_or_default();
        issued_at + life.mul_f64(0.5 + jitter.clamp(-1.0, 1.0) / 100.0)
    }
}

/// All certificates of a PEM text.
///
/// # Errors
/// A block is damaged.
pub fn certificates(
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, rustls_pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}

/// Where a certificate is kept over restarts (SVID 36): one file, so that key and certificate always fit.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// Keeps it in this folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            path: folder.join("certificate.json"),
        }
    }

    /// The certificate that was kept, if it is still good.
    #[must_use]
    pub fn load(&self, now: SystemTime) -> Option<Certificate> {
        let text = Zeroizing::new(std::fs::read(&self.path).ok()?);
        let kept = serde_json::from_slice(&text).ok()?;
        match Certificate::check(kept) {
            Ok(certificate) => certificate.is_valid(now).then_some(certificate),
            Err(error) => {
                tracing::warn!(%error, "the certificate that was kept is not used");
                None
            }
        }
    }

    /// Keeps a certificate.
    ///
    /// # Errors
    /// It cannot be written; the one kept before is still there.
    pub fn save(&self, certificate: &Certificate) -> io::Result<()> {
        let text = Zeroizing::new(serde_json::to_vec(&certificate.kept)?);
        file::replace(&self.path, &text)
    }
}
