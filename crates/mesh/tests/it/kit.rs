//! A mesh made of documents, and calls through the nodes that it builds, as Envoy would decide them.

use std::collections::BTreeSet;

use ir::{
    Backend, ChosenConnections, Cluster, ListenerName, Node, OutboundTraffic, PathMatch, Route,
    RouteAction, RouteTableName, TcpBackend, VirtualHost, WeightedCluster,
};
use mesh::{
    ClusterKey, InboundInputs, Inputs, Key, Mesh, Scope, Workload, build, diagnose_all, endpoints,
    endpoints_key, pod_key, select, select_inbound,
};
use model::{Families, Object, StringMatch};
use testkit::Document;

/// A mesh of documents of any kinds.
macro_rules! mesh {
    ($($document:expr),* $(,)?) => {
        $crate::kit::World::of([$(testkit::Document::from($document)),*])
    };
}

/// The objects of a test.
pub struct World(pub Mesh);

impl World {
    pub fn of(documents: impl IntoIterator<Item = Document>) -> Self {
        Self(Mesh::new(testkit::store(documents).snapshot()))
    }

    /// Where a request from a namespace goes: `GET http://cart:80/path`, with headers.
    pub fn call(&self, from: &str, request: &str, headers: &[(&str, &str)]) -> String {
        let (method, url) = request.split_once(' ').unwrap();
        let rest = url.strip_prefix("http://").unwrap();
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
        let hosts = self.hosts(
            &scope(from),
            RouteTableName::Port(port.parse().map(port_of).unwrap()),
        );
        let Some(host) = chosen(&hosts, host) else {
            return "no virtual host".to_owned();
        };
        let mut routes = host.routes.iter();
        let taken = routes.find(|route| takes(route, method, path, headers));
        taken.map_or("404".to_owned(), |route| outcome(&route.action))
    }

    /// Where a plain GET on port 80 goes.
    pub fn get(&self, from: &str, host: &str) -> String {
        self.call(from, &format!("GET http://{host}"), &[])
    }

    /// The virtual hosts of a route table.
    pub fn hosts(&self, scope: &Scope, table: RouteTableName) -> Vec<VirtualHost> {
        let keys = self.0.keys().into_iter();
        let of_table = keys.filter(|key| matches!(key, Key::VirtualHost(of, _) if *of == table));
        let nodes = of_table.filter_map(|key| self.node(scope, &key));
        nodes
            .map(|node| match node {
                Node::VirtualHost(host) => host,
                other => panic!("not a virtual host: {other:?}"),
            })
            .collect()
    }

    /// The first route of the virtual host of a service on port 80.
    pub fn route(&self, from: &str, host: &str) -> Route {
        let hosts = self.hosts(&scope(from), RouteTableName::Port(port_of(80)));
        chosen(&hosts, host).unwrap().routes[0].clone()
    }

    pub fn node(&self, scope: &Scope, key: &Key) -> Option<Node> {
        Some(build(&*self.inputs(scope, key)?))
    }

    pub fn inputs(&self, scope: &Scope, key: &Key) -> Option<ir::Hashed<Inputs>> {
        select(&self.0, scope, key)
    }

    /// Which listener takes a connection, and what it does: `10.0.0.1:3306`.
    pub fn connect(&self, from: &str, to: &str) -> String {
        let (address, port) = to.rsplit_once(':').unwrap();
        let port = port_of(port.parse().unwrap());
        let name = |address| ListenerName { address, port };
        let address = address.trim_matches(['[', ']']).parse().unwrap();
        let scope = Scope {
            families: Families::of(&[address]),
            ..scope(from)
        };
        let found = [name(Some(address)), name(None)]
            .into_iter()
            .find_map(|name| self.node(&scope, &Key::Listener(name)));
        match found {
            Some(Node::OutboundListener(listener)) => {
                let chosen = listener.chosen.iter().map(choice);
                chosen
                    .chain(rest(&listener.traffic))
                    .collect::<Vec<_>>()
                    .join("; ")
            }
            _ => "passthrough".to_owned(),
        }
    }

