//! What the agent counts of itself, under Istio's names, and how Envoy's metrics are made Istio's.

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::certificate::Certificate;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the agent counts. Each stands as `istio_agent_*` on its metrics page.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Messages from Envoy to the control plane.
    pub xds_proxy_requests: Counter,
    /// Messages from the control plane to Envoy.
    pub xds_proxy_responses: Counter,
    /// Streams to the control plane that could not be opened.
    pub istiod_connection_failures: Counter,
    /// Streams that the control plane ended.
    pub istiod_connection_terminations: Counter,
    /// Streams that Envoy ended.
    pub envoy_connection_terminations: Counter,
    /// Requests for a certificate.
    pub outgoing_requests: Counter,
    /// Reads of the metrics page.
    pub scrapes: Counter,
    /// Reads of it for which Envoy's metrics could not be had.
    pub envoy_scrape_failures: Counter,
    /// Reads of it for which the app's metrics could not be had.
    pub app_scrape_failures: Counter,
    /// Questions to the DNS server.
    pub dns_requests: Counter,
    /// Questions that it forwarded.
    pub dns_upstream_requests: Counter,
    /// Questions that it forwarded in vain.
    pub dns_upstream_failures: Counter,
}

impl Metrics {
    /// The page in Prometheus' text format.
    #[must_use]
    pub fn render(
        &self,
        certificate: Option<&Certificate>,
        startup: Option<Duration>,
        now: SystemTime,
    ) -> String {
        let mut page = Page::default();
        self.discovery(&mut page);
        self.others(&mut page);
        if let Some(certificate) = certificate {
            let left = certificate
                .not_after
                .duration_since(now)
                .unwrap_or_default();
            page.add(
                "gauge",
                "cert_expiry_seconds",
                r#"{resource_name="default"}"#,
                left.as_secs(),
            );
        }
        if let Some(startup) = startup {
            page.add(
                "gauge",
                "startup_duration_seconds",
                "",
                startup.as_secs_f64(),
            );
        }
        page.text
    }

    fn discovery(&self, page: &mut Page) {
        page.count("xds_proxy_requests", "", &self.xds_proxy_requests);
        page.count("xds_proxy_responses", "", &self.xds_proxy_responses);
        let failures = &self.istiod_connection_failures;
        page.count("istiod_connection_failures", "", failures);
        let ended = &self.istiod_connection_terminations;
        page.count("istiod_connection_terminations", "", ended);
        let ended = &self.envoy_connection_terminations;
        page.count("envoy_connection_terminations", "", ended);
    }

