//! DestinationRule (`networking.istio.io`): what happens to traffic after it was routed. The
//! settings themselves stand in `traffic_policy`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Object, TrafficPolicy,
    common::WorkloadSelector,
    schema::{require, size},
    wire::unset,
};

/// A DestinationRule as users write it.
pub type DestinationRule = Object<DestinationRuleSpec>;

/// The `spec` of a DestinationRule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = require("host"))]
pub struct DestinationRuleSpec {
    /// `host`: service to which the rule applies. Required. A name without dots is looked up in the
    /// rule's namespace; `*.` wildcards are allowed.
    #[serde(skip_serializing_if = "unset")]
    pub host: Option<String>,
    /// `trafficPolicy`: settings for all of the host.
    #[serde(skip_serializing_if = "unset", alias = "traffic_policy")]
    pub traffic_policy: Option<TrafficPolicy>,
    /// `subsets`: named parts of the host.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 2048))]
    pub subsets: Vec<Subset>,
    /// `exportTo`: namespaces that see this object: names, `.` for its own, `*` for all. Empty
    /// means MeshConfig's default.
    #[serde(skip_serializing_if = "unset", alias = "export_to")]
    pub export_to: Vec<String>,
    /// `workloadSelector`: client workloads of the rule's namespace to which it applies; absent
    /// means all clients.
    #[serde(skip_serializing_if = "unset", alias = "workload_selector")]
    pub workload_selector: Option<WorkloadSelector>,
}

/// A named part of a service (`spec.subsets[]`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = require("name"))]
pub struct Subset {
    /// `name`: name by which routes refer to it. Required.
    #[serde(skip_serializing_if = "unset")]
    pub name: Option<String>,
    /// `labels`: labels that its endpoints must have; none means all endpoints.
    #[serde(skip_serializing_if = "unset")]
    pub labels: BTreeMap<String, String>,
    /// `trafficPolicy`: settings that replace those of the rule, field by field.
    #[serde(skip_serializing_if = "unset", alias = "traffic_policy")]
    pub traffic_policy: Option<TrafficPolicy>,
}
