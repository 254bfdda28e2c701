//! What injection knows before it sees a pod: the chart's values and the mesh's configuration, with Istio's names and
//! defaults. A value that cannot be used is a [`Problem`], and its default stands in for it.

use std::collections::BTreeMap;

use model::LabelSelector;
use serde_json::{Value, json};

use super::check;
use super::proxy_config::ProxyConfig;
use super::read::{Problem, Reader};

/// Reads the one YAML document of a text, as Kubernetes understands it. The caller has such a reader.
pub type ReadYaml = fn(&str) -> Result<Value, String>;

/// Everything that stands still between two pods.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) image: Image,
    pub(super) resources: Value,
    pub(super) init_resources: Option<Value>,
    pub(super) logging: Logging,
    pub(super) capture: Capture,
    pub(super) probes: Probes,
    pub(super) mesh: Mesh,
    pub(super) policy: Policy,
    pub(super) is_privileged: bool,
    pub(super) seccomp_profile: Option<Value>,
    pub(super) lifecycle: Option<Value>,
    pub(super) holds_application: bool,
    pub(super) native_sidecars: NativeSidecars,
    pub(super) merges_metrics: bool,
    pub(super) proxy_config: ProxyConfig,
    pub(super) yaml: ReadYaml,
}

/// Where the proxy's image comes from: `HUB/NAME:TAG`, or a whole reference.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) hub: String,
    pub(super) name: String,
    pub(super) init_name: String,
    pub(super) tag: String,
    pub(super) variant: String,
    pub(super) pull_policy: Option<String>,
    pub(super) pull_secrets: Vec<String>,
}

/// Envoy's and the agent's logs.
#[derive(Clone, Debug)]
pub(super) struct Logging {
    pub(super) level: String,
    pub(super) component_level: String,
    pub(super) agent_level: String,
    pub(super) is_json: bool,
}

/// Which traffic goes through the proxy, as the capture's flags say it.
#[derive(Clone, Debug)]
pub(super) struct Capture {
    pub(super) include_ranges: String,
    pub(super) exclude_ranges: String,
    pub(super) include_inbound: String,
    pub(super) exclude_inbound: String,
    pub(super) include_outbound: String,
    pub(super) exclude_outbound: String,
    pub(super) outbound_port: u16,
    pub(super) inbound_port: u16,
}

/// The proxy's own probes, and the rewriting of the app's.
#[derive(Clone, Debug)]
pub(super) struct Probes {
    pub(super) initial_delay: u32,
    pub(super) period: u32,
    pub(super) failure_threshold: u32,
    /// Of the startup probe; none: there is no startup probe.
    pub(super) startup_threshold: Option<u32>,
    pub(super) status_port: u16,
    pub(super) rewrites_apps: bool,
}

/// The mesh that the proxy is of.
#[derive(Clone, Debug)]
pub(super) struct Mesh {
    pub(super) revision: String,
    pub(super) istio_namespace: String,
    pub(super) ca_address: String,
    pub(super) cert_provider: String,
    pub(super) cluster_domain: String,
    pub(super) cluster: String,
    pub(super) network: String,
    pub(super) mesh_id: String,
    pub(super) trust_domain: String,
}

/// Which pods are injected.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) is_enabled: bool,
    pub(super) has_every_namespace: bool,
    pub(super) never: Vec<LabelSelector>,
    pub(super) always: Vec<LabelSelector>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// `ENABLE_NATIVE_SIDECARS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NativeSidecars {
    /// Where every node can.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl Settings {
    /// Reads the chart's values (key `values` of ConfigMap `istio-sidecar-injector`) and the MeshConfig.
    #[must_use]
    pub fn parse(values: &Value, mesh: &Value, yaml: ReadYaml) -> (Self, Vec<Problem>) {
        let mut mesh_reader = Reader::new("meshConfig", mesh);
        let reader = &mut Reader::new("", values);
        let proxy_config = mesh_reader.proxy_config();
        let settings = Self {
            image: image(reader),
            resources: reader.object("global.proxy.resources").unwrap_or_else(
                || json!({ "limits": { "cpu": "2000m", "memory": "1024Mi" }, "requests": { "cpu": "100m", "memory": "128Mi" } }),
            ),
            init_resources: reader.object("global.proxy_init.resources"),
            logging: logging(reader),
            capture: capture(reader, &mut mesh_reader),
            probes: probes(reader),
            mesh: mesh_of(reader, &mut mesh_reader),
            policy: policy(reader),
            is_privileged: reader.flag("global.proxy.privileged", false),
            seccomp_profile: reader.object("global.proxy.seccompProfile"),
            lifecycle: reader.object("global.proxy.lifecycle"),
            holds_application: reader.flag("global.proxy.holdApplicationUntilProxyStarts", false),
            native_sidecars: native_sidecars(reader),
            merges_metrics: mesh_reader.flag("enablePrometheusMerge", true),
            proxy_config,
            yaml,
        };
        if reader.flag("pilot.cni.enabled", false) {
            reader.problem(
                "pilot.cni.enabled",
                "a CNI plugin is not supported; an init container captures the traffic",
            );
        }
        let mut problems = std::mem::take(&mut reader.problems);
        problems.append(&mut mesh_reader.problems);
        (settings, problems)
    }

    /// The revision's name, `default` when it has none.
    #[must_use]
    pub fn revision(&self) -> &str {
        match self.mesh.revision.as_str() {
            "" => "default",
            revision => revision,
        }
    }
}

