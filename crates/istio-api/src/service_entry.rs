//! ServiceEntry (`networking.istio.io`): a service that no Kubernetes Service describes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Object, WorkloadEntrySpec,
    common::NetworkingWorkloadSelector,
    schema::{PORT, by_name, exclusive, require, rule, rule_of_values, size, values_up_to, within},
    wire::{proto_enum, unset},
};

/// A ServiceEntry as users write it.
pub type ServiceEntry = Object<ServiceEntrySpec>;

const CIDR_NEEDS: &str = "CIDR addresses need the resolution NONE or STATIC";
const CIDR_NEEDS_RULE: &str = "!has(self.addresses) || !has(self.resolution) || \
    self.resolution in ['NONE', 'STATIC'] || !self.addresses.exists(address, address.contains('/'))";
const NONE_HAS: &str = "the resolution NONE has no endpoints";
const NONE_HAS_RULE: &str =
    "!has(self.endpoints) || has(self.resolution) && self.resolution != 'NONE'";
const ROUND_ROBIN_HAS: &str = "DNS_ROUND_ROBIN takes one endpoint only";
const ROUND_ROBIN_HAS_RULE: &str = "!has(self.endpoints) || !has(self.resolution) || \
    self.resolution != 'DNS_ROUND_ROBIN' || self.endpoints.size() <= 1";

/// The `spec` of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = require("hosts"))]
#[schemars(transform = exclusive("endpoints, workloadSelector"))]
#[schemars(transform = rule(CIDR_NEEDS, CIDR_NEEDS_RULE))]
#[schemars(transform = rule(NONE_HAS, NONE_HAS_RULE))]
#[schemars(transform = rule(ROUND_ROBIN_HAS, ROUND_ROBIN_HAS_RULE))]
pub struct ServiceEntrySpec {
    /// `hosts`: names of the service. Required. `*.` wildcards are allowed.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(1, 256))]
    #[schemars(transform = rule_of_values("a host must not be only a wildcard", "self != '*'"))]
    pub hosts: Vec<String>,
    /// `addresses`: virtual addresses or CIDRs under which it is called.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 256))]
    #[schemars(transform = values_up_to(64))]
    pub addresses: Vec<String>,
    /// `ports`: its ports.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 256))]
    #[schemars(transform = by_name)]
    #[schemars(transform = rule("port numbers must differ", "self.all(a, self.exists_one(b, a.number == b.number))"))]
    pub ports: Vec<ServiceEntryPort>,
    /// `location`: whether it is part of the mesh; absent means `MESH_EXTERNAL`.
    #[serde(skip_serializing_if = "unset")]
    pub location: Option<Location>,
    /// `resolution`: how its endpoints are found; absent means `NONE`.
    #[serde(skip_serializing_if = "unset")]
    pub resolution: Option<Resolution>,
    /// `endpoints`: its endpoints. Exclusive with `workloadSelector`.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 4096))]
    pub endpoints: Vec<WorkloadEntrySpec>,
    /// `workloadSelector`: Pods and WorkloadEntries of the object's namespace that are its
    /// endpoints.
    #[serde(skip_serializing_if = "unset", alias = "workload_selector")]
    pub workload_selector: Option<NetworkingWorkloadSelector>,
    /// `exportTo`: namespaces that see this object: names, `.` for its own, `*` for all. Empty
    /// means MeshConfig's default.
    #[serde(skip_serializing_if = "unset", alias = "export_to")]
    pub export_to: Vec<String>,
    /// `subjectAltNames`: names of which a server's certificate must have one.
    #[serde(skip_serializing_if = "unset", alias = "subject_alt_names")]
    pub subject_alt_names: Vec<String>,
}

/// A port of a ServiceEntry (`spec.ports[]`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = require("number, name"))]
pub struct ServiceEntryPort {
    /// `number`: the port, 1 to 65535. Required.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = within(PORT))]
    pub number: Option<i64>,
    /// `protocol`: HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP or TLS.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 256))]
    pub protocol: Option<String>,
    /// `name`: name by which endpoints refer to it. Required.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(1, 256))]
    pub name: Option<String>,
    /// `targetPort`: port at the endpoints; absent means `number`.
    #[serde(skip_serializing_if = "unset", alias = "target_port")]
    #[schemars(transform = within(PORT))]
    pub target_port: Option<i64>,
}

proto_enum! {
    /// Whether a service is part of the mesh (`ServiceEntry.Location`).
    Location {
        /// Outside: no mutual TLS, no mesh identity.
        MeshExternal = 0 => "MESH_EXTERNAL",
        /// Inside.
        MeshInternal = 1 => "MESH_INTERNAL",
    }
}

proto_enum! {
    /// How the endpoints of a service are found (`ServiceEntry.Resolution`).
    Resolution {
        /// The address that the client called.
        None = 0 => "NONE",
        /// The addresses of the endpoints.
        Static = 1 => "STATIC",
        /// All addresses that DNS gives for the endpoints or hosts.
        Dns = 2 => "DNS",
        /// The first address that DNS gives, asked anew for new connections.
        DnsRoundRobin = 3 => "DNS_ROUND_ROBIN",
        /// What DNS gives for the name in the request, under a wildcard host.
        DynamicDns = 4 => "DYNAMIC_DNS",
    }
}
