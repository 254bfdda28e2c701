//! WorkloadEntry (`networking.istio.io`): a workload that is no Pod, such as a virtual machine.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Object,
    schema::{UNSIGNED, rule, size, values_are_ports, within},
    wire::unset,
};

/// A WorkloadEntry as users write it.
pub type WorkloadEntry = Object<WorkloadEntrySpec>;

const UNIX_PATH: &str =
    "!self.startsWith('unix://') || self.startsWith('unix:///') || self.startsWith('unix://@')";
const UNIX_PORTS: &str =
    "!has(self.address) || !self.address.startsWith('unix://') || !has(self.ports)";

/// The `spec` of a WorkloadEntry, also an endpoint of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = rule("an address or a network is required", "has(self.address) || has(self.network)"))]
#[schemars(transform = rule("a Unix socket has no ports", UNIX_PORTS))]
pub struct WorkloadEntrySpec {
    /// `address`: IP address, DNS name or `unix://` path; may be left out only with `network`.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 256))]
    #[schemars(transform = rule("the path of a Unix socket must be absolute, or begin with @", UNIX_PATH))]
    pub address: Option<String>,
    /// `ports`: port of the workload by name of the service's port; a missing name means the
    /// service's target port.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 128))]
    #[schemars(transform = values_are_ports)]
    pub ports: BTreeMap<String, i64>,
    /// `labels`: labels that selectors match.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 256))]
    pub labels: BTreeMap<String, String>,
    /// `network`: network in which the address is reachable.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 2048))]
    pub network: Option<String>,
    /// `locality`: `region/zone/subzone`.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 2048))]
    pub locality: Option<String>,
    /// `weight`: share of traffic relative to the other endpoints; absent means 1.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = within(UNSIGNED))]
    pub weight: Option<i64>,
    /// `serviceAccount`: service account in the workload's namespace, its identity.
    #[serde(skip_serializing_if = "unset", alias = "service_account")]
    #[schemars(transform = size(0, 253))]
    pub service_account: Option<String>,
}
