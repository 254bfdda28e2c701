//! What Kubernetes would do for a folder: give addresses to Pods, inject the sidecar, keep EndpointSlices, name
//! Services, and lead the traffic of Pods without a proxy to a Service's Pods.
//!
//! The control plane gets its part as a folder of its own, listed before the user's: there a Pod stands once more, with
//! its address and the label that the injector sets (`security.istio.io/tlsMode: istio`), and the MeshConfig with an
//! access log; of two sources of one object the first counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use model::Families;
use serde_json::{Value, json};

use crate::folder::{Folder, HOSTNAMES, Origin, Service, Workload};
use crate::progress::marker;

/// Addresses of Pods: the part of 198.18.0.0/16 above the mesh's own.
const FIRST_POD: u32 = u32::from_be_bytes([198, 18, 1, 1]);
/// The same of IPv6.
const FIRST_POD_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 1, 0, 0, 1);
/// Addresses of Services, for Pods without a proxy: 198.19.128.0/17.
const FIRST_SERVICE: u32 = u32::from_be_bytes([198, 19, 128, 1]);

/// Addresses that were given and are kept.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    pods: BTreeMap<String, u32>,
    services: BTreeMap<String, u32>,
}

impl Addresses {
    /// The addresses of a workload; the same each time.
    pub fn of(&mut self, workload: &Workload) -> Vec<IpAddr> {
        if let Some(own) = workload.address {
            return vec![own];
        }
        let number = number(&mut self.pods, workload.key());
        let v4 = Ipv4Addr::from_bits(FIRST_POD + number).into();
        let v6 = Ipv6Addr::from_bits(FIRST_POD_V6.to_bits() + u128::from(number)).into();
        match workload.families() {
            Families::V4 => vec![v4],
            Families::V6 => vec![v6],
            Families::Dual => vec![v4, v6],
        }
    }

    fn of_service(&mut self, service: &Service) -> Option<IpAddr> {
        match &service.cluster_ip {
            Some(address) => address.parse().ok(),
            None => {
                let key = format!("{}/{}", service.namespace, service.name);
                let number = number(&mut self.services, key);
                Some(Ipv4Addr::from_bits(FIRST_SERVICE + number).into())
            }
        }
    }
}

fn number(given: &mut BTreeMap<String, u32>, key: String) -> u32 {
    let next = u32::try_from(given.len()).unwrap_or(0);
    *given.entry(key).or_insert(next)
}

/// What Kubernetes says about a folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Running Pods, EndpointSlices and the MeshConfig.
    pub objects: Vec<Value>,
    /// What the cluster's name server answers.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// `iptables-restore` text for Pods without a proxy.
    pub rules: String,
}

/// Does Kubernetes' work for a folder.
#[must_use]
pub fn cluster(folder: &Folder, addresses: &mut Addresses) -> Cluster {
    let mut cluster = Cluster::default();
    cluster.objects.push(mesh_config(folder));
    for workload in folder.workloads.values() {
        if workload.origin == Origin::Pod {
            cluster
                .objects
                .push(running(workload, &addresses.of(workload)));
        }
        for name in workload
            .annotations
            .get(HOSTNAMES)
            .into_iter()
            .flat_map(|names| names.split(','))
        {
            let known = cluster.names.entry(name.trim().to_lowercase()).or_default();
            known.extend(addresses.of(workload));
        }
    }
    let mut rules = String::from("*nat\n");
    for service in &folder.services {
        let pods: Vec<(&Workload, IpAddr)> = folder
            .workloads
            .values()
            .filter(|workload| workload.origin == Origin::Pod && service.selects(workload))
            .flat_map(|workload| {
                let own = addresses.of(workload).into_iter();
                own.map(move |address| (workload, address))
            })
            .collect();
        cluster.objects.extend(slices(service, &pods));
        name(service, &pods, addresses, &mut cluster.names);
        if let Some(address) = addresses.of_service(service) {
            lead(service, address, &pods, &mut rules);
        }
    }
    rules.push_str("COMMIT\n");
    cluster.rules = rules;
    cluster
}

