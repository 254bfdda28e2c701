//! Messages that several Istio kinds share: destinations, string matches, selectors, percentages.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{PERCENT, PORT, exclusive, labels, require, rule, size, within};
use crate::wire::unset;

/// How a string must look. At most one field may be set; none, where Istio allows it, means that
/// the header or parameter need only be present.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = exclusive("exact, prefix, regex"))]
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
#[schemars(transform = require("host"))]
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
    #[schemars(transform = within(PORT))]
    pub number: Option<i64>,
}

/// A share of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Percent {
    /// `value`: percentage, 0.0 to 100.0.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = within(PERCENT))]
    pub value: Option<f64>,
}

/// Selects workloads by labels, in the form of `istio.type.v1beta1.WorkloadSelector`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// `matchLabels`: labels that a workload must all have; none selects every workload in the
    /// policy's scope.
    #[serde(skip_serializing_if = "unset", alias = "match_labels")]
    #[schemars(transform = size(0, 4096))]
    #[schemars(transform = labels)]
    pub match_labels: BTreeMap<String, String>,
}

/// Selects workloads by labels, in the form of `istio.networking.v1alpha3.WorkloadSelector`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkingWorkloadSelector {
    /// `labels`: labels that a workload must all have.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 256))]
    #[schemars(transform = labels)]
    pub labels: BTreeMap<String, String>,
}

const TARGET_KINDS: &str = "a target is a Service, a ServiceEntry (networking.istio.io), a Gateway or a GatewayClass \
    (gateway.networking.k8s.io)";
const TARGET_KINDS_RULE: &str = "[has(self.group) ? self.group : '', self.kind] in [['', 'Service'], \
    ['core', 'Service'], ['networking.istio.io', 'ServiceEntry'], ['gateway.networking.k8s.io', 'Gateway'], \
    ['gateway.networking.k8s.io', 'GatewayClass']]";

/// An object that a policy is attached to, in the form of
/// `istio.type.v1beta1.PolicyTargetReference`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = require("kind, name"))]
#[schemars(transform = rule(TARGET_KINDS, TARGET_KINDS_RULE))]
pub struct PolicyTargetReference {
    /// `group`: API group of the target; empty for the core group.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 253))]
    pub group: Option<String>,
    /// `kind`: kind of the target: Gateway, GatewayClass, Service or ServiceEntry. Required.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(1, 63))]
    pub kind: Option<String>,
    /// `name`: name of the target. Required.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(1, 253))]
    pub name: Option<String>,
    /// `namespace`: namespace of the target; only the policy's own, or absent, is allowed.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 63))]
    #[schemars(transform = rule("a target in another namespace is not supported", "self.size() == 0"))]
    pub namespace: Option<String>,
}
