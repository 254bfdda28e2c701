//! What a case is about, as its author says.

use serde::{Deserialize, Serialize};

/// The part of the mesh's behaviour that a case shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Theme {
    /// Which requests a route takes.
    Match,
    /// Requests and connections that are divided between destinations, or copied.
    Split,
    /// What a proxy changes or answers: rewrites, redirects, headers, CORS.
    Rewrite,
    /// Faults, timeouts and retries.
    Fault,
    /// Routes of connections, TLS that sidecars begin or pass, protocols.
    Tcp,
    /// How endpoints are chosen and used: load balancing, pools, ejection, localities.
    TrafficPolicy,
    /// Mutual TLS between the mesh's own workloads.
    Mtls,
    /// Who may call what.
    Authorization,
    /// ServiceEntry and WorkloadEntry.
    Entries,
    /// Which of several objects holds, for whom, and under which names.
    Visibility,
}

impl Theme {
    /// Every theme.
    pub const ALL: [Self; 10] = [
        Self::Match,
        Self::Split,
        Self::Rewrite,
        Self::Fault,
        Self::Tcp,
        Self::TrafficPolicy,
        Self::Mtls,
        Self::Authorization,
        Self::Entries,
        Self::Visibility,
    ];
}
