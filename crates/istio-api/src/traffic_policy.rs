//! TrafficPolicy: load balancing, and the tree of settings of a DestinationRule and its subsets.
//! Connection settings (pools, ejection, TLS) stand in `connection`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::PortSelector,
    connection::{ClientTlsSettings, ConnectionPoolSettings, OutlierDetection, TunnelSettings},
    schema::{
        PERCENT, UNSIGNED, at_least, duration, exclusive, nullable, positive_duration, require,
        size, values_are_unsigned, within,
    },
    wire::{proto_enum, unset},
};

/// Settings for the traffic to a service or a subset (`trafficPolicy`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// `loadBalancer`: how an endpoint is chosen.
    #[serde(skip_serializing_if = "unset", alias = "load_balancer")]
    pub load_balancer: Option<LoadBalancerSettings>,
    /// `connectionPool`: limits on connections and requests.
    #[serde(skip_serializing_if = "unset", alias = "connection_pool")]
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// `outlierDetection`: when a failing endpoint is left out.
    #[serde(skip_serializing_if = "unset", alias = "outlier_detection")]
    pub outlier_detection: Option<OutlierDetection>,
    /// `tls`: TLS towards the service; absent means automatic mutual TLS.
    #[serde(skip_serializing_if = "unset")]
    pub tls: Option<ClientTlsSettings>,
    /// `portLevelSettings`: settings for single ports; they replace those of this level, they are
    /// not merged.
    #[serde(skip_serializing_if = "unset", alias = "port_level_settings")]
    #[schemars(transform = size(0, 256))]
    pub port_level_settings: Vec<PortTrafficPolicy>,
    /// `tunnel`: an HTTP tunnel through which TCP and TLS traffic is sent.
    #[serde(skip_serializing_if = "unset")]
    pub tunnel: Option<TunnelSettings>,
    /// `proxyProtocol`: a PROXY protocol header towards the service.
    #[serde(skip_serializing_if = "unset", alias = "proxy_protocol")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// `retryBudget`: how many retries may be under way at once.
    #[serde(skip_serializing_if = "unset", alias = "retry_budget")]
    pub retry_budget: Option<RetryBudget>,
}

/// Settings for one port (`trafficPolicy.portLevelSettings[]`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PortTrafficPolicy {
    /// `port`: the port of the service. Required.
    #[serde(skip_serializing_if = "unset")]
    pub port: Option<PortSelector>,
    /// `loadBalancer`: how an endpoint is chosen.
    #[serde(skip_serializing_if = "unset", alias = "load_balancer")]
    pub load_balancer: Option<LoadBalancerSettings>,
    /// `connectionPool`: limits on connections and requests.
    #[serde(skip_serializing_if = "unset", alias = "connection_pool")]
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// `outlierDetection`: when a failing endpoint is left out.
    #[serde(skip_serializing_if = "unset", alias = "outlier_detection")]
    pub outlier_detection: Option<OutlierDetection>,
    /// `tls`: TLS towards the port.
    #[serde(skip_serializing_if = "unset")]
    pub tls: Option<ClientTlsSettings>,
}

/// How an endpoint is chosen (`loadBalancer`). `simple` and `consistentHash` exclude each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = exclusive("simple, consistentHash"))]
pub struct LoadBalancerSettings {
    /// `simple`: a policy without parameters.
    #[serde(skip_serializing_if = "unset")]
    pub simple: Option<SimpleLb>,
    /// `consistentHash`: soft affinity by a hash of the request.
    #[serde(skip_serializing_if = "unset", alias = "consistent_hash")]
    pub consistent_hash: Option<ConsistentHashLb>,
    /// `localityLbSetting`: preference among localities. Exclusive with `zoneAwareLbSetting`.
    #[serde(skip_serializing_if = "unset", alias = "locality_lb_setting")]
    pub locality_lb_setting: Option<LocalityLbSetting>,
    /// `zoneAwareLbSetting`: even load among zones.
    #[serde(skip_serializing_if = "unset", alias = "zone_aware_lb_setting")]
    pub zone_aware_lb_setting: Option<ZoneAwareLbSetting>,
    /// `warmupDurationSecs`: duration for which a new endpoint gets less traffic. Deprecated:
    /// `warmup`.
    #[serde(skip_serializing_if = "unset", alias = "warmup_duration_secs")]
    #[schemars(transform = duration)]
    pub warmup_duration_secs: Option<String>,
    /// `warmup`: how the traffic of a new endpoint grows.
    #[serde(skip_serializing_if = "unset")]
    pub warmup: Option<WarmupConfiguration>,
}

