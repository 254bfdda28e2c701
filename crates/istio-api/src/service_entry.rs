//! ServiceEntry (`networking.istio.io`): a service that no Kubernetes Service describes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Object, WorkloadEntrySpec,
    common::NetworkingWorkloadSelector,
    wire::{proto_enum, unset},
};

/// A ServiceEntry as users write it.
pub type ServiceEntry = Object<ServiceEntrySpec>;

/// The `spec` of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntrySpec {
    /// `hosts`: names of the service. Required. `*.` wildcards are allowed.
    #[serde(skip_serializing_if = "unset")]
    pub hosts: Vec<String>,
    /// `addresses`: virtual addresses or CIDRs under which it is called.
    #[serde(skip_serializing_if = "unset")]
    pub addresses: Vec<String>,
    /// `ports`: its ports.
    #[serde(skip_serializing_if = "unset")]
    pub ports: Vec<ServiceEntryPort>,
    /// `location`: whether it is part of the mesh; absent means `MESH_EXTERNAL`.
    #[serde(skip_serializing_if = "unset")]
    pub location: Option<Location>,
    /// `resolution`: how its endpoints are found; absent means `NONE`.
    #[serde(skip_serializing_if = "unset")]
    pub resolution: Option<Resolution>,
    /// `endpoints`: its endpoints. Exclusive with `workloadSelector`.
    #[serde(skip_serializing_if = "unset")]
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
pub struct ServiceEntryPort {
    /// `number`: the port, 1 to 65535. Required.
    #[serde(skip_serializing_if = "unset")]
    pub number: Option<i64>,
    /// `protocol`: HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP or TLS.
    #[serde(skip_serializing_if = "unset")]
    pub protocol: Option<String>,
    /// `name`: name by which endpoints refer to it. Required.
    #[serde(skip_serializing_if = "unset")]
    pub name: Option<String>,
    /// `targetPort`: port at the endpoints; absent means `number`.
    #[serde(skip_serializing_if = "unset", alias = "target_port")]
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
