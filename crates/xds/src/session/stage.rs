//! Make before break: which clusters a stream's Envoy cannot use yet, and which endpoints wait for a changed cluster.
//!
//! Envoy acknowledges clusters late (not while any of them is warming) but endpoints at once, so an acknowledgement of a
//! cluster's endpoints counts as well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::{Liveness, Part};

/// How long routes wait for a cluster whose name may never resolve.
const PATIENCE: Duration = Duration::from_secs(5);

/// The last sending of a cluster that is new to the stream.
#[derive(Debug)]
struct Sent {
    message: u64,
    at: Duration,
    liveness: Liveness,
}

/// What one stream's Envoy is in the middle of.
#[derive(Debug, Default)]
pub(super) struct Stage {
    /// Clusters that Envoy cannot use yet; none before they are sent, or after they were refused.
    warming: BTreeMap<Arc<str>, Option<Sent>>,
    /// Changed clusters, by the message that carried them, whose endpoints were not acknowledged since. Envoy must see
    /// the old endpoints with the new cluster first: the new ones may have identities that the old cluster refuses.
    settling: BTreeMap<Arc<str>, u64>,
}

impl Stage {
    /// Whether nothing is held back.
    pub fn is_idle(&self) -> bool {
        self.warming.is_empty()
    }

    /// Whether all clusters that a part needs can be used. A cluster that no one announced is not waited for.
    pub fn is_live(&self, part: &Part) -> bool {
        self.warming.is_empty()
            || !part
                .needs
                .iter()
                .any(|name| self.warming.contains_key(name))
    }

    /// A cluster that the stream's Envoy does not have is about to be sent.
    pub fn announce(&mut self, name: &Arc<str>) {
        self.warming.insert(Arc::clone(name), None);
    }

    /// A cluster is gone from Envoy, or will never be sent.
    pub fn forget(&mut self, name: &str) {
        self.warming.remove(name);
        self.settling.remove(name);
    }

    /// A cluster was sent.
    pub fn sent(&mut self, name: &Arc<str>, liveness: Liveness, message: u64, at: Duration) {
        if let Some(cluster) = self.warming.get_mut(name) {
            if liveness == Liveness::Sent {
                self.warming.remove(name);
            } else {
                *cluster = Some(Sent {
                    message,
                    at,
                    liveness,
                });
            }
        }
    }

    /// A changed cluster was sent, and its old endpoints follow.
    pub fn settle(&mut self, name: &Arc<str>, message: u64) {
        self.settling.insert(Arc::clone(name), message);
    }

    /// A cluster's endpoints need not stay what they are.
    pub fn settled(&mut self, name: &str) {
        self.settling.remove(name);
    }

    /// Whether a cluster's endpoints must stay what they are for now.
    pub fn is_settling(&self, name: &str) -> bool {
        self.settling.contains_key(name)
    }

    /// A message of clusters was acknowledged, and with it all before it.
    pub fn clusters_accepted(&mut self, message: u64) {
        self.warming
            .retain(|_, sent| sent.as_ref().is_none_or(|sent| sent.message > message));
    }

    /// A message with this cluster was refused.
    pub fn cluster_refused(&mut self, name: &str, message: u64) {
        if let Some(cluster) = self.warming.get_mut(name) {
            cluster.take_if(|sent| sent.message <= message);
        }
    }

    /// A message of endpoints was acknowledged, or refused.
    pub fn endpoints_answered(&mut self, name: &str, message: u64, accepted: bool) {
        if self.settling.get(name).is_some_and(|sent| *sent < message) {
            self.settling.remove(name);
        }
        let after = |sent: &Sent| sent.liveness == Liveness::Eds && sent.message < message;
        if accepted
            && self
                .warming
                .get(name)
                .is_some_and(|sent| sent.as_ref().is_some_and(after))
        {
            self.warming.remove(name);
        }
    }

    /// When the next cluster will have been waited for long enough.
    pub fn deadline(&self) -> Option<Duration> {
        self.warming
            .values()
            .flatten()
            .filter_map(Sent::patience)
            .min()
    }

    /// Stops waiting for names that do not resolve.
    pub fn expire(&mut self, now: Duration) {
        self.warming.retain(|_, sent| {
            sent.as_ref()
                .and_then(Sent::patience)
                .is_none_or(|end| now < end)
        });
    }
}

impl Sent {
    /// Until when the cluster is waited for, if it is one whose name may not resolve.
    fn patience(&self) -> Option<Duration> {
        (self.liveness == Liveness::Ack).then(|| self.at + PATIENCE)
    }
}