proto_enum! {
    /// A load-balancing policy without parameters (`LoadBalancerSettings.SimpleLB`).
    SimpleLb {
        /// Istio's default, `LEAST_REQUEST`.
        Unspecified = 0 => "UNSPECIFIED",
        /// Deprecated name of `LEAST_REQUEST`.
        LeastConn = 1 => "LEAST_CONN",
        /// A random endpoint.
        Random = 2 => "RANDOM",
        /// The address that the client called, without choosing.
        Passthrough = 3 => "PASSTHROUGH",
        /// Each endpoint in turn.
        RoundRobin = 4 => "ROUND_ROBIN",
        /// The one of two random endpoints that has fewer requests under way.
        LeastRequest = 5 => "LEAST_REQUEST",
    }
}

/// Soft affinity (`loadBalancer.consistentHash`). Exactly one hash key, and at most one algorithm,
/// may be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = exclusive("httpHeaderName, httpCookie, useSourceIp, httpQueryParameterName"))]
#[schemars(transform = exclusive("ringHash, maglev"))]
pub struct ConsistentHashLb {
    /// `httpHeaderName`: hash key: a header.
    #[serde(skip_serializing_if = "unset", alias = "http_header_name")]
    pub http_header_name: Option<String>,
    /// `httpCookie`: hash key: a cookie, made when absent.
    #[serde(skip_serializing_if = "unset", alias = "http_cookie")]
    pub http_cookie: Option<HttpCookie>,
    /// `useSourceIp`: hash key: the client's address.
    #[serde(skip_serializing_if = "unset", alias = "use_source_ip")]
    pub use_source_ip: Option<bool>,
    /// `httpQueryParameterName`: hash key: a query parameter.
    #[serde(skip_serializing_if = "unset", alias = "http_query_parameter_name")]
    pub http_query_parameter_name: Option<String>,
    /// `ringHash`: algorithm: a ring. The default.
    #[serde(skip_serializing_if = "unset", alias = "ring_hash")]
    pub ring_hash: Option<RingHash>,
    /// `maglev`: algorithm: Maglev's table.
    #[serde(skip_serializing_if = "unset")]
    pub maglev: Option<Maglev>,
    /// `minimumRingSize`: smallest size of the ring. Deprecated: `ringHash`.
    #[serde(skip_serializing_if = "unset", alias = "minimum_ring_size")]
    #[schemars(transform = at_least(0))]
    pub minimum_ring_size: Option<i64>,
}

/// A cookie for affinity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = require("name"))]
pub struct HttpCookie {
    /// `name`: its name. Required.
    #[serde(skip_serializing_if = "unset")]
    pub name: Option<String>,
    /// `path`: its path.
    #[serde(skip_serializing_if = "unset")]
    pub path: Option<String>,
    /// `ttl`: duration of its life; `0s` makes a session cookie.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = duration)]
    pub ttl: Option<String>,
    /// `attributes`: further attributes, such as `SameSite`.
    #[serde(skip_serializing_if = "unset")]
    pub attributes: Vec<HttpCookieAttribute>,
}

/// An attribute of a cookie.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = require("name"))]
pub struct HttpCookieAttribute {
    /// `name`: its name. Required.
    #[serde(skip_serializing_if = "unset")]
    pub name: Option<String>,
    /// `value`: its value; absent for a flag such as `Secure`.
    #[serde(skip_serializing_if = "unset")]
    pub value: Option<String>,
}

/// Settings of the ring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RingHash {
    /// `minimumRingSize`: smallest number of virtual nodes; absent means 1024.
    #[serde(skip_serializing_if = "unset", alias = "minimum_ring_size")]
    #[schemars(transform = at_least(0))]
    pub minimum_ring_size: Option<i64>,
}

/// Settings of Maglev.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Maglev {
    /// `tableSize`: size of the table, a prime; absent means 65537.
    #[serde(skip_serializing_if = "unset", alias = "table_size")]
    #[schemars(transform = at_least(0))]
    pub table_size: Option<i64>,
}

