//! Who calls, in a cluster: by a certificate of the mesh, or by a service-account token that is verified here. The API
//! server is asked only about what a key and the watches cannot tell.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use ca::{
    AUDIENCE, BoundToken, Caller, Credentials, Denied, Review, Reviewer, ServiceAccountKeys,
    Unverified,
};
use k8s::{Alive, Judgement, Lives, Tokens};
use model::TrustDomain;
use tokio::sync::{Notify, OnceCell, Semaphore};

/// How long the API server's judgement of one token holds.
const HOLDS: Duration = Duration::from_secs(10);
/// How many tokens are judged at once, and how many judgements are kept.
const AT_ONCE: usize = 16;
const KEPT: usize = 4096;
/// How often keys are read again, and how often at most when a token names one that is not known.
const KEYS_EVERY: Duration = Duration::from_secs(300);
const KEYS_AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// The wait after keys could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// The reviewer of a mesh in a cluster.
pub struct ClusterReviewer {
    trust_domain: TrustDomain,
    tokens: Tokens,
    keys: ArcSwapOption<ServiceAccountKeys>,
    unknown_key: Notify,
    lives: Arc<Lives>,
    judged: Mutex<HashMap<[u8; 32], Arc<Judged>>>,
    room: Semaphore,
}

/// One token that the API server is asked about: once, however many callers present it.
struct Judged {
    since: Instant,
    judgement: OnceCell<Judgement>,
}

impl ClusterReviewer {
    /// A reviewer that knows no key yet: until [`keep_keys`](Self::keep_keys) has read them the API server judges.
    #[must_use]
    pub fn new(trust_domain: TrustDomain, tokens: Tokens, lives: Arc<Lives>) -> Self {
        Self {
            trust_domain,
            tokens,
            keys: ArcSwapOption::empty(),
            unknown_key: Notify::new(),
            lives,
            judged: Mutex::default(),
            room: Semaphore::new(AT_ONCE),
        }
    }

    /// Reads the keys that the API server publishes, again and again. Never ends.
    pub async fn keep_keys(self: Arc<Self>) {
        loop {
            match self.read_keys().await {
                Ok(()) => {
                    tokio::time::sleep(KEYS_AT_MOST_EVERY).await;
                    let unknown = self.unknown_key.notified();
                    // Either way it is time.
                    let _ = tokio::time::timeout(KEYS_EVERY - KEYS_AT_MOST_EVERY, unknown).await;
                }
                Err(error) => {
                    tracing::debug!("{error}");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn read_keys(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let published = self.tokens.published_keys().await?;
        let keys = ServiceAccountKeys::parse(&published.issuer, &published.jwks)?;
        self.keys.store(Some(Arc::new(keys)));
        Ok(())
    }

    async fn review_now(
        &self,
        credentials: &Credentials,
        now: SystemTime,
    ) -> Result<Caller, Denied> {
        if let Some(leaf) = credentials.peer_certificates.first() {
            return self.still_there(Caller::of_certificate(leaf, &self.trust_domain, now)?);
        }
        let token = credentials.bearer.as_deref().ok_or(Denied::NoCredentials)?;
        let verified = match self.keys.load().as_deref() {
            Some(keys) => keys.verify(token, now),
            None => Err(Unverified::Elsewhere),
        };
        match verified {
            Ok(bound) if self.lives(&bound) => Ok(bound.caller),
            Err(Unverified::Denied(denied)) => Err(denied),
            // The watches may be behind the API server, which knows.
            Ok(_) => self.ask(token).await,
            Err(Unverified::Elsewhere) => {
                self.unknown_key.notify_one();
                self.ask(token).await
            }
        }
    }

    /// A certificate is renewed for as long as its service account exists.
    fn still_there(&self, caller: Caller) -> Result<Caller, Denied> {
        let (namespace, name) = (&caller.namespace, &caller.service_account);
        match self
            .lives
            .service_account(namespace.as_str(), name.as_str())
        {
            Alive::As(_) | Alive::Unknown => Ok(caller),
            Alive::No => Err(Denied::Certificate("its service account does not exist")),
        }
    }

    /// Whether the very account and Pod that a token is bound to are there.
    fn lives(&self, bound: &BoundToken) -> bool {
        let BoundToken {
            caller,
            account_uid,
            pod_uid,
        } = bound;
        let namespace = caller.namespace.as_str();
        let is = |alive: Alive, uid: &str| alive == Alive::As(uid.into());
        let account = self
            .lives
            .service_account(namespace, caller.service_account.as_str());
        let pod = match (&caller.pod, pod_uid) {
            (Some(name), Some(uid)) => is(self.lives.pod(namespace, name.as_str()), uid),
            (None, _) | (_, None) => true,
        };
        pod && is(account, account_uid)
    }

    async fn ask(&self, token: &str) -> Result<Caller, Denied> {
        let judged = self.judged(token);
        let judge = async {
            let _room = self.room.acquire().await;
            self.tokens.review(token, AUDIENCE).await
        };
        match judged.judgement.get_or_try_init(|| judge).await {
            Err(unavailable) => Err(Denied::Unavailable(unavailable.to_string())),
            Ok(Judgement::Refused(reason)) => Err(Denied::Reviewed(reason.clone())),
            Ok(Judgement::Account {
                namespace,
                name,
                pod,
            }) => {
                let unnamed = || Denied::Token("it names no service account");
                Ok(Caller {
                    namespace: namespace.parse().map_err(|_| unnamed())?,
                    service_account: name.parse().map_err(|_| unnamed())?,
                    pod: pod.as_deref().and_then(|name| name.parse().ok()),
                })
            }
        }
    }

    /// The place of a token's judgement. Only a digest of the token is kept.
    fn judged(&self, token: &str) -> Arc<Judged> {
        let digest = ca::digest(token);
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = judged
            .get(&digest)
            .filter(|known| known.since.elapsed() < HOLDS)
        {
            return Arc::clone(known);
        }
        if judged.len() >= KEPT {
            judged.retain(|_, known| known.since.elapsed() < HOLDS);
        }
        if judged.len() >= KEPT {
            judged.clear();
        }
        let fresh = Arc::new(Judged {
            since: Instant::now(),
            judgement: OnceCell::new(),
        });
        judged.insert(digest, Arc::clone(&fresh));
        fresh
    }
}

impl Reviewer for ClusterReviewer {
    fn review<'a>(&'a self, credentials: &'a Credentials, now: SystemTime) -> Review<'a> {
        Box::pin(self.review_now(credentials, now))
    }
}
