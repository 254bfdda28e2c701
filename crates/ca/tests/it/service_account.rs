//! Service-account tokens of Kubernetes: one good one, each way to be refused, and what only the API server can tell.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ca::{BoundToken, Caller, Denied, ServiceAccountKeys, Unverified};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::kit::{now, seconds};

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A cluster's signing key: RSA, as Kubernetes makes it.
struct Cluster {
    signing: EncodingKey,
    keys: ServiceAccountKeys,
}

impl Cluster {
    fn new() -> Self {
        let key = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let public = key.public_key();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwks = json!({ "keys": [{
            "use": "sig", "kty": "RSA", "kid": "k1", "alg": "RS256",
            "n": number(public.modulus().big_endian_without_leading_zero()),
            "e": number(public.exponent().big_endian_without_leading_zero()),
        }] });
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().unwrap();
        let pem = pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref()));
        Self {
            signing: EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(),
            keys: ServiceAccountKeys::parse(ISSUER, &jwks.to_string()).unwrap(),
        }
    }

    fn header() -> Header {
        Header {
            kid: Some("k1".to_owned()),
            ..Header::new(Algorithm::RS256)
        }
    }

    fn verify(&self, claims: &Value) -> Result<BoundToken, Unverified> {
        let token = encode(&Self::header(), claims, &self.signing).unwrap();
        self.keys.verify(&token, now())
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": ["istio-ca"], "sub": "system:serviceaccount:shop:cart",
        "iat": seconds(now()), "nbf": seconds(now()), "exp": seconds(now()) + 3600,
        "kubernetes.io": {
            "namespace": "shop",
            "serviceaccount": { "name": "cart", "uid": "u-account" },
            "pod": { "name": "cart-1", "uid": "u-pod" },
            "node": { "name": "node0", "uid": "u-node" },
        },
    })
}

fn with(path: &str, value: Value) -> Value {
    let mut claims = claims();
    *claims.pointer_mut(path).unwrap() = value;
    claims
}

fn bound() -> BoundToken {
    BoundToken {
        caller: Caller {
            namespace: "shop".parse().unwrap(),
            service_account: "cart".parse().unwrap(),
            pod: Some("cart-1".parse().unwrap()),
        },
        account_uid: "u-account".to_owned(),
        pod_uid: Some("u-pod".to_owned()),
    }
}

#[test]
fn a_bound_token_says_whose_it_is_and_which_lives_it_hangs_on() {
    let cluster = Cluster::new();
    assert_eq!(cluster.verify(&claims()), Ok(bound()));
    // As `kubectl create token` makes it.
    let mut unbound = claims();
    unbound["kubernetes.io"]
        .as_object_mut()
        .unwrap()
        .remove("pod");
    let token = cluster.verify(&unbound).unwrap();
    assert_eq!((token.caller.pod, token.pod_uid), (None, None));
    assert!(cluster.verify(&with("/aud", json!("istio-ca"))).is_ok());
}

#[test]
fn each_wrong_claim_is_refused_with_its_reason() {
    let cluster = Cluster::new();
    let now = seconds(now());
    for (path, value, reason) in [
        ("/aud", json!(["istio-ca2"]), "its audience is not istio-ca"),
        ("/aud", json!([]), "its audience is not istio-ca"),
        ("/exp", json!(now), "it has expired"),
        ("/nbf", json!(now + 120), "it is not valid yet"),
        (
            "/sub",
            json!("system:serviceaccount:shop:pay"),
            "its subject and its service account differ",
        ),
        ("/kubernetes.io", Value::Null, "it names no service account"),
        (
            "/kubernetes.io/serviceaccount/name",
            json!("a/b"),
            "it names no service account",
        ),
        (
            "/kubernetes.io/pod/name",
            json!("../x"),
            "the Pod that it is bound to has no name",
        ),
        (
            "/exp",
            json!("soon"),
            "its signature or its claims are wrong",
        ),
    ] {
        let refused = cluster.verify(&with(path, value));
        assert_eq!(
            refused,
            Err(Unverified::Denied(Denied::Token(reason))),
            "{path}"
        );
    }
}

#[test]
fn a_forged_token_is_refused() {
    let (cluster, other) = (Cluster::new(), Cluster::new());
    let forged = encode(&Cluster::header(), &claims(), &other.signing).unwrap();
    let wrong = "its signature or its claims are wrong";
    let refused = |token: &str| cluster.keys.verify(token, now());
    assert_eq!(
        refused(&forged),
        Err(Unverified::Denied(Denied::Token(wrong)))
    );
    let none = json!({ "alg": "none", "kid": "k1" }).to_string();
    let unsigned = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(none),
        URL_SAFE_NO_PAD.encode(claims().to_string())
    );
    let reason = "it is not signed with an algorithm that Kubernetes uses";
    assert_eq!(
        refused(&unsigned),
        Err(Unverified::Denied(Denied::Token(reason)))
    );
    let confused = Header {
        kid: Some("k1".to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    let confused = encode(&confused, &claims(), &EncodingKey::from_secret(b"k1")).unwrap();
    let reason = "it is not signed with its key's algorithm";
    assert_eq!(
        refused(&confused),
        Err(Unverified::Denied(Denied::Token(reason)))
    );
    let reason = "it is too long";
    assert_eq!(
        refused(&"a".repeat(20_000)),
        Err(Unverified::Denied(Denied::Token(reason)))
    );
}

#[test]
fn the_api_server_is_asked_about_what_no_published_key_can_tell() {
    let cluster = Cluster::new();
    let other = Header {
        kid: Some("k2".to_owned()),
        ..Header::new(Algorithm::RS256)
    };
    let unknown = encode(&other, &claims(), &cluster.signing).unwrap();
    assert_eq!(
        cluster.keys.verify(&unknown, now()),
        Err(Unverified::Elsewhere)
    );
    assert_eq!(
        cluster.keys.verify("opaque", now()),
        Err(Unverified::Elsewhere)
    );
    let elsewhere = cluster.verify(&with("/iss", json!("https://another.issuer")));
    assert_eq!(elsewhere, Err(Unverified::Elsewhere));
}

#[test]
fn what_is_no_key_set_is_no_verifier() {
    assert!(ServiceAccountKeys::parse(ISSUER, "<html>").is_err());
    let odd = json!({ "keys": [{ "kty": "oct", "k": "AA", "kid": "s" }] }).to_string();
    assert!(ServiceAccountKeys::parse(ISSUER, &odd).is_ok());
}
