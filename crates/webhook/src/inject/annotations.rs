//! The annotations of a pod that injection reads: their names, and which values are right.

use serde_json::{Map, Value};

use super::Refusal;
use super::check::{self, Check};

pub(super) const AGENT_LOG_LEVEL: &str = "sidecar.istio.io/agentLogLevel";
pub(super) const BOOTSTRAP_OVERRIDE: &str = "sidecar.istio.io/bootstrapOverride";
pub(super) const COMPONENT_LOG_LEVEL: &str = "sidecar.istio.io/componentLogLevel";
pub(super) const EXCLUDE_INBOUND: &str = "traffic.sidecar.istio.io/excludeInboundPorts";
pub(super) const EXCLUDE_INTERFACES: &str = "traffic.sidecar.istio.io/excludeInterfaces";
pub(super) const EXCLUDE_OUTBOUND: &str = "traffic.sidecar.istio.io/excludeOutboundPorts";
pub(super) const EXCLUDE_RANGES: &str = "traffic.sidecar.istio.io/excludeOutboundIPRanges";
pub(super) const FAILURE_THRESHOLD: &str = "readiness.status.sidecar.istio.io/failureThreshold";
pub(super) const INCLUDE_INBOUND: &str = "traffic.sidecar.istio.io/includeInboundPorts";
pub(super) const INCLUDE_OUTBOUND: &str = "traffic.sidecar.istio.io/includeOutboundPorts";
pub(super) const INCLUDE_RANGES: &str = "traffic.sidecar.istio.io/includeOutboundIPRanges";
pub(super) const INITIAL_DELAY: &str = "readiness.status.sidecar.istio.io/initialDelaySeconds";
pub(super) const INJECT: &str = "sidecar.istio.io/inject";
pub(super) const INTERCEPTION_MODE: &str = "sidecar.istio.io/interceptionMode";
pub(super) const KUBEVIRT_INTERFACES: &str = "traffic.sidecar.istio.io/kubevirtInterfaces";
pub(super) const LOG_LEVEL: &str = "sidecar.istio.io/logLevel";
pub(super) const MERGE_METRICS: &str = "prometheus.istio.io/merge-metrics";
pub(super) const NATIVE_SIDECAR: &str = "sidecar.istio.io/nativeSidecar";
pub(super) const OVERRIDES: &str = "proxy.istio.io/overrides";
pub(super) const PERIOD: &str = "readiness.status.sidecar.istio.io/periodSeconds";
pub(super) const PROXY_CONFIG: &str = "proxy.istio.io/config";
pub(super) const PROXY_CPU: &str = "sidecar.istio.io/proxyCPU";
pub(super) const PROXY_CPU_LIMIT: &str = "sidecar.istio.io/proxyCPULimit";
pub(super) const PROXY_IMAGE: &str = "sidecar.istio.io/proxyImage";
pub(super) const PROXY_IMAGE_TYPE: &str = "sidecar.istio.io/proxyImageType";
pub(super) const PROXY_MEMORY: &str = "sidecar.istio.io/proxyMemory";
pub(super) const PROXY_MEMORY_LIMIT: &str = "sidecar.istio.io/proxyMemoryLimit";
pub(super) const REROUTE_INTERFACES: &str = "istio.io/reroute-virtual-interfaces";
pub(super) const REWRITE_PROBES: &str = "sidecar.istio.io/rewriteAppHTTPProbers";
pub(super) const STATUS: &str = "sidecar.istio.io/status";
pub(super) const STATUS_PORT: &str = "status.sidecar.istio.io/port";
pub(super) const TEMPLATES: &str = "inject.istio.io/templates";
pub(super) const USER_VOLUME: &str = "sidecar.istio.io/userVolume";
pub(super) const USER_VOLUME_MOUNT: &str = "sidecar.istio.io/userVolumeMount";

/// kubectl's annotations, which injection sets where they are not.
pub(super) const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
pub(super) const DEFAULT_LOGS_CONTAINER: &str = "kubectl.kubernetes.io/default-logs-container";

