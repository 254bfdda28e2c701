//! Certificates from service-account tokens: whose a good one is, and that every bad one is refused with its reason and
//! leaves one line in the log.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ca::Caller;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use testkit::{Cluster, Space};
use tonic::{Code, Status};
use xds::Kind;

use super::installed::shared;
use super::plane::{Plane, roots};
use crate::lateend::client::{Identity, Proxy, all, bearer, certificate, key_and_csr, node};
use crate::lateend::client::{secure_at, sign};

/// How long the control plane may take to hear of a deletion.
const PATIENCE: Duration = Duration::from_secs(30);

/// A namespace with the service account `cart`, and who asks for certificates there.
struct Shop {
    space: Space,
    plane: Plane,
    roots: String,
    /// How much was logged before: others may have called from the same ports.
    logged: usize,
}

/// What came of one request, and from where it came.
struct Attempt {
    outcome: Result<Identity, Status>,
    from: SocketAddr,
}

impl Attempt {
    /// The reason, if it was refused.
    fn refused(&self) -> Option<&str> {
        let status = self.outcome.as_ref().err()?;
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
        Some(status.message())
    }
}

impl Shop {
    fn new(name: &str) -> Self {
        let cluster = shared();
        let space = cluster.space(name);
        space.kubectl_ok(&["create", "serviceaccount", "cart"]);
        space.kubectl_ok(&["create", "serviceaccount", "web"]);
        let plane = Plane::of(&cluster);
        Self {
            logged: plane.log().lines().count(),
            plane,
            roots: roots(&space),
            space,
        }
    }

    fn cluster(&self) -> &Cluster {
        self.space.cluster()
    }

    /// A Pod that no scheduler takes, so that it is gone the moment it is deleted. Returns its uid.
    fn pod(&self, name: &str) -> String {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name },
            "spec": {
                "serviceAccountName": "cart",
                "schedulerName": "nobody",
                "containers": [{ "name": "app", "image": "localhost/lateen/pause:1" }],
            },
        });
        self.space.apply(&pod.to_string());
        let path = "jsonpath={.metadata.uid}";
        self.space.kubectl_ok(&["get", "pod", name, "-o", path])
    }

    /// A token of `cart` as the API server makes it, with whatever else is asked for.
    fn token(&self, more: &[&str]) -> String {
        let request = ["create", "token", "cart", "--duration=10m"];
        let token = self.space.kubectl_ok(&[&request[..], more].concat());
        token.trim().to_owned()
    }

    /// A token as the kubelet gets it for a Pod.
    fn token_of(&self, pod: &str, uid: &str) -> String {
        let uid = format!("--bound-object-uid={uid}");
        let name = format!("--bound-object-name={pod}");
        self.token(&[
            "--audience=istio-ca",
            "--bound-object-kind=Pod",
            &name,
            &uid,
        ])
    }

    /// Asks for a certificate over a connection of its own.
    fn attempt(&self, token: &str) -> Attempt {
        let address = self.plane.secure();
        self.cluster().in_network(|| async {
            let (channel, from) = secure_at(&address, &self.roots, None).await.unwrap();
            let outcome = certificate(channel, bearer(token)).await;
            Attempt { outcome, from }
        })
    }

    /// Whom a certificate names.
    fn named(&self, identity: &Identity) -> String {
        let leaf = CertificateDer::from_pem_slice(identity.chain[0].as_bytes()).unwrap();
        let domain = "cluster.local".parse().unwrap();
        let caller = Caller::of_certificate(&leaf, &domain, SystemTime::now()).unwrap();
        caller.spiffe_id(&domain).to_string()
    }

    fn cart(&self) -> String {
        format!("spiffe://cluster.local/ns/{}/sa/cart", self.space.name())
    }

    /// Tries a token that is good no longer until that is known.
    fn until_refused(&self, token: &str) -> Vec<Attempt> {
        let began = Instant::now();
        let mut attempts = Vec::new();
        loop {
            let attempt = self.attempt(token);
            let is_refused = attempt.refused().is_some();
            attempts.push(attempt);
            if is_refused {
                println!("refused after {:?}", began.elapsed());
                return attempts;
            }
            assert!(began.elapsed() < PATIENCE, "the token is still accepted");
        }
    }

    /// Each of these left one line, which says what came of it.
    fn assert_audited(&self, attempts: &[Attempt]) {
        let last = self.attempt(&self.token(&["--audience=istio-ca"]));
        let lines_of = |log: &str, from: SocketAddr| {
            let peer = format!("peer=Some({from})");
            let since = log.lines().skip(self.logged);
            let lines = since.filter(|line| line.contains(&peer));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        // What is logged later is read later: when the last line is there all others are.
        let began = Instant::now();
        let log = loop {
            let log = self.plane.log();
            if !lines_of(&log, last.from).is_empty() {
                break log;
            }
            assert!(began.elapsed() < PATIENCE, "the log does not come");
        };
        for attempt in attempts {
            let lines = lines_of(&log, attempt.from);
            let [line] = lines.as_slice() else {
                panic!("{lines:#?}");
            };
            let said = match attempt.refused() {
                Some(reason) => format!("reason={reason}"),
                None => format!("identity={}", self.cart()),
            };
            assert!(line.contains(&said), "{line}\nhas not {said}");
        }
    }
}

