//! Who of several replicas writes: an election by a Lease (`coordination.k8s.io/v1`), as Kubernetes' own components do it.
//!
//! Whether a Lease has run out is decided by how long this replica has seen it unchanged, never by comparing clocks.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a Lease holds after its last renewal.
const HOLDS: Duration = Duration::from_secs(10);
/// A leader that could not renew for so long stops leading: well before another may take over.
const GIVES_UP: Duration = Duration::from_secs(7);
/// How often a leader renews, and how often others look.
const EVERY: Duration = Duration::from_secs(2);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(3);

/// A replica that would lead.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    leads: watch::Sender<bool>,
    /// The Lease as it was seen last, and since when.
    seen: Option<(Option<String>, Instant)>,
}

impl Candidate {
    /// A candidate under the name `identity` (its Pod's) for the Lease `name`. The receiver says whether it leads.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
    ) -> (Self, watch::Receiver<bool>) {
        let (leads, leading) = watch::channel(false);
        let candidate = Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            leads,
            seen: None,
        };
        (candidate, leading)
    }

    /// Stands for election until `stop`, and then lets go of the Lease, so that another need not wait.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut renewed = Instant::now();
        loop {
            match tokio::time::timeout(REQUEST, self.try_once()).await {
                Ok(Ok(leads)) => {
                    renewed = Instant::now();
                    self.say(leads);
                }
                Ok(Err(error)) => tracing::debug!("lease {}: {error}", self.name),
                Err(_) => tracing::debug!("lease {}: no answer", self.name),
            }
            if renewed.elapsed() > GIVES_UP {
                self.say(false);
            }
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
        if *self.leads.borrow() {
            self.say(false);
            if let Ok(Err(error)) = tokio::time::timeout(REQUEST, self.let_go()).await {
                tracing::debug!("lease {} was not let go of: {error}", self.name);
            }
        }
    }

    fn say(&self, leads: bool) {
        let changed = self.leads.send_if_modified(|before| {
            let changed = *before != leads;
            *before = leads;
            changed
        });
        if changed && leads {
            tracing::info!("{} leads: it writes for all replicas", self.identity);
        } else if changed {
            tracing::info!("{} leads no longer", self.identity);
        }
    }

    async fn try_once(&mut self) -> Result<bool, kube::Error> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            let fresh = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(0)),
            };
            return won(self.api.create(&PostParams::default(), &fresh).await);
        };
        let version = lease.metadata.resource_version.clone();
        let unchanged_for = match &self.seen {
            Some((seen, since)) if *seen == version => since.elapsed(),
            Some(_) | None => {
                self.seen = Some((version, Instant::now()));
                Duration::ZERO
            }
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let is_mine = holder == self.identity;
        let is_free = holder.is_empty() || unchanged_for > holds(&spec);
        if !is_mine && !is_free {
            return Ok(false);
        }
        let transitions = spec.lease_transitions.unwrap_or(0);
        let mut next = self.spec(transitions.saturating_add(i32::from(!is_mine)));
        if is_mine {
            next.acquire_time = spec.acquire_time;
        }
        let lease = Lease {
            spec: Some(next),
            ..lease
        };
        let name = self.name.clone();
        won(self
            .api
            .replace(&name, &PostParams::default(), &lease)
            .await)
    }

    async fn let_go(&self) -> Result<(), kube::Error> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            return Ok(());
        };
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(());
        }
        let lease = Lease {
            spec: Some(LeaseSpec {
                holder_identity: None,
                ..spec
            }),
            ..lease
        };
        won(self
            .api
            .replace(&self.name, &PostParams::default(), &lease)
            .await)
        .map(drop)
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(HOLDS.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

/// Who wrote first has won; the others hear of a conflict.
fn won(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

fn holds(spec: &LeaseSpec) -> Duration {
    let seconds = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map_or(HOLDS, Duration::from_secs)
}