/// The annotations that Istio's scraping configuration uses, which injection rewrites.
pub(super) const SCRAPE: [&str; 3] = [
    "prometheus.io/scrape",
    "prometheus.io/port",
    "prometheus.io/path",
];

/// Anything goes: what is wrong with it is found elsewhere, or does not matter.
fn anything(_: &str) -> Result<(), &'static str> {
    Ok(())
}

const CHECKS: &[(&str, Check)] = &[
    (AGENT_LOG_LEVEL, check::agent_levels),
    (BOOTSTRAP_OVERRIDE, check::object_name),
    (COMPONENT_LOG_LEVEL, check::component_levels),
    (EXCLUDE_INBOUND, check::ports),
    (EXCLUDE_INTERFACES, check::interfaces),
    (EXCLUDE_OUTBOUND, check::ports),
    (EXCLUDE_RANGES, check::ranges),
    (FAILURE_THRESHOLD, check::positive),
    (INCLUDE_INBOUND, check::ports_or_all),
    (INCLUDE_OUTBOUND, check::ports),
    (INCLUDE_RANGES, check::ranges_or_all),
    (INITIAL_DELAY, check::number),
    // A value that is not understood is none: the policy decides.
    (INJECT, anything),
    (INTERCEPTION_MODE, check::interception_mode),
    (KUBEVIRT_INTERFACES, check::interfaces),
    (LOG_LEVEL, check::level),
    (MERGE_METRICS, check::boolean),
    (NATIVE_SIDECAR, check::boolean),
    (OVERRIDES, check::overrides),
    (PERIOD, check::positive),
    // Read as YAML by itself.
    (PROXY_CONFIG, anything),
    (PROXY_CPU, check::quantity),
    (PROXY_CPU_LIMIT, check::quantity),
    (PROXY_IMAGE, check::image),
    (PROXY_IMAGE_TYPE, check::image_type),
    (PROXY_MEMORY, check::quantity),
    (PROXY_MEMORY_LIMIT, check::quantity),
    (REROUTE_INTERFACES, check::interfaces),
    (REWRITE_PROBES, check::boolean),
    // One that cannot be read is of no earlier injection.
    (STATUS, anything),
    (STATUS_PORT, check::status_port),
    (TEMPLATES, check::templates),
    (USER_VOLUME, check::user_volumes),
    (USER_VOLUME_MOUNT, check::user_mounts),
    (DEFAULT_CONTAINER, anything),
    (DEFAULT_LOGS_CONTAINER, anything),
];

/// The names of all annotations that injection reads.
pub fn read_annotations() -> impl Iterator<Item = &'static str> {
    CHECKS.iter().map(|(name, _)| *name).chain(SCRAPE)
}

/// The annotations of one pod, all of which are right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Annotations<'a>(Option<&'a Map<String, Value>>);

impl<'a> Annotations<'a> {
    /// Reads nothing yet.
    pub(super) fn unchecked(pod: &'a Value) -> Self {
        Self(
            pod.pointer("/metadata/annotations")
                .and_then(Value::as_object),
        )
    }

    /// Checks every annotation.
    pub(super) fn check(pod: &'a Value) -> Result<Self, Vec<Refusal>> {
        let annotations = Self::unchecked(pod);
        let wrong = CHECKS.iter().filter_map(|(name, check)| {
            let value = annotations.get(name)?;
            let right = check(value).err()?;
            Some(Refusal::annotation(name, value, right))
        });
        let wrong: Vec<_> = wrong.collect();
        if wrong.is_empty() {
            Ok(annotations)
        } else {
            Err(wrong)
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0?.get(name)?.as_str()
    }

    pub(super) fn or<'b>(&self, name: &str, default: &'b str) -> &'b str
    where
        'a: 'b,
    {
        self.get(name).unwrap_or(default)
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> T {
        self.get(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(check::parse_bool)
    }

    /// The fields of a JSON object.
    pub(super) fn objects(&self, name: &str) -> Map<String, Value> {
        self.get(name)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }
}
