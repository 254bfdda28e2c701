//! Who the proxy is: what it says of itself to the control plane, and what Envoy can state about itself at run time.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use model::{Namespace, ServiceAccount, TrustDomain};
use serde_json::{Map, Value, json};

use crate::args::{Labels, Locality, NodeArguments};

/// The version of Istio whose agent this one stands for: control planes switch features by it.
const ISTIO_VERSION: &str = "1.32.0";

/// The label by which a pod overrides its locality, with dots for slashes.
const LOCALITY_LABEL: &str = "istio-locality";

/// Where injection mounts the pod's labels.
const LABELS_FILE: &str = "./etc/istio/pod/labels";

/// What is said of the node only where the environment does not say it.
const DEFAULTS: [&str; 4] = [
    "OWNER",
    "INTERCEPTION_MODE",
    "DNS_CAPTURE",
    "DNS_AUTO_ALLOCATE",
];

/// Why a node cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum InvalidNode {
    /// The file with the labels.
    #[error("--labelsFile {0}: {1}")]
    Labels(std::path::PathBuf, String),
    /// `~` separates the parts of a node's id.
    #[error("--pod {0:?}: the name of a pod has no '~'")]
    Pod(String),
    /// Neither an argument nor an interface gives an address.
    #[error("no address: give one with --ip")]
    NoAddress,
}

/// The proxy's own identity.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its namespace.
    pub namespace: Namespace,
    /// The name of its pod.
    pub pod: String,
    /// Its service account.
    pub service_account: ServiceAccount,
    /// Its workload.
    pub workload: String,
    /// The labels of its pod.
    pub labels: BTreeMap<String, String>,
    /// Its addresses, the main one first; never empty.
    pub addresses: Vec<IpAddr>,
    /// Where it runs.
    pub locality: Locality,
    /// The domain of its services.
    pub domain: String,
    /// The trust domain of the mesh.
    pub trust_domain: TrustDomain,
    /// Its cluster.
    pub cluster_id: String,
    /// Its mesh.
    pub mesh_id: String,
    /// Further metadata, as it came from the environment.
    pub metadata: BTreeMap<String, Value>,
}

impl Node {
    /// Fills what the arguments left open: from the labels, and from the machine's interfaces.
    ///
    /// # Errors
    /// [`InvalidNode`] names the argument.
    pub fn new(arguments: &NodeArguments) -> Result<Self, InvalidNode> {
        let mounted = Some(Path::new(LABELS_FILE)).filter(|path| path.exists());
        let mut labels = match arguments.labels_file.as_deref().or(mounted) {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| error.to_string())
                .and_then(|text| Labels::from_file(&text))
                .map_err(|error| InvalidNode::Labels(path.to_owned(), error))?,
            None => Labels::default(),
        };
        labels.0.extend(arguments.labels.0.clone());
        if arguments.pod.contains('~') {
            return Err(InvalidNode::Pod(arguments.pod.clone()));
        }
        let addresses = match arguments.ip.as_slice() {
            [] => interface_addresses(),
            given => given.to_vec(),
        };
        if addresses.is_empty() {
            return Err(InvalidNode::NoAddress);
        }
        let namespace = &arguments.namespace;
        Ok(Self {
            namespace: namespace.clone(),
            pod: arguments.pod.clone(),
            service_account: arguments.service_account.clone(),
            workload: arguments
                .workload
                .clone()
                .unwrap_or_else(|| arguments.pod.clone()),
            locality: arguments
                .locality
                .clone()
                .or_else(|| {
                    labels
                        .0
                        .get(LOCALITY_LABEL)
                        .map(|text| Locality::parse(text, '.'))
                })
                .unwrap_or_default(),
            labels: labels.0,
            addresses,
            domain: arguments
                .domain
                .clone()
                .unwrap_or_else(|| format!("{namespace}.svc.cluster.local")),
            trust_domain: arguments.trust_domain.clone(),
            cluster_id: arguments.cluster_id.clone(),
            mesh_id: arguments.mesh_id.clone(),
            metadata: arguments.metadata.clone(),
        })
    }

    /// The node id: `sidecar~ADDRESS~POD.NAMESPACE~DOMAIN`.
    #[must_use]
    pub fn id(&self) -> String {
        let Self {
            pod,
            namespace,
            domain,
            ..
        } = self;
        let address = self
            .addresses
            .first()
            .map(IpAddr::to_string)
            .unwrap_or_default();
        format!("sidecar~{address}~{pod}.{namespace}~{domain}")
    }

    /// The name of the cluster that Envoy itself counts to: `APP.NAMESPACE`.
    #[must_use]
    pub fn cluster(&self) -> String {
        let app = self.labels.get("app").unwrap_or(&self.workload);
        format!("{app}.{}", self.namespace)
    }

    /// The canonical service, by Istio's order of labels.
    #[must_use]
    pub fn canonical_service(&self) -> &str {
        let labels = [
            "service.istio.io/canonical-name",
            "app.kubernetes.io/name",
            "app",
        ];
        self.first_label(labels).unwrap_or(&self.workload)
    }

    /// The revision of the canonical service.
    #[must_use]
    pub fn canonical_revision(&self) -> &str {
        let labels = [
            "service.istio.io/canonical-revision",
            "app.kubernetes.io/version",
            "version",
        ];
        self.first_label(labels).unwrap_or("latest")
    }

    fn first_label(&self, names: [&str; 3]) -> Option<&str> {
        let mut values = names.iter().filter_map(|name| self.labels.get(*name));
        values.find(|value| !value.is_empty()).map(String::as_str)
    }

    /// The search list of a pod in this namespace, for when resolv.conf has none.
    #[must_use]
    pub fn search_domains(&self) -> Vec<String> {
        let parents = std::iter::successors(Some(self.domain.as_str()), |domain| {
            domain.split_once('.').map(|(_, parent)| parent)
        });
        parents.take(3).map(str::to_owned).collect()
    }

    /// The node's metadata, under the names that Istio's agent uses.
    #[must_use]
    pub fn metadata(&self) -> Map<String, Value> {
        let Self {
            pod,
            namespace,
            workload,
            ..
        } = self;
        let addresses: Vec<_> = self.addresses.iter().map(IpAddr::to_string).collect();
        let own = json!({
            "NAME": pod,
            "NAMESPACE": namespace.as_str(),
            "OWNER": format!("kubernetes://apis/apps/v1/namespaces/{namespace}/deployments/{workload}"),
            "SERVICE_ACCOUNT": self.service_account.as_str(),
            "WORKLOAD_NAME": workload,
            "LABELS": self.labels,
            "INSTANCE_IPS": addresses.join(","),
            "CLUSTER_ID": self.cluster_id,
            "MESH_ID": self.mesh_id,
            "ISTIO_VERSION": ISTIO_VERSION,
            "INTERCEPTION_MODE": "REDIRECT",
            "DNS_CAPTURE": "true",
            "DNS_AUTO_ALLOCATE": "true",
        });
        let own = match own {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        // What injection knows better is not made up.
        let known = self.metadata.iter();
        let known = known.filter(|(name, _)| DEFAULTS.contains(&name.as_str()));
        let known = known.map(|(name, value)| (name.clone(), value.clone()));
        let all = self.metadata.clone().into_iter().chain(own);
        all.chain(known.collect::<Vec<_>>()).collect()
    }

    /// What Envoy can state about itself by `%ENVIRONMENT(X)%`, so that no configuration names the proxy.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("POD_NAMESPACE", self.namespace.to_string()),
            ("POD_NAME", self.pod.clone()),
            ("SERVICE_ACCOUNT", self.service_account.to_string()),
            ("ISTIO_META_WORKLOAD_NAME", self.workload.clone()),
            ("CANONICAL_SERVICE", self.canonical_service().to_owned()),
            ("CANONICAL_REVISION", self.canonical_revision().to_owned()),
            ("ISTIO_META_CLUSTER_ID", self.cluster_id.clone()),
            ("ISTIO_META_MESH_ID", self.mesh_id.clone()),
            ("TRUST_DOMAIN", self.trust_domain.to_string()),
        ]
    }
}

