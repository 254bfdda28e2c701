//! Join tokens: how a workload proves who it is before it has a certificate, without Kubernetes.
//!
//! A token is a JWT that the control plane signs (ES256) with a key in its state directory. It is
//! bound to one service account, to the audience `istio-ca`, and to an hour at most; its shape is that
//! of a Kubernetes service-account token, so that agents need not know the difference.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use model::{Namespace, ServiceAccount};
use rcgen::KeyPair;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::identity::{Caller, Denied};
use crate::path::InvalidCa;
use crate::state::StateDir;

/// The only audience that is accepted: Istio's.
pub const AUDIENCE: &str = "istio-ca";
/// The longest life of a join token: one hour.
pub const MAX_TOKEN_TTL: Duration = Duration::from_secs(3600);

const ISSUER: &str = "lateen";
/// Ours has 400 bytes, Kubernetes' have 1,500.
const MAX_TOKEN_BYTES: usize = 4096;
/// How far ahead the clock of the machine that minted the token may be.
pub(crate) const SKEW_SECONDS: u64 = 60;
const KEY_DIR: &str = "join-tokens";
const KEY_FILE: &str = "key.pem";

/// Why no join token was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// It would live too short or too long; ask for one second to one hour.
    #[error("a join token lives for 1 s to {} s, not for {} s", MAX_TOKEN_TTL.as_secs(), .0.as_secs())]
    Ttl(Duration),
    /// The cryptographic library failed.
    #[error("the token cannot be signed: {0}")]
    Signing(String),
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Vec<String>,
    iat: u64,
    exp: u64,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
}

#[derive(Serialize, Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: Named,
}

#[derive(Serialize, Deserialize)]
struct Named {
    name: String,
}

/// Mints join tokens.
pub struct TokenIssuer {
    key: EncodingKey,
    verifier: TokenVerifier,
}

impl fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIssuer").finish_non_exhaustive()
    }
}

impl TokenIssuer {
    /// Opens the signing key in `state`, and creates it (ECDSA P-256) if there is none. The control
    /// plane and `lateen token create` may do so at once; both get the same key.
    ///
    /// # Errors
    /// [`InvalidCa`] when the state directory cannot be used or holds no such key.
    pub fn open(state: &StateDir) -> Result<Self, InvalidCa> {
        let invalid = |reason: String| InvalidCa::new("join-tokens/key.pem", reason);
        let text = if let Some(text) = state.read(KEY_DIR, KEY_FILE)? {
            text
        } else {
            let fresh = KeyPair::generate().map_err(|e| invalid(e.to_string()))?;
            let fresh = Zeroizing::new(fresh.serialize_pem());
            state.create_once(KEY_DIR, &[(KEY_FILE, &fresh)])?;
            let read = state.read(KEY_DIR, KEY_FILE)?;
            read.ok_or_else(|| invalid("it is missing; remove its directory".to_owned()))?
        };
        let key = KeyPair::from_pkcs8_pem_and_sign_algo(&text, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|_| {
                invalid("it is not an ECDSA P-256 key in PKCS#8; remove its directory".to_owned())
            })?;
        let public = key.public_key_raw();
        let id = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, public);
        let key_id = id
            .as_ref()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self {
            verifier: TokenVerifier {
                key: DecodingKey::from_ec_der(public),
                key_id,
            },
            key: EncodingKey::from_ec_der(key.serialized_der()),
        })
    }

    /// Signs a token for a service account that is valid from `now` for `ttl`.
    ///
    /// # Errors
    /// [`MintError`] when `ttl` is under a second or over [`MAX_TOKEN_TTL`].
    pub fn mint(
        &self,
        namespace: &Namespace,
        service_account: &ServiceAccount,
        ttl: Duration,
        now: SystemTime,
    ) -> Result<String, MintError> {
        if ttl > MAX_TOKEN_TTL || ttl.as_secs() == 0 {
            return Err(MintError::Ttl(ttl));
        }
        let iat = seconds(now);
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: subject(namespace, service_account),
            aud: vec![AUDIENCE.to_owned()],
            iat,
            exp: iat + ttl.as_secs(),
            kubernetes: Kubernetes {
                namespace: namespace.to_string(),
                serviceaccount: Named {
                    name: service_account.to_string(),
                },
            },
        };
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.verifier.key_id.clone());
        jsonwebtoken::encode(&header, &claims, &self.key)
            .map_err(|e| MintError::Signing(e.to_string()))
    }

    /// What accepts the tokens that this mints.
    #[must_use]
    pub fn verifier(&self) -> TokenVerifier {
        self.verifier.clone()
    }
}

/// Accepts join tokens.
#[derive(Clone)]
pub struct TokenVerifier {
    key: DecodingKey,
    key_id: String,
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenVerifier")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

impl TokenVerifier {
    /// Says whom `token` stands for at the time `now`.
    ///
    /// # Errors
    /// [`Denied::Token`] says which rule it breaks. Only ES256 by our own key is accepted, whatever
    /// the token's header says.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Caller, Denied> {
        let denied = Denied::Token;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(denied("it is too long"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| denied("it is not a JWT"))?;
        if header.alg != Algorithm::ES256 || header.crit.is_some() {
            return Err(denied("it is not signed with ES256"));
        }
        if header.kid.as_deref() != Some(self.key_id.as_str()) {
            return Err(denied("it is signed with a key that is not ours"));
        }
        // Only the signature is left to the library: it would ask the clock, and it accepts an
        // audience among others.
        let mut validation = Validation::new(Algorithm::ES256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &validation)
            .map_err(|_| denied("its signature or its claims are wrong"))?
            .claims;
        check(claims, seconds(now))
    }
}

/// Checks the claims of a token whose signature is ours.
fn check(claims: Claims, now: u64) -> Result<Caller, Denied> {
    let denied = Denied::Token;
    let Claims {
        iss,
        sub,
        aud,
        iat,
        exp,
        kubernetes,
    } = claims;
    if iss != ISSUER {
        return Err(denied("its issuer is another"));
    }
    if aud != [AUDIENCE] {
        return Err(denied("its audience is not istio-ca"));
    }
    if exp
        .checked_sub(iat)
        .is_none_or(|life| life > MAX_TOKEN_TTL.as_secs())
    {
        return Err(denied("it lives longer than an hour"));
    }
    if iat > now.saturating_add(SKEW_SECONDS) {
        return Err(denied("it was issued in the future"));
    }
    if now >= exp {
        return Err(denied("it has expired"));
    }
    let unnamed = |_| denied("it names no service account");
    let namespace = kubernetes.namespace.parse().map_err(unnamed)?;
    let service_account = kubernetes.serviceaccount.name.parse().map_err(unnamed)?;
    if sub != subject(&namespace, &service_account) {
        return Err(denied("its subject and its service account differ"));
    }
    Ok(Caller {
        namespace,
        service_account,
        pod: None,
    })
}

/// `sub` of a service account's token.
pub(crate) fn subject(namespace: &Namespace, service_account: &ServiceAccount) -> String {
    format!("system:serviceaccount:{namespace}:{service_account}")
}

/// Seconds since 1970; a clock before that counts as 1970.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
