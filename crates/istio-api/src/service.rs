//! Service and EndpointSlice of Kubernetes, as far as a mesh reads them. Unknown fields are
//! dropped; Kubernetes checks them itself.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, Unexpected, Visitor},
};

use crate::{
    Object, ObjectMeta,
    wire::{nullable, unset},
};

/// A Service (`v1`).
pub type Service = Object<ServiceSpec>;

/// The `spec` of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// `type`: ClusterIP (also when absent), NodePort, LoadBalancer or ExternalName.
    #[serde(rename = "type", skip_serializing_if = "unset")]
    pub type_: Option<String>,
    /// `clusterIP`: virtual address; `None` makes the Service headless.
    #[serde(rename = "clusterIP", skip_serializing_if = "unset")]
    pub cluster_ip: Option<String>,
    /// `clusterIPs`: virtual addresses of both families, `clusterIP` first.
    #[serde(rename = "clusterIPs", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "unset")]
    pub cluster_ips: Vec<String>,
    /// `externalIPs`: further addresses under which it is called.
    #[serde(rename = "externalIPs", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "unset")]
    pub external_ips: Vec<String>,
    /// `ipFamilies`: IPv4, IPv6 or both, the preferred first.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub ip_families: Vec<String>,
    /// `ipFamilyPolicy`: SingleStack, PreferDualStack or RequireDualStack.
    #[serde(skip_serializing_if = "unset")]
    pub ip_family_policy: Option<String>,
    /// `selector`: labels that its Pods must all have; empty means that endpoints come from
    /// elsewhere.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub selector: BTreeMap<String, String>,
    /// `ports`: its ports.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub ports: Vec<ServicePort>,
    /// `externalName`: name that an ExternalName Service stands for.
    #[serde(skip_serializing_if = "unset")]
    pub external_name: Option<String>,
    /// `publishNotReadyAddresses`: whether Pods that are not ready count.
    #[serde(skip_serializing_if = "unset")]
    pub publish_not_ready_addresses: Option<bool>,
    /// `internalTrafficPolicy`: Cluster (also when absent) or Local, the caller's own node.
    #[serde(skip_serializing_if = "unset")]
    pub internal_traffic_policy: Option<String>,
    /// `externalTrafficPolicy`: Cluster (also when absent) or Local.
    #[serde(skip_serializing_if = "unset")]
    pub external_traffic_policy: Option<String>,
    /// `trafficDistribution`: preference for near endpoints, such as PreferClose.
    #[serde(skip_serializing_if = "unset")]
    pub traffic_distribution: Option<String>,
    /// `sessionAffinity`: None (also when absent) or ClientIP.
    #[serde(skip_serializing_if = "unset")]
    pub session_affinity: Option<String>,
}

/// A port of a Service (`spec.ports[]`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// `name`: required when there are several; its prefix may tell the protocol.
    #[serde(skip_serializing_if = "unset")]
    pub name: Option<String>,
    /// `protocol`: TCP (also when absent), UDP or SCTP.
    #[serde(skip_serializing_if = "unset")]
    pub protocol: Option<String>,
    /// `appProtocol`: application protocol; it goes before the name's prefix.
    #[serde(skip_serializing_if = "unset")]
    pub app_protocol: Option<String>,
    /// `port`: the port, 1 to 65535. Required.
    #[serde(skip_serializing_if = "unset")]
    pub port: Option<i64>,
    /// `targetPort`: port of the Pods, by number or by name; absent means `port`.
    #[serde(skip_serializing_if = "unset")]
    pub target_port: Option<IntOrString>,
    /// `nodePort`: port on every node.
    #[serde(skip_serializing_if = "unset")]
    pub node_port: Option<i64>,
}

/// A port by number or by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// By number.
    Int(i64),
    /// By the name of a container's port.
    String(String),
}

impl<'de> Deserialize<'de> for IntOrString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntOrStringVisitor)
    }
}

