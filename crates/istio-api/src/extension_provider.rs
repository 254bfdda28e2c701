//! `extensionProviders` of MeshConfig: who may be asked, by name. Those that authorize are typed; the others, which only
//! Telemetry names, are kept as they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::wire::{nullable, unset};

/// One provider (`extensionProviders[]`): a name and exactly one way to ask.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshExtensionProvider {
    /// `name`: what AuthorizationPolicy and Telemetry call it. Required, unique.
    #[serde(skip_serializing_if = "unset")]
    pub name: Option<String>,
    /// `envoyExtAuthzHttp`: an authorizer that is asked by HTTP.
    #[serde(skip_serializing_if = "unset", alias = "envoy_ext_authz_http")]
    pub envoy_ext_authz_http: Option<ExtAuthzHttp>,
    /// `envoyExtAuthzGrpc`: an authorizer that is asked by gRPC.
    #[serde(skip_serializing_if = "unset", alias = "envoy_ext_authz_grpc")]
    pub envoy_ext_authz_grpc: Option<ExtAuthzGrpc>,
    /// All other ways by the name that the user wrote: Istio's if in [`OTHER_PROVIDERS`].
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

/// `envoyExtAuthzHttp`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtAuthzHttp {
    /// `service`: `[namespace/]host`. Required.
    #[serde(skip_serializing_if = "unset")]
    pub service: Option<String>,
    /// `port`: the service's port. Required.
    #[serde(skip_serializing_if = "unset")]
    pub port: Option<i64>,
    /// `timeout`: how long an answer may take; absent means 600 s.
    #[serde(skip_serializing_if = "unset")]
    pub timeout: Option<String>,
    /// `pathPrefix`: what is put before the path in the question.
    #[serde(skip_serializing_if = "unset", alias = "path_prefix")]
    pub path_prefix: Option<String>,
    /// `failOpen`: whether requests pass when the authorizer cannot be asked.
    #[serde(skip_serializing_if = "unset", alias = "fail_open")]
    pub fail_open: Option<bool>,
    /// `clearRouteCache`: whether the route is chosen anew after an answer that allows.
    #[serde(skip_serializing_if = "unset", alias = "clear_route_cache")]
    pub clear_route_cache: Option<bool>,
    /// `statusOnError`: the HTTP status when the authorizer cannot be asked; absent means 403.
    #[serde(skip_serializing_if = "unset", alias = "status_on_error")]
    pub status_on_error: Option<String>,
    /// `includeHeadersInCheck`: deprecated for `includeRequestHeadersInCheck`.
    #[serde(skip_serializing_if = "unset", alias = "include_headers_in_check")]
    #[serde(deserialize_with = "nullable")]
    pub include_headers_in_check: Vec<String>,
    /// `includeRequestHeadersInCheck`: headers of the request that the question has.
    #[serde(
        skip_serializing_if = "unset",
        alias = "include_request_headers_in_check"
    )]
    #[serde(deserialize_with = "nullable")]
    pub include_request_headers_in_check: Vec<String>,
    /// `includeAdditionalHeadersInCheck`: headers that the question has beside.
    #[serde(
        skip_serializing_if = "unset",
        alias = "include_additional_headers_in_check"
    )]
    #[serde(deserialize_with = "nullable")]
    pub include_additional_headers_in_check: BTreeMap<String, String>,
    /// `includeRequestBodyInCheck`: how much of the request's body the question has; absent means none.
    #[serde(skip_serializing_if = "unset", alias = "include_request_body_in_check")]
    pub include_request_body_in_check: Option<ExtAuthzBody>,
    /// `headersToUpstreamOnAllow`: headers of the answer that the app gets.
    #[serde(skip_serializing_if = "unset", alias = "headers_to_upstream_on_allow")]
    #[serde(deserialize_with = "nullable")]
    pub headers_to_upstream_on_allow: Vec<String>,
    /// `headersToDownstreamOnAllow`: headers of the answer that the caller gets with the app's response.
    #[serde(
        skip_serializing_if = "unset",
        alias = "headers_to_downstream_on_allow"
    )]
    #[serde(deserialize_with = "nullable")]
    pub headers_to_downstream_on_allow: Vec<String>,
    /// `headersToDownstreamOnDeny`: headers of the answer that the caller gets with a refusal.
    #[serde(skip_serializing_if = "unset", alias = "headers_to_downstream_on_deny")]
    #[serde(deserialize_with = "nullable")]
    pub headers_to_downstream_on_deny: Vec<String>,
}

/// `envoyExtAuthzGrpc`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtAuthzGrpc {
    /// `service`: `[namespace/]host`. Required.
    #[serde(skip_serializing_if = "unset")]
    pub service: Option<String>,
    /// `port`: the service's port. Required.
    #[serde(skip_serializing_if = "unset")]
    pub port: Option<i64>,
    /// `timeout`: how long an answer may take; absent means 600 s.
    #[serde(skip_serializing_if = "unset")]
    pub timeout: Option<String>,
    /// `failOpen`: whether requests and connections pass when the authorizer cannot be asked.
    #[serde(skip_serializing_if = "unset", alias = "fail_open")]
    pub fail_open: Option<bool>,
    /// `clearRouteCache`: whether the route is chosen anew after an answer that allows.
    #[serde(skip_serializing_if = "unset", alias = "clear_route_cache")]
    pub clear_route_cache: Option<bool>,
    /// `statusOnError`: the HTTP status when the authorizer cannot be asked; absent means 403.
    #[serde(skip_serializing_if = "unset", alias = "status_on_error")]
    pub status_on_error: Option<String>,
    /// `includeRequestBodyInCheck`: how much of the request's body the question has; absent means none.
    #[serde(skip_serializing_if = "unset", alias = "include_request_body_in_check")]
    pub include_request_body_in_check: Option<ExtAuthzBody>,
}

/// `includeRequestBodyInCheck`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtAuthzBody {
    /// `maxRequestBytes`: how much is buffered; a longer body is answered 413. Required.
    #[serde(skip_serializing_if = "unset", alias = "max_request_bytes")]
    pub max_request_bytes: Option<i64>,
    /// `allowPartialMessage`: whether a longer body is cut off instead.
    #[serde(skip_serializing_if = "unset", alias = "allow_partial_message")]
    pub allow_partial_message: Option<bool>,
    /// `packAsBytes`: whether a gRPC question has it as bytes, not as text.
    #[serde(skip_serializing_if = "unset", alias = "pack_as_bytes")]
    pub pack_as_bytes: Option<bool>,
}

/// Names of the other ways to ask, in both spellings that proto JSON accepts. They log and trace.
pub const OTHER_PROVIDERS: &[&str] = &[
    "datadog",
    "envoyFileAccessLog",
    "envoyHttpAls",
    "envoyOtelAls",
    "envoyTcpAls",
    "envoy_file_access_log",
    "envoy_http_als",
    "envoy_otel_als",
    "envoy_tcp_als",
    "lightstep",
    "opencensus",
    "opentelemetry",
    "prometheus",
    "sds",
    "skywalking",
    "stackdriver",
    "zipkin",
];
