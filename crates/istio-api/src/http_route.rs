//! The HTTP routes of a VirtualService (`spec.http[]`).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::{Destination, Percent, StringMatch},
    schema::{
        COUNT, HTTP_STATUS, PERCENT, PORT, REDIRECT_CODE, duration, exclusive, nullable,
        positive_duration, require, within,
    },
    virtual_service::Headers,
    wire::{proto_enum, unset},
};

/// One HTTP route: conditions, what to do with a request, and where it goes (`spec.http[]`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// `name`: name for logs and statistics.
    #[serde(skip_serializing_if = "unset")]
    pub name: Option<String>,
    /// `match`: conditions, one of which must hold; empty matches every request.
    #[serde(skip_serializing_if = "unset")]
    pub r#match: Vec<HttpMatchRequest>,
    /// `route`: where requests go, by weight. Exclusive with `redirect` and `directResponse`.
    #[serde(skip_serializing_if = "unset")]
    pub route: Vec<HttpRouteDestination>,
    /// `redirect`: answers with a redirect.
    #[serde(skip_serializing_if = "unset")]
    pub redirect: Option<HttpRedirect>,
    /// `directResponse`: answers with a fixed response.
    #[serde(skip_serializing_if = "unset", alias = "direct_response")]
    pub direct_response: Option<HttpDirectResponse>,
    /// `delegate`: another VirtualService whose routes are taken here.
    #[serde(skip_serializing_if = "unset")]
    pub delegate: Option<Delegate>,
    /// `rewrite`: changes path or authority before forwarding.
    #[serde(skip_serializing_if = "unset")]
    pub rewrite: Option<HttpRewrite>,
    /// `timeout`: duration for the whole request; absent or `0s` means none.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = duration)]
    pub timeout: Option<String>,
    /// `retries`: retry policy; absent means the mesh's default.
    #[serde(skip_serializing_if = "unset")]
    pub retries: Option<HttpRetry>,
    /// `fault`: faults to inject at the client.
    #[serde(skip_serializing_if = "unset")]
    pub fault: Option<HttpFaultInjection>,
    /// `mirror`: a service that gets a copy of each request. Exclusive with `mirrors`.
    #[serde(skip_serializing_if = "unset")]
    pub mirror: Option<Destination>,
    /// `mirrors`: services that get copies of requests.
    #[serde(skip_serializing_if = "unset")]
    pub mirrors: Vec<HttpMirrorPolicy>,
    /// `mirrorPercent`: whole percentage that `mirror` gets. Deprecated: `mirrorPercentage`.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = within(PERCENT))]
    #[schemars(transform = nullable)]
    pub mirror_percent: Option<i64>,
    /// `mirror_percent`: `mirrorPercent` in its other spelling, which Istio's schema lists as a
    /// field of its own. Deprecated: `mirrorPercentage`.
    #[serde(rename = "mirror_percent", skip_serializing_if = "unset")]
    #[schemars(transform = within(PERCENT))]
    #[schemars(transform = nullable)]
    pub mirror_percent_snake: Option<i64>,
    /// `mirrorPercentage`: share of requests that `mirror` gets; absent means all.
    #[serde(skip_serializing_if = "unset", alias = "mirror_percentage")]
    pub mirror_percentage: Option<Percent>,
    /// `corsPolicy`: cross-origin resource sharing.
    #[serde(skip_serializing_if = "unset", alias = "cors_policy")]
    pub cors_policy: Option<CorsPolicy>,
    /// `headers`: header changes for every destination of the route.
    #[serde(skip_serializing_if = "unset")]
    pub headers: Option<Headers>,
}

