//! MeshConfig: the fields that are translated. Istio's other fields are `not yet`, all else is unknown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use istio_api::MeshH2UpgradePolicy;
use istio_api::NormalizationType;
use istio_api::OutboundTrafficPolicyMode;
use istio_api::mesh_config::KNOWN;
use serde_json::Value;

use super::connection_pool;
use super::decode::{Decoded, Unknown, decode};
use super::extension_provider;
use super::http_retry;
use super::locality;
use super::nearest::Known;
use super::notes::{At, Notes, Problem};
use super::value::{MILLISECOND, text};
use crate::{
    AccessLog, AccessLogFormat, Code, DefaultExports, LabelExpression, LabelSelector,
    ListenerSettings, MeshConfig, OutboundTrafficPolicy, PathNormalization, TrustDomain, format,
};

/// The fields that are read.
const READ: &[&str] = &[
    "outboundTrafficPolicy",
    "accessLogFile",
    "accessLogFormat",
    "accessLogEncoding",
    "trustDomain",
    "rootNamespace",
    "enableAutoMtls",
    "discoverySelectors",
    "trustDomainAliases",
    "extensionProviders",
    "localityLbSetting",
    "connectTimeout",
    "tcpKeepalive",
    "h2UpgradePolicy",
    "defaultHttpRetryPolicy",
    "dnsRefreshRate",
    "pathNormalization",
    "protocolDetectionTimeout",
    "defaultServiceExportTo",
    "defaultVirtualServiceExportTo",
    "defaultDestinationRuleExportTo",
];

/// The fields inside of those that are read.
const IN_FIELDS: &[&str] = &[
    "mode",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
    "service",
    "port",
    "timeout",
    "pathPrefix",
    "failOpen",
    "clearRouteCache",
    "statusOnError",
    "includeHeadersInCheck",
    "includeRequestHeadersInCheck",
    "includeAdditionalHeadersInCheck",
    "includeRequestBodyInCheck",
    "headersToUpstreamOnAllow",
    "headersToDownstreamOnAllow",
    "headersToDownstreamOnDeny",
    "maxRequestBytes",
    "allowPartialMessage",
    "packAsBytes",
    "distribute",
    "failover",
    "failoverPriority",
    "enabled",
    "from",
    "to",
    "probes",
    "time",
    "interval",
    "attempts",
    "perTryTimeout",
    "retryOn",
    "retryRemoteLocalities",
    "retryIgnorePreviousHosts",
    "backoff",
    "normalization",
];

