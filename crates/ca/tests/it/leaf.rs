//! The workload certificate, rule by rule.

use std::collections::BTreeSet;
use std::time::Duration;

use ca::{BACKDATE, DEFAULT_TTL, IssuedChain, MAX_TTL, Refused};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::kit::{self, Bench, HOUR, cart, now, p256, request, self_signed};

fn issue(key: &KeyPair) -> IssuedChain {
    self_signed()
        .issue(&request(key), &cart(), None, now())
        .unwrap()
}

/// Asserts that the leaf follows the whole template for `cart` and the key `public`.
fn assert_template(issued: &IssuedChain, public: &[u8], rsa: bool) {
    let der = kit::der(&issued.chain[0]);
    let (rest, leaf) = X509Certificate::from_der(&der).unwrap();
    assert!(rest.is_empty());
    assert_eq!(leaf.public_key().raw, public);
    assert_eq!(leaf.subject().iter().count(), 0);

    let mut seen = BTreeSet::new();
    for extension in leaf.extensions() {
        assert!(
            seen.insert(extension.oid.to_id_string()),
            "twice: {}",
            extension.oid
        );
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(san) => {
                assert!(extension.critical, "svid_08");
                assert_eq!(
                    san.general_names,
                    [GeneralName::URI("spiffe://cluster.local/ns/shop/sa/cart")],
                    "svid_07"
                );
            }
            ParsedExtension::BasicConstraints(basic) => {
                assert!(!basic.ca && extension.critical, "svid_10");
                assert_eq!(
                    extension.value,
                    [0x30, 0],
                    "DER leaves the default FALSE out"
                );
            }
            ParsedExtension::KeyUsage(usage) => {
                assert!(extension.critical, "svid_11");
                // Bit 0 is digitalSignature, bit 2 keyEncipherment.
                assert_eq!(usage.flags, if rsa { 0b101 } else { 0b1 }, "svid_11");
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                assert!(usage.server_auth && usage.client_auth, "svid_12");
                assert!(!usage.any && !usage.code_signing && usage.other.is_empty());
            }
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                assert!(id.key_identifier.is_some(), "svid_13");
            }
            ParsedExtension::SubjectKeyIdentifier(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(seen.len(), 6);
}

#[test]
fn svid_07_to_13_the_leaf_follows_the_template() {
    let key = p256();
    let issued = issue(&key);
    assert_template(
        &issued,
        &rcgen::PublicKeyData::subject_public_key_info(&key),
        false,
    );
    assert_eq!(issued.identity, cart());
}

#[test]
fn svid_08_to_13_every_kind_of_key_passes_openssl_strict() {
    let bench = Bench::new();
    let authority = self_signed();
    for (make, rsa) in [
        ("ecparam -name prime256v1 -genkey -noout", false),
        ("ecparam -name secp384r1 -genkey -noout", false),
        ("genrsa 2048", true),
        ("genrsa 4096", true),
    ] {
        let (command, arguments) = make.split_once(' ').unwrap();
        let (before, after) = if rsa {
            ("", arguments)
        } else {
            (arguments, "")
        };
        bench.openssl(&format!("{command} {before} -out k.pem {after}"));
        bench.openssl("req -new -key k.pem -subj /CN=ignored -out r.pem");
        bench.openssl("pkey -in k.pem -pubout -outform DER -out p.der");
        let issued = authority
            .issue(&bench.read("r.pem"), &cart(), None, now())
            .unwrap();
        assert_template(&issued, &bench.read("p.der"), rsa);
        bench.verify(&issued, "sslserver");
        bench.verify(&issued, "sslclient");
    }
}

#[test]
fn svid_10_a_request_for_more_yields_our_own_template() {
    let key = p256();
    let mut wish = CertificateParams::new(vec!["bank.example".to_owned()]).unwrap();
    wish.subject_alt_names.push(SanType::URI(
        "spiffe://cluster.local/ns/istio-system/sa/istiod"
            .try_into()
            .unwrap(),
    ));
    wish.distinguished_name.push(DnType::CommonName, "root");
    wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wish.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let csr = wish.serialize_request(&key).unwrap();
    let authority = self_signed();
    for csr in [csr.der().to_vec(), csr.pem().unwrap().into_bytes()] {
        let issued = authority.issue(&csr, &cart(), None, now()).unwrap();
        assert_template(
            &issued,
            &rcgen::PublicKeyData::subject_public_key_info(&key),
            false,
        );
    }
}

#[test]
fn svid_14_15_validity() {
    let authority = self_signed();
    let csr = request(&p256());
    let ends = |ttl, at| {
        authority
            .issue(&csr, &cart(), ttl, at)
            .map(|issued| (issued.not_before, issued.not_after))
    };
    assert_eq!(
        ends(None, now()),
        Ok((now() - BACKDATE, now() + DEFAULT_TTL))
    );
    assert_eq!(
        ends(Some(HOUR), now()),
        Ok((now() - BACKDATE, now() + HOUR))
    );
    assert_eq!(
        ends(Some(MAX_TTL), now()),
        Ok((now() - BACKDATE, now() + MAX_TTL))
    );
    let more = MAX_TTL + Duration::from_secs(1);
    assert_eq!(ends(Some(more), now()), Err(Refused::TtlTooLong(more)));
    // Never past the CA's own end, and nothing at all after it.
    let end = authority.not_after();
    assert_eq!(ends(None, end - HOUR).unwrap().1, end);
    assert_eq!(ends(None, end), Err(Refused::AuthorityExpired));

    // What is reported is what is written.
    let issued = issue(&p256());
    let der = kit::der(&issued.chain[0]);
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(
        leaf.validity().not_before.timestamp() as u64,
        kit::seconds(issued.not_before)
    );
    assert_eq!(
        leaf.validity().not_after.timestamp() as u64,
        kit::seconds(issued.not_after)
    );
}

#[test]
fn svid_16_serials_are_random_positive_and_long() {
    let authority = self_signed();
    let csr = request(&p256());
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let issued = authority.issue(&csr, &cart(), None, now()).unwrap();
        let der = kit::der(&issued.chain[0]);
        let (_, leaf) = X509Certificate::from_der(&der).unwrap();
        let serial = leaf.raw_serial();
        assert!(
            serial.len() == 16 && serial[0] & 0x80 == 0 && serial[0] != 0,
            "{serial:?}"
        );
        assert_eq!(format!("{:032x}", leaf.serial), issued.serial);
        assert!(seen.insert(serial.to_vec()));
    }
}

#[test]
fn svid_17_the_leaf_is_signed_by_the_root_that_comes_last() {
    let authority = self_signed();
    let issued = authority
        .issue(&request(&p256()), &cart(), None, now())
        .unwrap();
    assert_eq!(issued.chain.len(), 2);
    assert_eq!(issued.chain[1], *authority.root_bundle());
    let (leaf, root) = (kit::der(&issued.chain[0]), kit::der(&issued.chain[1]));
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    let (_, root) = X509Certificate::from_der(&root).unwrap();
    leaf.verify_signature(Some(root.public_key())).unwrap();
    assert_eq!(
        leaf.signature_algorithm.algorithm,
        oid_registry::OID_SIG_ECDSA_WITH_SHA256
    );
    assert_eq!(leaf.signature_algorithm, leaf.signature);
}

#[test]
fn another_trust_domain_is_refused() {
    let foreign = kit::identity("spiffe://other.example/ns/shop/sa/cart");
    let refused = self_signed().issue(&request(&p256()), &foreign, None, now());
    assert!(matches!(refused, Err(Refused::ForeignTrustDomain { .. })));
}
