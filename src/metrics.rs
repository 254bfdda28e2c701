//! The control plane's metrics under the names and labels that Istio's dashboards use.
//!
//! Istio's counters have no `_total` behind their names, which the OpenMetrics encoder would add. So they are encoded as
//! gauges: `rate()` does not care.

mod cluster;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use k8s::Health;
use mesh::Mesh;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use xds::Kind;

pub use cluster::Admissions;
use cluster::Watches;

/// Nodes that have rejections of their own; those of further nodes are counted under `other`.
const MAX_NODES: usize = 4096;

/// What Envoy says when it refuses: the only code that it uses.
const REJECTED: &str = "Internal";

/// Istio's buckets, in seconds and in bytes.
const CONVERGENCE: [f64; 8] = [0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0];
const SIZES: [f64; 6] = [1.0, 10e3, 1e6, 4e6, 10e6, 40e6];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByType {
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByVersion {
    version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByNode {
    node: String,
    err: &'static str,
}

type Sizes = Family<ByType, Histogram, fn() -> Histogram>;

/// All metrics. Everything in it may be moved from any thread.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    proxies: Family<ByVersion, Gauge>,
    /// Held while proxies are counted, because a version that nobody has any more is removed.
    counting: Mutex<()>,
    pushes: Family<ByType, Gauge>,
    sizes: Sizes,
    convergence: Histogram,
    rejects: Family<ByType, Gauge>,
    rejecting: [Family<ByNode, Gauge>; 4],
    nodes: AtomicU64,
    mesh: Arc<ArcSwap<Mesh>>,
    citadel: Arc<OnceLock<Citadel>>,
    watches: Arc<OnceLock<Arc<Health>>>,
    /// What the webhooks decided.
    pub admissions: Admissions,
}

/// The kinds of which rejections are counted by node, with the metric's name.
const REJECTING: [(Kind, &str, &str); 4] = [
    (
        Kind::Cluster,
        "pilot_xds_cds_reject",
        "Pilot rejected CDS configs",
    ),
    (Kind::Endpoint, "pilot_xds_eds_reject", "Pilot rejected EDS"),
    (Kind::Listener, "pilot_xds_lds_reject", "Pilot rejected LDS"),
    (Kind::Route, "pilot_xds_rds_reject", "Pilot rejected RDS"),
];

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let sizes: Sizes = Family::new_with_constructor(|| Histogram::new(SIZES));
        let metrics = Self {
            proxies: registered(
                &mut registry,
                "pilot_xds",
                "Number of endpoints connected to this pilot using XDS",
            ),
            pushes: registered(
                &mut registry,
                "pilot_xds_pushes",
                "Responses sent for lds, rds, cds, eds and nds",
            ),
            rejects: registered(
                &mut registry,
                "pilot_total_xds_rejects",
                "Total number of XDS responses rejected",
            ),
            rejecting: REJECTING.map(|(_, name, help)| registered(&mut registry, name, help)),
            mesh: Arc::default(),
            convergence: Histogram::new(CONVERGENCE),
            sizes,
            counting: Mutex::default(),
            citadel: Arc::default(),
            watches: Arc::default(),
            admissions: Admissions::default(),
            nodes: AtomicU64::new(0),
            registry: Registry::default(),
        };
        let help = "Distribution of configuration sizes pushed to clients";
        registry.register("pilot_xds_config_size_bytes", help, metrics.sizes.clone());
        let help = "Delay in seconds between config change and a proxy receiving all required configuration";
        registry.register(
            "pilot_proxy_convergence_time",
            help,
            metrics.convergence.clone(),
        );
        let info: Family<ByVersion, Gauge> = registered(
            &mut registry,
            "pilot_info",
            "Pilot version and build information",
        );
        info.get_or_create(&ByVersion {
            version: crate::VERSION.to_owned(),
        })
        .set(1);
        registry.register_collector(Box::new(Objects(Arc::clone(&metrics.mesh))));
        registry.register_collector(Box::new(Uptime(Instant::now())));
        registry.register_collector(Box::new(LateCitadel(Arc::clone(&metrics.citadel))));
        registry.register_collector(Box::new(Watches(Arc::clone(&metrics.watches))));
        metrics.admissions.register(&mut registry);
        Self {
            registry,
            ..metrics
        }
    }
}