/// Conditions on a request, all of which must hold (`spec.http[].match[]`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatchRequest {
    /// `name`: name for logs and statistics, appended to the route's.
    #[serde(skip_serializing_if = "unset")]
    pub name: Option<String>,
    /// `uri`: the path, without query unless `regex`.
    #[serde(skip_serializing_if = "unset")]
    pub uri: Option<StringMatch>,
    /// `scheme`: the scheme, `http` or `https`.
    #[serde(skip_serializing_if = "unset")]
    pub scheme: Option<StringMatch>,
    /// `method`: the method, such as `GET`.
    #[serde(skip_serializing_if = "unset")]
    pub method: Option<StringMatch>,
    /// `authority`: the `Host` or `:authority` header.
    #[serde(skip_serializing_if = "unset")]
    pub authority: Option<StringMatch>,
    /// `headers`: headers by lower-case name; an empty match `{}` asks only for presence.
    /// `@request.auth.claims.x` is a JWT claim.
    #[serde(skip_serializing_if = "unset")]
    pub headers: BTreeMap<String, StringMatch>,
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
    /// `queryParams`: query parameters by name; an empty match `{}` asks only for presence.
    #[serde(skip_serializing_if = "unset", alias = "query_params")]
    pub query_params: BTreeMap<String, StringMatch>,
    /// `ignoreUriCase`: compare `exact` and `prefix` of `uri` without regard to case.
    #[serde(skip_serializing_if = "unset", alias = "ignore_uri_case")]
    pub ignore_uri_case: Option<bool>,
    /// `withoutHeaders`: headers that must not match; an empty match `{}` asks for absence.
    #[serde(skip_serializing_if = "unset", alias = "without_headers")]
    pub without_headers: BTreeMap<String, StringMatch>,
    /// `sourceNamespace`: namespace of the client.
    #[serde(skip_serializing_if = "unset", alias = "source_namespace")]
    pub source_namespace: Option<String>,
    /// `statPrefix`: prefix of the statistics that the matched route emits.
    #[serde(skip_serializing_if = "unset", alias = "stat_prefix")]
    pub stat_prefix: Option<String>,
}

/// One weighted destination of an HTTP route (`spec.http[].route[]`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = require("destination"))]
pub struct HttpRouteDestination {
    /// `destination`: the service. Required.
    #[serde(skip_serializing_if = "unset")]
    pub destination: Option<Destination>,
    /// `weight`: share of requests, relative to the sum of the route's weights. With one
    /// destination, absent means all.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = within(COUNT))]
    pub weight: Option<i64>,
    /// `headers`: header changes for this destination only.
    #[serde(skip_serializing_if = "unset")]
    pub headers: Option<Headers>,
}

/// A redirect as the answer (`spec.http[].redirect`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = exclusive("port, derivePort"))]
pub struct HttpRedirect {
    /// `uri`: path that replaces the request's whole path. Exclusive with `prefixRewrite`.
    #[serde(skip_serializing_if = "unset")]
    pub uri: Option<String>,
    /// `prefixRewrite`: path that replaces the matched prefix.
    #[serde(skip_serializing_if = "unset", alias = "prefix_rewrite")]
    pub prefix_rewrite: Option<String>,
    /// `authority`: host of the new location.
    #[serde(skip_serializing_if = "unset")]
    pub authority: Option<String>,
    /// `port`: port of the new location. Exclusive with `derivePort`.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = within(PORT))]
    pub port: Option<i64>,
    /// `derivePort`: where the port of the new location comes from.
    #[serde(skip_serializing_if = "unset", alias = "derive_port")]
    pub derive_port: Option<RedirectPortSelection>,
    /// `scheme`: scheme of the new location, `http` or `https`.
    #[serde(skip_serializing_if = "unset")]
    pub scheme: Option<String>,
    /// `redirectCode`: status code; absent means 301.
    #[serde(skip_serializing_if = "unset", alias = "redirect_code")]
    #[schemars(transform = within(REDIRECT_CODE))]
    pub redirect_code: Option<i64>,
}

proto_enum! {
    /// Where a redirect takes its port from (`HTTPRedirect.RedirectPortSelection`).
    RedirectPortSelection {
        /// The scheme's own port: 80 or 443.
        FromProtocolDefault = 0 => "FROM_PROTOCOL_DEFAULT",
        /// The port of the request.
        FromRequestPort = 1 => "FROM_REQUEST_PORT",
    }
}

