//! A Kubernetes cluster as the origin of config, and the control plane's duties in it: one root for all replicas, the
//! roots in every namespace, the webhooks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use ca::{Authority, CaFiles, Reviewer, RootStore, StateError};
use k8s::{
    Candidate, Client, FailurePolicy, Following, Only, Report, SecretData, Secrets, Tokens,
    Webhooks,
};
use model::{Kind, TrustDomain};
use store::SourceId;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::args::{Arguments, Pod};
use crate::identity::ClusterReviewer;
use crate::plane::Handle;
use crate::rotation::Rotation;
use crate::server::Failure;

/// The one source: its place among the sources, and its id.
const SOURCE: usize = 0;
/// Istio's names for the ConfigMaps of the MeshConfig and of injection.
const MESH_CONFIG: &str = "istio";
const INJECTION: &str = "istio-sidecar-injector";
/// Istio's name for the validating webhooks; the namespace follows.
const VALIDATOR: &str = "istio-validator";
/// The Lease of who writes.
const LEASE: &str = "lateen-leader";
/// The Service of the control plane.
const SERVICE: &str = "istiod";
/// The Secret of the self-signed root, and its type.
const ROOT_SECRET: (&str, &str) = ("istio-ca-secret", "istio.io/ca-root");

/// A cluster that is watched.
pub struct Cluster {
    client: Client,
    following: Following,
    pod: Pod,
}

impl Cluster {
    /// What a cluster must have said before anything is served.
    pub fn required() -> Vec<(SourceId, Kind)> {
        k8s::kinds().map(|kind| (SourceId(0), kind)).collect()
    }

    /// Watches a cluster and waits until everything in it has been heard once.
    ///
    /// # Errors
    /// [`Failure`] when there is no cluster to reach; one that does not answer is waited for.
    pub async fn connect(arguments: &Arguments, plane: &Handle) -> Result<Self, Failure> {
        let client = k8s::connect(arguments.kubeconfig.as_deref()).await?;
        let pod = arguments.pod.clone();
        let map = |name: &str| Only {
            namespace: Some(pod.namespace.clone()),
            name: pod.revised(name),
        };
        let settings = k8s::Settings {
            source: SourceId(0),
            mesh_config: map(MESH_CONFIG),
            injection: map(INJECTION),
            parse_mesh_config: |text| sources::parse_mesh_config(text, None),
        };
        let (reports, inbox) = mpsc::unbounded_channel();
        let following = k8s::start(&client, &settings, &reports);
        tokio::spawn(forward(inbox, plane.clone()));
        plane
            .shared()
            .metrics
            .set_watches(Arc::clone(&following.health));
        let mut synced = plane.shared().synced.subscribe();
        let heard = synced.wait_for(|synced| *synced).await;
        heard.map_err(|_| Failure::Ended("the control loop"))?;
        Ok(Self {
            client,
            following,
            pod,
        })
    }

    /// What is followed beside the objects of the mesh.
    pub fn following(&self) -> &Following {
        &self.following
    }

    /// The names under which Services lead to this control plane.
    pub fn serving_names(&self) -> Vec<String> {
        let namespace = &self.pod.namespace;
        let services = [SERVICE.to_owned(), self.pod.revised(SERVICE)];
        let names = services.iter().flat_map(|service| {
            let short = format!("{service}.{namespace}");
            [
                format!("{short}.svc"),
                format!("{short}.svc.cluster.local"),
                short,
            ]
        });
        names.collect()
    }

    /// The self-signed authority of the cluster's Secret: what is there, or a new one.
    ///
    /// # Errors
    /// [`Failure::Ca`] when the Secret cannot be used or does not hold a CA.
    pub async fn authority(
        &self,
        trust_domain: TrustDomain,
        now: SystemTime,
    ) -> Result<Authority, Failure> {
        let store = self.root_store();
        let opened = spawn_blocking(move || Authority::open(&store, trust_domain, now)).await;
        Ok(opened.map_err(|_| Failure::Ended("the reader of the CA"))??)
    }

    fn root_store(&self) -> SecretRootStore {
        SecretRootStore {
            secrets: Secrets::new(self.client.clone(), &self.pod.namespace),
            runtime: tokio::runtime::Handle::current(),
        }
    }

    /// Takes over what somebody puts into the Secret of the root, and puts the root back if the Secret is deleted: a
    /// restart would make another root, which no proxy trusts.
    pub fn follow_root(&self, mut rotation: Rotation) {
        let (store, (name, _)) = (self.root_store(), ROOT_SECRET);
        let mut secret = store.secrets.follow(name, &self.following.health);
        tokio::spawn(async move {
            let mut was_there = false;
            loop {
                tokio::select! {
                    changed = secret.changed() => if changed.is_err() { return },
                    () = rotation.is_due() => {
                        rotation.activate_if_due(Instant::now());
                        continue;
                    }
                }
                let now = secret.borrow_and_update().clone();
                match now {
                    Some(data) => {
                        was_there = true;
                        rotation.take(Ok(ca_files(&data)));
                    }
                    None if was_there => {
                        tracing::warn!("the Secret {name} was deleted: it is put back");
                        if let Err(error) = store.put(&rotation.files()).await {
                            tracing::error!("the Secret of the root was not put back: {error}");
                        }
                    }
                    None => {}
                }
            }
        });
    }

