//! The webhook configurations: the leader writes the CA bundle into them, and `failurePolicy: Fail` once the API server
//! has proved that it reaches the webhook. Who installs them says `Ignore`, so that nothing waits for Lateen before.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::endpoints::ready_endpoints;
use crate::raw::Raw;
use crate::resources::{Only, named};
use crate::retry;
use crate::watch::health::Health;
use crate::watch::one;

/// What a refusal by a webhook begins with, whatever the webhook.
const DENIED: &str = "admission webhook";

/// Which configurations are ours, and with which object they are proved.
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// The MutatingWebhookConfiguration of injection.
    pub mutating: String,
    /// The ValidatingWebhookConfiguration.
    pub validating: String,
    /// The namespace of the object that is offered, dry-run, as proof.
    pub namespace: String,
}

/// What an API server does when a webhook does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailurePolicy {
    /// Goes on.
    Ignore,
    /// Refuses.
    Fail,
}

impl FailurePolicy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "Ignore",
            Self::Fail => "Fail",
        }
    }
}

/// What came of offering a bad object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The webhook refused it: the API server reaches it.
    Refused,
    /// It was accepted: the webhook was not asked, or could not be.
    Accepted,
    /// The API server refused it by itself, or did not answer.
    Unclear(String),
}

impl Webhooks {
    /// Keeps both configurations as `bundle` says whenever `leads`. Never ends.
    pub async fn keep(
        self,
        client: Client,
        health: Arc<Health>,
        mut bundle: watch::Receiver<Arc<str>>,
        mut leads: watch::Receiver<bool>,
    ) {
        let mut mutating = one::follow(
            &client,
            &health,
            mutating(),
            Only::cluster_wide(&self.mutating),
        );
        let mut validating = one::follow(
            &client,
            &health,
            validating(),
            Only::cluster_wide(&self.validating),
        );
        loop {
            let now = Arc::clone(&bundle.borrow_and_update());
            let found = [
                Found {
                    resource: self::mutating(),
                    name: self.mutating.clone(),
                    object: mutating.borrow_and_update().clone(),
                },
                Found {
                    resource: self::validating(),
                    name: self.validating.clone(),
                    object: validating.borrow_and_update().clone(),
                },
            ];
            let is_done = if *leads.borrow_and_update() {
                self.settle(&client, &now, &found).await
            } else {
                true
            };
            let gone = tokio::select! {
                changed = bundle.changed() => changed.is_err(),
                changed = leads.changed() => changed.is_err(),
                changed = mutating.changed() => changed.is_err(),
                changed = validating.changed() => changed.is_err(),
                () = retry::unless(is_done) => false,
            };
            if gone {
                return;
            }
        }
    }

    /// One step towards what should be; each write brings the next. False: try again soon.
    async fn settle(&self, client: &Client, bundle: &str, found: &[Found; 2]) -> bool {
        let bundle = STANDARD.encode(bundle);
        let with_bundle = |found: &Found| found.patch(|webhook| set_bundle(webhook, &bundle));
        let with_policy = |found: &Found| found.patch(|webhook| set(webhook, FailurePolicy::Fail));
        if found.iter().any(|found| with_bundle(found).is_some()) {
            return write_all(client, found, with_bundle).await;
        }
        if found.iter().all(|found| with_policy(found).is_none()) {
            return true;
        }
        if !self.is_reached(client, found).await {
            return false;
        }
        tracing::info!("the API server reaches the webhooks: from now on it waits for them");
        write_all(client, found, with_policy).await
    }

    /// Whether the API server reaches the webhooks. Without validation there is nothing that it could be seen to refuse:
    /// then a replica that is ready must do.
    async fn is_reached(&self, client: &Client, [mutating, validating]: &[Found; 2]) -> bool {
        if validating.object.is_none() {
            let Some(service) = mutating.service() else {
                return false;
            };
            let ready = ready_endpoints(client, &self.namespace, service, None).await;
            return ready.is_ok_and(|ready| ready > 0);
        }
        match self.prove(client).await {
            Proof::Refused => true,
            Proof::Accepted => false,
            Proof::Unclear(reason) => {
                tracing::debug!("the webhooks are not proved yet: {reason}");
                false
            }
        }
    }

