//! The mesh that is measured, as a folder of YAML: one file for each service, with its endpoints and workloads, and for
//! some services a VirtualService, a DestinationRule and an AuthorizationPolicy. The mesh is STRICT.
//!
//! Addresses are of 198.18.0.0/15, which is reserved for benchmarks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use envoy_api::envoy::config::core::v3::Node;
use prost_types::value::Kind;
use prost_types::{Struct, Value};

use crate::Result;
use crate::args::Arguments;

/// Services of a namespace.
const PER_NAMESPACE: usize = 10;
/// The service whose routes, rule and policy are edited, and the one, without subsets, that gets another endpoint.
const ROUTED: usize = 0;
const GROWING: usize = 1;

/// What is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A service gets another endpoint; the last one made for this goes.
    Endpoint,
    /// The weights of a VirtualService change.
    Route,
    /// The connection limit of a DestinationRule changes.
    DestinationRule,
    /// A path in the AuthorizationPolicy of one workload changes.
    Policy,
}

/// What was edited so far. Each number appears in the YAML, so that no two edits leave the same.
#[derive(Clone, Copy, Debug, Default)]
struct Edits {
    endpoint: usize,
    route: usize,
    destination_rule: usize,
    policy: usize,
}

/// A mesh and the folder that says so.
#[derive(Debug)]
pub struct World {
    folder: PathBuf,
    services: usize,
    sidecars: usize,
    /// One service in so many has Istio objects of its own; never all, for one of the first two must have none.
    configured: usize,
    edits: Edits,
}

impl World {
    /// Writes the folder.
    pub fn write(folder: &Path, arguments: &Arguments) -> Result<Self> {
        let &Arguments {
            services,
            sidecars,
            configured,
            ..
        } = arguments;
        let world = Self {
            folder: folder.to_owned(),
            services,
            sidecars,
            configured: (services / configured).max(2),
            edits: Edits::default(),
        };
        for service in 0..services {
            let file = world.file(service);
            if let Some(parent) = file.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(file, world.service(service))?;
        }
        let strict = object(
            "security.istio.io/v1",
            "PeerAuthentication",
            "istio-system",
            "default",
            "mtls: {mode: STRICT}",
        );
        fs::write(folder.join("mesh.yaml"), strict)?;
        Ok(world)
    }

    /// How many sidecars a change concerns.
    pub fn concerned(&self, edit: Edit) -> usize {
        match edit {
            Edit::Endpoint | Edit::Route | Edit::DestinationRule => self.sidecars,
            Edit::Policy => 1,
        }
    }

    /// The resource in which a sidecar sees an edit.
    pub fn seen_in(edit: Edit) -> (xds::Kind, String) {
        let cluster = |service| {
            let (name, namespace) = (service_name(service), namespace(service));
            format!("outbound|80||{name}.{namespace}.svc.cluster.local")
        };
        match edit {
            Edit::Endpoint => (xds::Kind::Endpoint, cluster(GROWING)),
            Edit::Route => (xds::Kind::Route, "80".to_owned()),
            Edit::DestinationRule => (xds::Kind::Cluster, cluster(ROUTED)),
            Edit::Policy => (xds::Kind::Extension, "istio.authorization.allow".to_owned()),
        }
    }

    /// Writes an edited file beside the folder. To rename the first path to the second is the edit.
    pub fn edit(&mut self, edit: Edit, beside: &Path) -> Result<(PathBuf, PathBuf)> {
        let (count, service) = match edit {
            Edit::Endpoint => (&mut self.edits.endpoint, GROWING),
            Edit::Route => (&mut self.edits.route, ROUTED),
            Edit::DestinationRule => (&mut self.edits.destination_rule, ROUTED),
            Edit::Policy => (&mut self.edits.policy, ROUTED),
        };
        *count += 1;
        let written = beside.join("edited.yaml");
        fs::write(&written, self.service(service))?;
        Ok((written, self.file(service)))
    }