impl Cluster {
    /// Writes the objects into a folder, all at once, with a marker of this generation.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path, generation: u64) -> io::Result<()> {
        let marker = marker(MARKER, generation);
        replace(
            &folder.join("kubernetes.yaml"),
            &text(self.objects.iter().chain([&marker])),
        )
    }
}

/// The marker of the folder that Kubernetes' part is written to.
pub const MARKER: &str = "cluster";

/// Objects as YAML.
#[must_use]
pub fn text<'a>(objects: impl IntoIterator<Item = &'a Value>) -> String {
    let mut text = String::new();
    for object in objects {
        let _ = writeln!(text, "---\n{object}");
    }
    text
}

/// Writes a file so that no reader ever sees half of it.
///
/// # Errors
/// It cannot be written.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, text)?;
    fs::rename(part, path)
}

/// The folder's MeshConfig; with an access log, for a mesh on a laptop is there to be looked at.
fn mesh_config(folder: &Folder) -> Value {
    let mut config = folder.mesh_config.clone();
    config
        .entry("accessLogFile")
        .or_insert_with(|| Value::from("/dev/stdout"));
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "istio", "namespace": "istio-system" },
        "data": { "mesh": Value::Object(config).to_string() },
    })
}

/// The Pod as it runs: with its address, and where it has a proxy with the injector's label.
fn running(workload: &Workload, addresses: &[IpAddr]) -> Value {
    let mut pod = workload.document.clone();
    let metadata = pod.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata.filter(|_| workload.is_injected()) {
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert("security.istio.io/tlsMode".to_owned(), json!("istio"));
        }
    }
    if let Some(pod) = pod.as_object_mut() {
        let all: Vec<Value> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
        let status = json!({
            "phase": "Running",
            "podIP": addresses.first(),
            "podIPs": all,
            "conditions": [{ "type": "Ready", "status": "True" }],
        });
        pod.insert("status".to_owned(), status);
    }
    pod
}

/// One slice for each family and each way in which the Service's ports resolve; with numbers as targets that is one.
fn slices(service: &Service, pods: &[(&Workload, IpAddr)]) -> Vec<Value> {
    let mut by_ports = BTreeMap::<(bool, Vec<(Option<String>, u16)>), Vec<Value>>::new();
    for (pod, address) in pods {
        let ports = service.ports.iter();
        let ports = ports.filter_map(|port| Some((port.name.clone(), port.resolve(pod)?)));
        let mut endpoint = json!({
            "addresses": [address.to_string()],
            "conditions": { "ready": true, "serving": true, "terminating": false },
            "targetRef": { "kind": "Pod", "name": pod.name, "namespace": pod.namespace },
        });
        if let (Some((hostname, subdomain)), Some(fields)) =
            (&pod.hostname, endpoint.as_object_mut())
            && *subdomain == service.name
        {
            fields.insert("hostname".to_owned(), json!(hostname));
        }
        let group = (address.is_ipv6(), ports.collect());
        by_ports.entry(group).or_default().push(endpoint);
    }
    let groups = by_ports.into_iter().enumerate();
    groups
        .map(|(number, ((is_v6, ports), endpoints))| {
            let kind = if is_v6 { "IPv6" } else { "IPv4" };
            slice(service, (number, kind), &ports, &endpoints)
        })
        .collect()
}

fn slice(
    service: &Service,
    (number, kind): (usize, &str),
    ports: &[(Option<String>, u16)],
    endpoints: &[Value],
) -> Value {
    let ports: Vec<Value> = ports
        .iter()
        .map(|(name, port)| json!({ "name": name.clone().unwrap_or_default(), "port": port, "protocol": "TCP" }))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{}-lab{number}", service.name),
            "namespace": service.namespace,
            "labels": { "kubernetes.io/service-name": service.name },
        },
        "addressType": kind,
        "endpoints": endpoints,
        "ports": ports,
    })
}

