//! Who a client certificate says its bearer is.

use std::time::Duration;

use ca::{Caller, Credentials, DEFAULT_TTL, Denied, MeshReviewer, TokenIssuer};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose, SanType};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::kit::{self, Bench, HOUR, cart, now, p256, request, self_signed, trust_domain};

fn issued() -> CertificateDer<'static> {
    let issued = self_signed()
        .issue(&request(&p256()), &cart(), None, now())
        .unwrap();
    kit::der(&issued.chain[0]).into()
}

/// A certificate that is valid for an hour and has these URIs.
fn certificate(
    uris: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.not_before = OffsetDateTime::from(now() - HOUR);
    params.not_after = OffsetDateTime::from(now() + HOUR);
    params.subject_alt_names = uris
        .iter()
        .map(|uri| SanType::URI((*uri).try_into().unwrap()))
        .collect();
    change(&mut params);
    params.self_signed(&p256()).unwrap().into()
}

fn caller(certificate: &CertificateDer<'_>) -> Result<Caller, Denied> {
    Caller::of_certificate(certificate, &trust_domain(), now())
}

const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";

#[test]
fn svid_24_what_we_issue_identifies_its_bearer_while_it_is_valid() {
    let leaf = issued();
    let caller = |at| Caller::of_certificate(&leaf, &trust_domain(), at);
    assert_eq!(caller(now()).unwrap().spiffe_id(&trust_domain()), cart());
    let end = now() + DEFAULT_TTL;
    assert!(caller(end - Duration::from_secs(1)).is_ok());
    assert_eq!(caller(end), Err(Denied::Certificate("it has expired")));
    assert_eq!(
        caller(now() - HOUR),
        Err(Denied::Certificate("it is not valid yet"))
    );
}

#[test]
fn svid_07_25_exactly_one_uri_of_a_leaf_of_our_trust_domain() {
    assert!(caller(&certificate(&[CART], |_| ())).is_ok());
    let one = "it must have exactly one URI name";
    let signs = "it is a signing certificate, not a workload's";
    for (bad, reason) in [
        (certificate(&[], |_| ()), one),
        (certificate(&[CART, CART], |_| ()), one),
        (certificate(&[CART, "https://shop.example"], |_| ()), one),
        (
            certificate(&["spiffe://other/ns/shop/sa/cart"], |_| ()),
            "it is of another trust domain",
        ),
        (
            certificate(&[CART], |p| {
                p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)
            }),
            signs,
        ),
        (
            certificate(&[CART], |p| {
                p.key_usages = vec![KeyUsagePurpose::KeyCertSign]
            }),
            signs,
        ),
        (
            certificate(&[CART], |p| p.key_usages = vec![KeyUsagePurpose::CrlSign]),
            signs,
        ),
        (
            CertificateDer::from(vec![0x30, 3, 2, 1, 0]),
            "it is not readable",
        ),
    ] {
        assert_eq!(caller(&bad), Err(Denied::Certificate(reason)));
    }
    let serving = self_signed().serving_certificate(&[], HOUR, now()).unwrap();
    assert_eq!(caller(&serving.chain[0]), Err(Denied::Certificate(one)));
}

#[test]
fn sec_33_bytes_that_are_no_spiffe_id_are_never_accepted_nor_signed() {
    for uri in [
        "spiffe://cluster.local/ns/shop/sa/cart\0",
        "spiffe://cluster.local/ns/shop\0/sa/cart",
        "spiffe://cluster.local/ns/shop/sa/cart/",
        "spiffe://cluster.local/ns/shop/sa/ca%72t",
        "spiffe://cluster.local/ns/shop/sa/cart?x=y",
        "spiffe://cluster.local/ns/shop/sa/cart#x",
        "spiffe://cluster.local:443/ns/shop/sa/cart",
        "spiffe://root@cluster.local/ns/shop/sa/cart",
        "spiffe://CLUSTER.local/ns/shop/sa/cart",
        "SPIFFE://cluster.local/ns/shop/sa/cart",
        "spiffe://cluster.local/ns/../sa/cart",
        "spiffe://cluster.local/ns//sa/cart",
        "spiffe://cluster.local/ns/shop/sa/ca rt",
        "spiffe://cluster.local/ns/shop/sa/cart\n",
        "spiffe://cluster.local",
        "https://cluster.local/ns/shop/sa/cart",
    ] {
        let denied = caller(&certificate(&[uri], |_| ()));
        assert!(
            matches!(denied, Err(Denied::Certificate(_))),
            "{uri:?}: {denied:?}"
        );
        assert!(uri.parse::<model::SpiffeId>().is_err(), "{uri:?}");
    }
    let long = format!("spiffe://cluster.local/ns/shop/sa/{}", "a".repeat(2048));
    assert!(caller(&certificate(&[&long], |_| ())).is_err());
}

#[test]
fn the_certificate_decides_and_a_token_serves_without_one() {
    let bench = Bench::new();
    let tokens = TokenIssuer::open(&bench.state()).unwrap();
    let reviewer = MeshReviewer::new(trust_domain(), tokens.verifier());
    let (namespace, account) = ("shop".parse().unwrap(), "ui".parse().unwrap());
    let token = tokens.mint(&namespace, &account, HOUR, now()).unwrap();
    let review = |bearer: Option<&str>, certificates: &[CertificateDer<'static>]| {
        let credentials = Credentials {
            bearer: bearer.map(str::to_owned),
            peer_certificates: certificates.to_vec(),
        };
        assert!(
            !format!("{credentials:?}").contains("ey"),
            "the token is not logged"
        );
        reviewer
            .review_now(&credentials, now())
            .map(|caller| caller.service_account.to_string())
    };
    assert_eq!(review(Some(&token), &[]).unwrap(), "ui");
    assert_eq!(review(None, &[issued()]).unwrap(), "cart");
    assert_eq!(review(Some(&token), &[issued()]).unwrap(), "cart");
    assert!(review(Some(&token), &[certificate(&[], |_| ())]).is_err());
    assert_eq!(review(None, &[]), Err(Denied::NoCredentials));
}
