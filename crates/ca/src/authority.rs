//! The authority: a checked CA that issues workload certificates and the control plane's own.
//!
//! It signs the identity that it is given, from a template of its own, with whatever algorithm its
//! key has. Who the identity belongs to is decided before, by a [`Reviewer`](crate::Reviewer).

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use model::{SpiffeId, TrustDomain};
use rcgen::{KeyPair, PublicKeyData, SanType};
use rustls_pki_types::{CertificateDer, DnsName, PrivateKeyDer};
use x509_parser::parse_x509_certificate;

use crate::csr::{self, InvalidCsr};
use crate::path::{self, InvalidCa};
use crate::root::{CaFiles, RootStore};
use crate::sign::Signer;
use crate::template::{self, DEFAULT_TTL, MAX_TTL, Validity};

/// The names under which proxies, Istio's agents and istioctl reach the control plane.
pub const SERVING_NAMES: [&str; 6] = [
    "istiod.istio-system.svc",
    "istiod.istio-system",
    "lateen.istio-system.svc",
    "lateen.istio-system",
    "localhost",
    "127.0.0.1",
];

/// Why nothing was issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The request itself; its author can mend it.
    #[error(transparent)]
    Csr(#[from] InvalidCsr),
    /// A longer validity than [`MAX_TTL`]; ask for less.
    #[error("a validity of {} s was asked for; at most {} s are issued", .0.as_secs(), MAX_TTL.as_secs())]
    TtlTooLong(Duration),
    /// The identity is of another trust domain than the authority.
    #[error("this CA signs for trust domain {ours}, not for {theirs}")]
    ForeignTrustDomain {
        /// The authority's.
        ours: TrustDomain,
        /// The identity's.
        theirs: TrustDomain,
    },
    /// A name for the serving certificate is neither a DNS name nor an address.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    ServingName(String),
    /// The CA's own certificate has ended; the operator must renew it.
    #[error("the CA's own certificate has expired; renew it")]
    AuthorityExpired,
    /// The cryptographic library failed.
    #[error("signing failed: {0}")]
    Signing(String),
}

/// A certificate for a workload, and what came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedChain {
    /// PEM as istiod answers: the leaf, the intermediates one by one, the root bundle last.
    pub chain: Vec<String>,
    /// The identity in it.
    pub identity: SpiffeId,
    /// The serial number in hexadecimal.
    pub serial: String,
    /// Valid from.
    pub not_before: SystemTime,
    /// Valid until.
    pub not_after: SystemTime,
}

/// The control plane's own certificate for its TLS listeners.
#[derive(Debug)]
pub struct ServingCertificate {
    /// Leaf first, then the intermediates; roots are not sent.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key, new with every certificate (ECDSA P-256).
    pub key: PrivateKeyDer<'static>,
    /// When to replace it: halfway to its end.
    pub renew_at: SystemTime,
    /// Valid until.
    pub not_after: SystemTime,
}

/// A certificate authority that is ready to sign.
pub struct Authority {
    trust_domain: TrustDomain,
    material: ArcSwap<Material>,
}

/// What became of an operator's other files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// They are the same.
    Unchanged,
    /// Their roots are trusted from now on. Its own key signs on: nobody trusts the new one yet. Once everybody has
    /// heard of the roots, [`Authority::replace`] has the new key sign.
    Published,
    /// Their key signs from now on.
    Activated,
}

/// What an operator's rotation replaces as a whole.
struct Material {
    files: CaFiles,
    signer: Signer,
    intermediates: Vec<CertificateDer<'static>>,
    intermediates_pem: Vec<String>,
    roots: Vec<CertificateDer<'static>>,
    root_bundle: Arc<str>,
    not_after: SystemTime,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("trust_domain", &self.trust_domain)
            .field("not_after", &self.not_after())
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// The self-signed authority of `store`: what is there, or a new root if nothing is.
    ///
    /// Of several that open an empty store at once, one creates the root and all use it.
    ///
    /// # Errors
    /// [`InvalidCa`] when the store cannot be used or what it holds is not a working CA.
    pub fn open(
        store: &dyn RootStore,
        trust_domain: TrustDomain,
        now: SystemTime,
    ) -> Result<Self, InvalidCa> {
        let files = if let Some(files) = store.load()? {
            files
        } else {
            store.create_once(&CaFiles::self_signed(&trust_domain, now)?)?;
            let missing = || {
                InvalidCa::new(
                    "ca-cert.pem",
                    "a part of the stored CA is missing; restore or remove all four files",
                )
            };
            store.load()?.ok_or_else(missing)?
        };
        Self::new(&files, trust_domain, now)
    }