    /// Says who is who in the cluster.
    pub fn reviewer(&self, trust_domain: TrustDomain) -> Arc<dyn Reviewer> {
        let tokens = Tokens::new(self.client.clone());
        let lives = Arc::clone(&self.following.lives);
        let reviewer = Arc::new(ClusterReviewer::new(trust_domain, tokens, lives));
        tokio::spawn(Arc::clone(&reviewer).keep_keys());
        reviewer
    }

    fn webhooks(&self) -> Webhooks {
        let namespace = self.pod.namespace.clone();
        Webhooks {
            mutating: self.pod.revised(INJECTION),
            validating: format!("{}-{namespace}", self.pod.revised(VALIDATOR)),
            namespace,
        }
    }

    /// Does what one of several replicas must do, until `stop`: then it frees the API server of its webhooks if no other
    /// replica is left to answer, and lets go of the Lease.
    pub async fn duties(&self, roots: watch::Receiver<Arc<str>>, stop: impl Future<Output = ()>) {
        let (candidate, leads) = Candidate::new(
            self.client.clone(),
            &self.pod.namespace,
            &self.pod.revised(LEASE),
            &self.pod.name,
        );
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let election = tokio::spawn(candidate.run(async { drop(released.await) }));
        let (client, health) = (self.client.clone(), Arc::clone(&self.following.health));
        let lives = Arc::clone(&self.following.lives);
        let publish = k8s::publish_roots(
            client.clone(),
            lives,
            Arc::clone(&health),
            roots.clone(),
            leads.clone(),
        );
        let keep = self.webhooks().keep(client, health, roots, leads);
        tokio::select! {
            () = stop => {}
            () = publish => tracing::error!("the roots are published no longer"),
            () = keep => tracing::error!("the webhook configurations are kept no longer"),
        }
        self.retire().await;
        drop(release);
        // The Lease runs out by itself.
        let _ = election.await;
    }

    /// Before the last replica goes: nothing shall wait for a webhook that nobody answers.
    async fn retire(&self) {
        let service = self.pod.revised(SERVICE);
        let namespace = &self.pod.namespace;
        match k8s::ready_endpoints(&self.client, namespace, &service, Some(&self.pod.name)).await {
            Ok(0) => {}
            Ok(others) => {
                tracing::info!("{others} other replicas answer the webhooks");
                return;
            }
            Err(error) => {
                tracing::warn!("whether other replicas answer the webhooks is not known: {error}");
                return;
            }
        }
        let freed = self
            .webhooks()
            .set_failure_policy(&self.client, FailurePolicy::Ignore)
            .await;
        match freed {
            Ok(()) => tracing::info!("no other replica is left: the webhooks are not waited for"),
            Err(error) => tracing::warn!(
                "the API server still waits for the webhooks; `lateen uninstall --webhooks` frees it: {error}"
            ),
        }
    }
}

/// Hands on what the watches tell, all that is there at once.
async fn forward(mut inbox: mpsc::UnboundedReceiver<Report>, plane: Handle) {
    while let Some(report) = inbox.recv().await {
        let mut sets = Vec::new();
        let mut next = Some(report);
        while let Some(report) = next {
            match report {
                Report::Changed(set) => sets.push(set),
                Report::Unreadable(diagnostics) => {
                    for diagnostic in diagnostics {
                        tracing::warn!("an object was not read:{diagnostic}");
                    }
                }
            }
            next = inbox.try_recv().ok();
        }
        plane.changed(SOURCE, sets, Vec::new());
    }
}

/// The root in the cluster's Secret, as istiod keeps it.
struct SecretRootStore {
    secrets: Secrets,
    runtime: tokio::runtime::Handle,
}

impl SecretRootStore {
    async fn put(&self, files: &CaFiles) -> Result<(), k8s::SecretError> {
        let CaFiles {
            ca_cert,
            ca_key,
            cert_chain,
            root_cert,
        } = files;
        let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
        let data = BTreeMap::from([
            file("ca-cert.pem", ca_cert),
            file("ca-key.pem", ca_key),
            file("cert-chain.pem", cert_chain),
            file("root-cert.pem", root_cert),
        ]);
        let (name, type_) = ROOT_SECRET;
        if self.secrets.create(name, type_, data).await? {
            tracing::info!("the root was put into the Secret {name}");
        }
        Ok(())
    }
}

impl RootStore for SecretRootStore {
    fn load(&self) -> Result<Option<CaFiles>, StateError> {
        let (name, _) = ROOT_SECRET;
        let found = self.runtime.block_on(self.secrets.get(name));
        let found = found.map_err(|error| StateError::Store(error.to_string()))?;
        Ok(found.as_ref().map(ca_files))
    }

    fn create_once(&self, fresh: &CaFiles) -> Result<(), StateError> {
        let put = self.runtime.block_on(self.put(fresh));
        put.map_err(|error| StateError::Store(error.to_string()))
    }
}

fn ca_files(data: &SecretData) -> CaFiles {
    let text = |file: &str| {
        let bytes = data.get(file).map(Vec::as_slice).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    };
    let ca_cert = text("ca-cert.pem");
    // istiod leaves it empty where the root signs by itself.
    let root_cert = Some(text("root-cert.pem")).filter(|root| !root.trim().is_empty());
    CaFiles {
        root_cert: root_cert.unwrap_or_else(|| ca_cert.clone()),
        ca_cert,
        ca_key: text("ca-key.pem").into(),
        cert_chain: text("cert-chain.pem"),
    }
}
