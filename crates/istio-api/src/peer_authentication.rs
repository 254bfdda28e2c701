//! PeerAuthentication (`security.istio.io`): whether a workload accepts plaintext.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Object,
    common::WorkloadSelector,
    schema::{keys_are_ports, rule, size},
    wire::{proto_enum, unset},
};

/// A PeerAuthentication as users write it.
pub type PeerAuthentication = Object<PeerAuthenticationSpec>;

const PORTS_NEED: &str = "portLevelMtls needs a selector";
const PORTS_NEED_RULE: &str = "!has(self.portLevelMtls) || \
    has(self.selector) && has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0";

/// The `spec` of a PeerAuthentication.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = rule(PORTS_NEED, PORTS_NEED_RULE))]
pub struct PeerAuthenticationSpec {
    /// `selector`: workloads to which it applies; absent means the whole namespace, in the root
    /// namespace the mesh.
    #[serde(skip_serializing_if = "unset")]
    pub selector: Option<WorkloadSelector>,
    /// `mtls`: mutual TLS for all ports; absent means what the next wider policy says.
    #[serde(skip_serializing_if = "unset")]
    pub mtls: Option<MutualTls>,
    /// `portLevelMtls`: mutual TLS by port of the workload (the Service's target port); only with a
    /// selector.
    #[serde(skip_serializing_if = "unset", alias = "port_level_mtls")]
    #[schemars(transform = size(1, 1024))]
    #[schemars(transform = keys_are_ports)]
    pub port_level_mtls: BTreeMap<String, MutualTls>,
}

/// Mutual TLS settings (`spec.mtls`, `spec.portLevelMtls{}`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MutualTls {
    /// `mode`: the mode; absent means `UNSET`.
    #[serde(skip_serializing_if = "unset")]
    pub mode: Option<MutualTlsMode>,
}

proto_enum! {
    /// Whether a workload asks for mutual TLS (`PeerAuthentication.MutualTLS.Mode`).
    MutualTlsMode {
        /// As the next wider policy says; at the top, `PERMISSIVE`.
        Unset = 0 => "UNSET",
        /// Plaintext only.
        Disable = 1 => "DISABLE",
        /// Plaintext or mutual TLS.
        Permissive = 2 => "PERMISSIVE",
        /// Mutual TLS only.
        Strict = 3 => "STRICT",
    }
}