/// The claims of a token.
fn claims(token: &str) -> Value {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap());
    serde_json::from_slice(&claims.unwrap()).unwrap()
}

/// Other claims, or another algorithm, with the signature of the cluster's own key or of another.
struct Forger {
    good: String,
    key: Vec<u8>,
    public: Vec<u8>,
}

impl Forger {
    fn new(shop: &Shop) -> Self {
        let pki = shop.cluster().folder().join("pki");
        Self {
            good: shop.token(&["--audience=istio-ca"]),
            key: std::fs::read(pki.join("sa.key")).unwrap(),
            public: std::fs::read(pki.join("sa.pub")).unwrap(),
        }
    }

    fn header(&self, algorithm: Algorithm) -> Header {
        let kid = jsonwebtoken::decode_header(&self.good).unwrap().kid;
        Header {
            kid,
            ..Header::new(algorithm)
        }
    }

    /// The good token's claims with these among them, signed as the API server signs.
    fn with(&self, changes: &Value) -> String {
        let mut claims = claims(&self.good);
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let key = EncodingKey::from_rsa_pem(&self.key).unwrap();
        jsonwebtoken::encode(&self.header(Algorithm::RS256), &claims, &key).unwrap()
    }

    /// The good token's claims, signed by a key that is not the cluster's.
    fn by_another_key(&self, kid: Option<String>) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let key = EncodingKey::from_ec_der(key.serialized_der());
        let header = Header {
            kid,
            ..Header::new(Algorithm::ES256)
        };
        jsonwebtoken::encode(&header, &claims(&self.good), &key).unwrap()
    }

    /// The public key as the secret of a symmetric algorithm.
    fn confused(&self) -> String {
        let key = EncodingKey::from_secret(&self.public);
        let header = self.header(Algorithm::HS256);
        jsonwebtoken::encode(&header, &claims(&self.good), &key).unwrap()
    }

    fn without_signature(&self) -> String {
        let kid = self.header(Algorithm::RS256).kid;
        let header = json!({ "alg": "none", "typ": "JWT", "kid": kid }).to_string();
        let claims = self.good.split('.').nth(1).unwrap();
        format!("{}.{claims}.", URL_SAFE_NO_PAD.encode(header))
    }

    /// The good token's header and signature with claims of somebody else.
    fn tampered(&self) -> String {
        let parts: Vec<&str> = self.good.split('.').collect();
        let mut claims = claims(&self.good);
        claims["kubernetes.io"]["serviceaccount"]["name"] = "web".into();
        let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
        format!("{}.{claims}.{}", parts[0], parts[2])
    }
}

