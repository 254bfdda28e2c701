//! Every path of every port, for somebody without credentials, a workload of another namespace, and an administrator who
//! comes by `kubectl port-forward`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use envoy_api::envoy::config::core::v3::Node;
use envoy_api::envoy::service::discovery::v3::DiscoveryRequest;
use envoy_api::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use serde_json::json;
use testkit::Cluster;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tower::{Service as _, ServiceExt as _};
use xds::Kind;

use crate::kube::installed::{SYSTEM, shared};
use crate::lateend::client::{Proxy, SERVER, all, bearer, certificate, node, secure_at, tls};

const PATIENCE: Duration = Duration::from_secs(20);
const NOBODY: &str = "no connection";

/// Port and request, and what comes of it: without credentials, as a workload of another namespace with its token, and as
/// an administrator by port-forward.
const TABLE: &[(u16, &str, [&str; 3])] = &[
    (8080, "GET /ready", ["200", "200", "200"]),
    (8080, "GET /version", ["200", "200", "200"]),
    (8080, "GET /metrics", ["404", "404", "404"]),
    (8080, "GET /debug", ["403", "403", "200"]),
    (8080, "GET /debug/configz", ["403", "403", "200"]),
    (8080, "GET /debug/syncz", ["403", "403", "200"]),
    (8080, "GET /debug/config_dump", ["403", "403", "400"]),
    (
        8080,
        "GET /debug/config_dump?proxyID=app-1.shop",
        ["403", "403", "404"],
    ),
    (8080, "GET /debug/diagnostics", ["403", "403", "200"]),
    (8080, "GET /debug/pprof/", ["404", "404", "404"]),
    (8080, "POST /debug/configz", ["403", "403", "405"]),
    (8080, "POST /inject", ["404", "404", "404"]),
    (8080, "POST /validate", ["404", "404", "404"]),
    (15014, "GET /ready", ["404", "404", "404"]),
    (15014, "GET /version", ["200", "200", "200"]),
    (15014, "GET /metrics", ["200", "200", "200"]),
    (15014, "POST /metrics", ["405", "405", "405"]),
    (15014, "GET /debug", ["403", "403", "200"]),
    (15014, "GET /debug/configz", ["403", "403", "200"]),
    (15014, "GET /debug/syncz", ["403", "403", "200"]),
    (
        15014,
        "GET /debug/config_dump?proxyID=app-1.shop",
        ["403", "403", "404"],
    ),
    (15014, "GET /debug/diagnostics", ["403", "403", "200"]),
    (15017, "GET /ready", ["200", "200", "200"]),
    (15017, "GET /version", ["404", "404", "404"]),
    (15017, "GET /metrics", ["404", "404", "404"]),
    (15017, "GET /debug/configz", ["404", "404", "404"]),
    (15017, "GET /inject", ["405", "405", "405"]),
    (15017, "POST /inject", ["200", "200", "200"]),
    (15017, "POST /inject/cluster/c/net/n", ["200", "200", "200"]),
    (
        15017,
        "POST /inject without a review",
        ["422", "422", "422"],
    ),
    (15017, "GET /validate", ["405", "405", "405"]),
    (15017, "POST /validate", ["200", "200", "200"]),
    (
        15017,
        "POST /validate without a review",
        ["422", "422", "422"],
    ),
    (
        15012,
        "delta ADS as itself",
        ["Unauthenticated", "Ok", "Unauthenticated"],
    ),
    (
        15012,
        "delta ADS as another",
        ["Unauthenticated", "PermissionDenied", "Unauthenticated"],
    ),
    (
        15012,
        "ADS as itself",
        ["Unauthenticated", "Ok", "Unauthenticated"],
    ),
    (
        15012,
        "ADS as another",
        ["Unauthenticated", "PermissionDenied", "Unauthenticated"],
    ),
    (
        15012,
        "CreateCertificate",
        ["Unauthenticated", "Ok", "Unauthenticated"],
    ),
    (
        15012,
        "/grpc.health.v1.Health/Check",
        ["Unimplemented", "Unimplemented", "Unimplemented"],
    ),
    (
        15012,
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ["Unimplemented", "Unimplemented", "Unimplemented"],
    ),
    (
        15012,
        "/envoy.service.discovery.v3.ClusterDiscoveryService/FetchClusters",
        ["Unimplemented", "Unimplemented", "Unimplemented"],
    ),
    (
        15012,
        "/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus",
        ["Unimplemented", "Unimplemented", "Unimplemented"],
    ),
    (15010, "GET /ready", [NOBODY, NOBODY, NOBODY]),
    (15010, "delta ADS as itself", [NOBODY, NOBODY, NOBODY]),
    (15010, "CreateCertificate", [NOBODY, NOBODY, NOBODY]),
];
const PORTS: [u16; 5] = [8080, 15010, 15012, 15014, 15017];

