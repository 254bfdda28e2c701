//! Reads a certificate signing request and takes one thing from it: the public key.
//!
//! A CSR comes from the network and says whatever its author likes. Names, extensions and attributes
//! are not even looked at; rcgen's own CSR reader would copy them.
//! Cheap checks come first: size, form, key; the signature, which costs, last.

use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::asn1_rs::{Any, BitString, FromDer, Sequence};
use x509_parser::certification_request::X509CertificationRequestInfo;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
    OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA,
};
use x509_parser::public_key::PublicKey;
use x509_parser::verify::verify_signature;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo as Spki};

/// The largest CSR that is read, in bytes, PEM or DER (CSR policy).
pub const MAX_CSR_BYTES: usize = 16 * 1024;

const PEM_BEGIN: &[u8] = b"-----BEGIN CERTIFICATE REQUEST-----";
const PEM_END: &[u8] = b"-----END CERTIFICATE REQUEST-----";

/// Why a CSR is refused. The author of the request can mend every one of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCsr {
    /// Nothing was sent.
    #[error("the CSR is empty; send one PKCS#10 request as PEM or DER")]
    Empty,
    /// More than [`MAX_CSR_BYTES`].
    #[error("the CSR has {0} bytes; at most {MAX_CSR_BYTES} are read")]
    TooLarge(usize),
    /// Neither one PEM block nor one DER structure of PKCS#10.
    #[error("the CSR is not one PKCS#10 request as PEM or DER")]
    Unreadable,
    /// Bytes stand after the request or inside it where none belong.
    #[error("the CSR has bytes after its end; send exactly one request")]
    TrailingBytes,
    /// The public key is of a kind or size that is not signed.
    #[error(
        "the CSR's key is {0}; use ECDSA P-256 or P-384, or RSA of 2048 to 4096 bits with exponent 65537"
    )]
    Key(&'static str),
    /// The signature is not by the key in the request, or of an outdated kind.
    #[error("the CSR's signature is not by its own key, or its algorithm is not SHA-2")]
    Signature,
}

/// The public key of a checked CSR.
#[derive(Debug)]
pub(crate) struct RequestedKey {
    pub(crate) spki: SubjectPublicKeyInfo,
    pub(crate) rsa: bool,
}

/// Reads a CSR, PEM or DER, and proves that its author holds the private key.
pub(crate) fn parse(csr: &[u8]) -> Result<RequestedKey, InvalidCsr> {
    if csr.len() > MAX_CSR_BYTES {
        return Err(InvalidCsr::TooLarge(csr.len()));
    }
    let text = csr.trim_ascii();
    if text.is_empty() {
        return Err(InvalidCsr::Empty);
    }
    if text.starts_with(b"-----") {
        parse_der(&pem_contents(text)?)
    } else {
        parse_der(csr)
    }
}

fn pem_contents(text: &[u8]) -> Result<CertificateSigningRequestDer<'static>, InvalidCsr> {
    if !text.starts_with(PEM_BEGIN) {
        return Err(InvalidCsr::Unreadable);
    }
    let mut ends = text.windows(PEM_END.len()).enumerate();
    let end = ends.find(|(_, window)| *window == PEM_END);
    match end {
        None => Err(InvalidCsr::Unreadable),
        Some((at, _)) if at + PEM_END.len() != text.len() => Err(InvalidCsr::TrailingBytes),
        Some(_) => {
            CertificateSigningRequestDer::from_pem_slice(text).map_err(|_| InvalidCsr::Unreadable)
        }
    }
}

/// Takes the structure apart by hand: x509-parser's own reader lets bytes through at the end of it.
fn parse_der(der: &[u8]) -> Result<RequestedKey, InvalidCsr> {
    let (rest, request) = Sequence::from_der(der).map_err(|_| InvalidCsr::Unreadable)?;
    nothing_left(rest)?;
    let content: &[u8] = &request.content;
    let (rest, info) =
        X509CertificationRequestInfo::from_der(content).map_err(|_| InvalidCsr::Unreadable)?;
    let (rest, algorithm) =
        AlgorithmIdentifier::from_der(rest).map_err(|_| InvalidCsr::Unreadable)?;
    let (rest, signature) = BitString::from_der(rest).map_err(|_| InvalidCsr::Unreadable)?;
    nothing_left(rest)?;

    let rsa = check_key(&info.subject_pki)?;
    let outdated = [OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA];
    if outdated.contains(&algorithm.algorithm) {
        return Err(InvalidCsr::Signature);
    }
    verify_signature(&info.subject_pki, &algorithm, &signature, info.raw)
        .map_err(|_| InvalidCsr::Signature)?;
    let spki = SubjectPublicKeyInfo::from_der(info.subject_pki.raw)
        .map_err(|_| InvalidCsr::Key("encoded in an unusual way"))?;
    Ok(RequestedKey { spki, rsa })
}

fn nothing_left(rest: &[u8]) -> Result<(), InvalidCsr> {
    if rest.is_empty() {
        Ok(())
    } else {
        Err(InvalidCsr::TrailingBytes)
    }
}

/// The key policy. Returns whether it is RSA, whose certificates also allow key encipherment.
fn check_key(spki: &Spki<'_>) -> Result<bool, InvalidCsr> {
    let kind = &spki.algorithm.algorithm;
    if *kind == OID_PKCS1_RSAENCRYPTION {
        check_rsa(spki).map(|()| true)
    } else if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
        check_ec(spki).map(|()| false)
    } else {
        Err(InvalidCsr::Key("neither RSA nor ECDSA"))
    }
}

fn check_rsa(spki: &Spki<'_>) -> Result<(), InvalidCsr> {
    let unreadable = InvalidCsr::Key("an unreadable RSA key");
    let (rest, _) = Any::from_der(&spki.subject_public_key.data).map_err(|_| unreadable.clone())?;
    nothing_left(rest)?;
    let Ok(PublicKey::RSA(key)) = spki.parsed() else {
        return Err(unreadable);
    };
    let leading = key.modulus.iter().take_while(|byte| **byte == 0).count();
    let modulus = key.modulus.get(leading..).unwrap_or_default();
    let unused = modulus
        .first()
        .map_or(0, |byte| byte.leading_zeros() as usize);
    match modulus.len() * 8 - unused {
        0..2048 => Err(InvalidCsr::Key("RSA of fewer than 2048 bits")),
        2048..=4096 => match key.try_exponent() {
            Ok(e) if e >= 65537 && e % 2 == 1 => Ok(()),
            Ok(_) | Err(_) => Err(InvalidCsr::Key("RSA with an unsafe exponent")),
        },
        _ => Err(InvalidCsr::Key("RSA of more than 4096 bits")),
    }
}

fn check_ec(spki: &Spki<'_>) -> Result<(), InvalidCsr> {
    let curve = spki
        .algorithm
        .parameters
        .as_ref()
        .and_then(|p| p.as_oid().ok());
    let length = match curve {
        Some(curve) if curve == OID_EC_P256 => 65,
        Some(curve) if curve == OID_NIST_EC_P384 => 97,
        Some(_) | None => return Err(InvalidCsr::Key("ECDSA on another curve")),
    };
    // Whether the point is on the curve is checked with the signature.
    let point: &[u8] = &spki.subject_public_key.data;
    if point.len() == length && point.first() == Some(&4) {
        Ok(())
    } else {
        Err(InvalidCsr::Key("an ECDSA point that is not uncompressed"))
    }
}
