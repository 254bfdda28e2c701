//! The control plane's own TLS certificate.

use std::sync::Arc;
use std::time::SystemTime;

use ca::{Authority, CaFiles, Caller, Refused, SERVING_NAMES};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::kit::{self, Bench, HOUR, cart, now, p256, request, self_signed, trust_domain};

#[test]
fn it_names_the_control_plane_and_is_renewed_at_half_life() {
    let authority = self_signed();
    let more = [
        "mesh.example".to_owned(),
        "::1".to_owned(),
        "localhost".to_owned(),
    ];
    let serving = authority
        .serving_certificate(&more, 2 * HOUR, now())
        .unwrap();
    assert_eq!(
        (serving.renew_at, serving.not_after),
        (now() + HOUR, now() + 2 * HOUR)
    );
    assert_eq!(serving.chain.len(), 1);

    let (_, leaf) = X509Certificate::from_der(&serving.chain[0]).unwrap();
    let san = leaf.subject_alternative_name().unwrap().unwrap();
    let names: Vec<_> = san.value.general_names.iter().collect();
    let mut wanted: Vec<_> = SERVING_NAMES[..5]
        .iter()
        .map(|name| GeneralName::DNSName(name))
        .collect();
    wanted.push(GeneralName::IPAddress(&[127, 0, 0, 1]));
    wanted.push(GeneralName::DNSName("mesh.example"));
    wanted.push(GeneralName::IPAddress(&[
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
    ]));
    assert_eq!(names, wanted.iter().collect::<Vec<_>>());
    let usage = leaf.extended_key_usage().unwrap().unwrap();
    assert!(usage.value.server_auth && !usage.value.client_auth);

    let bench = Bench::new();
    let pem = |der: &[u8]| pem::encode(&pem::Pem::new("CERTIFICATE", der));
    bench.write("leaf.pem", &pem(&serving.chain[0]));
    bench.write("roots.pem", &authority.root_bundle());
    for name in [
        "-verify_hostname istiod.istio-system.svc",
        "-verify_ip 127.0.0.1",
    ] {
        let at = kit::seconds(now());
        bench.openssl(&format!(
            "verify -x509_strict -purpose sslserver -attime {at} {name} -CAfile roots.pem leaf.pem"
        ));
    }
}

#[test]
fn sec_33_a_name_that_is_none_is_refused() {
    for name in ["a b", "x\0.example", "", "spiffe://a/b", "ä.example"] {
        let refused = self_signed().serving_certificate(&[name.to_owned()], HOUR, now());
        assert_eq!(refused.unwrap_err(), Refused::ServingName(name.to_owned()));
    }
}

/// The listener on 15012 and an agent, in memory: each accepts what this authority gave the other.
#[test]
fn rustls_shakes_hands_on_both_certificates() {
    let now = SystemTime::now(); // rustls looks at the clock
    let files = CaFiles::self_signed(&trust_domain(), now).unwrap();
    let authority = Authority::new(&files, trust_domain(), now).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authority.roots().iter().cloned());
    let roots = Arc::new(roots);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());

    let serving = authority.serving_certificate(&[], HOUR, now).unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.allow_unauthenticated().build().unwrap())
        .with_single_cert(serving.chain, serving.key)
        .unwrap();
    let key = p256();
    let issued = authority.issue(&request(&key), &cart(), None, now).unwrap();
    let leaf = kit::der(&issued.chain[0]).into();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![leaf], PrivateKeyDer::from(key))
        .unwrap();

    let name = ServerName::try_from("istiod.istio-system.svc").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut sent = wire.as_slice();
        while !sent.is_empty() {
            server.read_tls(&mut sent).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut sent = wire.as_slice();
        while !sent.is_empty() {
            client.read_tls(&mut sent).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    let peer = &server.peer_certificates().unwrap()[0];
    let caller = Caller::of_certificate(peer, &trust_domain(), now).unwrap();
    assert_eq!(caller.spiffe_id(&trust_domain()), cart());
}
