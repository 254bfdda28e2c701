//! PeerAuthentication: which workloads demand mutual TLS of their callers.

use std::collections::BTreeMap;

use crate::{Port, Selector};

/// `security.istio.io` PeerAuthentication.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerAuthentication {
    /// `spec.selector`; none: the namespace, or the mesh in the root namespace.
    pub selector: Option<Selector>,
    /// `spec.mtls.mode`; none or `UNSET`: inherited.
    pub mode: Option<MtlsMode>,
    /// `spec.portLevelMtls`, by the workload's own port; `None` is `UNSET`.
    pub ports: BTreeMap<Port, Option<MtlsMode>>,
}

/// `mtls.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MtlsMode {
    /// Plaintext only.
    Disable,
    /// Both: Istio's default.
    #[default]
    Permissive,
    /// Mutual TLS only.
    Strict,
}