    /// The node of a sidecar, as Istio's agent describes it.
    pub fn node(&self, sidecar: usize) -> Node {
        let pod = Pod::of_sidecar(sidecar, self.services);
        let (name, namespace, address) = (pod.name(), namespace(pod.service), pod.address());
        let labels = pod
            .labels()
            .map(|(key, value)| (key.to_owned(), text(value)));
        let labels = Value {
            kind: Some(Kind::StructValue(Struct {
                fields: labels.into(),
            })),
        };
        let account = service_name(pod.service);
        let metadata = [
            ("NAME", text(name.clone())),
            ("NAMESPACE", text(namespace.clone())),
            ("SERVICE_ACCOUNT", text(account.clone())),
            ("WORKLOAD_NAME", text(account.clone())),
            ("INSTANCE_IPS", text(address.clone())),
            ("CLUSTER_ID", text("Kubernetes")),
            ("MESH_ID", text("cluster.local")),
            ("ISTIO_VERSION", text("1.30.3")),
            ("INTERCEPTION_MODE", text("REDIRECT")),
            ("LABELS", labels),
        ];
        let fields: BTreeMap<String, Value> =
            metadata.map(|(key, value)| (key.to_owned(), value)).into();
        Node {
            id: format!("sidecar~{address}~{name}.{namespace}~{namespace}.svc.cluster.local"),
            cluster: format!("{account}.{namespace}"),
            metadata: Some(Struct { fields }),
            user_agent_name: "envoy".to_owned(),
            ..Node::default()
        }
    }

    fn file(&self, service: usize) -> PathBuf {
        self.folder
            .join(namespace(service))
            .join(format!("{}.yaml", service_name(service)))
    }

    /// Everything about a service.
    fn service(&self, service: usize) -> String {
        let (name, namespace) = (service_name(service), namespace(service));
        let mut pods: Vec<Pod> = (service..self.sidecars)
            .step_by(self.services)
            .map(|sidecar| Pod::of_sidecar(sidecar, self.services))
            .collect();
        if service == GROWING && self.edits.endpoint > 0 {
            let number = self.sidecars + self.services * self.edits.endpoint + GROWING;
            pods.push(Pod::of_sidecar(number, self.services));
        }
        let ports = "ports: [{name: http, port: 80, targetPort: 8080}]";
        let spec = format!(
            "clusterIP: {}\n  selector: {{app: {name}}}\n  {ports}",
            cluster_ip(service)
        );
        let mut yaml = object("v1", "Service", &namespace, &name, &spec);
        yaml += &slice(service, &pods);
        for pod in &pods {
            yaml += &pod.yaml();
        }
        if service.is_multiple_of(self.configured) {
            yaml += &self.configuration(service);
        }
        yaml
    }

    /// The Istio objects of a service.
    fn configuration(&self, service: usize) -> String {
        let (name, namespace) = (service_name(service), namespace(service));
        let edits = if service == ROUTED {
            self.edits
        } else {
            Edits::default()
        };
        let weight = 10 + edits.route % 80;
        let route = |subset: &str, weight| {
            format!(
                "      - destination: {{host: {name}, subset: {subset}}}\n        weight: {weight}\n"
            )
        };
        let spec = format!(
            "hosts: [{name}]\n  http:\n    - route:\n{}{}",
            route("v1", 100 - weight),
            route("v2", weight)
        );
        let mut yaml = object(
            "networking.istio.io/v1",
            "VirtualService",
            &namespace,
            &name,
            &spec,
        );
        let limit = 1000 + edits.destination_rule;
        let subsets =
            "subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]";
        let policy =
            format!("trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: {limit}}}}}}}");
        let spec = format!("host: {name}\n  {policy}\n  {subsets}");
        yaml += &object(
            "networking.istio.io/v1",
            "DestinationRule",
            &namespace,
            &name,
            &spec,
        );
        let selector = format!("selector: {{matchLabels: {{app: {name}, version: v1}}}}");
        let from = format!("from: [{{source: {{namespaces: [{namespace}]}}}}]");
        let to = format!(
            "to: [{{operation: {{methods: [GET], paths: [/v{}/*]}}}}]",
            edits.policy
        );
        let spec = format!("{selector}\n  action: ALLOW\n  rules:\n    - {from}\n      {to}");
        yaml + &object(
            "security.istio.io/v1",
            "AuthorizationPolicy",
            &namespace,
            &name,
            &spec,
        )
    }
}

