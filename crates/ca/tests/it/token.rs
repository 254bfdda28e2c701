//! Join tokens: one good one, and each way to be refused.

use std::time::Duration;

use ca::{Caller, Denied, MAX_TOKEN_TTL, MintError, TokenIssuer, TokenVerifier};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use model::{Namespace, ServiceAccount};
use serde_json::{Value, json};

use crate::kit::{Bench, HOUR, now, seconds};

fn shop() -> Namespace {
    "shop".parse().unwrap()
}

fn cart() -> ServiceAccount {
    "cart".parse().unwrap()
}

/// A state directory, and tokens of any content signed with its key.
struct Forge {
    bench: Bench,
    issuer: TokenIssuer,
}

impl Forge {
    fn new() -> Self {
        let bench = Bench::new();
        let issuer = TokenIssuer::open(&bench.state()).unwrap();
        Self { bench, issuer }
    }

    fn verifier(&self) -> TokenVerifier {
        self.issuer.verifier()
    }

    fn mint(&self, ttl: Duration) -> String {
        self.issuer.mint(&shop(), &cart(), ttl, now()).unwrap()
    }

    fn header(&self) -> Header {
        jsonwebtoken::decode_header(self.mint(HOUR)).unwrap()
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        let key = self.bench.read("state/join-tokens/key.pem");
        encode(header, claims, &EncodingKey::from_ec_pem(&key).unwrap()).unwrap()
    }

    fn verify(&self, claims: &Value) -> Result<Caller, Denied> {
        self.verifier()
            .verify(&self.sign(&self.header(), claims), now())
    }
}

fn claims() -> Value {
    json!({
        "iss": "lateen", "aud": ["istio-ca"], "sub": "system:serviceaccount:shop:cart",
        "iat": seconds(now()), "exp": seconds(now()) + 600,
        "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "cart"}},
    })
}

fn with(path: &str, value: Value) -> Value {
    let mut claims = claims();
    *claims.pointer_mut(path).unwrap() = value;
    claims
}

#[test]
fn a_token_stands_for_its_service_account_until_it_expires() {
    let forge = Forge::new();
    let token = forge.mint(HOUR);
    let verify = |at| forge.verifier().verify(&token, at);
    let caller = Caller {
        namespace: shop(),
        service_account: cart(),
        pod: None,
    };
    assert_eq!(verify(now()), Ok(caller.clone()));
    assert_eq!(
        verify(now() + HOUR - Duration::from_secs(1)),
        Ok(caller.clone())
    );
    assert_eq!(verify(now() + HOUR), Err(Denied::Token("it has expired")));
    assert_eq!(
        verify(now() - HOUR),
        Err(Denied::Token("it was issued in the future"))
    );
    assert_eq!(forge.verify(&claims()), Ok(caller), "the forge forges well");
    // Another process with the same state directory accepts it.
    let again = TokenIssuer::open(&forge.bench.state()).unwrap();
    assert!(again.verifier().verify(&token, now()).is_ok());
}

#[test]
fn a_life_of_nothing_or_over_an_hour_is_not_minted() {
    let forge = Forge::new();
    for ttl in [
        Duration::ZERO,
        Duration::from_millis(999),
        MAX_TOKEN_TTL + Duration::from_secs(1),
    ] {
        let refused = forge.issuer.mint(&shop(), &cart(), ttl, now());
        assert_eq!(refused, Err(MintError::Ttl(ttl)));
    }
}

#[test]
fn every_claim_is_checked() {
    let forge = Forge::new();
    let at = seconds(now());
    for (claims, reason) in [
        (
            with("/iss", json!("kubernetes/serviceaccount")),
            "its issuer is another",
        ),
        (
            with("/aud", json!(["istio-c"])),
            "its audience is not istio-ca",
        ),
        (
            with("/aud", json!(["istio-ca", "other"])),
            "its audience is not istio-ca",
        ),
        (with("/aud", json!([])), "its audience is not istio-ca"),
        (
            with("/exp", json!(at + 3601)),
            "it lives longer than an hour",
        ),
        (with("/exp", json!(at - 1)), "it lives longer than an hour"),
        (with("/iat", json!(at + 61)), "it was issued in the future"),
        (
            with("/kubernetes.io/namespace", json!("bank")),
            "its subject and its service account differ",
        ),
        (
            with("/sub", json!("system:serviceaccount:bank:cart")),
            "its subject and its service account differ",
        ),
        (
            with("/kubernetes.io/namespace", json!("shop/sa/x")),
            "it names no service account",
        ),
        (
            with("/kubernetes.io/serviceaccount/name", json!("")),
            "it names no service account",
        ),
        (
            with("/aud", json!("istio-ca")),
            "its signature or its claims are wrong",
        ),
        (
            with("/exp", json!(-1)),
            "its signature or its claims are wrong",
        ),
        (
            with("/kubernetes.io", json!(null)),
            "its signature or its claims are wrong",
        ),
        (json!({}), "its signature or its claims are wrong"),
    ] {
        assert_eq!(
            forge.verify(&claims),
            Err(Denied::Token(reason)),
            "{claims}"
        );
    }
}

#[test]
fn the_algorithm_and_the_key_are_pinned() {
    let (forge, other) = (Forge::new(), Forge::new());
    let verify = |token: &str| forge.verifier().verify(token, now());
    let kid = forge.header().kid;
    // Another control plane's key, under its own name and under ours.
    let foreign = other.sign(&other.header(), &claims());
    assert_eq!(
        verify(&foreign),
        Err(Denied::Token("it is signed with a key that is not ours"))
    );
    let disguised = other.sign(&forge.header(), &claims());
    assert_eq!(
        verify(&disguised),
        Err(Denied::Token("its signature or its claims are wrong"))
    );
    // HMAC with the public key as its secret, and no signature at all.
    let mut header = Header::new(Algorithm::HS256);
    header.kid.clone_from(&kid);
    let hmac = encode(&header, &claims(), &EncodingKey::from_secret(b"public")).unwrap();
    assert_eq!(
        verify(&hmac),
        Err(Denied::Token("it is not signed with ES256"))
    );
    let good = forge.mint(HOUR);
    let payload = good.split('.').nth(1).unwrap();
    let none = format!("eyJhbGciOiJub25lIn0.{payload}."); // {"alg":"none"}
    assert!(verify(&none).is_err());
    let unsigned = &good[..=good.rfind('.').unwrap()];
    assert_eq!(
        verify(unsigned),
        Err(Denied::Token("its signature or its claims are wrong"))
    );
    let mut critical = forge.header();
    critical.crit = Some(vec!["exp".to_owned()]);
    assert!(verify(&forge.sign(&critical, &claims())).is_err());
    let mut nameless = forge.header();
    nameless.kid = None;
    assert!(verify(&forge.sign(&nameless, &claims())).is_err());
    for junk in ["", ".", "..", "a.b.c", &"a".repeat(1 << 20)] {
        assert!(verify(junk).is_err());
    }
}