    fn others(&self, page: &mut Page) {
        let requests = &self.outgoing_requests;
        page.count("num_outgoing_requests", r#"{request_type="csr"}"#, requests);
        page.count("scrapes_total", "", &self.scrapes);
        let (envoy, app) = (&self.envoy_scrape_failures, &self.app_scrape_failures);
        page.count("scrape_failures_total", r#"{type="envoy"}"#, envoy);
        page.count("scrape_failures_total", r#"{type="application"}"#, app);
        page.count("dns_requests_total", "", &self.dns_requests);
        let (asked, failed) = (&self.dns_upstream_requests, &self.dns_upstream_failures);
        page.count("dns_upstream_requests_total", "", asked);
        page.count("dns_upstream_failures_total", "", failed);
    }
}

#[derive(Default)]
struct Page {
    text: String,
    last: &'static str,
}

impl Page {
    fn count(&mut self, name: &'static str, labels: &str, counter: &Counter) {
        self.add("counter", name, labels, counter.get());
    }

    fn add(&mut self, kind: &str, name: &'static str, labels: &str, value: impl Display) {
        // Writing to a String does not fail.
        if name != self.last {
            let _ = writeln!(self.text, "# TYPE istio_agent_{name} {kind}");
        }
        let _ = writeln!(self.text, "istio_agent_{name}{labels} {value}");
        self.last = name;
    }
}

/// Makes the metrics of stock Envoy's stats access logger Istio's own: `envoy_istio_requests_total` is
/// `istio_requests_total`, and what Envoy left empty is `unknown`, as Istio's dashboards have it. Other lines stay.
#[must_use]
pub fn as_istio(page: &str) -> String {
    let mut out = String::with_capacity(page.len());
    for line in page.split_inclusive('\n') {
        if let Some(rest) = line.strip_prefix("envoy_istio_") {
            out.push_str("istio_");
            push_sample(&mut out, rest);
        } else if let Some((kind, rest)) = header(line) {
            out.push_str(kind);
            out.push_str("istio_");
            out.push_str(rest);
        } else {
            out.push_str(line);
        }
    }
    out
}

fn header(line: &str) -> Option<(&str, &str)> {
    let at = line.find("envoy_istio_")?;
    let (kind, rest) = line.split_at_checked(at)?;
    matches!(kind, "# TYPE " | "# HELP ")
        .then(|| (kind, rest.strip_prefix("envoy_istio_").unwrap_or(rest)))
}

/// Copies a sample and fills its empty label values. A quoted value may contain anything, `=""` behind a backslash too,
/// so that values are walked over, not searched through.
fn push_sample(out: &mut String, sample: &str) {
    let mut rest = sample;
    while let Some((name, value)) = rest.split_once("=\"") {
        out.push_str(name);
        out.push_str("=\"");
        let end = quoted(value);
        out.push_str(if end == 0 {
            "unknown"
        } else {
            value.get(..end).unwrap_or_default()
        });
        rest = value.get(end..).unwrap_or_default();
        // the closing quote
        if let Some(tail) = rest.strip_prefix('"') {
            out.push('"');
            rest = tail;
        }
    }
    out.push_str(rest);
}

/// The length of a quoted value, up to its closing quote.
fn quoted(value: &str) -> usize {
    let mut escaped = false;
    let end = value.find(|c| match c {
        _ if escaped => {
            escaped = false;
            false
        }
        '\\' => {
            escaped = true;
            false
        }
        c => c == '"',
    });
    end.unwrap_or(value.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envoys_page_becomes_istios() {
        let page = concat!(
            "# TYPE envoy_istio_requests_total counter\n",
            "envoy_istio_requests_total{reporter=\"source\",source_app=\"\",path=\"a\\\"b=\\\"\",last=\"\"} 3\n",
            "# TYPE envoy_server_live gauge\n",
            "envoy_server_live{x=\"\"} 1\n",
            "envoy_istio_tcp_received_bytes_total{} 4\n",
            "\n",
        );
        let wanted = concat!(
            "# TYPE istio_requests_total counter\n",
            "istio_requests_total{reporter=\"source\",source_app=\"unknown\",path=\"a\\\"b=\\\"\",last=\"unknown\"} 3\n",
            "# TYPE envoy_server_live gauge\n",
            "envoy_server_live{x=\"\"} 1\n",
            "istio_tcp_received_bytes_total{} 4\n",
            "\n",
        );
        assert_eq!(as_istio(page), wanted);
    }

    #[test]
    fn counts_stand_under_istios_names() {
        let metrics = Metrics::default();
        metrics.xds_proxy_requests.add();
        metrics.envoy_scrape_failures.add();
        let page = metrics.render(
            None,
            Some(Duration::from_millis(1500)),
            SystemTime::UNIX_EPOCH,
        );
        assert!(page.contains("\nistio_agent_scrape_failures_total{type=\"envoy\"} 1\n"));
        assert!(page.contains("istio_agent_xds_proxy_requests 1\n"));
        assert!(page.contains("istio_agent_startup_duration_seconds 1.5\n"));
        assert_eq!(
            page.matches("# TYPE istio_agent_scrape_failures_total")
                .count(),
            1
        );
    }
}