/// Reads an [`IntOrString`]; an untagged derive would lose what was found instead.
struct IntOrStringVisitor;

impl Visitor<'_> for IntOrStringVisitor {
    type Value = IntOrString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer or a string")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<IntOrString, E> {
        Ok(IntOrString::Int(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<IntOrString, E> {
        i64::try_from(number)
            .map(IntOrString::Int)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<IntOrString, E> {
        Ok(IntOrString::String(text.to_owned()))
    }
}

/// An EndpointSlice (`discovery.k8s.io/v1`): some of the endpoints of the Service that its label
/// `kubernetes.io/service-name` names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// `apiVersion`: `discovery.k8s.io/v1`.
    #[serde(skip_serializing_if = "unset")]
    pub api_version: String,
    /// `kind`: `EndpointSlice`.
    #[serde(skip_serializing_if = "unset")]
    pub kind: String,
    /// `metadata`: name, namespace, labels and so on.
    #[serde(skip_serializing_if = "unset")]
    pub metadata: ObjectMeta,
    /// `addressType`: IPv4, IPv6 or FQDN.
    #[serde(skip_serializing_if = "unset")]
    pub address_type: Option<String>,
    /// `endpoints`: the endpoints.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub endpoints: Vec<Endpoint>,
    /// `ports`: ports that each of the endpoints has.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub ports: Vec<EndpointPort>,
}

/// One endpoint of an EndpointSlice (`endpoints[]`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// `addresses`: its addresses; consumers use the first.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub addresses: Vec<String>,
    /// `conditions`: its state.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub conditions: EndpointConditions,
    /// `hostname`: name under the Service's own, for headless Services.
    #[serde(skip_serializing_if = "unset")]
    pub hostname: Option<String>,
    /// `nodeName`: node on which it runs.
    #[serde(skip_serializing_if = "unset")]
    pub node_name: Option<String>,
    /// `zone`: zone in which it runs.
    #[serde(skip_serializing_if = "unset")]
    pub zone: Option<String>,
    /// `targetRef`: object behind it, mostly a Pod.
    #[serde(skip_serializing_if = "unset")]
    pub target_ref: Option<ObjectReference>,
}

/// The state of an endpoint (`endpoints[].conditions`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointConditions {
    /// `ready`: may get traffic; absent means true.
    #[serde(skip_serializing_if = "unset")]
    pub ready: Option<bool>,
    /// `serving`: `ready`, but also while terminating; absent means `ready`.
    #[serde(skip_serializing_if = "unset")]
    pub serving: Option<bool>,
    /// `terminating`: being deleted; absent means false.
    #[serde(skip_serializing_if = "unset")]
    pub terminating: Option<bool>,
}

/// A reference to an object (`endpoints[].targetRef`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// `kind`: its kind.
    #[serde(skip_serializing_if = "unset")]
    pub kind: Option<String>,
    /// `namespace`: its namespace.
    #[serde(skip_serializing_if = "unset")]
    pub namespace: Option<String>,
    /// `name`: its name.
    #[serde(skip_serializing_if = "unset")]
    pub name: Option<String>,
    /// `uid`: its uid.
    #[serde(skip_serializing_if = "unset")]
    pub uid: Option<String>,
}

/// A port of an EndpointSlice (`ports[]`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointPort {
    /// `name`: name of the Service's port; absent or empty for the only one.
    #[serde(skip_serializing_if = "unset")]
    pub name: Option<String>,
    /// `port`: the port, 1 to 65535.
    #[serde(skip_serializing_if = "unset")]
    pub port: Option<i64>,
    /// `protocol`: TCP (also when absent), UDP or SCTP.
    #[serde(skip_serializing_if = "unset")]
    pub protocol: Option<String>,
    /// `appProtocol`: application protocol.
    #[serde(skip_serializing_if = "unset")]
    pub app_protocol: Option<String>,
}