    /// A cluster, as a namespace has it: `cart.shop.svc.cluster.local:80` or `...:80/v1`.
    pub fn cluster(&self, from: &str, name: &str) -> Option<Cluster> {
        self.cluster_in(&scope(from), name)
    }

    pub fn cluster_in(&self, scope: &Scope, name: &str) -> Option<Cluster> {
        match self.node(scope, &Key::Cluster(cluster_key(name)))? {
            Node::Cluster(cluster) => Some(cluster),
            other => panic!("not a cluster: {other:?}"),
        }
    }

    /// The endpoints of a cluster: `10.1.0.1:80 mtls draining x3`.
    pub fn endpoints(&self, from: &str, name: &str) -> Vec<String> {
        let Some(key) = endpoints_key(&self.0, &scope(from), &cluster_key(name)) else {
            return vec!["not by EDS".to_owned()];
        };
        let all = endpoints(&self.0, &key, None);
        let all = all
            .localities
            .iter()
            .flat_map(|locality| locality.endpoints.iter());
        all.map(|endpoint| {
            let address = match &endpoint.address {
                model::EndpointAddress::Ip(ip) => ip.to_string(),
                model::EndpointAddress::Dns(host) => host.to_string(),
                model::EndpointAddress::Unix(path) => path.to_string(),
            };
            let mut text = format!("{address}:{}", endpoint.port);
            if endpoint.mesh_tls {
                text.push_str(" mtls");
            }
            if endpoint.health == ir::Health::Draining {
                text.push_str(" draining");
            }
            if endpoint.weight != 1 {
                text.push_str(&format!(" x{}", endpoint.weight));
            }
            text
        })
        .collect()
    }

    /// The workload of a pod: `shop/cart`.
    pub fn workload(&self, pod: &str) -> Workload {
        let (namespace, name) = pod.split_once('/').unwrap();
        let key = pod_key(&namespace.parse().unwrap(), &name.parse().unwrap());
        self.0.workload(&key).unwrap()
    }

    /// The inbound half of a pod.
    pub fn inbound(&self, pod: &str) -> ir::Hashed<InboundInputs> {
        select_inbound(&self.0, &self.workload(pod))
    }

    /// What objects say together: `code Kind/name field`.
    pub fn diagnoses(&self) -> Vec<String> {
        let all: BTreeSet<String> = diagnose_all(&self.0)
            .map(|d| {
                let key = d.object.unwrap();
                format!("{} {}/{} {}", d.code, key.kind, key.name, d.field)
            })
            .collect();
        all.into_iter().collect()
    }

    pub fn object(&self, document: impl Into<Document>) -> std::sync::Arc<Object> {
        let key = testkit::object(document).key.clone();
        std::sync::Arc::clone(self.0.object(&key).unwrap())
    }
}

pub fn scope(namespace: &str) -> Scope {
    Scope::of(namespace.parse().unwrap())
}

/// The scope of a namespace for clients of both address families.
pub fn dual(namespace: &str) -> Scope {
    Scope {
        families: Families::Dual,
        ..scope(namespace)
    }
}

pub fn port_of(number: u16) -> model::Port {
    model::Port::new(i64::from(number)).unwrap()
}

fn cluster_key(name: &str) -> ClusterKey {
    let (name, subset) = name
        .split_once('/')
        .map_or((name, None), |(name, subset)| (name, Some(subset)));
    let (host, port) = name.rsplit_once(':').unwrap();
    ClusterKey {
        host: host.parse().unwrap(),
        port: port_of(port.parse().unwrap()),
        subset: subset.map(|subset| subset.parse().unwrap()),
    }
}