fn name(
    service: &Service,
    pods: &[(&Workload, IpAddr)],
    addresses: &mut Addresses,
    names: &mut BTreeMap<String, Vec<IpAddr>>,
) {
    let fqdn = format!("{}.{}.svc.cluster.local", service.name, service.namespace);
    if service.is_headless() {
        for (pod, address) in pods {
            if let Some((hostname, _)) = pod
                .hostname
                .as_ref()
                .filter(|(_, subdomain)| *subdomain == service.name)
            {
                let known = names.entry(format!("{hostname}.{fqdn}")).or_default();
                known.push(*address);
            }
        }
        names.insert(fqdn, pods.iter().map(|(_, address)| *address).collect());
    } else if let Some(address) = addresses.of_service(service) {
        names.insert(fqdn, vec![address]);
    }
}

/// What kube-proxy does on the node, here in the namespace of the one Pod: a Pod at random.
fn lead(service: &Service, address: IpAddr, pods: &[(&Workload, IpAddr)], rules: &mut String) {
    for port in &service.ports {
        let targets: BTreeSet<String> = pods
            .iter()
            .filter(|(_, address)| address.is_ipv4())
            .filter_map(|(pod, address)| Some(format!("{address}:{}", port.resolve(pod)?)))
            .collect();
        for (index, target) in targets.iter().enumerate() {
            let left = targets.len() - index;
            let _ = write!(
                rules,
                "-A OUTPUT -d {address}/32 -p tcp --dport {} ",
                port.number
            );
            if left > 1 {
                let share = 1.0 / f64::from(u32::try_from(left).unwrap_or(1));
                let _ = write!(
                    rules,
                    "-m statistic --mode random --probability {share:.5} "
                );
            }
            let _ = writeln!(rules, "-j DNAT --to-destination {target}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> Folder {
        let pod = |name: &str, port: u16, extra: Value| {
            let mut pod = json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": name, "namespace": "shop", "labels": { "app": "a" } },
                "spec": { "containers": [{ "ports": [{ "name": "web", "containerPort": port }] }] },
            });
            if let (Some(labels), Value::Object(extra)) =
                (pod["metadata"]["labels"].as_object_mut(), extra)
            {
                labels.extend(extra);
            }
            pod
        };
        Folder::new([
            pod("a1", 8080, json!({})),
            pod("a2", 9090, json!({ "sidecar.istio.io/inject": "false" })),
            json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a", "namespace": "shop" },
                "spec": { "selector": { "app": "a" }, "ports": [{ "name": "http", "port": 80, "targetPort": "web" }] } }),
        ])
    }

    #[test]
    fn named_ports_resolve_per_pod() {
        let cluster = cluster(&folder(), &mut Addresses::default());
        let slices: Vec<_> = cluster
            .objects
            .iter()
            .filter(|o| o["kind"] == "EndpointSlice")
            .collect();
        let seen: Vec<_> = slices
            .iter()
            .map(|s| {
                (
                    s["endpoints"][0]["targetRef"]["name"].clone(),
                    s["ports"][0]["port"].clone(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [(json!("a1"), json!(8080)), (json!("a2"), json!(9090))]
        );
        assert_eq!(cluster.rules.matches("DNAT").count(), 2);
        assert_eq!(
            cluster.names["a.shop.svc.cluster.local"],
            ["198.19.128.1".parse::<IpAddr>().unwrap()]
        );
    }

    #[test]
    fn only_injected_pods_are_labelled() {
        let cluster = cluster(&folder(), &mut Addresses::default());
        let pods: Vec<_> = cluster
            .objects
            .iter()
            .filter(|o| o["kind"] == "Pod")
            .collect();
        let modes: Vec<_> = pods
            .iter()
            .map(|p| p["metadata"]["labels"]["security.istio.io/tlsMode"].clone())
            .collect();
        assert_eq!(modes, [json!("istio"), Value::Null]);
        assert_eq!(pods[0]["status"]["podIP"], "198.18.1.1");
    }
}