/// A fixed response as the answer (`spec.http[].directResponse`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = require("status"))]
pub struct HttpDirectResponse {
    /// `status`: status code. Required.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = within(HTTP_STATUS))]
    pub status: Option<i64>,
    /// `body`: the body; absent means empty.
    #[serde(skip_serializing_if = "unset")]
    pub body: Option<HttpBody>,
}

/// A response body. Exactly one field may be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = exclusive("string, bytes"))]
pub struct HttpBody {
    /// `string`: the body as text.
    #[serde(skip_serializing_if = "unset")]
    pub string: Option<String>,
    /// `bytes`: the body in base64.
    #[serde(skip_serializing_if = "unset")]
    pub bytes: Option<String>,
}

/// A VirtualService that continues a route (`spec.http[].delegate`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Delegate {
    /// `name`: its name.
    #[serde(skip_serializing_if = "unset")]
    pub name: Option<String>,
    /// `namespace`: its namespace; absent means the root object's.
    #[serde(skip_serializing_if = "unset")]
    pub namespace: Option<String>,
}

/// Changes to a request before it is forwarded (`spec.http[].rewrite`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRewrite {
    /// `uri`: replaces the matched prefix, or the whole path after an exact or regex match.
    #[serde(skip_serializing_if = "unset")]
    pub uri: Option<String>,
    /// `authority`: replaces the `Host` or `:authority` header.
    #[serde(skip_serializing_if = "unset")]
    pub authority: Option<String>,
    /// `uriRegexRewrite`: replaces what an expression matches in the path. Exclusive with `uri`.
    #[serde(skip_serializing_if = "unset", alias = "uri_regex_rewrite")]
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// A replacement by regular expression.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RegexRewrite {
    /// `match`: RE2 expression.
    #[serde(skip_serializing_if = "unset")]
    pub r#match: Option<String>,
    /// `rewrite`: the replacement; `\1` stands for the first group.
    #[serde(skip_serializing_if = "unset")]
    pub rewrite: Option<String>,
}

/// When and how often a failed request is tried again (`spec.http[].retries`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRetry {
    /// `attempts`: retries after the first try; 0 switches them off.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = within(COUNT))]
    pub attempts: Option<i64>,
    /// `perTryTimeout`: duration of one try; absent means `timeout`.
    #[serde(skip_serializing_if = "unset", alias = "per_try_timeout")]
    #[schemars(transform = positive_duration)]
    pub per_try_timeout: Option<String>,
    /// `retryOn`: comma-separated Envoy conditions and status codes.
    #[serde(skip_serializing_if = "unset", alias = "retry_on")]
    pub retry_on: Option<String>,
    /// `retryRemoteLocalities`: whether retries may go to other localities.
    #[serde(skip_serializing_if = "unset", alias = "retry_remote_localities")]
    #[schemars(transform = nullable)]
    pub retry_remote_localities: Option<bool>,
    /// `retryIgnorePreviousHosts`: whether retries avoid hosts tried before; absent means true.
    #[serde(skip_serializing_if = "unset", alias = "retry_ignore_previous_hosts")]
    #[schemars(transform = nullable)]
    pub retry_ignore_previous_hosts: Option<bool>,
    /// `backoff`: shortest duration between retries; absent means 25 ms.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = positive_duration)]
    pub backoff: Option<String>,
}

/// Faults that the client's proxy injects (`spec.http[].fault`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpFaultInjection {
    /// `delay`: delays before forwarding.
    #[serde(skip_serializing_if = "unset")]
    pub delay: Option<FaultDelay>,
    /// `abort`: answers in place of the service.
    #[serde(skip_serializing_if = "unset")]
    pub abort: Option<FaultAbort>,
}

