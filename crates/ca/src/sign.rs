//! Signs a certificate under an issuer's exact name.
//!
//! rcgen keeps a name as a map, one value per attribute type, so it would rewrite many an enterprise
//! CA's subject (`DC=corp, DC=example`), and a leaf whose issuer is not its CA's subject byte for byte
//! verifies nowhere. Here rcgen encodes the certificate, unsigned; the issuer's own bytes are put in
//! their place; then it is signed.

use rcgen::{
    CertificateParams, DistinguishedName, Issuer, KeyIdMethod, KeyPair, PublicKeyData,
    SignatureAlgorithm, SigningKey,
};
use rustls_pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, FromDer};

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
/// Where the issuer stands in a TBSCertificate: after version, serial number and algorithm.
const ISSUER: usize = 3;

/// A CA's key together with the name and key identifier that its certificates refer to.
pub(crate) struct Signer {
    key: KeyPair,
    name: Vec<u8>,
    unsigned: Issuer<'static, Unsigned>,
}

impl Signer {
    /// A signer for the CA whose encoded subject is `name` and whose subjectKeyIdentifier is `key_id`.
    pub(crate) fn new(key: KeyPair, name: &[u8], key_id: &[u8]) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.key_identifier_method = KeyIdMethod::PreSpecified(key_id.to_vec());
        let unsigned = Unsigned {
            public_key: key.der_bytes().to_vec(),
            algorithm: key.algorithm(),
        };
        Self {
            unsigned: Issuer::new(params, unsigned),
            name: name.to_vec(),
            key,
        }
    }

    /// Issues the certificate that `params` describe for the public key `subject`.
    pub(crate) fn sign(
        &self,
        params: &CertificateParams,
        subject: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>, rcgen::Error> {
        let draft = params.signed_by(subject, &self.unsigned)?;
        let [tbs, algorithm, _no_signature] = elements(draft.der())?
            .try_into()
            .map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        let mut fields = elements(tbs)?;
        let issuer = fields.get_mut(ISSUER);
        *issuer.ok_or(rcgen::Error::CouldNotParseCertificate)? = &self.name;
        let tbs = tlv(SEQUENCE, &fields.concat());
        let mut signature = vec![0]; // no unused bits
        signature.extend(self.key.sign(&tbs)?);
        let certificate = [&tbs, algorithm, &tlv(BIT_STRING, &signature)].concat();
        Ok(tlv(SEQUENCE, &certificate).into())
    }
}

/// The public half of a CA's key, in whose name rcgen writes the algorithm and signs nothing.
struct Unsigned {
    public_key: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl PublicKeyData for Unsigned {
    fn der_bytes(&self) -> &[u8] {
        &self.public_key
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl SigningKey for Unsigned {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Vec::new())
    }
}

/// The encoded elements of a DER sequence.
fn elements(der: &[u8]) -> Result<Vec<&[u8]>, rcgen::Error> {
    let unreadable = |_| rcgen::Error::CouldNotParseCertificate;
    let (_, header) = Any::from_der(der).map_err(unreadable)?;
    let mut rest = header.data;
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let (after, _) = Any::from_der(rest).map_err(unreadable)?;
        let (element, _) = rest.split_at(rest.len() - after.len());
        elements.push(element);
        rest = after;
    }
    Ok(elements)
}

/// A DER element with its shortest length.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let leading = length.iter().take_while(|byte| **byte == 0).count();
    let length = length.get(leading..).unwrap_or_default();
    let mut element = vec![tag];
    match length {
        [] => element.push(0),
        [short] if *short < 0x80 => element.push(*short),
        long => {
            element.push(0x80 | long.len() as u8);
            element.extend_from_slice(long);
        }
    }
    element.extend_from_slice(content);
    element
}
