//! Service-account tokens: the keys with which they are verified, and the API server's own judgement of those that no
//! published key can verify.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::Value;

/// RFC 8414 discovery, which the API server serves to every service account.
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Where the keys are, whatever outside address the discovery document names.
const KEYS: &str = "/openid/v1/jwks";
/// What stands before `NAMESPACE:NAME` in the name of a service account's user.
const USER_PREFIX: &str = "system:serviceaccount:";
/// The extra field of a user that says to which Pod the token is bound.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";

/// The API server could not be asked; try again.
#[derive(Debug, thiserror::Error)]
#[error("the API server was asked for {asked}: {reason}")]
pub struct Unavailable {
    asked: &'static str,
    reason: String,
}

/// The issuer of a cluster's tokens and its keys, as a JSON Web Key Set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedKeys {
    /// `iss` of the tokens.
    pub issuer: String,
    /// RFC 7517.
    pub jwks: String,
}

/// Whom the API server takes a token for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// A service account.
    Account {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The Pod that the token is bound to.
        pod: Option<String>,
    },
    /// Nobody, or nobody with that audience; the text is the API server's.
    Refused(String),
}

/// Asks the API server about tokens.
#[derive(Clone)]
pub struct Tokens {
    client: Client,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

impl Tokens {
    /// Asks by `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The keys that the API server publishes now.
    ///
    /// # Errors
    /// [`Unavailable`] when it does not answer, or publishes none.
    pub async fn published_keys(&self) -> Result<PublishedKeys, Unavailable> {
        let failed = |reason: String| Unavailable {
            asked: "its token keys",
            reason,
        };
        let get = |path: &str| http::Request::get(path).body(Vec::new());
        let discovery = get(DISCOVERY).map_err(|error| failed(error.to_string()))?;
        let keys = get(KEYS).map_err(|error| failed(error.to_string()))?;
        let discovery = self.client.request::<Discovery>(discovery);
        let Discovery { issuer } = discovery.await.map_err(|error| failed(error.to_string()))?;
        let keys = self.client.request::<Value>(keys);
        let keys = keys.await.map_err(|error| failed(error.to_string()))?;
        Ok(PublishedKeys {
            issuer,
            jwks: keys.to_string(),
        })
    }

    /// Has the API server judge a token (TokenReview).
    ///
    /// # Errors
    /// [`Unavailable`] when it does not answer.
    pub async fn review(&self, token: &str, audience: &str) -> Result<Judgement, Unavailable> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![audience.to_owned()]),
            },
            ..TokenReview::default()
        };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| Unavailable {
            asked: "a review of a token",
            reason: error.to_string(),
        })?;
        Ok(judgement(answer.status.unwrap_or_default(), audience))
    }
}

fn judgement(status: TokenReviewStatus, audience: &str) -> Judgement {
    let TokenReviewStatus {
        audiences,
        authenticated,
        error,
        user,
    } = status;
    let refused = |reason: &str| Judgement::Refused(reason.to_owned());
    if authenticated != Some(true) {
        return refused(error.as_deref().unwrap_or("it authenticates nobody"));
    }
    // An API server that knows no audiences says nothing of them; every other one names those that fit.
    if !audiences.is_some_and(|fit| fit.iter().any(|one| one == audience)) {
        return refused("its audience is not istio-ca");
    }
    let user = user.unwrap_or_default();
    let account = user
        .username
        .as_deref()
        .and_then(|name| name.strip_prefix(USER_PREFIX)?.split_once(':'));
    let Some((namespace, name)) = account else {
        return refused("it is not a service account's");
    };
    let pod = user.extra.unwrap_or_default();
    Judgement::Account {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        pod: pod.get(POD_NAME).and_then(|names| names.first().cloned()),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    fn status(username: &str, audiences: Option<&[&str]>) -> TokenReviewStatus {
        TokenReviewStatus {
            authenticated: Some(true),
            audiences: audiences.map(|all| all.iter().map(|one| (*one).to_owned()).collect()),
            user: Some(UserInfo {
                username: Some(username.to_owned()),
                ..UserInfo::default()
            }),
            error: None,
        }
    }

    #[test]
    fn only_a_service_account_with_our_audience_is_somebody() {
        let ours: Option<&[&str]> = Some(&["istio-ca"]);
        let judge = |status| judgement(status, "istio-ca");
        assert_eq!(
            judge(status("system:serviceaccount:shop:cart", ours)),
            Judgement::Account {
                namespace: "shop".into(),
                name: "cart".into(),
                pod: None
            }
        );
        let refused = |status| match judge(status) {
            Judgement::Refused(reason) => reason,
            account => panic!("{account:?}"),
        };
        let account = "system:serviceaccount:shop:cart";
        assert!(refused(status(account, Some(&["api"]))).contains("audience"));
        assert!(refused(status(account, None)).contains("audience"));
        assert!(refused(status("admin", ours)).contains("service account"));
        assert!(refused(TokenReviewStatus::default()).contains("nobody"));
    }
}
