//! What a certificate of ours looks like: the only place that fills in rcgen's parameters, because
//! its defaults (serial from the key, a fixed subject, eighty years) are wrong for a CA.
//!
//! The rules are SVID 7 to 23 in the security rules; each line below names its rule.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber,
};
use time::OffsetDateTime;

/// How long a workload certificate is valid when the request does not say: 24 hours, as in Istio.
pub const DEFAULT_TTL: Duration = Duration::from_secs(24 * 3600);
/// The longest validity that a request may ask for: 90 days, as in Istio.
pub const MAX_TTL: Duration = Duration::from_secs(90 * 24 * 3600);
/// How far NotBefore lies in the past, for clocks that are slow (SVID 15).
pub const BACKDATE: Duration = Duration::from_secs(120);
/// The validity of a self-signed root: ten years.
pub(crate) const ROOT_TTL: Duration = Duration::from_secs(3650 * 24 * 3600);

/// The span of a certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validity {
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

impl Validity {
    /// From two minutes ago until `ttl` from now, but never past `limit`, the issuer's own end.
    pub(crate) fn new(now: SystemTime, ttl: Duration, limit: SystemTime) -> Self {
        Self {
            not_before: now.checked_sub(BACKDATE).unwrap_or(now), // SVID 15
            not_after: now.checked_add(ttl).unwrap_or(limit).min(limit), // SVID 14
        }
    }
}

/// The leaf of a workload: one URI, and what it takes to be both ends of mutual TLS.
pub(crate) fn workload(
    uri: rcgen::string::Ia5String,
    rsa: bool,
    serial: [u8; 16],
    validity: Validity,
) -> CertificateParams {
    let mut leaf = leaf(serial, validity);
    leaf.subject_alt_names = vec![SanType::URI(uri)]; // SVID 7
    if rsa {
        leaf.key_usages.push(KeyUsagePurpose::KeyEncipherment); // SVID 11
    }
    leaf.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth, // SVID 12
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    leaf
}

/// The control plane's own certificate: names, no identity in the mesh.
pub(crate) fn serving(
    names: Vec<SanType>,
    serial: [u8; 16],
    validity: Validity,
) -> CertificateParams {
    let mut leaf = leaf(serial, validity);
    leaf.subject_alt_names = names;
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf
}

/// A self-signed root of `organization` (the trust domain). `serial` also makes its name unique, so
/// that no two generations are confused (SVID 23).
pub(crate) fn root(organization: &str, serial: [u8; 16], validity: Validity) -> CertificateParams {
    let mut root = params(serial, validity);
    let generation = u128::from_be_bytes(serial);
    let name = &mut root.distinguished_name;
    let organization: String = organization.chars().take(64).collect(); // X.520's upper bound
    name.push(DnType::OrganizationName, organization);
    name.push(DnType::CommonName, format!("Lateen root {generation:032x}"));
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)); // SVID 18, 21, 22
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]; // SVID 19
    root
}

fn leaf(serial: [u8; 16], validity: Validity) -> CertificateParams {
    let mut leaf = params(serial, validity); // the empty subject makes the SAN critical: SVID 8
    // In this rcgen an empty sequence, which is DER for cA=FALSE; a critical CA:FALSE, as Istio's.
    leaf.is_ca = IsCa::ExplicitNoCa; // SVID 10
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature]; // SVID 11
    leaf
}

fn params(serial: [u8; 16], validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = OffsetDateTime::from(validity.not_before);
    params.not_after = OffsetDateTime::from(validity.not_after);
    params.serial_number = Some(SerialNumber::from(serial.to_vec()));
    params.use_authority_key_identifier_extension = true; // SVID 13
    params
}

/// A serial number: 126 random bits, positive and never zero (SVID 16).
pub(crate) fn random_serial() -> Result<[u8; 16], aws_lc_rs::error::Unspecified> {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial)?;
    let [first, ..] = &mut serial;
    *first = (*first & 0x7f) | 0x40;
    Ok(serial)
}