/// What a token is, the token, and how its refusal reads.
type Bad = (&'static str, String, &'static str);
const NOT_OURS: &str = "its audience is not istio-ca";
const BY_THE_API_SERVER: &str = "the API server refuses the token";
const OTHER_ALGORITHM: &str = "it is not signed with its key's algorithm";

fn wrong_claims(shop: &Shop, forger: &Forger) -> Vec<Bad> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = now.as_secs();
    let old = json!({ "iat": now - 900, "nbf": now - 900, "exp": now - 1 });
    let early = json!({ "nbf": now + 600, "exp": now + 900 });
    let issuer = json!({ "iss": "https://elsewhere.example" });
    let subject = format!("system:serviceaccount:{}:web", shop.space.name());
    let subject = forger.with(&json!({ "sub": subject }));
    let differ = "its subject and its service account differ";
    let vault = shop.token(&["--audience=vault"]);
    vec![
        ("expired", forger.with(&old), "it has expired"),
        ("too early", forger.with(&early), "it is not valid yet"),
        ("for the API server", shop.token(&[]), NOT_OURS),
        ("for somebody else", vault, NOT_OURS),
        ("of another issuer", forger.with(&issuer), BY_THE_API_SERVER),
        ("with another's subject", subject, differ),
    ]
}

fn wrong_signatures(forger: &Forger) -> Vec<Bad> {
    let kid = forger.header(Algorithm::RS256).kid;
    let elsewhere = forger.by_another_key(Some("elsewhere".to_owned()));
    let usurped = forger.by_another_key(kid);
    let unsigned = forger.without_signature();
    let unknown = "it is not signed with an algorithm that Kubernetes uses";
    let tampered = "its signature or its claims are wrong";
    vec![
        ("by another cluster's key", elsewhere, BY_THE_API_SERVER),
        ("by a key that takes the name", usurped, OTHER_ALGORITHM),
        ("alg none", unsigned, unknown),
        ("HS256, the public key", forger.confused(), OTHER_ALGORITHM),
        ("tampered", forger.tampered(), tampered),
        ("no JWT", "token".to_owned(), BY_THE_API_SERVER),
    ]
}

#[test]
fn sec_37_bad_tokens_are_refused_each_with_its_reason_and_one_line() {
    let shop = Shop::new("tokens");
    let forger = Forger::new(&shop);
    let mut attempts = Vec::new();
    let table = [wrong_claims(&shop, &forger), wrong_signatures(&forger)].concat();
    for (name, token, wanted) in table {
        let attempt = shop.attempt(&token);
        let reason = attempt
            .refused()
            .unwrap_or_else(|| panic!("{name}: let in"));
        println!("{name}: {reason}");
        assert!(reason.contains(wanted), "{name}: {reason}");
        attempts.push(attempt);
    }
    // The forger can sign: unchanged claims are let in.
    let good = shop.attempt(&forger.with(&json!({})));
    assert_eq!(shop.named(good.outcome.as_ref().unwrap()), shop.cart());
    attempts.push(good);
    shop.assert_audited(&attempts);
}

#[test]
fn a_token_is_as_good_as_the_pod_and_the_account_that_it_is_bound_to() {
    let shop = Shop::new("lives");
    let first = shop.pod("cart-0");
    let of_first = shop.token_of("cart-0", &first);
    let good = shop.attempt(&of_first);
    assert_eq!(shop.named(good.outcome.as_ref().unwrap()), shop.cart());
    let mut attempts = vec![good];

    shop.space.kubectl_ok(&["delete", "pod", "cart-0"]);
    attempts.extend(shop.until_refused(&of_first));
    let second = shop.pod("cart-0");
    assert_ne!(first, second);
    let of_second = shop.token_of("cart-0", &second);
    for _ in 0..20 {
        let old = shop.attempt(&of_first);
        assert!(old.refused().is_some(), "the pod of that name is another");
        let new = shop.attempt(&of_second);
        assert_eq!(shop.named(new.outcome.as_ref().unwrap()), shop.cart());
        attempts.extend([old, new]);
    }

    let of_account = shop.token(&["--audience=istio-ca"]);
    attempts.push(shop.attempt(&of_account));
    shop.space.kubectl_ok(&["delete", "serviceaccount", "cart"]);
    attempts.extend(shop.until_refused(&of_account));
    attempts.extend(shop.until_refused(&of_second));
    shop.space.kubectl_ok(&["create", "serviceaccount", "cart"]);
    let of_new = shop.token(&["--audience=istio-ca"]);
    for _ in 0..20 {
        let old = shop.attempt(&of_account);
        assert!(
            old.refused().is_some(),
            "the account of that name is another"
        );
        let new = shop.attempt(&of_new);
        assert_eq!(shop.named(new.outcome.as_ref().unwrap()), shop.cart());
        attempts.extend([old, new]);
    }
    shop.assert_audited(&attempts);
}