impl Metrics {
    /// From now on the counts of the certificate authority are among them.
    pub fn set_ca(&self, counters: Arc<ca::Counters>, authority: Arc<ca::Authority>) {
        // There is one authority in a process; a second would change nothing.
        let _ = self.citadel.set(Citadel {
            counters,
            authority,
        });
    }

    /// A proxy of this version came.
    pub fn connected(&self, version: &str) {
        let _counting = self.counting.lock();
        self.proxies
            .get_or_create(&ByVersion {
                version: version.to_owned(),
            })
            .inc();
    }

    /// A proxy of this version went.
    pub fn disconnected(&self, version: &str) {
        let _counting = self.counting.lock();
        let label = ByVersion {
            version: version.to_owned(),
        };
        if self.proxies.get_or_create(&label).dec() <= 1 {
            // A version becomes the name of a series and comes from the network: keep none that nobody uses.
            self.proxies.remove(&label);
        }
    }

    /// A response of so many bytes was sent.
    pub fn sent(&self, kind: Kind, bytes: usize) {
        self.pushes
            .get_or_create(&ByType {
                r#type: kind.short(),
            })
            .inc();
        #[allow(
            clippy::cast_precision_loss,
            reason = "a response has less than 2^52 bytes"
        )]
        self.sizes
            .get_or_create(&ByType {
                r#type: kind.type_url(),
            })
            .observe(bytes as f64);
    }

    /// A proxy has accepted all that followed from a change, so long after the change.
    pub fn converged(&self, after: Duration) {
        self.convergence.observe(after.as_secs_f64());
    }

    /// A proxy refused a response.
    pub fn rejected(&self, kind: Kind, proxy: &str) {
        self.rejects
            .get_or_create(&ByType {
                r#type: kind.short(),
            })
            .inc();
        let Some(at) = REJECTING
            .iter()
            .position(|(rejecting, ..)| *rejecting == kind)
        else {
            return;
        };
        let Some(family) = self.rejecting.get(at) else {
            return;
        };
        let mut label = ByNode {
            node: proxy.to_owned(),
            err: REJECTED,
        };
        if family.get(&label).is_none()
            && self.nodes.fetch_add(1, Ordering::Relaxed) >= MAX_NODES as u64
        {
            "other".clone_into(&mut label.node);
        }
        family.get_or_create(&label).inc();
    }

    /// The objects of now; they are counted when somebody asks.
    pub fn set_mesh(&self, mesh: Mesh) {
        self.mesh.store(Arc::new(mesh));
    }

    /// The objects of now, with what can be looked up about them.
    #[must_use]
    pub fn mesh(&self) -> Arc<Mesh> {
        self.mesh.load_full()
    }

    /// The watches of a cluster. Only the first call counts.
    pub fn set_watches(&self, health: Arc<Health>) {
        // There is one cluster.
        let _ = self.watches.set(health);
    }

    /// All of it in the text format of Prometheus.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string fails only if a metric cannot be encoded; what stands before it is still right.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

fn registered<M: prometheus_client::registry::Metric + Clone + Default>(
    registry: &mut Registry,
    name: &str,
    help: &str,
) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// What there is.
#[derive(Debug)]
struct Objects(Arc<ArcSwap<Mesh>>);

impl Collector for Objects {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        let mesh = self.0.load();
        let counts = [
            (
                "pilot_services",
                "Total services known to pilot",
                mesh.services().len(),
            ),
            (
                "pilot_virt_services",
                "Total virtual services known to pilot",
                mesh.virtual_service_count(),
            ),
        ];
        for (name, help, count) in counts {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(count).encode(encoder)?;
        }
        Ok(())
    }
}

