//! The Secrets of Lateen's own namespace, one at a time and by name.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::watch;

use crate::resources::{Only, named};
use crate::watch::health::Health;
use crate::watch::one;

/// The API server refused or did not answer. The text says what was tried.
#[derive(Debug, thiserror::Error)]
#[error("Secret {name}: cannot {step}: {source}")]
pub struct SecretError {
    name: String,
    step: &'static str,
    source: Box<kube::Error>,
}

/// The Secrets of one namespace.
#[derive(Clone)]
pub struct Secrets {
    client: Client,
    namespace: String,
    api: Api<Secret>,
}

/// The `data` of a Secret.
pub type SecretData = BTreeMap<String, Vec<u8>>;

impl Secrets {
    /// Those of `namespace`.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            namespace: namespace.to_owned(),
            client,
        }
    }

    /// Follows a Secret; none while it does not exist, and until it has been asked for. Ends when nobody listens.
    #[must_use]
    pub fn follow(&self, name: &str, health: &Health) -> watch::Receiver<Option<SecretData>> {
        let only = Only {
            namespace: Some(self.namespace.clone()),
            name: name.to_owned(),
        };
        let resource = named("", "v1", "Secret", "secrets");
        let mut objects = one::follow(&self.client, health, resource, only);
        let (latest, seen) = watch::channel(None);
        tokio::spawn(async move {
            while objects.changed().await.is_ok() {
                let data = objects.borrow_and_update().as_ref().map(data);
                latest.send_replace(data);
                if latest.is_closed() {
                    return;
                }
            }
        });
        seen
    }

    /// The `data` of a Secret; none if it does not exist.
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn get(&self, name: &str) -> Result<Option<SecretData>, SecretError> {
        let found = self.api.get_opt(name).await;
        let found = found.map_err(|source| error(name, "be read", source))?;
        let bytes = |(key, ByteString(value))| (key, value);
        Ok(found.map(|secret| {
            let data = secret.data.unwrap_or_default();
            data.into_iter().map(bytes).collect()
        }))
    }

    /// Creates a Secret of type `type_`. False: there was one already, and it stays.
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn create(
        &self,
        name: &str,
        type_: &str,
        data: SecretData,
    ) -> Result<bool, SecretError> {
        let bytes = |(key, value)| (key, ByteString(value));
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some(type_.to_owned()),
            data: Some(data.into_iter().map(bytes).collect()),
            ..Secret::default()
        };
        match self.api.create(&PostParams::default(), &secret).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(source) => Err(error(name, "be created", source)),
        }
    }
}

/// The `data` of a Secret as the API server sends it: base64. What is not is left out.
fn data(secret: &Value) -> SecretData {
    let Some(Value::Object(data)) = secret.get("data") else {
        return SecretData::new();
    };
    let bytes = |(key, value): (&String, &Value)| {
        let bytes = STANDARD.decode(value.as_str()?).ok()?;
        Some((key.clone(), bytes))
    };
    data.iter().filter_map(bytes).collect()
}

fn error(name: &str, step: &'static str, source: kube::Error) -> SecretError {
    SecretError {
        name: name.to_owned(),
        step,
        source: Box::new(source),
    }
}
