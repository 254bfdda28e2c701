//! What only a control plane in a cluster counts: how its watches are, and what its webhooks decided.

use std::sync::{Arc, OnceLock};

use k8s::{Health, WatchHealth};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByResource {
    resource: String,
}

impl ByResource {
    fn of(watch: &WatchHealth) -> Self {
        Self {
            resource: watch.resource.clone(),
        }
    }
}

/// The watches, which begin after the metrics.
#[derive(Debug)]
pub struct Watches(pub Arc<OnceLock<Arc<Health>>>);

impl Collector for Watches {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        let Some(health) = self.0.get() else {
            return Ok(());
        };
        let watches = health.watches();
        let mut family = encoder.encode_descriptor(
            "lateen_watch_stale_seconds",
            "For how long a watch of the API server has been lost, 0 when it is well",
            None,
            MetricType::Gauge,
        )?;
        for watch in &watches {
            let label = ByResource::of(watch);
            let encoder = family.encode_family(&label)?;
            ConstGauge::new(watch.stale_seconds).encode(encoder)?;
        }
        let mut family = encoder.encode_descriptor(
            "lateen_watch_lists",
            "How often a watch of the API server has read all that there is",
            None,
            MetricType::Counter,
        )?;
        for watch in &watches {
            let label = ByResource::of(watch);
            let encoder = family.encode_family(&label)?;
            ConstCounter::new(watch.lists).encode(encoder)?;
        }
        Ok(())
    }
}

/// What the webhooks decided, under Istio's names.
#[derive(Clone, Debug, Default)]
pub struct Admissions {
    /// `galley_validation_passed`.
    pub validation_passed: Counter,
    /// `galley_validation_failed`.
    pub validation_failed: Counter,
    /// `sidecar_injection_requests_total`.
    pub injection_requests: Counter,
    /// `sidecar_injection_success_total`.
    pub injection_success: Counter,
    /// `sidecar_injection_failure_total`.
    pub injection_failure: Counter,
    /// `sidecar_injection_skip_total`.
    pub injection_skip: Counter,
}

impl Admissions {
    /// Registers them all. The library adds `_total` to the names of counters.
    pub fn register(&self, registry: &mut Registry) {
        let counters = [
            (
                "galley_validation_passed",
                "Resource is valid",
                &self.validation_passed,
            ),
            (
                "galley_validation_failed",
                "Resource validation failed",
                &self.validation_failed,
            ),
            (
                "sidecar_injection_requests",
                "Total number of sidecar injection requests",
                &self.injection_requests,
            ),
            (
                "sidecar_injection_success",
                "Total number of successful sidecar injection requests",
                &self.injection_success,
            ),
            (
                "sidecar_injection_failure",
                "Total number of failed sidecar injection requests",
                &self.injection_failure,
            ),
            (
                "sidecar_injection_skip",
                "Total number of skipped sidecar injection requests",
                &self.injection_skip,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
    }
}