fn image(reader: &mut Reader<'_>) -> Image {
    let name = reader.text("global.proxy.image", "proxyv2");
    Image {
        hub: reader.text("global.hub", "localhost/lateen"),
        init_name: reader.text("global.proxy_init.image", "proxyv2"),
        name,
        tag: reader.text("global.tag", env!("CARGO_PKG_VERSION")),
        variant: reader.text("global.variant", ""),
        pull_policy: Some(reader.checked("global.imagePullPolicy", "", check::pull_policy))
            .filter(|policy| !policy.is_empty()),
        pull_secrets: reader.names("global.imagePullSecrets"),
    }
}

fn logging(reader: &mut Reader<'_>) -> Logging {
    Logging {
        level: reader.checked("global.proxy.logLevel", "warning", check::level),
        component_level: reader.checked(
            "global.proxy.componentLogLevel",
            "misc:error",
            check::component_levels,
        ),
        agent_level: reader.checked("global.logging.level", "default:info", check::agent_levels),
        is_json: reader.flag("global.logAsJson", false),
    }
}

fn capture(reader: &mut Reader<'_>, mesh: &mut Reader<'_>) -> Capture {
    Capture {
        include_ranges: reader.checked("global.proxy.includeIPRanges", "*", check::ranges_or_all),
        exclude_ranges: reader.checked("global.proxy.excludeIPRanges", "", check::ranges),
        include_inbound: reader.checked(
            "global.proxy.includeInboundPorts",
            "*",
            check::ports_or_all,
        ),
        exclude_inbound: reader.checked("global.proxy.excludeInboundPorts", "", check::ports),
        include_outbound: reader.checked("global.proxy.includeOutboundPorts", "", check::ports),
        exclude_outbound: reader.checked("global.proxy.excludeOutboundPorts", "", check::ports),
        outbound_port: mesh.number("proxyListenPort", 15001),
        inbound_port: mesh.number("proxyInboundListenPort", 15006),
    }
}

fn probes(reader: &mut Reader<'_>) -> Probes {
    let has_startup = reader.flag("global.proxy.startupProbe.enabled", true);
    let threshold = reader.number("global.proxy.startupProbe.failureThreshold", 600);
    Probes {
        initial_delay: reader.number("global.proxy.readinessInitialDelaySeconds", 0),
        period: reader.number("global.proxy.readinessPeriodSeconds", 15),
        failure_threshold: reader.number("global.proxy.readinessFailureThreshold", 4),
        startup_threshold: has_startup.then_some(threshold),
        status_port: reader.number("global.proxy.statusPort", 15020),
        rewrites_apps: reader.flag("sidecarInjectorWebhook.rewriteAppHTTPProbe", true),
    }
}

fn mesh_of(reader: &mut Reader<'_>, mesh: &mut Reader<'_>) -> Mesh {
    let of_values = reader.text("global.trustDomain", "cluster.local");
    Mesh {
        revision: match reader.text("revision", "").as_str() {
            "default" => String::new(),
            revision => revision.to_owned(),
        },
        istio_namespace: reader.text("global.istioNamespace", "istio-system"),
        ca_address: reader.text("global.caAddress", ""),
        cert_provider: reader.text("global.pilotCertProvider", "istiod"),
        cluster_domain: reader.text("global.proxy.clusterDomain", "cluster.local"),
        cluster: reader.text("global.multiCluster.clusterName", "Kubernetes"),
        network: reader.text("global.network", ""),
        mesh_id: reader.text("global.meshID", ""),
        trust_domain: mesh.text("trustDomain", &of_values),
    }
}

fn policy(reader: &mut Reader<'_>) -> Policy {
    let auto = reader.checked("global.proxy.autoInject", "enabled", check::auto_inject);
    Policy {
        is_enabled: auto == "enabled",
        has_every_namespace: reader.flag("sidecarInjectorWebhook.enableNamespacesByDefault", false),
        never: reader.selectors("sidecarInjectorWebhook.neverInjectSelector"),
        always: reader.selectors("sidecarInjectorWebhook.alwaysInjectSelector"),
        annotations: reader.texts("sidecarInjectorWebhook.injectedAnnotations"),
    }
}

fn native_sidecars(reader: &mut Reader<'_>) -> NativeSidecars {
    let global = reader.checked("global.nativeSidecars", "auto", check::native_sidecars);
    let pilot = reader.checked(
        "pilot.env.ENABLE_NATIVE_SIDECARS",
        &global,
        check::native_sidecars,
    );
    match pilot.as_str() {
        "true" => NativeSidecars::On,
        "false" => NativeSidecars::Off,
        _ => NativeSidecars::Auto,
    }
}
