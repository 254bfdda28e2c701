//! Messages that several Istio kinds share: destinations, string matches, selectors, percentages.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::wire::unset;

/// How a string must look. At most one field may be set; none, where Istio allows it, means that
/// the header or parameter need only be present.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StringMatch {
    /// `exact`: equal, case-sensitive.
    #[serde(skip_serializing_if = "unset")]
    pub exact: Option<String>,
    /// `prefix`: begins with this.
    #[serde(skip_serializing_if = "unset")]
    pub prefix: Option<String>,
    /// `regex`: RE2 expression that matches the whole string.
    #[serde(skip_serializing_if = "unset")]
    pub regex: Option<String>,
}

/// A service, and which part of it, that a request may go to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// `host`: name of the service. Required. A name without dots is looked up in the namespace of
    /// the rule.
    #[serde(skip_serializing_if = "unset")]
    pub host: Option<String>,
    /// `subset`: name of a subset that a DestinationRule for the host declares.
    #[serde(skip_serializing_if = "unset")]
    pub subset: Option<String>,
    /// `port`: port of the service; may be left out when the service has only one.
    #[serde(skip_serializing_if = "unset")]
    pub port: Option<PortSelector>,
}

/// A port of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PortSelector {
    /// `number`: the port, 1 to 65535.
    #[serde(skip_serializing_if = "unset")]
    pub number: Option<i64>,
}

/// A share of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Percent {
    /// `value`: percentage, 0.0 to 100.0.
    #[serde(skip_serializing_if = "unset")]
    pub value: Option<f64>,
}

/// Selects workloads by labels, in the form of `istio.type.v1beta1.WorkloadSelector`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// `matchLabels`: labels that a workload must all have; none selects every workload in the
    /// policy's scope.
    #[serde(skip_serializing_if = "unset", alias = "match_labels")]
    pub match_labels: BTreeMap<String, String>,
}

/// Selects workloads by labels, in the form of `istio.networking.v1alpha3.WorkloadSelector`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkingWorkloadSelector {
    /// `labels`: labels that a workload must all have.
    #[serde(skip_serializing_if = "unset")]
    pub labels: BTreeMap<String, String>,
}

/// An object that a policy is attached to, in the form of
/// `istio.type.v1beta1.PolicyTargetReference`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyTargetReference {
    /// `group`: API group of the target; empty for the core group.
    #[serde(skip_serializing_if = "unset")]
    pub group: Option<String>,
    /// `kind`: kind of the target: Gateway, GatewayClass, Service or ServiceEntry. Required.
    #[serde(skip_serializing_if = "unset")]
    pub kind: Option<String>,
    /// `name`: name of the target. Required.
    #[serde(skip_serializing_if = "unset")]
    pub name: Option<String>,
    /// `namespace`: namespace of the target; only the policy's own, or absent, is allowed.
    #[serde(skip_serializing_if = "unset")]
    pub namespace: Option<String>,
}
