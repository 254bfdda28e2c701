//! What a folder of YAML means to the lab: its workloads and the Services that select them.
//!
//! A workload is a Pod without a status, or a WorkloadEntry. What the annotations and labels ask of the lab:
//!
//! - annotation `dev.lateen.io/calls: URL`: the workload calls the URL, over and over;
//! - annotation `dev.lateen.io/hostnames: a.example.com,b.example.com`: the cluster's name server knows the workload by
//!   these names, as the world outside of the mesh would;
//! - annotation `dev.lateen.io/families: IPv6`, or `IPv4,IPv6`: the families of the Pod's addresses, where they are not
//!   IPv4 alone;
//! - label `sidecar.istio.io/inject: "false"`: no proxy and no captured traffic.

use std::collections::BTreeMap;
use std::net::IpAddr;

use istio_api::IntOrString;
use model::Families;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The annotation that makes a workload a caller.
pub const CALLS: &str = "dev.lateen.io/calls";
/// The annotation with the names that a workload has outside of the mesh.
pub const HOSTNAMES: &str = "dev.lateen.io/hostnames";

/// The annotation with the families of a Pod's addresses.
pub const FAMILIES: &str = "dev.lateen.io/families";

/// The parts of a folder that become processes and endpoints.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Folder {
    /// The workloads, by `namespace/name`.
    pub workloads: BTreeMap<String, Workload>,
    /// The Services.
    pub services: Vec<Service>,
    /// The MeshConfig: `data.mesh` of the ConfigMap `istio` in `istio-system`.
    pub mesh_config: Map<String, Value>,
}

/// Where a workload comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A Pod: the lab gives it an address.
    Pod,
    /// A WorkloadEntry, which names its own.
    WorkloadEntry,
}

/// A workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Pod or WorkloadEntry.
    pub origin: Origin,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its service account.
    pub service_account: String,
    /// Its ports, by name where they have one.
    pub ports: Vec<(Option<String>, u16)>,
    /// `spec.hostname` and `spec.subdomain`: how a headless Service names it.
    pub hostname: Option<(String, String)>,
    /// The address that it names itself.
    pub address: Option<IpAddr>,
    /// The object as it was written.
    pub document: Value,
}

impl Workload {
    /// Whether it has a proxy.
    #[must_use]
    pub fn is_injected(&self) -> bool {
        self.labels
            .get("sidecar.istio.io/inject")
            .is_none_or(|value| value != "false")
    }

    /// Its label `version`.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.labels.get("version").map(String::as_str)
    }

    /// The families of the addresses that it is given.
    #[must_use]
    pub fn families(&self) -> Families {
        let written = self.annotations.get(FAMILIES).map(String::as_str);
        let has =
            |family| written.is_some_and(|text| text.split(',').any(|one| one.trim() == family));
        match (has("IPv4"), has("IPv6")) {
            (_, false) => Families::V4,
            (false, true) => Families::V6,
            (true, true) => Families::Dual,
        }
    }

    /// `namespace/name`.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its selector; empty: its endpoints are written in the folder.
    pub selector: BTreeMap<String, String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// `spec.clusterIP`.
    pub cluster_ip: Option<String>,
}

impl Service {
    /// Whether it has no address of its own.
    #[must_use]
    pub fn is_headless(&self) -> bool {
        self.cluster_ip.as_deref() == Some("None")
    }

    /// Whether its selector picks a workload.
    #[must_use]
    pub fn selects(&self, workload: &Workload) -> bool {
        let has = |(key, value): (&String, &String)| workload.labels.get(key) == Some(value);
        !self.selector.is_empty()
            && self.namespace == workload.namespace
            && self.selector.iter().all(has)
    }
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `name`.
    pub name: Option<String>,
    /// `port`.
    pub number: u16,
    /// `targetPort`.
    pub target: IntOrString,
}

impl ServicePort {
    /// The port of a workload that this port leads to; none: it has no port of that name.
    #[must_use]
    pub fn resolve(&self, workload: &Workload) -> Option<u16> {
        match &self.target {
            IntOrString::Int(number) => u16::try_from(*number).ok(),
            IntOrString::String(name) => {
                let named = |(port, _): &&(Option<String>, u16)| port.as_ref() == Some(name);
                workload.ports.iter().find(named).map(|(_, number)| *number)
            }
        }
    }
}

impl Folder {
    /// Takes the documents of a folder apart. What is not readable is the control plane's business to report.
    #[must_use]
    pub fn new(documents: impl IntoIterator<Item = Value>) -> Self {
        let mut folder = Self::default();
        for document in documents {
            folder.add(document);
        }
        let services = std::mem::take(&mut folder.services);
        for workload in folder.workloads.values_mut() {
            workload.add_target_ports(&services);
        }
        folder.services = services;
        folder
    }

