//! `lateend` as a child: a folder of its own, its addresses, its log, its HTTP pages.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ca::{StateDir, TokenIssuer};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(30);
const OFTEN: Duration = Duration::from_millis(5);

/// A service with a route: what every test begins with.
pub const MESH: &str = "\
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec:
  clusterIP: 198.19.128.9
  ports: [{name: http, port: 9080}]
  selector: {app: reviews}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - route: [{destination: {host: reviews}}]
";

/// Waits until `what` is there, looking often.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let mut ticks = tokio::time::interval(OFTEN);
    let found = async {
        loop {
            ticks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come"))
}

/// Folders that outlive a `lateend`.
pub struct Home(TempDir);

impl Home {
    pub fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(home.path("config")).unwrap();
        home.write("mesh.yaml", MESH);
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a file into the folder of config, in one step.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path("new"), text).unwrap();
        std::fs::rename(self.path("new"), self.path("config").join(name)).unwrap();
    }

    pub fn roots(&self) -> String {
        std::fs::read_to_string(self.path("state").join("root-cert.pem")).unwrap()
    }

    /// A join token that is valid from `age` ago for ten minutes.
    pub fn token(&self, namespace: &str, service_account: &str, age: Duration) -> String {
        let issuer = TokenIssuer::open(&StateDir::open(self.path("state")).unwrap()).unwrap();
        let (namespace, account) = (namespace.parse().unwrap(), service_account.parse().unwrap());
        issuer
            .mint(
                &namespace,
                &account,
                Duration::from_secs(600),
                SystemTime::now() - age,
            )
            .unwrap()
    }

    /// A command line that listens on free ports.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lateend"));
        command.arg("--configDir").arg(self.path("config"));
        command.arg("--stateDir").arg(self.path("state"));
        command.arg("--printAddrs").arg(self.path("addrs"));
        for flag in ["--secureGRPCAddr", "--httpAddr", "--monitoringAddr"] {
            command.args([flag, ":0"]);
        }
        command
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }
}

/// A `lateend` that runs.
pub struct Lateend {
    child: Child,
    addresses: BTreeMap<String, String>,
    log: Arc<Mutex<String>>,
}

impl Lateend {
    /// Starts it and waits until it is ready.
    pub async fn start(home: &Home, more: &[&str]) -> Self {
        let lateend = Self::listening(home, more).await;
        lateend.ready().await;
        lateend
    }

    /// Starts it and waits until it listens.
    pub async fn listening(home: &Home, more: &[&str]) -> Self {
        let _ = std::fs::remove_file(home.path("addrs"));
        let mut child = home.command().args(more).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        let addresses = eventually("--printAddrs", async || {
            let text = std::fs::read_to_string(home.path("addrs")).ok()?;
            Some(serde_json::from_str(&text).unwrap())
        });
        Self {
            addresses: addresses.await,
            child,
            log,
        }
    }

    pub async fn ready(&self) {
        eventually("ready", async || {
            (self.get("/ready").await.0 == 200).then_some(())
        })
        .await;
    }

    /// Where it listens, by flag.
    pub fn address(&self, flag: &str) -> Option<&str> {
        self.addresses.get(flag).map(String::as_str)
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Status and body of a page.
    pub async fn get(&self, path: &str) -> (u16, String) {
        self.page("httpAddr", "GET", path, "localhost").await
    }

    /// A page of either port, with a method and a `Host` of one's own.
    pub async fn page(&self, flag: &str, method: &str, path: &str, host: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(&self.addresses[flag]).await.unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, socket.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    pub async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The value of a series; none if there is no such series.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = self
            .page("monitoringAddr", "GET", "/metrics", "localhost")
            .await;
        let mut values = text
            .lines()
            .filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        values.next().map(|value| value.parse().unwrap())
    }

    /// Waits until a series has at least this value.
    pub async fn metric_reaches(&self, series: &str, value: f64) {
        eventually(series, async || {
            self.metric(series)
                .await
                .filter(|now| *now >= value)
                .map(drop)
        })
        .await;
    }

    /// Tells it to end, and waits until it has.
    pub async fn stop(mut self) -> ExitStatus {
        let id = nix::unistd::Pid::from_raw(self.child.id().unwrap().try_into().unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
        tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .unwrap()
            .unwrap()
    }

    /// Kills it without a chance to say goodbye.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}