#[test]
fn sec_37_a_stream_of_another_pod_than_the_tokens_is_refused() {
    let shop = Shop::new("streams");
    let token = shop.token_of("cart-0", &shop.pod("cart-0"));
    shop.pod("cart-1");
    let namespace = shop.space.name();
    let address = shop.plane.secure();
    let stream = |pod: &str| {
        let id = format!("sidecar~198.18.255.7~{pod}.{namespace}~{namespace}.svc.cluster.local");
        let node = node(
            &id,
            &[("NAMESPACE", namespace), ("SERVICE_ACCOUNT", "cart")],
        );
        let token = bearer(&token);
        shop.cluster().in_network(|| async {
            let (channel, _) = secure_at(&address, &shop.roots, None).await.unwrap();
            let mut proxy = Proxy::open(channel, token, node, all(Kind::Cluster)).await?;
            proxy.next().await.map(drop)
        })
    };
    stream("cart-0").unwrap();
    let refused = stream("cart-1").unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let reason = "the node is Pod cart-1, the token is bound to Pod cart-0";
    assert!(refused.message().contains(reason), "{refused:?}");
    let began = Instant::now();
    let lines = loop {
        let log = shop.plane.log();
        let lines = log.lines().filter(|line| line.contains(reason)).count();
        if lines > 0 || began.elapsed() > PATIENCE {
            break lines;
        }
    };
    assert_eq!(lines, 1);
}

#[test]
fn certificates_over_open_connections_cost_little() {
    const CONNECTIONS: usize = 4;
    const EACH: usize = 500;
    let shop = Shop::new("certificates");
    let token = shop.token_of("cart-0", &shop.pod("cart-0"));
    let address = shop.plane.secure();
    let requests = || (0..EACH).map(|_| key_and_csr().1).collect::<Vec<_>>();
    let batches: Vec<_> = (0..CONNECTIONS).map(|_| requests()).collect();
    let count = u32::try_from(CONNECTIONS * EACH).unwrap();
    let (cost, took) = shop.cluster().in_network(|| async {
        let mut channels = Vec::new();
        for batch in batches {
            let (channel, _) = secure_at(&address, &shop.roots, None).await.unwrap();
            // The first one on a connection pays for the handshake.
            certificate(channel.clone(), bearer(&token)).await.unwrap();
            channels.push((channel, batch));
        }
        let (before, began) = (shop.plane.cpu(), Instant::now());
        let calls = channels.into_iter().map(|(channel, batch)| {
            let token = token.clone();
            tokio::spawn(async move {
                for csr in batch {
                    let chain = sign(channel.clone(), bearer(&token), csr).await.unwrap();
                    assert!(chain.len() >= 2);
                }
            })
        });
        let calls: Vec<_> = calls.collect();
        for call in calls {
            call.await.unwrap();
        }
        (shop.plane.cpu() - before, began.elapsed())
    });
    println!(
        "{count} certificates over {CONNECTIONS} connections in {took:?}: {:?} of processor time each",
        cost / count
    );
    assert!(cost > Duration::ZERO);
}
