//! Service-account tokens of Kubernetes, verified here with the keys that the API server publishes, so that a
//! certificate costs no call to it.
//!
//! What a key cannot tell is left to the caller: whether the Pod and the account that a token is bound to still live
//! ([`BoundToken`]), and tokens that only the API server can judge ([`Unverified::Elsewhere`]).

use std::collections::HashMap;
use std::fmt;
use std::time::SystemTime;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use crate::identity::{Caller, Denied};
use crate::token::{AUDIENCE, SKEW_SECONDS, seconds, subject};

/// Kubernetes' have 1,500.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The published keys do not make a verifier: then only the API server can judge tokens.
#[derive(Debug, thiserror::Error)]
#[error("the API server's token keys are not readable: {0}")]
pub struct InvalidKeys(#[from] serde_json::Error);

/// The keys with which one cluster signs its service-account tokens.
pub struct ServiceAccountKeys {
    issuer: String,
    keys: HashMap<String, (Algorithm, DecodingKey)>,
}

impl fmt::Debug for ServiceAccountKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccountKeys")
            .field("issuer", &self.issuer)
            .field("keys", &self.keys.keys())
            .finish()
    }
}

/// A token whose signature, issuer, audience and time are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundToken {
    /// Whom it stands for.
    pub caller: Caller,
    /// `metadata.uid` of the account: one that was recreated has another.
    pub account_uid: String,
    /// `metadata.uid` of the Pod that it is bound to, if it is bound to one.
    pub pod_uid: Option<String>,
}

/// Why a token proves nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// It is wrong, whoever is asked.
    Denied(Denied),
    /// Only the API server can tell.
    Elsewhere,
}

impl From<&'static str> for Unverified {
    fn from(reason: &'static str) -> Self {
        Self::Denied(Denied::Token(reason))
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audiences,
    exp: u64,
    #[serde(default)]
    nbf: u64,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<Binding>,
}

/// RFC 7519 lets a single audience stand alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct Binding {
    namespace: String,
    serviceaccount: Bound,
    pod: Option<Bound>,
}

#[derive(Deserialize)]
struct Bound {
    name: String,
    #[serde(default)]
    uid: String,
}

impl ServiceAccountKeys {
    /// Reads a JSON Web Key Set (RFC 7517). Keys of other uses or kinds are left out: their tokens are judged elsewhere.
    ///
    /// # Errors
    /// [`InvalidKeys`] when it is no key set.
    pub fn parse(issuer: &str, jwks: &str) -> Result<Self, InvalidKeys> {
        let set: JwkSet = serde_json::from_str(jwks)?;
        let key = |jwk: &Jwk| {
            let id = jwk.common.key_id.clone()?;
            Some((id, (algorithm(jwk)?, DecodingKey::from_jwk(jwk).ok()?)))
        };
        Ok(Self {
            issuer: issuer.to_owned(),
            keys: set.keys.iter().filter_map(key).collect(),
        })
    }

    /// Verifies everything that a key and a clock can verify.
    ///
    /// # Errors
    /// [`Unverified`]; a reason never contains what the token says.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<BoundToken, Unverified> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err("it is too long".into());
        }
        let header = match jsonwebtoken::decode_header(token) {
            Ok(header) => header,
            Err(_) if token.split('.').count() == 3 => {
                return Err("it is not signed with an algorithm that Kubernetes uses".into());
            }
            Err(_) => return Err(Unverified::Elsewhere),
        };
        let key = header.kid.as_ref().and_then(|id| self.keys.get(id));
        let (algorithm, key) = key.ok_or(Unverified::Elsewhere)?;
        if header.alg != *algorithm || header.crit.is_some() {
            return Err("it is not signed with its key's algorithm".into());
        }
        // Only the signature is left to the library: it would ask the clock.
        let mut validation = Validation::new(*algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation)
            .map_err(|_| "its signature or its claims are wrong")?
            .claims;
        self.check(claims, seconds(now))
    }

    fn check(&self, claims: Claims, now: u64) -> Result<BoundToken, Unverified> {
        let Claims {
            iss,
            sub,
            aud,
            exp,
            nbf,
            kubernetes,
        } = claims;
        // An API server may accept other issuers beside the one that it publishes.
        if iss != self.issuer {
            return Err(Unverified::Elsewhere);
        }
        let is_ours = match &aud {
            Audiences::One(one) => one == AUDIENCE,
            Audiences::Several(several) => several.iter().any(|one| one == AUDIENCE),
        };
        if !is_ours {
            return Err("its audience is not istio-ca".into());
        }
        if nbf > now.saturating_add(SKEW_SECONDS) {
            return Err("it is not valid yet".into());
        }
        if now >= exp {
            return Err("it has expired".into());
        }
        let unnamed = "it names no service account";
        let Binding {
            namespace,
            serviceaccount,
            pod,
        } = kubernetes.ok_or(unnamed)?;
        let namespace = namespace.parse().map_err(|_| unnamed)?;
        let service_account = serviceaccount.name.parse().map_err(|_| unnamed)?;
        if sub != subject(&namespace, &service_account) {
            return Err("its subject and its service account differ".into());
        }
        let (pod, pod_uid) = match pod {
            None => (None, None),
            Some(Bound { name, uid }) => {
                let name = name
                    .parse()
                    .map_err(|_| "the Pod that it is bound to has no name")?;
                (Some(name), Some(uid))
            }
        };
        Ok(BoundToken {
            caller: Caller {
                namespace,
                service_account,
                pod,
            },
            account_uid: serviceaccount.uid,
            pod_uid,
        })
    }
}

/// The one algorithm with which a key signs, of those that an API server uses and the library verifies.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Some(Algorithm::RS256),
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => Some(Algorithm::ES256),
            EllipticCurve::P384 => Some(Algorithm::ES384),
            _ => None,
        },
        _ => None,
    }
}

/// SHA-256 of a token: what may be kept of it.
#[must_use]
pub fn digest(token: &str) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}