/// What Envoy calls an app from by IPv6; capture gives it to the pod.
pub(crate) const INBOUND_SOURCE: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

/// The addresses of this machine that others can use: no loopback, no link-local.
pub(crate) fn interface_addresses() -> Vec<IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address
            .as_sockaddr_in()
            .map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| {
            address
                .as_sockaddr_in6()
                .map(|address| IpAddr::V6(address.ip()))
        })
    });
    let mut usable: Vec<_> = addresses.filter(is_usable).collect();
    usable.sort_by_key(IpAddr::is_ipv6); // IPv4 first; else as the kernel lists them
    usable
}

fn is_usable(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let is_envoys = *address == IpAddr::V6(INBOUND_SOURCE);
    !(link_local || address.is_loopback() || address.is_unspecified() || is_envoys)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::args::{Arguments, Command};
    use clap::Parser as _;

    pub(crate) fn node(more: &[&str]) -> Node {
        let base = [
            "lateen-agent",
            "proxy",
            "--namespace",
            "shop",
            "--pod",
            "cart-1",
            "--serviceAccount",
            "cart",
            "--ip",
            "198.18.0.7,fd00::7",
        ];
        let arguments = Arguments::try_parse_from(base.iter().chain(more)).unwrap();
        let Command::Proxy(proxy) = arguments.command else {
            panic!("not proxy");
        };
        Node::new(&proxy.node).unwrap()
    }

    #[test]
    fn it_names_itself_as_istios_agent_does() {
        let node = node(&[
            "--workload",
            "cart",
            "--labels",
            "app=cart,version=v2,istio-locality=r.z",
        ]);
        assert_eq!(
            node.id(),
            "sidecar~198.18.0.7~cart-1.shop~shop.svc.cluster.local"
        );
        assert_eq!(node.cluster(), "cart.shop");
        assert_eq!(
            (node.canonical_service(), node.canonical_revision()),
            ("cart", "v2")
        );
        assert_eq!(
            (node.locality.region.as_str(), node.locality.zone.as_str()),
            ("r", "z")
        );
        let metadata = node.metadata();
        assert_eq!(metadata["INSTANCE_IPS"], "198.18.0.7,fd00::7");
        assert_eq!(metadata["LABELS"]["version"], "v2");
        assert_eq!(
            node.search_domains(),
            [
                "shop.svc.cluster.local",
                "svc.cluster.local",
                "cluster.local"
            ]
        );
    }

    #[test]
    fn what_is_left_open_comes_from_the_pod() {
        let node = node(&[]);
        assert_eq!(
            (node.workload.as_str(), node.cluster().as_str()),
            ("cart-1", "cart-1.shop")
        );
        assert_eq!(
            (node.canonical_service(), node.canonical_revision()),
            ("cart-1", "latest")
        );
    }
}