    /// The authority of an operator's `cacerts` directory.
    ///
    /// # Errors
    /// [`InvalidCa`] when a file is missing or the files do not make a working CA.
    pub fn plugged_in(
        dir: &Path,
        trust_domain: TrustDomain,
        now: SystemTime,
    ) -> Result<Self, InvalidCa> {
        Self::new(&CaFiles::read(dir)?, trust_domain, now)
    }

    /// Checks `files` against each other and makes an authority of them.
    ///
    /// # Errors
    /// [`InvalidCa`] names the file at fault.
    pub fn new(
        files: &CaFiles,
        trust_domain: TrustDomain,
        now: SystemTime,
    ) -> Result<Self, InvalidCa> {
        Ok(Self {
            trust_domain,
            material: ArcSwap::from_pointee(Material::new(files, now)?),
        })
    }

    /// Signs with other files from now on. False: they are the same, and nothing changes.
    ///
    /// # Errors
    /// [`InvalidCa`] names the file at fault; the authority stays as it is.
    pub fn replace(&self, files: &CaFiles, now: SystemTime) -> Result<bool, InvalidCa> {
        if self.material.load().files == *files {
            return Ok(false);
        }
        self.material.store(Arc::new(Material::new(files, now)?));
        Ok(true)
    }

    /// Takes other files over in the order in which no handshake fails: roots that are new are published first, and
    /// nobody is given a certificate that hangs on them before. Where the files do not trust what has signed so far,
    /// there is no such order, and they are in use at once.
    ///
    /// # Errors
    /// [`InvalidCa`] names the file at fault; the authority stays as it is.
    pub fn rotate(&self, files: &CaFiles, now: SystemTime) -> Result<Rotated, InvalidCa> {
        let current = self.files();
        if current == *files {
            return Ok(Rotated::Unchanged);
        }
        let next = Material::new(files, now)?;
        let is_known = Material::new(&files.trusting(&current), now).is_ok();
        let published = Material::new(&current.trusting(files), now);
        match published {
            Ok(published) if !is_known => {
                self.material.store(Arc::new(published));
                Ok(Rotated::Published)
            }
            Ok(_) | Err(_) => {
                self.material.store(Arc::new(next));
                Ok(Rotated::Activated)
            }
        }
    }

    /// The files that it was made of, the key included.
    #[must_use]
    pub fn files(&self) -> CaFiles {
        self.material.load().files.clone()
    }