/// One kind of callers.
struct Who {
    addresses: BTreeMap<u16, SocketAddr>,
    token: Option<String>,
    roots: String,
}

impl Who {
    fn metadata(&self) -> MetadataMap {
        self.token.as_deref().map(bearer).unwrap_or_default()
    }

    /// What comes of a request.
    async fn outcome(&self, port: u16, request: &str, me: &Node, other: &Node) -> String {
        match request.split_once(' ') {
            Some(("GET" | "POST", _)) => self.http(port, request).await,
            _ => self.grpc(port, request, me, other).await,
        }
    }

    async fn http(&self, port: u16, request: &str) -> String {
        let Ok(socket) = TcpStream::connect(self.addresses[&port]).await else {
            return NOBODY.to_owned();
        };
        let talk = async {
            match port {
                15017 => {
                    let tls = TlsConnector::from(Arc::new(tls(&self.roots, None)));
                    let name = SERVER.try_into().unwrap();
                    self.page(tls.connect(name, socket).await?, request).await
                }
                _ => self.page(socket, request).await,
            }
        };
        let answer = tokio::time::timeout(PATIENCE, talk).await;
        let answer = answer.expect("an answer in time").unwrap_or_default();
        match answer.split(' ').nth(1) {
            Some(status) => status.to_owned(),
            None => NOBODY.to_owned(),
        }
    }

    async fn page(
        &self,
        mut socket: impl AsyncRead + AsyncWrite + Unpin,
        request: &str,
    ) -> std::io::Result<String> {
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let body = match (method, words.next()) {
            ("POST", None) => review(path),
            _ => json!({}).to_string(),
        };
        let token = self.token.as_deref().unwrap_or_default();
        let authorization = match token {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        socket.write_all(head.as_bytes()).await?;
        socket.write_all(body.as_bytes()).await?;
        let mut answer = Vec::new();
        // What came before the end is the answer, however the end was.
        let _ = socket.read_to_end(&mut answer).await;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    async fn grpc(&self, port: u16, request: &str, me: &Node, other: &Node) -> String {
        let address = self.addresses[&port].to_string();
        let channel = match secure_at(&address, &self.roots, None).await {
            Ok((channel, _)) => channel,
            Err(_) => return NOBODY.to_owned(),
        };
        let asked = async {
            match request {
                "delta ADS as itself" => self.delta(channel, me).await,
                "delta ADS as another" => self.delta(channel, other).await,
                "ADS as itself" => self.sotw(channel, me).await,
                "ADS as another" => self.sotw(channel, other).await,
                "CreateCertificate" => self.certificate(channel, me).await,
                path => bare(channel, path).await,
            }
        };
        let code = tokio::time::timeout(PATIENCE, asked).await;
        let status = code.expect("an answer in time");
        let code = status.err().map_or(Code::Ok, |status| status.code());
        format!("{code:?}")
    }

    async fn delta(&self, channel: Channel, node: &Node) -> Result<(), Status> {
        let mut proxy =
            Proxy::open(channel, self.metadata(), node.clone(), all(Kind::Cluster)).await?;
        proxy.next().await.map(drop)
    }

    async fn sotw(&self, channel: Channel, node: &Node) -> Result<(), Status> {
        let first = DiscoveryRequest {
            node: Some(node.clone()),
            type_url: Kind::Cluster.type_url().to_owned(),
            ..DiscoveryRequest::default()
        };
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        sender.send(first).await.unwrap();
        let mut request = Request::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
        *request.metadata_mut() = self.metadata();
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let mut responses = client
            .stream_aggregated_resources(request)
            .await?
            .into_inner();
        responses
            .message()
            .await
            .map(|message| assert!(message.is_some()))
    }

    /// Whoever gets a certificate gets his own and no other.
    async fn certificate(&self, channel: Channel, me: &Node) -> Result<(), Status> {
        let own = certificate(channel, self.metadata()).await?;
        let namespace = me.id.rsplit('~').next().unwrap().split('.').next().unwrap();
        let wanted = format!("spiffe://cluster.local/ns/{namespace}/sa/app");
        let leaf = rustls::pki_types::pem::PemObject::from_pem_slice(own.chain[0].as_bytes());
        let leaf: rustls::pki_types::CertificateDer<'_> = leaf.unwrap();
        let leaf = String::from_utf8_lossy(&leaf).into_owned();
        assert!(leaf.contains(&wanted), "a certificate of somebody else");
        assert_eq!(leaf.matches("spiffe://").count(), 1);
        Ok(())
    }
}

/// A call with an empty message.
async fn bare(mut channel: Channel, path: &str) -> Result<(), Status> {
    let request = http::Request::post(format!("http://{SERVER}{path}"))
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::empty());
    let ready = channel.ready().await;
    let called = ready.unwrap().call(request.unwrap()).await;
    match Status::from_header_map(called.unwrap().headers()) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(()),
    }
}

