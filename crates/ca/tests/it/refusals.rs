//! Requests that are refused, each with a reason.

use ca::{InvalidCsr, IssuedChain, MAX_CSR_BYTES, Refused};
use rcgen::{KeyPair, PublicKeyData};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::kit::{self, Bench, cart, now, p256, request, self_signed};

fn issue(csr: &[u8]) -> Result<IssuedChain, InvalidCsr> {
    match self_signed().issue(csr, &cart(), None, now()) {
        Ok(issued) => Ok(issued),
        Err(Refused::Csr(invalid)) => Err(invalid),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn csr_weak_keys_are_refused() {
    let bench = Bench::new();
    for (make, reason) in [
        ("genrsa -out k.pem 1024", "RSA of fewer than 2048 bits"),
        ("genrsa -out k.pem 2047", "RSA of fewer than 2048 bits"),
        ("genrsa -out k.pem 4104", "RSA of more than 4096 bits"),
        ("genrsa -3 -out k.pem 2048", "RSA with an unsafe exponent"),
        (
            "ecparam -name secp521r1 -genkey -noout -out k.pem",
            "ECDSA on another curve",
        ),
        (
            "ecparam -name secp224r1 -genkey -noout -out k.pem",
            "ECDSA on another curve",
        ),
        (
            "ecparam -name secp256k1 -genkey -noout -out k.pem",
            "ECDSA on another curve",
        ),
        (
            "ecparam -name prime256v1 -param_enc explicit -genkey -noout -out k.pem",
            "ECDSA on another curve",
        ),
        (
            "ecparam -name prime256v1 -genkey -noout -out k.pem && ec -in k.pem -conv_form compressed -out k.pem",
            "an ECDSA point that is not uncompressed",
        ),
        (
            "genpkey -algorithm ed25519 -out k.pem",
            "neither RSA nor ECDSA",
        ),
        (
            "genpkey -algorithm ed448 -out k.pem",
            "neither RSA nor ECDSA",
        ),
        (
            "genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out k.pem",
            "neither RSA nor ECDSA",
        ),
    ] {
        make.split(" && ")
            .for_each(|command| drop(bench.openssl(command)));
        bench.openssl("req -new -key k.pem -subj /CN=x -out r.pem");
        let refused = issue(&bench.read("r.pem")).unwrap_err();
        assert_eq!(refused, InvalidCsr::Key(reason), "{make}");
    }
}

#[test]
fn csr_sha1_is_refused() {
    let bench = Bench::new();
    bench.openssl("genrsa -out k.pem 2048");
    bench.openssl("req -new -sha1 -key k.pem -subj /CN=x -out r.pem");
    assert_eq!(
        issue(&bench.read("r.pem")).unwrap_err(),
        InvalidCsr::Signature
    );
}

#[test]
fn csr_of_another_key_is_refused() {
    // The signature of one request under the contents of another.
    let (mine, theirs) = (request(&p256()), request(&p256()));
    let mut forged = theirs.clone();
    let last = forged.len() - 8;
    forged[last..].copy_from_slice(&mine[mine.len() - 8..]);
    assert_eq!(issue(&forged).unwrap_err(), InvalidCsr::Signature);
}

#[test]
fn csr_trailing_bytes_are_refused() {
    let key = p256();
    let der = request(&key);
    assert!(issue(&der).is_ok());
    let with = |more: &[u8]| [&der[..], more].concat();
    for more in [&b"\0"[..], b"\n", &der] {
        assert_eq!(issue(&with(more)).unwrap_err(), InvalidCsr::TrailingBytes);
    }
    // Inside the outer sequence, after the signature.
    let mut inside = with(&[5, 0]);
    assert_eq!(inside[1], 0x81, "a length of one byte");
    inside[2] += 2;
    assert_eq!(issue(&inside).unwrap_err(), InvalidCsr::TrailingBytes);

    let text = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", der));
    assert!(issue(text.as_bytes()).is_ok());
    assert!(issue(format!("\n{text}\n\n").as_bytes()).is_ok());
    for bad in [
        format!("{text}{text}"),
        format!("{text}x"),
        text.clone() + &key.serialize_pem(),
    ] {
        assert_eq!(
            issue(bad.as_bytes()).unwrap_err(),
            InvalidCsr::TrailingBytes
        );
    }
}

#[test]
fn csr_of_no_or_any_size_is_refused() {
    assert_eq!(issue(b"").unwrap_err(), InvalidCsr::Empty);
    assert_eq!(issue(b" \n").unwrap_err(), InvalidCsr::Empty);
    let large = vec![b'a'; 10 << 20];
    assert_eq!(issue(&large).unwrap_err(), InvalidCsr::TooLarge(10 << 20));
    let most = vec![b'a'; MAX_CSR_BYTES];
    assert_eq!(issue(&most).unwrap_err(), InvalidCsr::Unreadable);
    let key = p256().serialize_pem();
    for odd in ["-----BEGIN CERTIFICATE REQUEST-----\n", "junk", &key] {
        assert_eq!(
            issue(odd.as_bytes()).unwrap_err(),
            InvalidCsr::Unreadable,
            "{odd}"
        );
    }
}

/// Whatever byte is changed, there is no panic, and no key but the author's own is ever signed: what
/// the signature covers cannot change, and the envelope around it carries nothing that is used.
#[test]
fn csr_no_changed_byte_gets_another_key_signed() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let der = request(&key);
    let authority = self_signed();
    let mut refused = 0;
    for at in 0..der.len() {
        for value in [0, 0x7f, 0x80, 0xff, der[at] ^ 1] {
            let mut changed = der.clone();
            changed[at] = value;
            match authority.issue(&changed, &cart(), None, now()) {
                Ok(issued) => {
                    let leaf = kit::der(&issued.chain[0]);
                    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
                    assert_eq!(leaf.public_key().raw, key.subject_public_key_info());
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 4 * der.len());
}