    /// The trust domain whose identities it signs.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// What the mesh trusts: for verifying client certificates on 15012.
    #[must_use]
    pub fn roots(&self) -> Vec<CertificateDer<'static>> {
        self.material.load().roots.clone()
    }

    /// The same as PEM: `root-cert.pem` of Istio's ConfigMap, and SDS's `ROOTCA`.
    #[must_use]
    pub fn root_bundle(&self) -> Arc<str> {
        Arc::clone(&self.material.load().root_bundle)
    }

    /// When the first certificate between the signer and its root ends.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.material.load().not_after
    }

    /// Signs `identity` for the key in `csr` (PEM or DER), for `ttl` or [`DEFAULT_TTL`], at most until
    /// the CA's own end. Whatever else the CSR asks for is ignored (CSR policy).
    ///
    /// # Errors
    /// [`Refused`] with a reason that the caller may see.
    pub fn issue(
        &self,
        csr: &[u8],
        identity: &SpiffeId,
        ttl: Option<Duration>,
        now: SystemTime,
    ) -> Result<IssuedChain, Refused> {
        let ttl = ttl.unwrap_or(DEFAULT_TTL);
        if ttl > MAX_TTL {
            return Err(Refused::TtlTooLong(ttl));
        }
        if identity.trust_domain != self.trust_domain {
            return Err(Refused::ForeignTrustDomain {
                ours: self.trust_domain.clone(),
                theirs: identity.trust_domain.clone(),
            });
        }
        let uri = identity.to_string().try_into().map_err(signing)?;
        let key = csr::parse(csr)?;
        let material = self.material.load();
        let validity = material.validity(ttl, now)?;
        let serial = template::random_serial().map_err(signing)?;
        let leaf = template::workload(uri, key.rsa, serial, validity);
        let leaf = material.signer.sign(&leaf, &key.spki).map_err(signing)?;

        let mut chain = vec![pem(&leaf)];
        chain.extend_from_slice(&material.intermediates_pem);
        chain.push(material.root_bundle.to_string());
        Ok(IssuedChain {
            chain,
            identity: identity.clone(),
            serial: format!("{:032x}", u128::from_be_bytes(serial)),
            not_before: validity.not_before,
            not_after: validity.not_after,
        })
    }

    /// Makes a certificate and key for the control plane's own listeners: [`SERVING_NAMES`] and
    /// `more` (DNS names or addresses). Ask again at its `renew_at`.
    ///
    /// # Errors
    /// [`Refused`] when a name is no name, or the CA has expired.
    pub fn serving_certificate(
        &self,
        more: &[String],
        ttl: Duration,
        now: SystemTime,
    ) -> Result<ServingCertificate, Refused> {
        let mut names = Vec::new();
        for name in SERVING_NAMES
            .into_iter()
            .chain(more.iter().map(String::as_str))
        {
            let name = serving_name(name)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let material = self.material.load();
        let validity = material.validity(ttl, now)?;
        let key = KeyPair::generate().map_err(signing)?;
        let serial = template::random_serial().map_err(signing)?;
        let leaf = material
            .signer
            .sign(&template::serving(names, serial, validity), &key)
            .map_err(signing)?;
        let mut chain = vec![leaf];
        chain.extend_from_slice(&material.intermediates);
        let left = validity.not_after.duration_since(now).unwrap_or_default();
        Ok(ServingCertificate {
            chain,
            key: key.into(),
            renew_at: now + left / 2,
            not_after: validity.not_after,
        })
    }
}

impl Material {
    fn new(files: &CaFiles, now: SystemTime) -> Result<Self, InvalidCa> {
        let path = path::build(files, now)?;
        let key = path::key(files)?;
        let unreadable = || InvalidCa::new("ca-cert.pem", "it is not readable");
        let (_, signer) = parse_x509_certificate(&path.signer).map_err(|_| unreadable())?;
        if signer.public_key().raw != key.subject_public_key_info() {
            return Err(InvalidCa::new(
                "ca-key.pem",
                "it is not the key of ca-cert.pem",
            ));
        }
        let key_id = path::subject_key_id(&signer).ok_or_else(unreadable)?;
        let signer = Signer::new(key, signer.subject().as_raw(), key_id);
        Ok(Self {
            files: files.clone(),
            signer,
            intermediates_pem: path.intermediates.iter().map(|der| pem(der)).collect(),
            intermediates: path.intermediates,
            root_bundle: path
                .roots
                .iter()
                .map(|der| pem(der))
                .collect::<String>()
                .into(),
            roots: path.roots,
            not_after: path.not_after,
        })
    }

    fn validity(&self, ttl: Duration, now: SystemTime) -> Result<Validity, Refused> {
        let validity = Validity::new(now, ttl, self.not_after);
        if validity.not_after > now {
            Ok(validity)
        } else {
            Err(Refused::AuthorityExpired)
        }
    }
}

fn serving_name(name: &str) -> Result<SanType, Refused> {
    let invalid = || Refused::ServingName(name.to_owned());
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    DnsName::try_from(name).map_err(|_| invalid())?;
    Ok(SanType::DnsName(name.try_into().map_err(|_| invalid())?))
}

fn signing(error: impl fmt::Display) -> Refused {
    Refused::Signing(error.to_string())
}

/// One certificate as PEM.
fn pem(der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", der), config)
}
