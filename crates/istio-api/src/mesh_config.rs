//! MeshConfig (`istio.mesh.v1alpha1.MeshConfig`): settings of the whole mesh. Fields that are read
//! are typed; the others are kept as they are, so that a reader can tell those that exist from
//! those that do not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::extension_provider::MeshExtensionProvider;
use crate::wire::{nullable, proto_enum, unset};
use crate::{HttpRetry, LocalityLbSetting, TcpKeepalive};

/// Settings of the whole mesh, as they stand in the ConfigMap `istio` under `mesh`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    /// `outboundTrafficPolicy`: what becomes of traffic to unknown hosts.
    #[serde(skip_serializing_if = "unset", alias = "outbound_traffic_policy")]
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    /// `accessLogFile`: where proxies write their access log; empty switches it off.
    #[serde(skip_serializing_if = "unset", alias = "access_log_file")]
    pub access_log_file: Option<String>,
    /// `accessLogFormat`: Envoy's format string, or a JSON object for encoding `JSON`; empty means
    /// the default format.
    #[serde(skip_serializing_if = "unset", alias = "access_log_format")]
    pub access_log_format: Option<String>,
    /// `accessLogEncoding`: encoding of the access log; absent means `TEXT`.
    #[serde(skip_serializing_if = "unset", alias = "access_log_encoding")]
    pub access_log_encoding: Option<AccessLogEncoding>,
    /// `trustDomain`: first part of every identity; absent means `cluster.local`.
    #[serde(skip_serializing_if = "unset", alias = "trust_domain")]
    pub trust_domain: Option<String>,
    /// `rootNamespace`: namespace whose policies apply to the whole mesh; absent means
    /// `istio-system`.
    #[serde(skip_serializing_if = "unset", alias = "root_namespace")]
    pub root_namespace: Option<String>,
    /// `enableAutoMtls`: whether clients use mutual TLS by themselves where servers accept it;
    /// absent means true.
    #[serde(skip_serializing_if = "unset", alias = "enable_auto_mtls")]
    pub enable_auto_mtls: Option<bool>,
    /// `discoverySelectors`: the namespaces that exist for the mesh; absent or empty means all.
    #[serde(skip_serializing_if = "unset", alias = "discovery_selectors")]
    #[serde(deserialize_with = "nullable")]
    pub discovery_selectors: Vec<LabelSelector>,
    /// `trustDomainAliases`: further first parts of identities that count as the mesh's own.
    #[serde(skip_serializing_if = "unset", alias = "trust_domain_aliases")]
    #[serde(deserialize_with = "nullable")]
    pub trust_domain_aliases: Vec<String>,
    /// `extensionProviders`: who may be asked, by name.
    #[serde(skip_serializing_if = "unset", alias = "extension_providers")]
    #[serde(deserialize_with = "nullable")]
    pub extension_providers: Vec<MeshExtensionProvider>,
    /// `localityLbSetting`: which endpoints are preferred where no DestinationRule says; absent means enabled.
    #[serde(skip_serializing_if = "unset", alias = "locality_lb_setting")]
    pub locality_lb_setting: Option<LocalityLbSetting>,
    /// `connectTimeout`: duration of connecting where no DestinationRule says; absent means 10 s.
    #[serde(skip_serializing_if = "unset", alias = "connect_timeout")]
    pub connect_timeout: Option<String>,
    /// `tcpKeepalive`: keepalive probes of the sockets, for what DestinationRules leave open.
    #[serde(skip_serializing_if = "unset", alias = "tcp_keepalive")]
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `h2UpgradePolicy`: whether HTTP/1.1 is carried over HTTP/2 where DestinationRules say `DEFAULT`.
    #[serde(skip_serializing_if = "unset", alias = "h2_upgrade_policy")]
    pub h2_upgrade_policy: Option<MeshH2UpgradePolicy>,
    /// `defaultHttpRetryPolicy`: when requests are tried again where no route says.
    #[serde(skip_serializing_if = "unset", alias = "default_http_retry_policy")]
    pub default_http_retry_policy: Option<HttpRetry>,
    /// `dnsRefreshRate`: duration after which names are looked up again whose records do not say; absent means 60 s.
    #[serde(skip_serializing_if = "unset", alias = "dns_refresh_rate")]
    pub dns_refresh_rate: Option<String>,
    /// `defaultServiceExportTo`: where Services and ServiceEntries without `exportTo` are seen; absent means everywhere.
    #[serde(skip_serializing_if = "unset", alias = "default_service_export_to")]
    #[serde(deserialize_with = "nullable")]
    pub default_service_export_to: Vec<String>,
    /// `defaultVirtualServiceExportTo`: where VirtualServices without `exportTo` are seen; absent means everywhere.
    #[serde(
        skip_serializing_if = "unset",
        alias = "default_virtual_service_export_to"
    )]
    #[serde(deserialize_with = "nullable")]
    pub default_virtual_service_export_to: Vec<String>,
    /// `defaultDestinationRuleExportTo`: where DestinationRules without `exportTo` are seen; absent means everywhere.
    #[serde(
        skip_serializing_if = "unset",
        alias = "default_destination_rule_export_to"
    )]
    #[serde(deserialize_with = "nullable")]
    pub default_destination_rule_export_to: Vec<String>,
    /// `pathNormalization`: into which form paths are brought; absent means `BASE`.
    #[serde(skip_serializing_if = "unset", alias = "path_normalization")]
    pub path_normalization: Option<ProxyPathNormalization>,
    /// `protocolDetectionTimeout`: duration for which the first bytes of a connection are waited for; absent or 0 means
    /// as long as it takes.
    #[serde(skip_serializing_if = "unset", alias = "protocol_detection_timeout")]
    pub protocol_detection_timeout: Option<String>,
    /// All other fields by the name that the user wrote: Istio's if in [`KNOWN`].
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

