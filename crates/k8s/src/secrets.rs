//! The Secrets of Lateen's own namespace, one at a time and by name.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};

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
    api: Api<Secret>,
}

impl Secrets {
    /// Those of `namespace`.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
        }
    }

    /// The `data` of a Secret; none if it does not exist.
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn get(&self, name: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>, SecretError> {
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
        data: BTreeMap<String, Vec<u8>>,
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

fn error(name: &str, step: &'static str, source: kube::Error) -> SecretError {
    SecretError {
        name: name.to_owned(),
        step,
        source: Box::new(source),
    }
}
