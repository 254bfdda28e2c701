//! VirtualService (`networking.istio.io`): how requests to a host are routed. TLS and TCP routes
//! and what all routes share stand here, HTTP routes in `http_route`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    HttpRoute, Object,
    common::Destination,
    schema::{COUNT, PORT, require, size, within},
    wire::unset,
};

/// A VirtualService as users write it.
pub type VirtualService = Object<VirtualServiceSpec>;

/// The `spec` of a VirtualService.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualServiceSpec {
    /// `hosts`: names that clients call; empty only in a delegate. `*.` wildcards are allowed.
    #[serde(skip_serializing_if = "unset")]
    pub hosts: Vec<String>,
    /// `gateways`: gateways to which the routes apply, `namespace/name` or `name`; `mesh` means all
    /// sidecars. Empty means `mesh`.
    #[serde(skip_serializing_if = "unset")]
    pub gateways: Vec<String>,
    /// `http`: routes of HTTP traffic; the first that matches wins.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 16384))]
    pub http: Vec<HttpRoute>,
    /// `tls`: routes of TLS that is passed through, by SNI; the first that matches wins.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 16384))]
    pub tls: Vec<TlsRoute>,
    /// `tcp`: routes of opaque TCP; the first that matches wins.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 16384))]
    pub tcp: Vec<TcpRoute>,
    /// `exportTo`: namespaces that see this object: names, `.` for its own, `*` for all. Empty
    /// means MeshConfig's default.
    #[serde(skip_serializing_if = "unset", alias = "export_to")]
    pub export_to: Vec<String>,
}

/// One route of TLS that is not terminated (`spec.tls[]`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = require("match"))]
pub struct TlsRoute {
    /// `match`: conditions, one of which must hold. Required.
    #[serde(skip_serializing_if = "unset")]
    pub r#match: Vec<TlsMatchAttributes>,
    /// `route`: where connections go, by weight.
    #[serde(skip_serializing_if = "unset")]
    pub route: Vec<RouteDestination>,
}

/// Conditions on a TLS connection, all of which must hold (`spec.tls[].match[]`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = require("sniHosts"))]
pub struct TlsMatchAttributes {
    /// `sniHosts`: server names that the client may ask for; each must fall under a host of the
    /// object. Required.
    #[serde(skip_serializing_if = "unset", alias = "sni_hosts")]
    pub sni_hosts: Vec<String>,
    /// `destinationSubnets`: addresses or CIDRs that the client called.
    #[serde(skip_serializing_if = "unset", alias = "destination_subnets")]
    pub destination_subnets: Vec<String>,
    /// `port`: port that the client called.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = within(PORT))]
    pub port: Option<i64>,
    /// `sourceLabels`: labels that the client's workload must have.
    #[serde(skip_serializing_if = "unset", alias = "source_labels")]
    pub source_labels: BTreeMap<String, String>,
    /// `gateways`: gateways to which the condition applies, instead of the object's.
    #[serde(skip_serializing_if = "unset")]
    pub gateways: Vec<String>,
    /// `sourceNamespace`: namespace of the client.
    #[serde(skip_serializing_if = "unset", alias = "source_namespace")]
    pub source_namespace: Option<String>,
}

/// One route of opaque TCP (`spec.tcp[]`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpRoute {
    /// `match`: conditions, one of which must hold; empty matches every connection.
    #[serde(skip_serializing_if = "unset")]
    pub r#match: Vec<L4MatchAttributes>,
    /// `route`: where connections go, by weight.
    #[serde(skip_serializing_if = "unset")]
    pub route: Vec<RouteDestination>,
}

/// Conditions on a TCP connection, all of which must hold (`spec.tcp[].match[]`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct L4MatchAttributes {
    /// `destinationSubnets`: addresses or CIDRs that the client called.
    #[serde(skip_serializing_if = "unset", alias = "destination_subnets")]
    pub destination_subnets: Vec<String>,
    /// `port`: port that the client called.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = within(PORT))]
    pub port: Option<i64>,
    /// `sourceSubnet`: address or CIDR of the client. Istio ignores it.
    #[serde(skip_serializing_if = "unset", alias = "source_subnet")]
    pub source_subnet: Option<String>,
    /// `sourceLabels`: labels that the client's workload must have.
    #[serde(skip_serializing_if = "unset", alias = "source_labels")]
    pub source_labels: BTreeMap<String, String>,
    /// `gateways`: gateways to which the condition applies, instead of the object's.
    #[serde(skip_serializing_if = "unset")]
    pub gateways: Vec<String>,
    /// `sourceNamespace`: namespace of the client.
    #[serde(skip_serializing_if = "unset", alias = "source_namespace")]
    pub source_namespace: Option<String>,
}

/// One weighted destination of a TLS or TCP route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = require("destination"))]
pub struct RouteDestination {
    /// `destination`: the service. Required.
    #[serde(skip_serializing_if = "unset")]
    pub destination: Option<Destination>,
    /// `weight`: share of connections, relative to the sum of the route's weights. With one
    /// destination, absent means all.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = within(COUNT))]
    pub weight: Option<i64>,
}

/// Changes to the headers of requests and responses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Headers {
    /// `request`: changes before the request is forwarded.
    #[serde(skip_serializing_if = "unset")]
    pub request: Option<HeaderOperations>,
    /// `response`: changes before the response is returned.
    #[serde(skip_serializing_if = "unset")]
    pub response: Option<HeaderOperations>,
}

/// Changes to one set of headers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderOperations {
    /// `set`: headers that are overwritten.
    #[serde(skip_serializing_if = "unset")]
    pub set: BTreeMap<String, String>,
    /// `add`: headers to which a value is appended.
    #[serde(skip_serializing_if = "unset")]
    pub add: BTreeMap<String, String>,
    /// `remove`: headers that are removed.
    #[serde(skip_serializing_if = "unset")]
    pub remove: Vec<String>,
}