/// What an API server asks.
fn review(path: &str) -> String {
    let object = match path.starts_with("/inject") {
        true => json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "namespace": "shop" },
            "spec": { "containers": [{ "name": "app", "image": "app" }] },
        }),
        false => json!({
            "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": { "name": "d", "namespace": "shop" }, "spec": { "host": "a" },
        }),
    };
    let request =
        json!({ "uid": "1", "operation": "CREATE", "namespace": "shop", "object": object });
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request })
        .to_string()
}

/// `kubectl port-forward` to ports of a pod; ends when it is dropped.
struct Forward {
    child: Child,
    addresses: BTreeMap<u16, SocketAddr>,
}

impl Forward {
    fn start(cluster: &Cluster, pod: &str, ports: &[u16]) -> Self {
        let mut kubectl = cluster.exec("kubectl");
        kubectl.args(["port-forward", "-n", SYSTEM, "--address=127.0.0.1", pod]);
        kubectl.args(ports.iter().map(|port| format!(":{port}")));
        let mut child = kubectl.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut addresses = BTreeMap::new();
        while addresses.len() < ports.len() {
            let line = lines.next().expect("it forwards").unwrap();
            let (from, to) = line.split_once(" -> ").unwrap();
            let from = from.strip_prefix("Forwarding from ").unwrap();
            addresses.insert(to.parse().unwrap(), from.parse().unwrap());
        }
        // It must not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, addresses }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // It may have ended by itself: a port that nobody listens on ends it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_path_answers_whom_it_may() {
    let cluster = shared();
    let space = cluster.space("another");
    space.kubectl_ok(&["create", "serviceaccount", "app"]);
    let token = space.kubectl_ok(&["create", "token", "app", "--audience=istio-ca"]);
    let path = |path: &str| format!("jsonpath={path}");
    let root = path("{.data.root-cert\\.pem}");
    let roots = space.kubectl_ok(&["get", "configmap", "istio-ca-root-cert", "-o", &root]);
    let pod = path("{.items[0].metadata.name} {.items[0].status.podIP}");
    let pod = cluster.kubectl_ok(["get", "pods", "-l", "app=istiod", "-n", SYSTEM, "-o", &pod]);
    let (pod, ip) = pod.split_once(' ').unwrap();
    let direct = PORTS.map(|port| (port, SocketAddr::new(ip.parse().unwrap(), port)));
    let open = Forward::start(
        &cluster,
        &format!("pod/{pod}"),
        &[8080, 15012, 15014, 15017],
    );

    let who = |addresses, token: Option<&str>| Who {
        addresses,
        token: token.map(|token| token.trim().to_owned()),
        roots: roots.clone(),
    };
    let callers = [who(direct.into(), None), who(direct.into(), Some(&token))];
    let id = |namespace: &str| {
        format!("sidecar~198.18.9.9~app-1.{namespace}~{namespace}.svc.cluster.local")
    };
    let (me, other) = (node(&id(space.name()), &[]), node(&id("shop"), &[]));
    let mut wrong = Vec::new();
    println!(
        "{:>5} {:<75} {:<17} {:<17} admin",
        "port", "request", "nobody", "other namespace"
    );
    for (port, request, expected) in TABLE {
        let mut row: Vec<String> = Vec::new();
        for caller in &callers {
            row.push(cluster.in_network(|| caller.outcome(*port, request, &me, &other)));
        }
        // A port-forward to a port that nobody listens on ends with the first call.
        let closed =
            (*port == 15010).then(|| Forward::start(&cluster, &format!("pod/{pod}"), &[*port]));
        let addresses = closed.as_ref().unwrap_or(&open).addresses.clone();
        let admin = who(addresses, None);
        row.push(cluster.in_network(|| admin.outcome(*port, request, &me, &other)));
        println!(
            "{port:>5} {request:<75} {:<17} {:<17} {}",
            row[0], row[1], row[2]
        );
        if row != *expected {
            wrong.push(format!("{port} {request}: {row:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