/// Reads a MeshConfig, with Istio's defaults for what is absent.
pub(super) fn read(value: Value, notes: &mut Notes<'_>) -> Option<MeshConfig> {
    let Decoded { wire, problems } =
        decode::<istio_api::MeshConfig>(value, "", Unknown::Report(|| Known::list(IN_FIELDS)));
    notes.take_body(problems);
    let istio_api::MeshConfig {
        outbound_traffic_policy,
        access_log_file,
        access_log_format,
        access_log_encoding,
        trust_domain,
        root_namespace,
        enable_auto_mtls,
        discovery_selectors,
        trust_domain_aliases,
        extension_providers,
        locality_lb_setting,
        connect_timeout: timeout,
        tcp_keepalive,
        h2_upgrade_policy,
        default_http_retry_policy,
        dns_refresh_rate,
        path_normalization,
        protocol_detection_timeout: detection_timeout,
        default_service_export_to: services,
        default_virtual_service_export_to: virtual_services,
        default_destination_rule_export_to: destination_rules,
        rest,
    } = wire;
    others(&rest, notes);
    let json = match access_log_encoding.unwrap_or(istio_api::AccessLogEncoding::Text) {
        istio_api::AccessLogEncoding::Text => false,
        istio_api::AccessLogEncoding::Json => true,
    };
    let format = access_log(text(access_log_format), json, notes);
    let default = MeshConfig::default();
    let trust_domain = trust_domain
        .filter(|name| !name.is_empty())
        .and_then(|name| notes.name(&At::root("trustDomain"), &name));
    let root_namespace = root_namespace
        .filter(|name| !name.is_empty())
        .and_then(|name| notes.name(&At::root("rootNamespace"), &name));
    Some(MeshConfig {
        outbound_traffic_policy: outbound_traffic_policy
            .map_or(default.outbound_traffic_policy, outbound),
        listeners: ListenerSettings {
            access_log: text(access_log_file).map(|path| AccessLog { path, format }),
            path_normalization: normalization(path_normalization),
            protocol_detection_timeout: notes
                .duration(
                    &At::root("protocolDetectionTimeout"),
                    detection_timeout.as_deref(),
                    Duration::ZERO,
                )
                .filter(|timeout| !timeout.is_zero()),
        },
        trust_domain: trust_domain.unwrap_or(default.trust_domain),
        root_namespace: root_namespace.unwrap_or(default.root_namespace),
        auto_mtls: enable_auto_mtls.unwrap_or(default.auto_mtls),
        // Whether endpoints may turn out to be bad is up to each DestinationRule.
        locality: locality_lb_setting
            .and_then(|wire| locality::read(wire, true, &At::root("localityLbSetting"), notes))
            .unwrap_or(default.locality),
        connect_timeout: notes.duration(
            &At::root("connectTimeout"),
            timeout.as_deref(),
            MILLISECOND,
        ),
        tcp_keepalive: tcp_keepalive
            .map(|wire| connection_pool::read_keepalive(wire, &At::root("tcpKeepalive"), notes)),
        h2_upgrade: match h2_upgrade_policy {
            Some(MeshH2UpgradePolicy::Upgrade) => true,
            Some(MeshH2UpgradePolicy::DoNotUpgrade) | None => false,
        },
        retries: default_http_retry_policy
            .map(|wire| http_retry::read(wire, &At::root("defaultHttpRetryPolicy"), notes)),
        dns_refresh: notes.duration(
            &At::root("dnsRefreshRate"),
            dns_refresh_rate.as_deref(),
            MILLISECOND,
        ),
        discovery_selectors: selectors(discovery_selectors, notes),
        trust_domain_aliases: aliases(&trust_domain_aliases, notes),
        authorizers: extension_provider::read(extension_providers, notes),
        exports: DefaultExports {
            services: notes.export(&At::root("defaultServiceExportTo"), &services),
            virtual_services: notes.export(
                &At::root("defaultVirtualServiceExportTo"),
                &virtual_services,
            ),
            destination_rules: notes.export(
                &At::root("defaultDestinationRuleExportTo"),
                &destination_rules,
            ),
        },
    })
}

fn aliases(names: &[String], notes: &mut Notes<'_>) -> Arc<[TrustDomain]> {
    let at = At::root("trustDomainAliases");
    let mut found = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        found.extend(notes.name(&at.item(index), name));
    }
    found.into()
}

fn selectors(wire: Vec<istio_api::LabelSelector>, notes: &mut Notes<'_>) -> Arc<[LabelSelector]> {
    let at = At::root("discoverySelectors");
    if !wire.is_empty() {
        notes.info(
            &at,
            Code::NotYet,
            "`discoverySelectors` select what is watched in a cluster",
            "without Kubernetes they have no effect",
        );
    }
    let mut found = Vec::with_capacity(wire.len());
    for (index, wire) in wire.into_iter().enumerate() {
        let istio_api::LabelSelector {
            match_labels,
            match_expressions,
        } = wire;
        let at = at.item(index);
        let at = at.field("matchExpressions");
        let mut expressions = Vec::with_capacity(match_expressions.len());
        for (index, wire) in match_expressions.into_iter().enumerate() {
            expressions.extend(expression(wire, &at.item(index), notes));
        }
        found.push(LabelSelector {
            labels: match_labels.into_iter().collect(),
            expressions: expressions.into(),
        });
    }
    found.into()
}