/// The virtual host that Envoy takes: the exact domain, the longest wildcard, `*`.
fn chosen<'a>(hosts: &'a [VirtualHost], wanted: &str) -> Option<&'a VirtualHost> {
    let fit = |domain: &str| match domain.strip_prefix('*') {
        Some("") => Some(0),
        Some(suffix) => wanted.ends_with(suffix).then_some(suffix.len()),
        None => (domain == wanted).then_some(usize::MAX),
    };
    let best = |host: &&VirtualHost| host.domains.iter().filter_map(|domain| fit(domain)).max();
    hosts
        .iter()
        .filter(|host| best(host).is_some())
        .max_by_key(best)
}

fn takes(route: &Route, method: &str, path: &str, headers: &[(&str, &str)]) -> bool {
    let matcher = &route.matcher;
    let path = path.split('?').next().unwrap();
    let path = match &matcher.path {
        PathMatch::Exact(text) => **text == *path,
        PathMatch::Prefix(text) => path.starts_with(&**text),
        PathMatch::Regex(text) => whole(text, path),
    };
    let header = |(name, wanted): &(std::sync::Arc<str>, StringMatch)| {
        let value = headers.iter().find(|(other, _)| *other == &**name);
        value.is_some_and(|(_, value)| text(wanted, value))
    };
    path && matcher
        .method
        .as_ref()
        .is_none_or(|wanted| text(wanted, method))
        && matcher.headers.iter().all(header)
}

fn text(wanted: &StringMatch, value: &str) -> bool {
    match wanted {
        StringMatch::Exact(text) => **text == *value,
        StringMatch::Prefix(text) => value.starts_with(&**text),
        StringMatch::Regex(regex) => whole(regex.as_str(), value),
        StringMatch::Present => true,
    }
}

fn whole(regex: &str, value: &str) -> bool {
    regex::Regex::new(&format!("^(?:{regex})$"))
        .unwrap()
        .is_match(value)
}

fn outcome(action: &RouteAction) -> String {
    match action {
        RouteAction::Respond { status, body } => {
            let body = String::from_utf8_lossy(body);
            format!("{status} {body}").trim().to_owned()
        }
        RouteAction::Redirect(to) => format!("{:?} {:?}", to.code, to.path),
        RouteAction::Forward(forward) => match &*forward.backends {
            [only] => backend(&only.backend),
            several => {
                let shares = several
                    .iter()
                    .map(|b| format!("{} {}", b.weight, backend(&b.backend)));
                shares.collect::<Vec<_>>().join(", ")
            }
        },
    }
}

fn backend(backend: &Backend) -> String {
    match backend {
        Backend::Cluster { name, .. } => name.to_string().replace(".svc.cluster.local", ""),
        Backend::Missing { wanted } => format!("503 {wanted}").replace(".svc.cluster.local", ""),
    }
}

/// Connections that a listener tells apart: `*.a.com 10.0.0.0/8 to cluster`.
fn choice(chosen: &ChosenConnections) -> String {
    let names = chosen.sni.iter().map(ToString::to_string);
    let nets = chosen.destinations.iter().map(ToString::to_string);
    let conditions: Vec<String> = names.chain(nets).collect();
    format!("{} to {}", conditions.join(" "), clusters(&chosen.backend))
}

fn rest(traffic: &OutboundTraffic) -> Option<String> {
    match traffic {
        OutboundTraffic::Http(table) => Some(format!("http {table}")),
        OutboundTraffic::Tcp(backend) => Some(format!("tcp {}", clusters(backend))),
        OutboundTraffic::Detect(table, backend) => {
            Some(format!("http {table} or tcp {}", clusters(backend)))
        }
        OutboundTraffic::Fallback => None,
    }
}

fn clusters(backend: &TcpBackend) -> String {
    let share = |share: &WeightedCluster| match &*backend.clusters {
        [_] => share.cluster.to_string(),
        _ => format!("{} {}", share.weight, share.cluster),
    };
    let shares: Vec<String> = backend.clusters.iter().map(share).collect();
    let port = backend
        .resolved_on
        .map(|(port, _)| format!(" resolved on {port}"));
    shares.join(", ") + &port.unwrap_or_default()
}
