//! What the YAML in use says must come of a call: which pods answer and how often, or who refuses it and why.
//!
//! Read here a second time and in a simple way, one caller and one URL at a time, so that the control plane is not
//! measured by itself. What this does not understand has no expectation.

mod matching;
mod policy;
mod route;
mod rule;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use model::{Hostname, Kind, Namespace, Object, SpiffeId};

use crate::folder::{Folder, Service, Workload};
use crate::read::Reading;

pub use route::Request;

/// What must come of a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expectation {
    /// The parts of which the calls are made up; their shares sum to 1. Empty: nothing is known.
    pub parts: Vec<Part>,
    /// The host that is called.
    pub host: String,
}

/// A part of the calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// How much of all, 0 to 1.
    pub share: f64,
    /// The label `version` of the workloads that these calls reach.
    pub version: Option<String>,
    /// What these workloads do with them.
    pub verdict: Verdict,
}

/// What a workload does with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answers, and its Envoy sees this identity; none: plaintext, or it has no Envoy.
    Served(Option<String>),
    /// It refuses.
    Refused(Refusal),
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A policy refuses it: `namespace/name`.
    Denied(String),
    /// There are policies that allow, and none allows this.
    NotAllowed,
    /// It is plaintext, and the workload takes mutual TLS only.
    Plaintext,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(policy) => write!(f, "AuthorizationPolicy {policy} refuses it"),
            Self::NotAllowed => f.write_str("no AuthorizationPolicy allows it"),
            Self::Plaintext => f.write_str("it is plaintext, and STRICT mutual TLS is asked for"),
        }
    }
}

impl Expectation {
    /// The reason for which all calls are refused; none: some are served, or nothing is known.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        let mut reasons = self.parts.iter().map(|part| match &part.verdict {
            Verdict::Served(_) => None,
            Verdict::Refused(why) => Some(why),
        });
        let first = reasons.next()??;
        reasons.all(|reason| reason.is_some()).then_some(first)
    }

    /// Whether nothing that is known is refused.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.parts
            .iter()
            .all(|part| matches!(part.verdict, Verdict::Served(_)))
    }

    /// Whether a call that ended without a response may have been refused so.
    #[must_use]
    pub fn may_be_cut(&self) -> bool {
        self.parts
            .iter()
            .any(|part| part.verdict == Verdict::Refused(Refusal::Plaintext))
    }

    /// The shares of the versions that answer, of all calls.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<String, f64> {
        let mut shares = BTreeMap::new();
        for part in &self.parts {
            if let (Verdict::Served(_), Some(version)) = (&part.verdict, &part.version) {
                *shares.entry(version.clone()).or_default() += part.share;
            }
        }
        shares
    }
}

/// The objects of a folder, ordered for questions.
#[derive(Debug)]
pub struct Oracle<'a> {
    folder: &'a Folder,
    objects: &'a [Arc<Object>],
}

impl<'a> Oracle<'a> {
    /// An oracle of a folder.
    #[must_use]
    pub fn new(reading: &'a Reading) -> Self {
        Self {
            folder: &reading.folder,
            objects: &reading.objects,
        }
    }

    /// What must come of calls from a workload to a URL.
    #[must_use]
    pub fn expect(&self, caller: &Workload, url: &str) -> Expectation {
        let Some(request) = Request::of_url(url, "GET", &BTreeMap::new()) else {
            return Expectation::default();
        };
        let parts = self.parts(caller, &request).unwrap_or_default();
        Expectation {
            parts,
            host: request.host,
        }
    }

    fn parts(&self, caller: &Workload, request: &Request) -> Option<Vec<Part>> {
        let mut parts = Vec::new();
        for target in self.targets(caller, request)? {
            let pods = self.pods(&target)?;
            let share = target.share / f64::from(u32::try_from(pods.len()).ok()?);
            for (pod, port) in pods {
                let verdict = self.verdict(caller, pod, port, target.tls, request)?;
                let version = pod.version().map(str::to_owned);
                add(
                    &mut parts,
                    Part {
                        share,
                        version,
                        verdict,
                    },
                );
            }
        }
        Some(parts)
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &'a Arc<Object>> {
        self.objects
            .iter()
            .filter(move |object| object.key.kind == kind)
    }

    fn service(&self, host: &Hostname) -> Option<&'a Service> {
        let (name, namespace) = host.service_parts()?;
        self.folder
            .services
            .iter()
            .find(|service| service.name == name && service.namespace == namespace)
    }

    fn identity(&self, workload: &Workload) -> Option<SpiffeId> {
        Some(SpiffeId {
            trust_domain: self.folder.trust_domain().parse().ok()?,
            namespace: workload.namespace.parse().ok()?,
            service_account: workload.service_account.parse().ok()?,
        })
    }

    fn root_namespace(&self) -> Namespace {
        let named = self
            .folder
            .mesh_config
            .get("rootNamespace")
            .and_then(serde_json::Value::as_str);
        named
            .and_then(|name| name.parse().ok())
            .unwrap_or_else(Namespace::istio_system)
    }
}

/// Equal parts are one.
fn add(parts: &mut Vec<Part>, part: Part) {
    let same = |other: &&mut Part| other.version == part.version && other.verdict == part.verdict;
    match parts.iter_mut().find(same) {
        Some(other) => other.share += part.share,
        None => parts.push(part),
    }
}

#[cfg(test)]
mod tests;
