//! The material of a CA as files have it, and where it is kept.
//!
//! Istio's `cacerts` layout is the only layout: an operator's plugged-in files, the self-signed root
//! in the state directory and (in Kubernetes) the Secret all hold these four texts.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::SystemTime;

use model::TrustDomain;
use rcgen::KeyPair;
use zeroize::Zeroizing;

use crate::path::InvalidCa;
use crate::state::{StateDir, StateError};
use crate::template::{self, ROOT_TTL, Validity};

/// A CA's certificate, key and roots: PEM, named as in Istio's `cacerts`.
#[derive(Clone, PartialEq, Eq)]
pub struct CaFiles {
    /// `ca-cert.pem`: the certificate that signs.
    pub ca_cert: String,
    /// `ca-key.pem`: its key, PKCS#1, SEC1 or PKCS#8, not encrypted.
    pub ca_key: Zeroizing<String>,
    /// `cert-chain.pem`: the intermediates between it and a root, in any order; may be empty.
    pub cert_chain: String,
    /// `root-cert.pem`: what the mesh trusts, one certificate or several.
    pub root_cert: String,
}

impl fmt::Debug for CaFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaFiles")
            .field("root_cert", &self.root_cert)
            .finish_non_exhaustive()
    }
}

impl CaFiles {
    /// Makes a self-signed root: ECDSA P-256, ten years, a new key and subject every time.
    ///
    /// # Errors
    /// [`InvalidCa`] when the system gives no random numbers.
    pub fn self_signed(trust_domain: &TrustDomain, now: SystemTime) -> Result<Self, InvalidCa> {
        let failed = |e: &dyn fmt::Display| InvalidCa::new("ca-key.pem", e.to_string());
        let key = KeyPair::generate().map_err(|e| failed(&e))?;
        let serial = template::random_serial().map_err(|e| failed(&e))?;
        let end = now.checked_add(ROOT_TTL).unwrap_or(now);
        let params = template::root(
            trust_domain.as_str(),
            serial,
            Validity::new(now, ROOT_TTL, end),
        );
        let certificate = params.self_signed(&key).map_err(|e| failed(&e))?.pem();
        Ok(Self {
            ca_cert: certificate.clone(),
            ca_key: Zeroizing::new(key.serialize_pem()),
            cert_chain: certificate.clone(),
            root_cert: certificate,
        })
    }

    /// The same CA in a mesh that trusts the roots of `other`.
    pub(crate) fn trusting(&self, other: &Self) -> Self {
        Self {
            root_cert: other.root_cert.clone(),
            ..self.clone()
        }
    }

    /// Reads an operator's `cacerts` directory. A missing `cert-chain.pem` counts as empty.
    ///
    /// # Errors
    /// [`InvalidCa`] when one of the other three cannot be read.
    pub fn read(dir: &Path) -> Result<Self, InvalidCa> {
        let read = |name: &'static str| {
            fs::read_to_string(dir.join(name)).map_err(|e| {
                InvalidCa::new(
                    name,
                    format!("cannot read {}: {e}", dir.join(name).display()),
                )
            })
        };
        let cert_chain = match fs::read_to_string(dir.join("cert-chain.pem")) {
            Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
            Ok(_) | Err(_) => read("cert-chain.pem")?,
        };
        Ok(Self {
            ca_cert: read("ca-cert.pem")?,
            ca_key: Zeroizing::new(read("ca-key.pem")?),
            cert_chain,
            root_cert: read("root-cert.pem")?,
        })
    }
}

/// Where the self-signed root is kept so that every replica and every restart has the same one.
///
/// The calls may block on a disk or an API server: make them at start-up or on a blocking thread.
pub trait RootStore: Send + Sync {
    /// What is stored, if anything.
    ///
    /// # Errors
    /// [`StateError`] when the store cannot be read.
    fn load(&self) -> Result<Option<CaFiles>, StateError>;

    /// Stores `fresh` unless something is stored already, in one step: of several that try at once,
    /// one wins and all see the winner's files in the next [`load`](Self::load).
    ///
    /// # Errors
    /// [`StateError`] when the store cannot be written.
    fn create_once(&self, fresh: &CaFiles) -> Result<(), StateError>;
}

/// The root in `ca/` of the state directory.
#[derive(Clone, Debug)]
pub struct FileRootStore(pub StateDir);

impl FileRootStore {
    const NAME: &str = "ca";
}

impl RootStore for FileRootStore {
    fn load(&self) -> Result<Option<CaFiles>, StateError> {
        let read = |file| self.0.read(Self::NAME, file);
        let (Some(ca_cert), Some(ca_key), Some(cert_chain), Some(root_cert)) = (
            read("ca-cert.pem")?,
            read("ca-key.pem")?,
            read("cert-chain.pem")?,
            read("root-cert.pem")?,
        ) else {
            return Ok(None);
        };
        Ok(Some(CaFiles {
            ca_cert: ca_cert.to_string(),
            ca_key,
            cert_chain: cert_chain.to_string(),
            root_cert: root_cert.to_string(),
        }))
    }

    fn create_once(&self, fresh: &CaFiles) -> Result<(), StateError> {
        let CaFiles {
            ca_cert,
            ca_key,
            cert_chain,
            root_cert,
        } = fresh;
        self.0.create_once(
            Self::NAME,
            &[
                ("ca-cert.pem", ca_cert),
                ("ca-key.pem", ca_key),
                ("cert-chain.pem", cert_chain),
                ("root-cert.pem", root_cert),
            ],
        )
    }
}
