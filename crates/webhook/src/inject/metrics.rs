//! One page of metrics for a pod: what Prometheus was told of the app is told to the agent, and Prometheus of the agent.

use std::collections::BTreeMap;

use serde_json::json;

use super::annotations as names;
use super::check;
use super::context::{Context, PROXY};
use super::pod::Pod;
use super::probes::literal;

/// The variable in which the agent finds the app's metrics.
const SCRAPE: &str = "ISTIO_PROMETHEUS_ANNOTATIONS";

/// What the annotations say, in whichever spelling Prometheus takes for theirs.
#[derive(Default)]
struct Told {
    scrape: String,
    path: String,
    port: String,
}

impl Told {
    fn read(annotations: &BTreeMap<String, String>) -> Self {
        let mut told = Self::default();
        for (name, value) in annotations {
            match meaning(name) {
                Some("scrape") => told.scrape.clone_from(value),
                Some("path") => told.path.clone_from(value),
                Some("port") => told.port.clone_from(value),
                Some(_) | None => {}
            }
        }
        told
    }

    fn is_empty(&self) -> bool {
        [&self.scrape, &self.path, &self.port]
            .iter()
            .all(|value| value.is_empty())
    }
}

/// Prometheus makes `_` of all that is no letter or digit: `prometheus.io/port` and `prometheus-io.port` are one.
fn meaning(annotation: &str) -> Option<&'static str> {
    let sanitized: String = annotation
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    match sanitized.as_str() {
        "prometheus_io_scrape" => Some("scrape"),
        "prometheus_io_path" => Some("path"),
        "prometheus_io_port" => Some("port"),
        _ => None,
    }
}

/// Points Prometheus at the agent, unless the pod or the mesh does not want it.
pub(super) fn merge(context: &Context<'_>, pod: &mut Pod) {
    let setting = context.settings.merges_metrics;
    let port = context.status_port();
    if port == 0
        || !context
            .annotations
            .flag(names::MERGE_METRICS)
            .unwrap_or(setting)
    {
        return;
    }
    let told = Told::read(&pod.metadata.annotations);
    let port = port.to_string();
    // Of an earlier injection, or meant.
    if check::parse_bool(&told.scrape) == Some(false) || told.port == port {
        return;
    }
    if let Some(proxy) = pod.spec.find_mut(PROXY)
        && !told.is_empty()
    {
        let Told { scrape, path, port } = &told;
        let text = json!({ "scrape": scrape, "path": path, "port": port }).to_string();
        proxy.set_env(SCRAPE, &literal(&text));
    }
    let annotations = &mut pod.metadata.annotations;
    annotations.retain(|name, _| meaning(name).is_none());
    let agent = ["true", &port, "/stats/prometheus"];
    for (name, value) in names::SCRAPE.into_iter().zip(agent) {
        annotations.insert(name.to_owned(), value.to_owned());
    }
}