fn expression(
    wire: istio_api::LabelExpression,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<LabelExpression> {
    let istio_api::LabelExpression {
        key,
        operator,
        values,
    } = wire;
    let key: Arc<str> = key.into();
    let values: Arc<[Arc<str>]> = values.into_iter().map(Arc::from).collect();
    match operator.as_str() {
        "In" => Some(LabelExpression::In(key, values)),
        "NotIn" => Some(LabelExpression::NotIn(key, values)),
        "Exists" => Some(LabelExpression::Exists(key)),
        "DoesNotExist" => Some(LabelExpression::DoesNotExist(key)),
        other => {
            notes.refuse(
                &at.field("operator"),
                format!("{other:?} is no operator"),
                "write In, NotIn, Exists or DoesNotExist",
            );
            None
        }
    }
}

fn normalization(wire: Option<istio_api::ProxyPathNormalization>) -> PathNormalization {
    let istio_api::ProxyPathNormalization { normalization } = wire.unwrap_or_default();
    match normalization.unwrap_or(NormalizationType::Default) {
        NormalizationType::None => PathNormalization::None,
        NormalizationType::Default | NormalizationType::Base => PathNormalization::Base,
        NormalizationType::MergeSlashes => PathNormalization::MergeSlashes,
        NormalizationType::DecodeAndMergeSlashes => PathNormalization::DecodeAndMergeSlashes,
    }
}

fn outbound(wire: istio_api::OutboundTrafficPolicy) -> OutboundTrafficPolicy {
    let istio_api::OutboundTrafficPolicy { mode } = wire;
    match mode.unwrap_or(OutboundTrafficPolicyMode::RegistryOnly) {
        OutboundTrafficPolicyMode::RegistryOnly => OutboundTrafficPolicy::RegistryOnly,
        OutboundTrafficPolicyMode::AllowAny => OutboundTrafficPolicy::AllowAny,
        OutboundTrafficPolicyMode::AllowAnyDynamicDns => OutboundTrafficPolicy::AllowAnyDynamicDns,
    }
}

/// What injection reads, and nothing else: it tells what is wrong there.
const OF_INJECTION: &[&str] = &[
    "defaultConfig",
    "default_config",
    "enablePrometheusMerge",
    "enable_prometheus_merge",
];

/// Fields that Istio has and Lateen does not translate, and fields that nobody has.
fn others(rest: &BTreeMap<String, Value>, notes: &mut Notes<'_>) {
    let known = Known::list(READ.iter().chain(KNOWN));
    for name in rest.keys() {
        if OF_INJECTION.contains(&name.as_str()) {
            notes.info(
                &At::root(name),
                Code::NotYet,
                format!("`{name}` is read by the injection of sidecars only"),
                "without Kubernetes it has no effect",
            );
        } else if KNOWN.contains(&name.as_str()) {
            notes.not_yet(&At::root(name), &Some(()));
        } else {
            notes.take(vec![Problem {
                field: name.clone(),
                finding: known.unknown(name, ""),
                refuses: false,
            }]);
        }
    }
}

fn access_log(format: Option<Arc<str>>, json: bool, notes: &mut Notes<'_>) -> AccessLogFormat {
    let default = if json {
        AccessLogFormat::DefaultJson
    } else {
        AccessLogFormat::DefaultText
    };
    let Some(format) = format else {
        return default;
    };
    let at = At::root("accessLogFormat");
    let read = if json {
        json_format(&format).map(AccessLogFormat::Json)
    } else {
        format::check(&format).map(|()| AccessLogFormat::Text(format))
    };
    if let Ok(read) = &read {
        let hint = "the log of older proxies has `-` in its place";
        for format in read.own() {
            notes.needs_operators(&at, format, hint);
        }
    }
    read.unwrap_or_else(|why| {
        notes.refuse(&at, why, OPERATORS);
        default
    })
}

const OPERATORS: &str = "write Envoy's command operators, such as %REQ(:METHOD)%, and %% for a percent sign; with \
                         `accessLogEncoding: JSON` one JSON object of such strings";

type Keys = Arc<[(Arc<str>, Arc<str>)]>;

/// A JSON object whose values are format strings.
fn json_format(format: &str) -> Result<Keys, String> {
    let keys: BTreeMap<String, Value> = serde_json::from_str(format)
        .map_err(|error| format!("this is not a JSON object: {error}"))?;
    keys.into_iter()
        .map(|(key, value)| match value {
            Value::String(value) => match format::check(&value) {
                Ok(()) => Ok((key.into(), value.into())),
                Err(why) => Err(format!("{key:?}: {why}")),
            },
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => Err(format!("the value of {key:?} is not a string")),
        })
        .collect()
}
