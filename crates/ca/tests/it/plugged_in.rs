//! Operators' own `cacerts`: every kind of key, every encoding, and what is refused with which file.

use std::path::Path;

use ca::{Authority, InvalidCa};
use x509_parser::oid_registry::{
    OID_PKCS1_SHA256WITHRSA, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::kit::{self, Bench, cart, now, p256, request, trust_domain};

const EXTENSIONS: &str = "
[ca]
basicConstraints = critical, CA:true, pathlen:PATHLEN
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[leaf]
basicConstraints = critical, CA:false
[req]
distinguished_name = dn
[dn]
";

/// Istio's `Makefile.selfsigned.mk` in short: a root, an intermediate of it, the issuer of that.
fn make(bench: &Bench, key: &str, extensions: &str) {
    let days = "-days 30000";
    bench.openssl("ecparam -name prime256v1 -genkey -noout -out root-key.pem");
    bench.write("e.cnf", &extensions.replace("PATHLEN", "3"));
    bench.openssl(&format!("req -x509 -new -config e.cnf -extensions ca -key root-key.pem -subj /O=Istio/CN=Root {days} -out root-cert.pem"));
    bench.openssl("ecparam -name secp384r1 -genkey -noout -out mid-key.pem");
    bench.openssl("req -new -config e.cnf -key mid-key.pem -subj /O=Istio/CN=Mid -out mid.csr");
    bench.openssl(&format!("x509 -req -in mid.csr -CA root-cert.pem -CAkey root-key.pem -CAcreateserial -extfile e.cnf -extensions ca {days} -out mid.pem"));
    bench.openssl(key);
    // A name with repeated and multi-valued parts, as directories give them.
    let name = "/DC=corp/DC=example/OU=a/OU=b+CN=Issuer";
    bench.openssl(&format!(
        "req -new -multivalue-rdn -config e.cnf -key ca-key.pem -subj {name} -out ca.csr"
    ));
    bench.write("e.cnf", &extensions.replace("PATHLEN", "0"));
    bench.openssl(&format!("x509 -req -in ca.csr -CA mid.pem -CAkey mid-key.pem -CAcreateserial -extfile e.cnf -extensions ca {days} -out ca-cert.pem"));
    // The chain in the least helpful order.
    let read = |name| String::from_utf8(bench.read(name)).unwrap();
    bench.write(
        "cert-chain.pem",
        &[read("root-cert.pem"), read("mid.pem"), read("ca-cert.pem")].concat(),
    );
}

fn open(dir: &Path) -> Result<Authority, InvalidCa> {
    Authority::plugged_in(dir, trust_domain(), now())
}

fn refused(bench: &Bench) -> (&'static str, String) {
    match open(bench.path()) {
        Err(InvalidCa::File { file, reason }) => (file, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sec_31_the_signature_follows_the_key_of_the_ca() {
    let bench = Bench::new();
    for (key, algorithm) in [
        (
            "genrsa -traditional -out ca-key.pem 2048",
            OID_PKCS1_SHA256WITHRSA,
        ), // PKCS#1
        (
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out ca-key.pem",
            OID_PKCS1_SHA256WITHRSA,
        ), // PKCS#8
        (
            "ecparam -name prime256v1 -genkey -noout -out ca-key.pem",
            OID_SIG_ECDSA_WITH_SHA256,
        ), // SEC1
        (
            "ecparam -name prime256v1 -genkey -out ca-key.pem",
            OID_SIG_ECDSA_WITH_SHA256,
        ), // EC PARAMETERS before it
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca-key.pem",
            OID_SIG_ECDSA_WITH_SHA256,
        ),
        (
            "ecparam -name secp384r1 -genkey -noout -out ca-key.pem",
            OID_SIG_ECDSA_WITH_SHA384,
        ),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out ca-key.pem",
            OID_SIG_ECDSA_WITH_SHA384,
        ),
    ] {
        make(&bench, key, EXTENSIONS);
        let authority = open(bench.path()).unwrap();
        let issued = authority
            .issue(&request(&p256()), &cart(), None, now())
            .unwrap();
        let der = kit::der(&issued.chain[0]);
        let (_, leaf) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(leaf.signature_algorithm.algorithm, algorithm, "{key}");
        assert_eq!(leaf.signature_algorithm, leaf.signature);

        // Leaf, issuer, intermediate, and the root bundle last.
        let texts = |name| kit::der(&String::from_utf8(bench.read(name)).unwrap());
        let chain: Vec<_> = issued.chain[1..].iter().map(|pem| kit::der(pem)).collect();
        assert_eq!(
            chain,
            ["ca-cert.pem", "mid.pem", "root-cert.pem"].map(texts)
        );
        bench.verify(&issued, "sslserver");
        bench.verify(&issued, "sslclient");
    }
}

#[test]
fn a_root_that_signs_by_itself_needs_no_chain() {
    let bench = Bench::new();
    make(&bench, "genrsa -out ca-key.pem 2048", EXTENSIONS);
    for (from, to) in [
        ("root-cert.pem", "ca-cert.pem"),
        ("root-key.pem", "ca-key.pem"),
    ] {
        std::fs::copy(bench.path().join(from), bench.path().join(to)).unwrap();
    }
    std::fs::remove_file(bench.path().join("cert-chain.pem")).unwrap();
    let issued = open(bench.path())
        .unwrap()
        .issue(&request(&p256()), &cart(), None, now())
        .unwrap();
    assert_eq!(issued.chain.len(), 2);
    bench.verify(&issued, "sslserver");
}

#[test]
fn wrong_files_are_named() {
    let bench = Bench::new();
    let good = "ecparam -name prime256v1 -genkey -noout -out ca-key.pem";
    let check = |file: &str, part: &str| {
        let (at, reason) = refused(&bench);
        assert!(at == file && reason.contains(part), "{at}: {reason}");
    };

    make(&bench, good, EXTENSIONS);
    bench.openssl("ecparam -name prime256v1 -genkey -noout -out ca-key.pem");
    check("ca-key.pem", "not the key of ca-cert.pem");
    bench.openssl("genpkey -algorithm ed25519 -out ca-key.pem");
    check("ca-key.pem", "use RSA, ECDSA P-256 or P-384");
    bench.openssl("ecparam -name secp521r1 -genkey -noout -out ca-key.pem");
    check("ca-key.pem", "use RSA, ECDSA P-256 or P-384");
    bench.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -pass pass:x -out ca-key.pem");
    check("ca-key.pem", "unencrypted");

    make(&bench, good, EXTENSIONS);
    bench.write("cert-chain.pem", "");
    check("cert-chain.pem", "missing intermediate");
    bench.write("root-cert.pem", "");
    check("root-cert.pem", "no certificate");
    std::fs::remove_file(bench.path().join("root-cert.pem")).unwrap();
    check("root-cert.pem", "cannot read");

    make(
        &bench,
        good,
        &EXTENSIONS.replace("critical, CA:true, pathlen:PATHLEN", "critical, CA:false"),
    );
    check("ca-cert.pem", "not a CA");
    make(
        &bench,
        good,
        &EXTENSIONS.replace("keyCertSign, cRLSign", "digitalSignature"),
    );
    check("ca-cert.pem", "may not sign");
    make(
        &bench,
        good,
        &EXTENSIONS
            .replace("subjectKeyIdentifier = hash", "")
            .replace(
                "authorityKeyIdentifier = keyid",
                "subjectKeyIdentifier = none",
            ),
    );
    check("ca-cert.pem", "no subjectKeyIdentifier");
    make(&bench, good, &EXTENSIONS.replace("PATHLEN", "0"));
    check("cert-chain.pem", "allows 0 CA certificates");
}