/// One workload of a service; the first is version v1, the second v2, and so on.
#[derive(Clone, Copy, Debug)]
struct Pod {
    service: usize,
    index: usize,
    /// Distinct among all pods.
    number: usize,
}

impl Pod {
    fn of_sidecar(sidecar: usize, services: usize) -> Self {
        Self {
            service: sidecar % services,
            index: sidecar / services,
            number: sidecar,
        }
    }

    fn name(self) -> String {
        format!("{}-{}", service_name(self.service), self.index)
    }

    fn address(self) -> String {
        format!("198.18.{}.{}", self.number / 250, self.number % 250 + 1)
    }

    fn labels(self) -> [(&'static str, String); 4] {
        let app = service_name(self.service);
        [
            ("app", app.clone()),
            ("version", format!("v{}", self.index + 1)),
            ("security.istio.io/tlsMode", "istio".to_owned()),
            ("service.istio.io/canonical-name", app),
        ]
    }

    fn yaml(self) -> String {
        let (name, namespace, account) = (
            self.name(),
            namespace(self.service),
            service_name(self.service),
        );
        let labels: Vec<String> = self
            .labels()
            .into_iter()
            .map(|(key, value)| format!("{key}: {value}"))
            .collect();
        let mut yaml = format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: {namespace}\n"
        );
        let _ = write!(
            yaml,
            "  labels: {{{}}}\nspec:\n  serviceAccountName: {account}\n",
            labels.join(", ")
        );
        let _ = write!(
            yaml,
            "  containers:\n    - name: app\n      ports: [{{name: http, containerPort: 8080}}]\n"
        );
        let _ = write!(
            yaml,
            "status:\n  phase: Running\n  podIP: {}\n",
            self.address()
        );
        yaml + "  conditions: [{type: Ready, status: \"True\"}]\n"
    }
}

/// The EndpointSlice of a service, as Kubernetes keeps it.
fn slice(service: usize, pods: &[Pod]) -> String {
    let (name, namespace) = (service_name(service), namespace(service));
    let mut yaml = format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}-1\n"
    );
    let _ = write!(
        yaml,
        "  namespace: {namespace}\n  labels: {{kubernetes.io/service-name: {name}}}\n"
    );
    yaml += "addressType: IPv4\nports: [{name: http, port: 8080, protocol: TCP}]\nendpoints:";
    if pods.is_empty() {
        yaml += " []";
    }
    for pod in pods {
        let target = format!(
            "{{kind: Pod, name: {}, namespace: {namespace}}}",
            pod.name()
        );
        let address = pod.address();
        let _ = write!(
            yaml,
            "\n  - {{addresses: [{address}], conditions: {{ready: true}}, targetRef: {target}}}"
        );
    }
    yaml + "\n"
}

fn object(version: &str, kind: &str, namespace: &str, name: &str, spec: &str) -> String {
    let head = format!("---\napiVersion: {version}\nkind: {kind}\n");
    format!(
        "{head}metadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  {}\n",
        spec.trim_end()
    )
}

fn service_name(service: usize) -> String {
    format!("service-{service:04}")
}

fn namespace(service: usize) -> String {
    format!("team-{:03}", service / PER_NAMESPACE)
}

fn cluster_ip(service: usize) -> String {
    format!("198.19.{}.{}", service / 250, service % 250 + 1)
}

fn text(text: impl Into<String>) -> Value {
    Value {
        kind: Some(Kind::StringValue(text.into())),
    }
}
