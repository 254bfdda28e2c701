//! The real Envoy: checks a configuration, or runs it and answers on its admin address.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use envoy_api::envoy::config::bootstrap::v3 as bootstrap;
use envoy_api::envoy::config::cluster::v3::Cluster;
use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::config::listener::v3::Listener;
use envoy_api::envoy::extensions::transport_sockets::tls::v3 as tls;
use ir::model::EnvoyMinor;
use prost::Message as _;
use tempfile::TempDir;

/// Each Envoy that is served.
static ENVOYS: LazyLock<BTreeMap<EnvoyMinor, PathBuf>> =
    LazyLock::new(|| EnvoyMinor::ALL.map(|envoy| (envoy, find(envoy))).into());

fn program(envoy: EnvoyMinor) -> &'static PathBuf {
    &ENVOYS[&envoy]
}

fn find(envoy: EnvoyMinor) -> PathBuf {
    let hack = concat!(env!("CARGO_MANIFEST_DIR"), "/../../hack/envoy");
    let older = (envoy < EnvoyMinor::NEWEST).then(|| envoy.to_string());
    let found = Command::new(hack).args(older).output().unwrap();
    assert!(
        found.status.success(),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
    String::from_utf8(found.stdout).unwrap().trim_end().into()
}

/// What one Envoy is given.
#[derive(Default)]
pub struct Config {
    pub clusters: Vec<Cluster>,
    pub listeners: Vec<Listener>,
    pub secrets: Vec<tls::Secret>,
    /// Names ADS and SDS servers that nobody runs, as resources that are not local need to be accepted.
    pub remote: bool,
}

impl Config {
    fn bootstrap(self) -> bootstrap::Bootstrap {
        let mut clusters = self.clusters;
        if self.remote {
            clusters.extend(["xds-grpc", translate::SDS_CLUSTER].map(nobody));
        }
        let kubernetes = prost_types::Value {
            kind: Some(prost_types::value::Kind::StringValue(
                "Kubernetes".to_owned(),
            )),
        };
        let resources = bootstrap::bootstrap::StaticResources {
            listeners: self.listeners,
            clusters,
            secrets: self.secrets,
        };
        bootstrap::Bootstrap {
            node: Some(core::Node {
                id: "test".to_owned(),
                cluster: "test".to_owned(),
                metadata: Some(prost_types::Struct {
                    fields: [("CLUSTER_ID".to_owned(), kubernetes)].into(),
                }),
                ..Default::default()
            }),
            static_resources: Some(resources),
            dynamic_resources: self.remote.then(|| bootstrap::bootstrap::DynamicResources {
                ads_config: Some(core::ApiConfigSource {
                    api_type: core::api_config_source::ApiType::DeltaGrpc.into(),
                    transport_api_version: core::ApiVersion::V3.into(),
                    grpc_services: vec![grpc("xds-grpc")],
                    ..Default::default()
                }),
                ..Default::default()
            }),
            admin: Some(bootstrap::Admin {
                address: Some(loopback(0)),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn write(self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("bootstrap.pb"),
            self.bootstrap().encode_to_vec(),
        )
        .unwrap();
        dir
    }
}

fn grpc(cluster: &str) -> core::GrpcService {
    core::GrpcService {
        target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(
            core::grpc_service::EnvoyGrpc {
                cluster_name: cluster.to_owned(),
                ..Default::default()
            },
        )),
        ..Default::default()
    }
}

fn nobody(name: &str) -> Cluster {
    Cluster {
        name: name.to_owned(),
        ..Default::default()
    }
}

pub fn loopback(port: u16) -> core::Address {
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: Ipv4Addr::LOCALHOST.to_string(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
            ..Default::default()
        })),
    }
}

/// Whether Envoy takes the configuration; else what it says.
pub fn validate(envoy: EnvoyMinor, config: Config) -> Result<(), String> {
    let dir = config.write();
    let run = Command::new(program(envoy))
        .args(["--mode", "validate", "-l", "error", "-c"])
        .arg(dir.path().join("bootstrap.pb"))
        .output()
        .unwrap();
    if run.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&run.stderr).into_owned()
            + &String::from_utf8_lossy(&run.stdout))
    }
}

/// An Envoy that runs; it ends with this value.
pub struct Envoy {
    process: Child,
    admin: SocketAddr,
    /// Holds the bootstrap as long as Envoy runs.
    _dir: TempDir,
}

impl Envoy {
    /// Starts one and waits until its listeners are bound.
    pub fn start(config: Config, environment: &[(&str, &str)]) -> Self {
        let dir = config.write();
        let mut process = Command::new(program(EnvoyMinor::NEWEST))
            .args([
                "--disable-hot-restart",
                "--file-flush-interval-msec",
                "10",
                "--concurrency",
                "1",
                "-l",
                "info",
                "-c",
            ])
            .arg(dir.path().join("bootstrap.pb"))
            .arg("--admin-address-path")
            .arg(dir.path().join("admin"))
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut seen = Vec::new();
        loop {
            let Some(line) = lines.next() else {
                panic!("Envoy ended:\n{}", seen.join("\n"));
            };
            let line = line.unwrap();
            let ready = line.contains("starting main dispatch loop");
            seen.push(line);
            if ready {
                break;
            }
        }
        std::thread::spawn(move || {
            lines.for_each(|line| eprintln!("{}", line.unwrap_or_default()))
        });
        let admin = std::fs::read_to_string(dir.path().join("admin")).unwrap();
        let envoy = Self {
            process,
            admin: admin.trim().parse().unwrap(),
            _dir: dir,
        };
        envoy.until("/ready", |answer| answer.contains("LIVE"));
        envoy
    }

    /// What the admin address answers.
    pub fn admin(&self, path: &str) -> String {
        exchange(
            self.admin,
            &format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n"),
        )
    }

    /// Asks until the answer is as wished, and gives it.
    pub fn until(&self, path: &str, wished: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        for _ in 0..2000 {
            last = self.admin(path);
            if wished(&last) {
                return last;
            }
        }
        panic!("{path} never became as wished:\n{last}");
    }

    /// The series whose names begin so, once there are some.
    pub fn metrics(&self, name: &str) -> Vec<String> {
        let prefix = format!("envoy_{name}");
        let text = self.until("/stats/prometheus", |text| {
            text.contains(&format!("\n{prefix}"))
        });
        text.lines()
            .filter(|line| line.starts_with(&prefix))
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a text and reads until the other side ends.
pub fn exchange(to: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
