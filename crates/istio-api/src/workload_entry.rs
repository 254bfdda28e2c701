//! WorkloadEntry (`networking.istio.io`): a workload that is no Pod, such as a virtual machine.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Object, wire::unset};

/// A WorkloadEntry as users write it.
pub type WorkloadEntry = Object<WorkloadEntrySpec>;

/// The `spec` of a WorkloadEntry, also an endpoint of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntrySpec {
    /// `address`: IP address, DNS name or `unix://` path; may be left out only with `network`.
    #[serde(skip_serializing_if = "unset")]
    pub address: Option<String>,
    /// `ports`: port of the workload by name of the service's port; a missing name means the
    /// service's target port.
    #[serde(skip_serializing_if = "unset")]
    pub ports: BTreeMap<String, i64>,
    /// `labels`: labels that selectors match.
    #[serde(skip_serializing_if = "unset")]
    pub labels: BTreeMap<String, String>,
    /// `network`: network in which the address is reachable.
    #[serde(skip_serializing_if = "unset")]
    pub network: Option<String>,
    /// `locality`: `region/zone/subzone`.
    #[serde(skip_serializing_if = "unset")]
    pub locality: Option<String>,
    /// `weight`: share of traffic relative to the other endpoints; absent means 1.
    #[serde(skip_serializing_if = "unset")]
    pub weight: Option<i64>,
    /// `serviceAccount`: service account in the workload's namespace, its identity.
    #[serde(skip_serializing_if = "unset", alias = "service_account")]
    pub service_account: Option<String>,
}