/// A delay of requests (`spec.http[].fault.delay`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = exclusive("fixedDelay, exponentialDelay"))]
pub struct FaultDelay {
    /// `percent`: whole percentage of requests. Deprecated: `percentage`.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = within(PERCENT))]
    pub percent: Option<i64>,
    /// `fixedDelay`: duration of the delay, at least 1 ms. Exclusive with `exponentialDelay`.
    #[serde(skip_serializing_if = "unset", alias = "fixed_delay")]
    #[schemars(transform = positive_duration)]
    pub fixed_delay: Option<String>,
    /// `exponentialDelay`: mean duration; Istio does not implement it.
    #[serde(skip_serializing_if = "unset", alias = "exponential_delay")]
    #[schemars(transform = positive_duration)]
    pub exponential_delay: Option<String>,
    /// `percentage`: share of requests that are delayed; absent means none.
    #[serde(skip_serializing_if = "unset")]
    pub percentage: Option<Percent>,
}

/// An error in place of a response (`spec.http[].fault.abort`). Exactly one of the first three may
/// be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = exclusive("httpStatus, grpcStatus, http2Error"))]
pub struct FaultAbort {
    /// `httpStatus`: HTTP status code, 200 to 599.
    #[serde(skip_serializing_if = "unset", alias = "http_status")]
    #[schemars(transform = within(HTTP_STATUS))]
    pub http_status: Option<i64>,
    /// `grpcStatus`: gRPC status, such as `UNAVAILABLE`.
    #[serde(skip_serializing_if = "unset", alias = "grpc_status")]
    pub grpc_status: Option<String>,
    /// `http2Error`: HTTP/2 error; Istio does not implement it.
    #[serde(skip_serializing_if = "unset", alias = "http2_error")]
    pub http2_error: Option<String>,
    /// `percentage`: share of requests that are aborted; absent means none.
    #[serde(skip_serializing_if = "unset")]
    pub percentage: Option<Percent>,
}

/// A service that gets copies of requests (`spec.http[].mirrors[]`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = require("destination"))]
pub struct HttpMirrorPolicy {
    /// `destination`: the service. Required.
    #[serde(skip_serializing_if = "unset")]
    pub destination: Option<Destination>,
    /// `percentage`: share of requests; absent means all.
    #[serde(skip_serializing_if = "unset")]
    pub percentage: Option<Percent>,
}

/// Cross-origin resource sharing (`spec.http[].corsPolicy`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CorsPolicy {
    /// `allowOrigin`: origins by exact name. Deprecated: `allowOrigins`.
    #[serde(skip_serializing_if = "unset", alias = "allow_origin")]
    pub allow_origin: Vec<String>,
    /// `allowOrigins`: origins that may call.
    #[serde(skip_serializing_if = "unset", alias = "allow_origins")]
    pub allow_origins: Vec<StringMatch>,
    /// `allowMethods`: methods for `access-control-allow-methods`.
    #[serde(skip_serializing_if = "unset", alias = "allow_methods")]
    pub allow_methods: Vec<String>,
    /// `allowHeaders`: headers for `access-control-allow-headers`.
    #[serde(skip_serializing_if = "unset", alias = "allow_headers")]
    pub allow_headers: Vec<String>,
    /// `exposeHeaders`: headers for `access-control-expose-headers`.
    #[serde(skip_serializing_if = "unset", alias = "expose_headers")]
    pub expose_headers: Vec<String>,
    /// `maxAge`: duration for which a preflight answer may be kept.
    #[serde(skip_serializing_if = "unset", alias = "max_age")]
    #[schemars(transform = duration)]
    pub max_age: Option<String>,
    /// `allowCredentials`: whether credentials may be sent.
    #[serde(skip_serializing_if = "unset", alias = "allow_credentials")]
    #[schemars(transform = nullable)]
    pub allow_credentials: Option<bool>,
    /// `unmatchedPreflights`: what becomes of preflights from other origins; absent means
    /// `FORWARD`.
    #[serde(skip_serializing_if = "unset", alias = "unmatched_preflights")]
    pub unmatched_preflights: Option<UnmatchedPreflights>,
}

proto_enum! {
    /// What becomes of a preflight that matches no origin (`CorsPolicy.UnmatchedPreflights`).
    UnmatchedPreflights {
        /// Istio's default, `FORWARD`.
        Unspecified = 0 => "UNSPECIFIED",
        /// It goes to the service.
        Forward = 1 => "FORWARD",
        /// It is answered without CORS headers.
        Ignore = 2 => "IGNORE",
    }
}
