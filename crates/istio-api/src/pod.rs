//! Pod, Deployment, Namespace and ServiceAccount of Kubernetes, as far as a mesh reads them. Unknown
//! fields are dropped; Kubernetes checks them itself.

use serde::{Deserialize, Serialize};

use crate::{
    Object, ObjectMeta,
    wire::{nullable, unset},
};

/// A Pod (`v1`).
pub type Pod = Object<PodSpec, PodStatus>;

/// The `spec` of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// `serviceAccountName`: its identity; absent means `default`.
    #[serde(skip_serializing_if = "unset")]
    pub service_account_name: Option<String>,
    /// `hostNetwork`: whether it shares its node's network; then it has no proxy.
    #[serde(skip_serializing_if = "unset")]
    pub host_network: Option<bool>,
    /// `nodeName`: node on which it runs.
    #[serde(skip_serializing_if = "unset")]
    pub node_name: Option<String>,
    /// `hostname`: name for headless Services; absent means the Pod's name.
    #[serde(skip_serializing_if = "unset")]
    pub hostname: Option<String>,
    /// `subdomain`: headless Service under which `hostname` is published.
    #[serde(skip_serializing_if = "unset")]
    pub subdomain: Option<String>,
    /// `initContainers`: containers that run before, or, restarted always, beside the others.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub init_containers: Vec<Container>,
    /// `containers`: its containers.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub containers: Vec<Container>,
}

/// A container of a Pod (`spec.containers[]`, `spec.initContainers[]`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// `name`: unique in its Pod.
    #[serde(skip_serializing_if = "unset")]
    pub name: Option<String>,
    /// `ports`: ports that it says it listens on.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub ports: Vec<ContainerPort>,
    /// `restartPolicy`: `Always` makes an init container a native sidecar.
    #[serde(skip_serializing_if = "unset")]
    pub restart_policy: Option<String>,
}

/// A port of a container (`ports[]`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// `name`: name by which a Service's `targetPort` may refer to it.
    #[serde(skip_serializing_if = "unset")]
    pub name: Option<String>,
    /// `containerPort`: the port, 1 to 65535.
    #[serde(skip_serializing_if = "unset")]
    pub container_port: Option<i64>,
    /// `protocol`: TCP (also when absent), UDP or SCTP.
    #[serde(skip_serializing_if = "unset")]
    pub protocol: Option<String>,
}

/// The `status` of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `phase`: Pending, Running, Succeeded, Failed or Unknown.
    #[serde(skip_serializing_if = "unset")]
    pub phase: Option<String>,
    /// `podIP`: its address.
    #[serde(rename = "podIP", skip_serializing_if = "unset")]
    pub pod_ip: Option<String>,
    /// `podIPs`: its addresses of both families, `podIP` first.
    #[serde(rename = "podIPs", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "unset")]
    pub pod_ips: Vec<PodIp>,
    /// `conditions`: its state, such as `Ready`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub conditions: Vec<PodCondition>,
}

/// An address of a Pod (`status.podIPs[]`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodIp {
    /// `ip`: the address.
    #[serde(skip_serializing_if = "unset")]
    pub ip: Option<String>,
}

/// One part of a Pod's state (`status.conditions[]`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodCondition {
    /// `type`: which part, such as `Ready`.
    #[serde(rename = "type", skip_serializing_if = "unset")]
    pub type_: Option<String>,
    /// `status`: True, False or Unknown.
    #[serde(skip_serializing_if = "unset")]
    pub status: Option<String>,
}

/// A Deployment (`apps/v1`): only what tells that a selector was meant for its Pods.
pub type Deployment = Object<DeploymentSpec>;

/// The `spec` of a Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentSpec {
    /// `template`: what its Pods are made from.
    #[serde(skip_serializing_if = "unset")]
    pub template: PodTemplate,
}

/// What Pods are made from (`spec.template`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplate {
    /// `metadata`: labels and annotations of the Pods.
    #[serde(skip_serializing_if = "unset")]
    pub metadata: ObjectMeta,
}

/// A Node (`v1`): only where it stands, which its labels say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// `apiVersion`: `v1`.
    #[serde(skip_serializing_if = "unset")]
    pub api_version: String,
    /// `kind`: `Node`.
    #[serde(skip_serializing_if = "unset")]
    pub kind: String,
    /// `metadata`: its name, and labels such as `topology.kubernetes.io/zone`.
    #[serde(skip_serializing_if = "unset")]
    pub metadata: ObjectMeta,
}

/// A Namespace (`v1`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Namespace {
    /// `apiVersion`: `v1`.
    #[serde(skip_serializing_if = "unset")]
    pub api_version: String,
    /// `kind`: `Namespace`.
    #[serde(skip_serializing_if = "unset")]
    pub kind: String,
    /// `metadata`: its name, and labels such as `istio-injection`.
    #[serde(skip_serializing_if = "unset")]
    pub metadata: ObjectMeta,
}

/// A ServiceAccount (`v1`): the name in an identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceAccount {
    /// `apiVersion`: `v1`.
    #[serde(skip_serializing_if = "unset")]
    pub api_version: String,
    /// `kind`: `ServiceAccount`.
    #[serde(skip_serializing_if = "unset")]
    pub kind: String,
    /// `metadata`: its name and namespace.
    #[serde(skip_serializing_if = "unset")]
    pub metadata: ObjectMeta,
}