    /// `trustDomain` of the MeshConfig.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        self.mesh_config
            .get("trustDomain")
            .and_then(Value::as_str)
            .unwrap_or("cluster.local")
    }

    fn add(&mut self, document: Value) {
        let text = |path: &str| {
            document
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let kind = text("/kind");
        match kind.as_str() {
            "List" => {
                let items = document.get("items").and_then(Value::as_array);
                for item in items.cloned().unwrap_or_default() {
                    self.add(item);
                }
            }
            "Pod" => self.add_workload(pod(document)),
            "WorkloadEntry" => self.add_workload(workload_entry(document)),
            "Service" => self.services.extend(service(document)),
            "ConfigMap"
                if text("/metadata/name") == "istio"
                    && text("/metadata/namespace") == "istio-system" =>
            {
                if let Ok(Value::Object(config)) = crate::read::yaml(&text("/data/mesh")) {
                    self.mesh_config = config;
                }
            }
            _ => {}
        }
    }

    fn add_workload(&mut self, workload: Option<Workload>) {
        if let Some(workload) = workload {
            self.workloads.entry(workload.key()).or_insert(workload);
        }
    }
}

fn read<T: DeserializeOwned>(document: &Value) -> Option<T> {
    serde_json::from_value(document.clone()).ok()
}

fn namespace(meta: &istio_api::ObjectMeta) -> String {
    meta.namespace
        .clone()
        .unwrap_or_else(|| "default".to_owned())
}

fn pod(document: Value) -> Option<Workload> {
    let pod: istio_api::Pod = read(&document)?;
    // A Pod with an address lives elsewhere.
    if pod.status.pod_ip.is_some() || !pod.status.pod_ips.is_empty() {
        return None;
    }
    let ports = pod
        .spec
        .containers
        .iter()
        .flat_map(|container| &container.ports);
    let ports = ports.filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    let ports = ports
        .filter_map(|port| Some((port.name.clone(), u16::try_from(port.container_port?).ok()?)));
    Some(Workload {
        origin: Origin::Pod,
        namespace: namespace(&pod.metadata),
        name: pod.metadata.name?,
        ports: ports.collect(),
        labels: pod.metadata.labels,
        annotations: pod.metadata.annotations,
        service_account: pod
            .spec
            .service_account_name
            .unwrap_or_else(|| "default".to_owned()),
        hostname: pod.spec.hostname.zip(pod.spec.subdomain),
        address: None,
        document,
    })
}

fn workload_entry(document: Value) -> Option<Workload> {
    let entry: istio_api::WorkloadEntry = read(&document)?;
    let address = entry.spec.address.as_deref()?.parse().ok()?;
    let ports = entry.spec.ports.into_iter();
    let ports = ports.filter_map(|(name, number)| Some((Some(name), u16::try_from(number).ok()?)));
    let mut labels = entry.metadata.labels.clone();
    labels.extend(entry.spec.labels);
    Some(Workload {
        origin: Origin::WorkloadEntry,
        namespace: namespace(&entry.metadata),
        name: entry.metadata.name?,
        labels,
        annotations: entry.metadata.annotations,
        service_account: entry
            .spec
            .service_account
            .unwrap_or_else(|| "default".to_owned()),
        ports: ports.collect(),
        hostname: None,
        address: Some(address),
        document,
    })
}

fn service(document: Value) -> Option<Service> {
    let service: istio_api::Service = read(&document)?;
    if service.spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let port = |port: istio_api::ServicePort| {
        let number = port.port?;
        (port.protocol.as_deref().unwrap_or("TCP") == "TCP").then_some(())?;
        Some(ServicePort {
            name: port.name,
            number: u16::try_from(number).ok()?,
            target: port.target_port.unwrap_or(IntOrString::Int(number)),
        })
    };
    Some(Service {
        namespace: namespace(&service.metadata),
        name: service.metadata.name?,
        selector: service.spec.selector,
        ports: service.spec.ports.into_iter().filter_map(port).collect(),
        cluster_ip: service
            .spec
            .cluster_ip
            .filter(|address| !address.is_empty()),
    })
}

impl Workload {
    /// A port need not be declared to be open: what a Service leads to is served as well.
    fn add_target_ports(&mut self, services: &[Service]) {
        let selecting = services.iter().filter(|service| service.selects(self));
        let targets: Vec<u16> = selecting
            .flat_map(|service| &service.ports)
            .filter_map(|port| port.resolve(self))
            .collect();
        for target in targets {
            if !self.ports.iter().any(|(_, number)| *number == target) {
                self.ports.push((None, target));
            }
        }
    }
}