/// How long the process has been up.
#[derive(Debug)]
struct Uptime(Instant);

impl Collector for Uptime {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        gauge(
            &mut encoder,
            "istiod_uptime_seconds",
            "Current istiod server uptime in seconds",
            self.0.elapsed().as_secs_f64(),
        )
    }
}

/// The authority exists only after the first read of the MeshConfig.
#[derive(Debug)]
struct LateCitadel(Arc<OnceLock<Citadel>>);

impl Collector for LateCitadel {
    fn encode(&self, encoder: DescriptorEncoder) -> std::fmt::Result {
        self.0
            .get()
            .map_or(Ok(()), |citadel| citadel.encode(encoder))
    }
}

/// Istio's CA server was called Citadel.
#[derive(Debug)]
struct Citadel {
    counters: Arc<ca::Counters>,
    authority: Arc<ca::Authority>,
}

impl Collector for Citadel {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        let ca::Counters {
            csr_count,
            success_cert_issuance_count,
            authentication_failure_count,
            csr_parsing_err_count,
            csr_sign_err_count,
        } = &*self.counters;
        let counters = [
            ("csr_count", "CSRs received", csr_count),
            (
                "success_cert_issuance_count",
                "Certificates issued",
                success_cert_issuance_count,
            ),
            (
                "authentication_failure_count",
                "CSRs whose sender proved no identity",
                authentication_failure_count,
            ),
            (
                "csr_parsing_err_count",
                "CSRs that were refused",
                csr_parsing_err_count,
            ),
            (
                "csr_sign_err_count",
                "Certificates that could not be made",
                csr_sign_err_count,
            ),
        ];
        for (name, help, counter) in counters {
            let value = counter.load(Ordering::Relaxed);
            #[allow(
                clippy::cast_precision_loss,
                reason = "a count of calls is less than 2^52"
            )]
            gauge(
                &mut encoder,
                &format!("citadel_server_{name}"),
                help,
                value as f64,
            )?;
        }
        let end = self
            .authority
            .not_after()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let help = "The unix timestamp, in seconds, when the CA certificate will expire";
        gauge(
            &mut encoder,
            "citadel_server_root_cert_expiry_timestamp",
            help,
            end.as_secs_f64(),
        )
    }
}

fn gauge(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: f64) -> std::fmt::Result {
    let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(encoder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_istios() {
        let metrics = Metrics::default();
        metrics.connected("1.32.0");
        metrics.sent(Kind::Cluster, 12_000);
        metrics.converged(Duration::from_millis(200));
        metrics.rejected(Kind::Route, "cart-1.shop");
        let text = metrics.text();
        for line in [
            "pilot_xds{version=\"1.32.0\"} 1",
            "pilot_xds_pushes{type=\"cds\"} 1",
            "pilot_xds_config_size_bytes_bucket{le=\"1000000.0\",type=\"type.googleapis.com/envoy.config.cluster.v3.Cluster\"} 1",
            "pilot_proxy_convergence_time_bucket{le=\"0.5\"} 1",
            "pilot_total_xds_rejects{type=\"rds\"} 1",
            "pilot_xds_rds_reject{node=\"cart-1.shop\",err=\"Internal\"} 1",
            "pilot_services 0",
            "pilot_virt_services 0",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line}\n{text}");
        }
        assert!(
            text.contains("\nistiod_uptime_seconds ") && text.contains("\npilot_info{version="),
            "{text}"
        );
        metrics.disconnected("1.32.0");
        assert!(!metrics.text().contains("\npilot_xds{"));
    }

    #[test]
    fn odd_nodes_do_not_make_endless_series() {
        let metrics = Metrics::default();
        for node in 0..MAX_NODES + 10 {
            metrics.rejected(Kind::Listener, &node.to_string());
        }
        assert!(
            metrics
                .text()
                .contains("pilot_xds_lds_reject{node=\"other\",err=\"Internal\"} 10")
        );
    }
}
