//! What is decided about one pod before anything is built: settings, annotations and the proxy's configuration together.

use std::collections::BTreeMap;

use serde_json::Value;

use super::annotations::{self as names, Annotations};
use super::owner::Owner;
use super::pod::{Container, Pod};
use super::proxy_config::ProxyConfig;
use super::settings::{NativeSidecars, Settings};
use super::status::Status;
use super::{Refusal, Request};

/// The name of the proxy's container.
pub(super) const PROXY: &str = "istio-proxy";
/// The name of the container that captures traffic.
pub(super) const INIT: &str = "istio-init";

/// One pod's injection.
pub(super) struct Context<'a> {
    pub(super) settings: &'a Settings,
    pub(super) annotations: Annotations<'a>,
    pub(super) config: ProxyConfig,
    pub(super) namespace: &'a str,
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) owner: Owner,
    pub(super) is_native: bool,
    pub(super) cluster: String,
    pub(super) network: String,
    /// Variables that the webhook's path adds.
    pub(super) environment: &'a BTreeMap<String, String>,
    /// The containers that somebody wrote, without an `istio-proxy` of theirs.
    pub(super) apps: Vec<&'a Container>,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        settings: &'a Settings,
        request: &Request<'a>,
        pod: &'a Pod,
        previous: &Status,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Vec<Refusal>> {
        let annotations = Annotations::check(request.pod)?;
        let config = config(settings, annotations, warnings)?;
        let apps = pod.spec.containers.iter();
        let apps = apps
            .filter(|container| container.name != PROXY && !previous.has_container(&container.name))
            .collect();
        let cluster = environment(request, "ISTIO_META_CLUSTER_ID");
        let network = environment(request, "ISTIO_META_NETWORK");
        let label = pod.metadata.labels.get("topology.istio.io/network");
        Ok(Self {
            settings,
            annotations,
            namespace: request.namespace,
            labels: &pod.metadata.labels,
            owner: request
                .owner
                .cloned()
                .unwrap_or_else(|| Owner::of_pod(request.pod)),
            is_native: is_native(settings, annotations, request),
            cluster: cluster.unwrap_or(&settings.mesh.cluster).to_owned(),
            network: label
                .map(String::as_str)
                .or(network)
                .unwrap_or(&settings.mesh.network)
                .to_owned(),
            environment: request.environment,
            apps,
            config,
        })
    }

    /// How traffic is captured: `REDIRECT`, or `NONE`.
    pub(super) fn interception_mode(&self) -> &str {
        let of_config = self.config.interception_mode().unwrap_or("REDIRECT");
        self.annotations.or(names::INTERCEPTION_MODE, of_config)
    }

    /// Whether an init container captures traffic.
    pub(super) fn captures(&self) -> bool {
        self.interception_mode() != "NONE"
    }

    /// The agent's port; 0: no readiness probe, and the app's probes stay.
    pub(super) fn status_port(&self) -> u16 {
        let settings = self.settings.probes.status_port;
        let of_config = self.config.status_port().unwrap_or(settings);
        self.annotations.number(names::STATUS_PORT, of_config)
    }

    /// Whether the app's containers start only when the proxy is ready. A native sidecar's always do.
    pub(super) fn holds_application(&self) -> bool {
        let of_config = self.config.holds_application().unwrap_or(false);
        !self.is_native && (of_config || self.settings.holds_application)
    }

    /// The proxy's image.
    pub(super) fn image(&self, of_settings: &str) -> String {
        let whole = [self.annotations.get(names::PROXY_IMAGE), Some(of_settings)];
        // A name without a slash is one of the hub's images, of which there is one that runs.
        if let Some(image) = whole
            .into_iter()
            .flatten()
            .find(|image| image.contains('/'))
        {
            return image.to_owned();
        }
        let image = &self.settings.image;
        let of_config = self.config.image_type().unwrap_or(&image.variant);
        let tag = tag(
            &image.tag,
            self.annotations.or(names::PROXY_IMAGE_TYPE, of_config),
        );
        format!("{}/{}:{tag}", image.hub, image.name)
    }
}

/// A tag with another kind of image in it.
fn tag(tag: &str, kind: &str) -> String {
    if kind.is_empty() {
        return tag.to_owned();
    }
    let known = ["-distroless", "-debug"];
    let bare = known.iter().find_map(|ending| tag.strip_suffix(ending));
    let bare = bare.unwrap_or(tag);
    match kind {
        "default" => bare.to_owned(),
        kind => format!("{bare}-{kind}"),
    }
}

fn environment<'a>(request: &Request<'a>, name: &str) -> Option<&'a str> {
    let value = request.environment.get(name)?;
    (!value.is_empty()).then_some(value.as_str())
}

fn is_native(settings: &Settings, annotations: Annotations<'_>, request: &Request<'_>) -> bool {
    annotations
        .flag(names::NATIVE_SIDECAR)
        .unwrap_or(match settings.native_sidecars {
            NativeSidecars::On => true,
            NativeSidecars::Off => false,
            NativeSidecars::Auto => request.nodes_have_native_sidecars,
        })
}

/// The mesh's configuration under the pod's.
fn config(
    settings: &Settings,
    annotations: Annotations<'_>,
    warnings: &mut Vec<String>,
) -> Result<ProxyConfig, Vec<Refusal>> {
    let Some(text) = annotations.get(names::PROXY_CONFIG) else {
        return Ok(settings.proxy_config.clone());
    };
    let refuse = |message: String| vec![Refusal::annotation(names::PROXY_CONFIG, text, &message)];
    let value = if text.trim().is_empty() {
        Value::Null
    } else {
        (settings.yaml)(text).map_err(|error| refuse(format!("a ProxyConfig in YAML ({error})")))?
    };
    let (config, unknown) = ProxyConfig::strict(&value)
        .map_err(|error| refuse(format!("a ProxyConfig in YAML ({error})")))?;
    for name in unknown {
        let annotation = names::PROXY_CONFIG;
        warnings.push(format!(
            "{annotation}: ProxyConfig has no field {name:?}; it is ignored"
        ));
    }
    Ok(settings.proxy_config.merged(config))
}
