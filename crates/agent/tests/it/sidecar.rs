//! A sidecar as a whole: the agent with a real Envoy, and what a control plane sends it.

use std::io::BufRead as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use agent::admin::{Answer, call};
use envoy_api::envoy::service::discovery::v3::{DeltaDiscoveryResponse, Resource};
use envoy_api::type_url::{CLUSTER, LISTENER};
use envoy_api::{Any, json, pack};
use http::Method;
use nix::mount::{MsFlags, mount};
use nix::unistd::Pid;
use serde_json::json;
use wire::NAME_TABLE;
use wire::istio::networking::nds::v1::{NameTable, name_table::NameInfo};

use crate::bootstrap::envoy;
use crate::control_plane::{Delta, Fake};
use crate::network::ADDRESS;

pub const SOON: Duration = Duration::from_secs(20);

/// The agent with its Envoy, in this thread's network.
pub struct Proxy {
    pub agent: Child,
    pub lines: mpsc::Receiver<String>,
}

impl Proxy {
    pub fn start(fake: &Fake, flags: &[&str]) -> Self {
        let folder = fake.folder.path();
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
        let agent = bind(
            Path::new(env!("CARGO_BIN_EXE_lateen-agent")),
            &folder.join("lateen-agent"),
        );
        let envoy = bind(&envoy(), &folder.join("envoy"));
        let path = |name: &str| folder.join(name).display().to_string();
        let mut agent = Command::new(agent)
            .args([
                "proxy",
                "--namespace",
                "shop",
                "--pod",
                "cart-1",
                "--serviceAccount",
                "cart",
            ])
            .args([
                "--labels", "app=cart", "--ip", ADDRESS, "--uid", "1337", "--gid", "1337",
            ])
            .args([
                "--discoveryAddress",
                &fake.address.to_string(),
                "--rootCert",
                &path("root.pem"),
            ])
            .args(["--tokenFile", &path("token"), "--workDir", &path("agent")])
            .env("TERMINATION_DRAIN_DURATION_SECONDS", "0")
            .arg("--envoy")
            .arg(envoy)
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = std::io::BufReader::new(agent.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { agent, lines }
    }

    /// The process ids of Envoy.
    pub fn envoys(&self) -> Vec<Pid> {
        let children = format!("/proc/{0}/task/{0}/children", self.agent.id());
        let children = std::fs::read_to_string(children).unwrap_or_default();
        children
            .split_whitespace()
            .map(|pid| Pid::from_raw(pid.parse().unwrap()))
            .collect()
    }

    pub async fn ended(&mut self) -> std::process::ExitStatus {
        eventually("the agent ends", async || self.agent.try_wait().unwrap()).await
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

/// Makes a program visible where user 1337 can get at it. Once only: a second write to `target` would go through the
/// mount, to the program itself.
fn bind(program: &Path, target: &Path) -> PathBuf {
    if std::fs::File::create_new(target).is_ok() {
        std::fs::set_permissions(target, PermissionsExt::from_mode(0o755)).unwrap();
        mount(
            Some(program),
            target,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .unwrap();
    }
    target.to_owned()
}

pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let all = async {
        loop {
            tick.tick().await;
            if let Some(value) = check().await {
                return value;
            }
        }
    };
    tokio::time::timeout(SOON, all)
        .await
        .unwrap_or_else(|_| panic!("not in time: {what}"))
}

pub async fn get(port: u16, path: &str) -> Option<Answer> {
    call(Method::GET, port, path, SOON).await.ok()
}

pub async fn ready(port: u16) -> Option<()> {
    (get(port, "/healthz/ready").await?.status == 200).then_some(())
}

/// A listener with the workload's certificate, a log on standard output, and one of Istio's metrics.
fn listener() -> Any {
    let sds = |name: &str| {
        let service = json!({ "api_type": "GRPC", "transport_api_version": "V3",
            "grpc_services": [{ "envoy_grpc": { "cluster_name": "sds-grpc" } }] });
        json!({ "name": name, "sds_config": { "api_config_source": service, "resource_api_version": "V3" } })
    };
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": false,
        "common_tls_context": {
            "tls_certificate_sds_secret_configs": [sds("default")],
            "validation_context_sds_secret_config": sds("ROOTCA"),
        },
    });
    let tags = json!([
        { "name": "source_namespace", "value_format": "%ENVIRONMENT(POD_NAMESPACE)%" },
        { "name": "source_app", "value_format": "%ENVIRONMENT(CANONICAL_SERVICE)%" },
        { "name": "nothing", "value_format": "%DYNAMIC_METADATA(a:b)%" },
    ]);
    let logs = json!([
        { "name": "envoy.access_loggers.file", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": "/dev/stdout",
            "log_format": { "text_format_source": { "inline_string": "called %REQ(:PATH)%\n" } },
        }},
        { "name": "envoy.access_loggers.stats", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stats.v3.Config",
            "stats_scope": {},
            "counters": [{ "stat": { "name": "istio_requests_total", "tags": tags }, "value_fixed": 1 }],
        }},
    ]);
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "access_log": logs,
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
            { "match": { "prefix": "/" }, "direct_response": { "status": 200, "body": { "inline_string": "hello" } } },
        ]}]},
        "http_filters": [{ "name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }],
    });
    let listener = json!({
        "@type": LISTENER,
        "name": "hello",
        "traffic_direction": "INBOUND",
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": 18443 } },
        "filter_chains": [{
            "transport_socket": { "name": "tls", "typed_config": tls },
            "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }],
        }],
    });
    json::from_json(&listener).unwrap()
}