/// Kubernetes' selector of labels: all that it says must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// `matchLabels`: labels and the values that they must have.
    #[serde(skip_serializing_if = "unset", alias = "match_labels")]
    #[serde(deserialize_with = "nullable")]
    pub match_labels: BTreeMap<String, String>,
    /// `matchExpressions`: conditions on single labels.
    #[serde(skip_serializing_if = "unset", alias = "match_expressions")]
    #[serde(deserialize_with = "nullable")]
    pub match_expressions: Vec<LabelExpression>,
}

/// A condition on a label (`matchExpressions[]`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelExpression {
    /// `key`: the label. Required.
    #[serde(skip_serializing_if = "unset")]
    pub key: String,
    /// `operator`: In, NotIn, Exists or DoesNotExist. Required.
    #[serde(skip_serializing_if = "unset")]
    pub operator: String,
    /// `values`: for In and NotIn.
    #[serde(skip_serializing_if = "unset", deserialize_with = "nullable")]
    pub values: Vec<String>,
}

/// What becomes of traffic to unknown hosts (`outboundTrafficPolicy`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutboundTrafficPolicy {
    /// `mode`: the mode. Where no `outboundTrafficPolicy` is written, Istio's is `ALLOW_ANY`.
    #[serde(skip_serializing_if = "unset")]
    pub mode: Option<OutboundTrafficPolicyMode>,
}

proto_enum! {
    /// Where outbound traffic may go (`MeshConfig.OutboundTrafficPolicy.Mode`).
    OutboundTrafficPolicyMode {
        /// To known services only.
        RegistryOnly = 0 => "REGISTRY_ONLY",
        /// Anywhere.
        AllowAny = 1 => "ALLOW_ANY",
        /// Anywhere; the hosts of requests are resolved by the proxy.
        AllowAnyDynamicDns = 2 => "ALLOW_ANY_DYNAMIC_DNS",
    }
}

/// The form of paths (`pathNormalization`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyPathNormalization {
    /// `normalization`: the form.
    #[serde(skip_serializing_if = "unset")]
    pub normalization: Option<NormalizationType>,
}

proto_enum! {
    /// The forms of paths (`MeshConfig.ProxyPathNormalization.NormalizationType`).
    NormalizationType {
        /// As `BASE`.
        Default = 0 => "DEFAULT",
        /// As they are.
        None = 1 => "NONE",
        /// RFC 3986.
        Base = 2 => "BASE",
        /// As `BASE`, with `//` as `/`.
        MergeSlashes = 3 => "MERGE_SLASHES",
        /// As `MERGE_SLASHES`, with `%2F` and `%5C` decoded.
        DecodeAndMergeSlashes = 4 => "DECODE_AND_MERGE_SLASHES",
    }
}

proto_enum! {
    /// Whether HTTP/1.1 is carried over HTTP/2 (`MeshConfig.H2UpgradePolicy`).
    MeshH2UpgradePolicy {
        /// HTTP/1.1 stays HTTP/1.1.
        DoNotUpgrade = 0 => "DO_NOT_UPGRADE",
        /// HTTP/1.1 becomes HTTP/2.
        Upgrade = 1 => "UPGRADE",
    }
}

proto_enum! {
    /// Encoding of the access log (`MeshConfig.AccessLogEncoding`).
    AccessLogEncoding {
        /// Lines of text.
        Text = 0 => "TEXT",
        /// A JSON object a line.
        Json = 1 => "JSON",
    }
}

/// Names of MeshConfig's fields that stand in `rest`, in both spellings that proto JSON accepts.
/// They are `not yet`; any other name in `rest` is unknown.
pub const KNOWN: &[&str] = &[
    "ca",
    "caCertificates",
    "ca_certificates",
    "certificates",
    "compliancePolicy",
    "compliance_policy",
    "configSources",
    "config_sources",
    "defaultConfig",
    "defaultDestinationRuleExportTo",
    "defaultProviders",
    "defaultTrafficPolicy",
    "default_config",
    "default_destination_rule_export_to",
    "default_providers",
    "default_traffic_policy",
    "disableEnvoyListenerLog",
    "disable_envoy_listener_log",
    "enableEnvoyAccessLogService",
    "enablePrometheusMerge",
    "enableTracing",
    "enable_envoy_access_log_service",
    "enable_prometheus_merge",
    "enable_tracing",
    "hboneIdleTimeout",
    "hbone_idle_timeout",
    "inboundClusterStatName",
    "inboundTrafficPolicy",
    "inbound_cluster_stat_name",
    "inbound_traffic_policy",
    "ingressClass",
    "ingressControllerMode",
    "ingressSelector",
    "ingressService",
    "ingress_class",
    "ingress_controller_mode",
    "ingress_selector",
    "ingress_service",
    "meshMTLS",
    "mesh_mTLS",
    "outboundClusterStatName",
    "outbound_cluster_stat_name",
    "proxyHttpPort",
    "proxyInboundListenPort",
    "proxyListenPort",
    "proxy_http_port",
    "proxy_inbound_listen_port",
    "proxy_listen_port",
    "serviceEntryVisibility",
    "serviceScopeConfigs",
    "serviceSettings",
    "service_entry_visibility",
    "service_scope_configs",
    "service_settings",
    "tlsDefaults",
    "tls_defaults",
    "verifyCertificateAtClient",
    "verify_certificate_at_client",
    "zoneAwareLbSetting",
    "zone_aware_lb_setting",
];
