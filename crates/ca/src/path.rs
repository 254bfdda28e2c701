//! Checks a CA's files against each other and orders them: key, signing certificate, the
//! intermediates above it, roots. What passes here cannot issue a certificate that fails to verify.

use std::time::SystemTime;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use crate::root::CaFiles;
use crate::state::StateError;

/// Why a CA cannot be used: the file at fault and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCa {
    /// A file of the CA is wrong, by itself or together with another.
    #[error("{file}: {reason}")]
    File {
        /// The file's name in Istio's `cacerts` layout.
        file: &'static str,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

impl InvalidCa {
    pub(crate) fn new(file: &'static str, reason: impl Into<String>) -> Self {
        Self::File {
            file,
            reason: reason.into(),
        }
    }
}

/// The certificates of a CA in the order in which they verify.
#[derive(Debug)]
pub(crate) struct CaPath {
    /// The certificate that signs.
    pub(crate) signer: CertificateDer<'static>,
    /// From the signer up to, but not including, a root. Empty when the signer is a root.
    pub(crate) intermediates: Vec<CertificateDer<'static>>,
    /// What the mesh trusts.
    pub(crate) roots: Vec<CertificateDer<'static>>,
    /// When the first certificate of the path ends; nothing is issued beyond it (SVID 14).
    pub(crate) not_after: SystemTime,
}

/// Reads and orders the certificates of `files`.
pub(crate) fn build(files: &CaFiles, now: SystemTime) -> Result<CaPath, InvalidCa> {
    let signers = certificates("ca-cert.pem", &files.ca_cert)?;
    let chain = certificates("cert-chain.pem", &files.cert_chain)?;
    let roots = certificates("root-cert.pem", &files.root_cert)?;
    if roots.is_empty() {
        return Err(InvalidCa::new("root-cert.pem", "it holds no certificate"));
    }
    // Istio reads the first certificate of the file; whatever follows may help to build the path.
    let Some((signer, more)) = signers.split_first() else {
        return Err(InvalidCa::new("ca-cert.pem", "it holds no certificate"));
    };
    let candidates: Vec<_> = more.iter().chain(&chain).collect();

    let mut intermediates: Vec<CertificateDer<'static>> = Vec::new();
    let mut current = signer;
    let mut not_after = check_issuer("ca-cert.pem", signer, 0, now)?;
    while !roots.contains(current) {
        intermediates.push(current.clone());
        let below = intermediates.len();
        if let Some(root) = roots.iter().find(|root| issued(root, current)) {
            not_after = not_after.min(check_issuer("root-cert.pem", root, below, now)?);
            break;
        }
        let next = candidates
            .iter()
            .find(|next| !intermediates.contains(next) && issued(next, current));
        let Some(next) = next else {
            let reason = "no certificate in it or in root-cert.pem signed the one below; add the missing intermediate or root";
            return Err(InvalidCa::new("cert-chain.pem", reason));
        };
        not_after = not_after.min(check_issuer("cert-chain.pem", next, below, now)?);
        current = next;
    }
    Ok(CaPath {
        signer: signer.clone(),
        intermediates,
        roots,
        not_after,
    })
}

/// Reads the private key of `files`: PKCS#1, SEC1 or PKCS#8; RSA, P-256 or P-384.
pub(crate) fn key(files: &CaFiles) -> Result<rcgen::KeyPair, InvalidCa> {
    let invalid = |reason: &str| InvalidCa::new("ca-key.pem", reason);
    let der = PrivateKeyDer::from_pem_slice(files.ca_key.as_bytes()).map_err(|_| {
        invalid("it holds no unencrypted private key in PEM (PKCS#1, SEC1 or PKCS#8)")
    })?;
    let key = rcgen::KeyPair::try_from(&der).map_err(|_| {
        invalid("the key cannot be used; use RSA of at least 2048 bits, ECDSA P-256 or P-384")
    })?;
    let usable = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_RSA_SHA256,
    ];
    if usable.iter().any(|algorithm| key.is_compatible(algorithm)) {
        Ok(key)
    } else {
        Err(invalid(
            "Envoy does not verify signatures of this kind of key; use RSA, ECDSA P-256 or P-384",
        ))
    }
}

/// The certificates of a PEM text, in their order.
fn certificates(file: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, InvalidCa> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| InvalidCa::new(file, format!("it is not PEM: {e}")))
}

fn parse<'a>(file: &'static str, der: &'a [u8]) -> Result<X509Certificate<'a>, InvalidCa> {
    match parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(InvalidCa::new(file, "a certificate in it is not readable")),
    }
}

/// Whether `issuer` signed `subject`.
fn issued(issuer: &CertificateDer<'_>, subject: &CertificateDer<'_>) -> bool {
    let (Ok((_, issuer)), Ok((_, subject))) = (
        parse_x509_certificate(issuer),
        parse_x509_certificate(subject),
    ) else {
        return false;
    };
    issuer.subject().as_raw() == subject.issuer().as_raw()
        && subject.verify_signature(Some(issuer.public_key())).is_ok()
}

/// Checks that a certificate may sign (SVID 18 to 22) with `below` CA certificates under it, and
/// returns when it ends. `openssl verify -x509_strict` asks for the same.
fn check_issuer(
    file: &'static str,
    der: &[u8],
    below: usize,
    now: SystemTime,
) -> Result<SystemTime, InvalidCa> {
    let invalid = |reason: String| InvalidCa::new(file, reason);
    let certificate = parse(file, der)?;
    let name = certificate.subject();
    let malformed = |e: x509_parser::error::X509Error| invalid(format!("{name}: {e}"));
    let basic = certificate.basic_constraints().map_err(malformed)?;
    let Some(basic) = basic.filter(|basic| basic.value.ca && basic.critical) else {
        return Err(invalid(format!(
            "{name} is not a CA: basicConstraints must be critical with CA:TRUE"
        )));
    };
    if let Some(length) = basic.value.path_len_constraint
        && below > usize::try_from(length).unwrap_or(usize::MAX)
    {
        return Err(invalid(format!(
            "{name} allows {length} CA certificates below it and has {below}"
        )));
    }
    let usage = certificate.key_usage().map_err(malformed)?;
    if !usage.is_some_and(|usage| usage.value.key_cert_sign()) {
        return Err(invalid(format!(
            "{name} may not sign certificates: keyUsage must have keyCertSign"
        )));
    }
    if subject_key_id(&certificate).is_none() {
        return Err(invalid(format!("{name} has no subjectKeyIdentifier")));
    }
    if now < system_time(certificate.validity().not_before) {
        return Err(invalid(format!("{name} is not valid yet")));
    }
    let end = system_time(certificate.validity().not_after);
    if end <= now {
        return Err(invalid(format!("{name} has expired")));
    }
    Ok(end)
}

/// A certificate's subjectKeyIdentifier.
pub(crate) fn subject_key_id<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    use x509_parser::extensions::ParsedExtension;
    certificate
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
            _ => None,
        })
}

/// A certificate's time as the system's.
pub(crate) fn system_time(time: ASN1Time) -> SystemTime {
    SystemTime::from(time.to_datetime())
}