fn names() -> Any {
    let info = NameInfo {
        ips: vec!["240.240.0.1".to_owned()],
        shortname: "reviews".to_owned(),
        namespace: "shop".to_owned(),
        ..NameInfo::default()
    };
    pack(&NameTable {
        table: [("reviews.shop.svc.cluster.local".to_owned(), info)].into(),
    })
}

/// Answers the first request of each type; says which acknowledgements came.
pub async fn play(stream: &mut Delta) -> Vec<String> {
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 3 {
        let request = stream.requests.message().await.unwrap().unwrap();
        assert_eq!(request.error_detail, None);
        if !request.response_nonce.is_empty() {
            acknowledged.push(request.type_url);
            continue;
        }
        let resource = match request.type_url.as_str() {
            LISTENER => Some(("hello", listener())),
            NAME_TABLE => Some(("names", names())),
            CLUSTER => None,
            other => panic!("{other}"),
        };
        let resources = resource.into_iter().map(|(name, resource)| Resource {
            name: name.to_owned(),
            version: "v1".to_owned(),
            resource: Some(resource),
            ..Resource::default()
        });
        let response = DeltaDiscoveryResponse {
            nonce: "n".to_owned(),
            resources: resources.collect(),
            type_url: request.type_url,
            ..DeltaDiscoveryResponse::default()
        };
        stream.responses.send(Ok(response)).await.unwrap();
    }
    acknowledged.sort();
    acknowledged
}

pub async fn upstream(fake: &mut Fake) -> Delta {
    tokio::time::timeout(SOON, fake.delta.recv())
        .await
        .unwrap()
        .unwrap()
}

/// Calls Envoy by TLS; its certificate must be of the mesh.
pub fn call_by_tls(fake: &Fake) -> String {
    let script = "printf 'GET /x HTTP/1.1\\r\\nHost: cart\\r\\nConnection: close\\r\\n\\r\\n' | \
                  openssl s_client -quiet -verify_return_error -connect 127.0.0.1:18443 -CAfile \"$0\"";
    let done = Command::new("sh")
        .args(["-c", script])
        .arg(fake.path("root.pem"))
        .output()
        .unwrap();
    String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr)
}
