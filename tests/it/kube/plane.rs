//! The control plane's pod as its operators see it: where it is, what it logs, what it costs.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::Value;
use testkit::{Cluster, Space, in_network_of};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::installed::SYSTEM;

/// One pod of the control plane.
pub struct Plane {
    cluster: Cluster,
    pod: String,
    address: String,
    process: u32,
}

impl Plane {
    /// The first one of a cluster in which Lateen is installed.
    pub fn of(cluster: &Cluster) -> Self {
        let fields = "{.items[0].metadata.name} {.items[0].status.podIP} {.items[0].status.containerStatuses[0].containerID}";
        let path = format!("jsonpath={fields}");
        let told = cluster.kubectl_ok([
            "-n",
            SYSTEM,
            "get",
            "pods",
            "-l",
            "app=istiod",
            "--field-selector=status.phase=Running",
            "-o",
            &path,
        ]);
        let words: Vec<&str> = told.split_whitespace().collect();
        let [pod, address, container] = *words.as_slice() else {
            panic!("no pod of the control plane runs: {told}");
        };
        Self {
            cluster: cluster.clone(),
            pod: pod.to_owned(),
            address: address.to_owned(),
            process: process_of(container.trim_start_matches("containerd://")),
        }
    }

    /// Where it serves proxies.
    pub fn secure(&self) -> String {
        format!("{}:15012", self.address)
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.cluster.kubectl_ok(["-n", SYSTEM, "logs", &self.pod])
    }

    /// Every object that it knows.
    pub fn configz(&self) -> Value {
        let page = || http("127.0.0.1:8080", "GET", "/debug/configz", "");
        serde_json::from_str(&in_network_of(self.process, page).unwrap()).unwrap()
    }

    /// The values of a metric, each by its labels.
    pub fn metric(&self, name: &str) -> BTreeMap<String, f64> {
        let page = || http("127.0.0.1:15014", "GET", "/metrics", "");
        let page = in_network_of(self.process, page).unwrap();
        let value = |line: &str| {
            let (labels, value) = line
                .strip_prefix(name)?
                .strip_prefix('{')?
                .split_once("} ")?;
            Some((labels.to_owned(), value.parse().unwrap()))
        };
        page.lines().filter_map(value).collect()
    }

    /// The processor time that it has had so far.
    pub fn cpu(&self) -> Duration {
        cpu(self.process)
    }
}

/// The processor time of a process, of the user and of the kernel.
pub fn cpu(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // Names may contain spaces: the fields are counted behind it.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    let [user, kernel] = [11, 12].map(|field: usize| fields[field].parse::<u64>().unwrap());
    let tick = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap();
    Duration::from_millis((user + kernel) * 1000 / u64::try_from(tick.unwrap()).unwrap())
}

/// The body of a page; none if nobody listens or the answer is not 200.
pub async fn http(address: &str, method: &str, path: &str, body: &str) -> Option<String> {
    let mut socket = TcpStream::connect(address).await.ok()?;
    let length = body.len();
    // An answer of HTTP/1.0 comes in one piece.
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    (head.split(' ').nth(1) == Some("200")).then(|| body.to_owned())
}

/// The first process of a pod's container.
pub fn process_in(space: &Space, pod: &str, container: &str) -> u32 {
    let field =
        format!("jsonpath={{.status.containerStatuses[?(@.name==\"{container}\")].containerID}}");
    let id = space.kubectl_ok(&["get", "pod", pod, "-o", &field]);
    process_of(id.trim_start_matches("containerd://"))
}

/// The first process of a container.
fn process_of(container: &str) -> u32 {
    assert!(!container.is_empty(), "the container has not been started");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_it = |number: &u32| {
        let groups = fs::read_to_string(format!("/proc/{number}/cgroup"));
        groups.is_ok_and(|groups| groups.contains(container))
    };
    let found = numbers.find(is_it);
    found.unwrap_or_else(|| panic!("no process runs in container {container}"))
}

/// The mesh's roots, as pods of a namespace get them.
pub fn roots(space: &Space) -> String {
    let path = "jsonpath={.data.root-cert\\.pem}";
    space.kubectl_ok(&["get", "configmap", "istio-ca-root-cert", "-o", path])
}