    /// Offers, dry-run, an object that validation refuses and CRD schemas let pass.
    pub async fn prove(&self, client: &Client) -> Proof {
        let resource = named(
            "networking.istio.io",
            "v1",
            "VirtualService",
            "virtualservices",
        );
        let bad = json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": { "generateName": "lateen-probe-", "namespace": self.namespace },
            "spec": {
                "hosts": ["lateen-probe.invalid"],
                "http": [{ "route": [{ "destination": { "host": "not a host" } }] }],
            },
        });
        let Ok(bad) = serde_json::from_value::<Raw>(bad) else {
            return Proof::Unclear("the object that is offered is not readable".to_owned());
        };
        let api: Api<Raw> = Api::namespaced_with(client.clone(), &self.namespace, &resource);
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        match api.create(&params, &bad).await {
            Ok(_) => Proof::Accepted,
            Err(kube::Error::Api(status)) if status.message.contains(DENIED) => Proof::Refused,
            Err(error) => Proof::Unclear(crate::install::said(&error)),
        }
    }

    /// Sets the failure policy of both configurations, as far as they exist.
    ///
    /// # Errors
    /// The API server's, for the first that could not be written.
    pub async fn set_failure_policy(
        &self,
        client: &Client,
        policy: FailurePolicy,
    ) -> Result<(), kube::Error> {
        for (resource, name) in [
            (mutating(), &self.mutating),
            (validating(), &self.validating),
        ] {
            let api: Api<Raw> = Api::all_with(client.clone(), &resource);
            let object = api.get_opt(name).await?.map(|raw| raw.value);
            let found = Found {
                resource,
                name: name.clone(),
                object,
            };
            if let Some(patch) = found.patch(|webhook| set(webhook, policy)) {
                found.write(client, patch).await?;
            }
        }
        Ok(())
    }
}

/// One configuration as it is now.
struct Found {
    resource: ApiResource,
    name: String,
    /// None: it does not exist.
    object: Option<Value>,
}

impl Found {
    /// The Service that its first webhook names.
    fn service(&self) -> Option<&str> {
        let first = self.object.as_ref()?.pointer("/webhooks/0")?;
        first.pointer("/clientConfig/service/name")?.as_str()
    }

    /// What must be written so that every webhook is as `wanted` says, which answers the fields that differ.
    fn patch(&self, wanted: impl Fn(&Value) -> Option<Value>) -> Option<Value> {
        let webhooks = self.object.as_ref()?.get("webhooks")?.as_array()?;
        let named = |webhook: &Value| {
            let mut fields = wanted(webhook)?;
            let name = webhook.get("name")?.clone();
            fields.as_object_mut()?.insert("name".to_owned(), name);
            Some(fields)
        };
        let patches: Vec<Value> = webhooks.iter().filter_map(named).collect();
        (!patches.is_empty()).then(|| json!({ "webhooks": patches }))
    }

    /// Writes the fields of a patch and no others: webhooks are told apart by their names.
    async fn write(&self, client: &Client, patch: Value) -> Result<(), kube::Error> {
        let api: Api<Raw> = Api::all_with(client.clone(), &self.resource);
        let params = PatchParams::default();
        let patch = Patch::Strategic(patch);
        api.patch(&self.name, &params, &patch).await.map(drop)
    }
}

async fn write_all(
    client: &Client,
    found: &[Found; 2],
    patch: impl Fn(&Found) -> Option<Value>,
) -> bool {
    let mut all = true;
    for found in found {
        let Some(patch) = patch(found) else { continue };
        if let Err(error) = found.write(client, patch).await {
            tracing::warn!(
                "{} {} was not written: {error}",
                found.resource.kind,
                found.name
            );
            all = false;
        }
    }
    all
}

fn set_bundle(webhook: &Value, bundle: &str) -> Option<Value> {
    let now = webhook.pointer("/clientConfig/caBundle");
    let differs = now.and_then(Value::as_str) != Some(bundle);
    differs.then(|| json!({ "clientConfig": { "caBundle": bundle } }))
}

fn set(webhook: &Value, policy: FailurePolicy) -> Option<Value> {
    let now = webhook.get("failurePolicy").and_then(Value::as_str);
    (now != Some(policy.as_str())).then(|| json!({ "failurePolicy": policy.as_str() }))
}

fn mutating() -> ApiResource {
    resource(
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
    )
}

fn validating() -> ApiResource {
    resource(
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    )
}

fn resource(kind: &str, plural: &str) -> ApiResource {
    named("admissionregistration.k8s.io", "v1", kind, plural)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Found {
        Found {
            resource: mutating(),
            name: "istio-sidecar-injector".to_owned(),
            object: Some(json!({ "webhooks": [
                { "name": "a", "failurePolicy": "Fail", "clientConfig": { "caBundle": "b2xk" } },
                { "name": "b", "failurePolicy": "Ignore", "clientConfig": {} },
            ] })),
        }
    }

    #[test]
    fn only_what_differs_is_written() {
        let policy = found().patch(|webhook| set(webhook, FailurePolicy::Fail));
        let wanted = json!({ "webhooks": [{ "name": "b", "failurePolicy": "Fail" }] });
        assert_eq!(policy, Some(wanted));
        let bundle = found().patch(|webhook| set_bundle(webhook, "b2xk"));
        let wanted =
            json!({ "webhooks": [{ "name": "b", "clientConfig": { "caBundle": "b2xk" } }] });
        assert_eq!(bundle, Some(wanted));
    }

    #[test]
    fn what_does_not_exist_is_not_written() {
        let found = Found {
            object: None,
            ..found()
        };
        assert_eq!(
            found.patch(|webhook| set(webhook, FailurePolicy::Ignore)),
            None
        );
    }
}