/// Preference among localities (`loadBalancer.localityLbSetting`). At most one of the three lists
/// may be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityLbSetting {
    /// `distribute`: explicit shares.
    #[serde(skip_serializing_if = "unset")]
    pub distribute: Vec<LocalityDistribute>,
    /// `failover`: where a region's traffic goes when its endpoints fail.
    #[serde(skip_serializing_if = "unset")]
    pub failover: Vec<LocalityFailover>,
    /// `failoverPriority`: labels, as `key` or `key=value`, that order endpoints by likeness to the
    /// client.
    #[serde(skip_serializing_if = "unset", alias = "failover_priority")]
    pub failover_priority: Vec<String>,
    /// `enabled`: overrides the mesh's setting; absent means true.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = nullable)]
    pub enabled: Option<bool>,
}

/// Shares of the traffic from one locality.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityDistribute {
    /// `from`: locality of the client, `region/zone/subzone` with `*`.
    #[serde(skip_serializing_if = "unset")]
    pub from: Option<String>,
    /// `to`: whole percentage by locality of the endpoints; the sum is 100.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = values_are_unsigned)]
    pub to: BTreeMap<String, i64>,
}

/// Where a region's traffic goes when its endpoints fail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityFailover {
    /// `from`: the region.
    #[serde(skip_serializing_if = "unset")]
    pub from: Option<String>,
    /// `to`: the region that takes over.
    #[serde(skip_serializing_if = "unset")]
    pub to: Option<String>,
}

/// Even load among zones (`loadBalancer.zoneAwareLbSetting`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ZoneAwareLbSetting {
    /// `enabled`: overrides the mesh's setting.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = nullable)]
    pub enabled: Option<bool>,
    /// `failover`: where a region's traffic goes when its endpoints fail.
    #[serde(skip_serializing_if = "unset")]
    pub failover: Vec<LocalityFailover>,
    /// `failoverPriority`: labels, as `key` or `key=value`, that order endpoints by likeness to the
    /// client.
    #[serde(skip_serializing_if = "unset", alias = "failover_priority")]
    pub failover_priority: Vec<String>,
    /// `minClusterSize`: fewest endpoints for which zones matter.
    #[serde(skip_serializing_if = "unset", alias = "min_cluster_size")]
    #[schemars(transform = within(UNSIGNED))]
    #[schemars(transform = nullable)]
    pub min_cluster_size: Option<i64>,
}

/// How the traffic of a new endpoint grows (`loadBalancer.warmup`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = require("duration"))]
pub struct WarmupConfiguration {
    /// `duration`: duration of the growth. Required.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = positive_duration)]
    pub duration: Option<String>,
    /// `minimumPercent`: percentage of the full share to begin with; absent means 10.
    #[serde(skip_serializing_if = "unset", alias = "minimum_percent")]
    #[schemars(transform = within(PERCENT))]
    #[schemars(transform = nullable)]
    pub minimum_percent: Option<f64>,
    /// `aggression`: how fast it grows, at least 1.0; absent means 1.0, linear.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = at_least(1))]
    #[schemars(transform = nullable)]
    pub aggression: Option<f64>,
}

/// A PROXY protocol header (`trafficPolicy.proxyProtocol`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyProtocol {
    /// `version`: version of the header; absent means `V1`.
    #[serde(skip_serializing_if = "unset")]
    pub version: Option<ProxyProtocolVersion>,
}

proto_enum! {
    /// Version of the PROXY protocol header (`TrafficPolicy.ProxyProtocol.VERSION`).
    ProxyProtocolVersion {
        /// The text header.
        V1 = 0 => "V1",
        /// The binary header.
        V2 = 1 => "V2",
    }
}

/// How many retries may be under way at once (`trafficPolicy.retryBudget`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryBudget {
    /// `percent`: percentage of the requests under way; absent means 20.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = within(PERCENT))]
    #[schemars(transform = nullable)]
    pub percent: Option<f64>,
    /// `minRetryConcurrency`: retries that are always allowed; absent means 3.
    #[serde(skip_serializing_if = "unset", alias = "min_retry_concurrency")]
    #[schemars(transform = within(UNSIGNED))]
    pub min_retry_concurrency: Option<i64>,
    /// `budgetInterval`: duration over which requests are counted.
    #[serde(skip_serializing_if = "unset", alias = "budget_interval")]
    #[schemars(transform = positive_duration)]
    pub budget_interval: Option<String>,
}
