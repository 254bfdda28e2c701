//! How long edits take until calls change, and what many objects cost. Counts and order must be right; times are told.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lab::app::{Call, Outcome};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Cluster, Space, soak};
use xds::Kind;

use super::api::{Api, CHANGE, SERVICE, Sort, VIRTUAL_SERVICE, configz};
use super::apps::{Load, app, ready};
use super::installed::{install, label, told};
use super::plane::http;
use crate::lateend::client::{Proxy, bearer, node, one, secure_at};
use crate::lateend::process::eventually;

const EDITS: usize = 200;
/// While much else changes: each takes long where two processors do everything.
fn busy_edits() -> usize {
    if soak() > 1 { EDITS } else { EDITS / 10 }
}

/// Where the server listens. Each edit has it called at the other one.
const PORTS: [u16; 2] = [8080, 9090];
const SERVICE_ENTRY: Sort = ("ServiceEntry", "networking.istio.io/v1", "serviceentries");

/// A route to one of the server's ports: the first for even edits.
fn edited(number: usize) -> Value {
    let port = json!({ "number": PORTS[number % 2] });
    json!({
        "hosts": ["server"],
        "http": [{ "route": [{ "destination": { "host": "server", "port": port } }] }],
    })
}

/// A route to a host that is another one with each number.
fn numbered(host: &str, number: usize) -> Value {
    let timeout = format!("{}s", 10 + number);
    let route = json!([{ "destination": { "host": host } }]);
    json!({ "hosts": [host], "http": [{ "timeout": timeout, "route": route }] })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap()
}

fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (median, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("{what}: median {median:?}, p99 {p99:?}, of {}", times.len());
}

/// Where a call ended.
fn port(outcome: &Outcome) -> Option<u16> {
    outcome.answer.as_ref().map(|answer| answer.port)
}

/// Makes these edits one after the other: how long each took from the API server's answer to the end of the first call
/// that shows it.
fn edits(space: &Space, load: &Load, numbers: std::ops::Range<usize>) -> Vec<Duration> {
    let cluster = space.cluster();
    cluster.in_network(|| async {
        let api = Api::of(cluster).await;
        let (mut times, mut answers) = (Vec::new(), Vec::new());
        for number in numbers {
            let before = load.seen();
            let fields = json!({ "spec": edited(number) });
            let done = api.patch(VIRTUAL_SERVICE, space.name(), "server", &fields);
            let asked = Instant::now();
            done.await.unwrap();
            answers.push(asked.elapsed());
            let answered = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let wanted = Some(PORTS[number % 2]);
            let first = load.wait_until(before, |outcome| port(outcome) == wanted);
            let ended = first.began + first.micros;
            times.push(Duration::from_micros(
                ended.saturating_sub(micros(answered)),
            ));
        }
        tell("the API server's own answer", answers);
        times
    })
}

/// Hosts with many routes each, a thousand together.
const BUSY_HOSTS: usize = 20;
const BUSY_ROUTES: usize = 50;

fn busy(host: usize, round: usize) -> Value {
    let host = format!("busy-{host}.example");
    let route = |number| {
        let mut route = numbered(&host, round)["http"][0].clone();
        route["match"] = json!([{ "uri": { "prefix": format!("/{number}") } }]);
        route
    };
    json!({ "hosts": [host], "http": (0..BUSY_ROUTES).map(route).collect::<Vec<_>>() })
}

/// Makes the busy hosts.
fn make_busy(space: &Space) {
    let hosts: Vec<String> = (0..BUSY_HOSTS)
        .map(|host| format!("busy-{host}.example"))
        .collect();
    let entry = json!({ "spec": {
        "hosts": hosts,
        "ports": [{ "number": 80, "name": "http", "protocol": "HTTP" }],
        "resolution": "NONE",
    } });
    space.cluster().in_network(|| async {
        let (api, namespace) = (Api::of(space.cluster()).await, space.name());
        let made = api.create(SERVICE_ENTRY, namespace, "busy", &entry);
        made.await.unwrap();
        for host in 0..BUSY_HOSTS {
            let (name, object) = (format!("busy-{host}"), json!({ "spec": busy(host, 0) }));
            let made = api.create(VIRTUAL_SERVICE, namespace, &name, &object);
            made.await.unwrap();
        }
    });
}

/// Ends the churn when it goes, by a panic too.
struct Stopped<'a>(&'a AtomicBool);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Changes all routes of the busy hosts, again and again. Returns how many were changed.
fn churn(space: &Space, stop: &AtomicBool) -> usize {
    space.cluster().in_network(|| async {
        let api = Api::of(space.cluster()).await;
        let mut written = 0;
        while !stop.load(Ordering::Relaxed) {
            let (host, round) = (written % BUSY_HOSTS, 1 + written / BUSY_HOSTS);
            let (name, fields) = (format!("busy-{host}"), json!({ "spec": busy(host, round) }));
            let done = api.patch(VIRTUAL_SERVICE, space.name(), &name, &fields);
            done.await.unwrap();
            written += 1;
        }
        written * BUSY_ROUTES
    })
}

#[test]
fn edits_reach_calls_in_their_order() {
    let cluster = Cluster::own();
    let done = install(&cluster, &[]);
    assert!(done.status.success(), "{}", told(&done));
    let space = cluster.space("apps");
    label(&space);
    let server = PORTS
        .iter()
        .fold(app("server"), |server, port| server.port(*port));
    space.apply(&server.yaml());
    space.apply(&app("client").yaml());
    ready(&space, "server");
    ready(&space, "client");
    let route = |number| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": { "name": "server" }, "spec": edited(number),
        })
    };
    let kubectl = (0..5).map(|number| {
        let began = Instant::now();
        space.apply(&route(number).to_string());
        began.elapsed()
    });
    tell("kubectl apply by itself", kubectl.collect());

    let load = Load::start_beside(&space, "client", Call::get("http://server:8080/"), 2);
    tell(
        "from an edit to a call, idle",
        edits(&space, &load, 1..EDITS + 1),
    );
    make_busy(&space);
    let stop = AtomicBool::new(false);
    let (times, changed) = std::thread::scope(|scope| {
        let churn = scope.spawn(|| churn(&space, &stop));
        let times = {
            let _stopped = Stopped(&stop);
            edits(&space, &load, EDITS + 1..EDITS + 1 + busy_edits())
        };
        (times, churn.join().unwrap())
    });
    tell("from an edit to a call, busy", times);
    println!("{changed} routes were changed meanwhile");
    assert!(
        changed >= BUSY_HOSTS * BUSY_ROUTES,
        "only {changed} changed"
    );

    let outcomes = load.stop();
    assert!(outcomes.iter().all(|outcome| outcome.status == Some(200)));
    let mut ports: Vec<_> = outcomes.iter().map(port).collect();
    ports.dedup();
    // An older state after a newer one would be a change more.
    assert_eq!(ports.len(), 1 + EDITS + busy_edits());
}

/// `lateend` by the cluster's kubeconfig.
struct Outside<'a> {
    cluster: &'a Cluster,
    child: Child,
    folder: TempDir,
    took: Duration,
}

impl<'a> Outside<'a> {
    /// Starts it and waits until it is ready.
    fn start(cluster: &'a Cluster) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command: Command = cluster.exec(env!("CARGO_BIN_EXE_lateend"));
        command.arg("--kubeconfig").arg(cluster.kubeconfig());
        command.arg("--printAddrs").arg(folder.path().join("addrs"));
        for flag in [
            "--secureGRPCAddr",
            "--httpAddr",
            "--httpsAddr",
            "--monitoringAddr",
        ] {
            command.args([flag, ":0"]);
        }
        let log = fs::File::create(folder.path().join("log")).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let began = Instant::now();
        let child = command.spawn().unwrap();
        let mut outside = Self {
            cluster,
            child,
            folder,
            took: Duration::ZERO,
        };
        cluster.in_network(|| async {
            eventually("ready", async || {
                let address = outside.address("httpAddr")?;
                http(&address, "GET", "/ready", "").await.map(drop)
            })
            .await;
        });
        outside.took = began.elapsed();
        outside
    }

    fn address(&self, flag: &str) -> Option<String> {
        let text = fs::read_to_string(self.folder.path().join("addrs")).ok()?;
        let addresses: Value = serde_json::from_str(&text).ok()?;
        Some(addresses[flag].as_str()?.to_owned())
    }

    /// What it has in memory, in bytes.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kilobytes * 1024
    }

    fn objects(&self) -> Value {
        let address = self.address("httpAddr").unwrap();
        let page = self.cluster.in_network(|| async {
            let page = http(&address, "GET", "/debug/configz", "").await;
            page.unwrap()
        });
        serde_json::from_str(&page).unwrap()
    }
}

impl Drop for Outside<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "{}",
                fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
            );
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many VirtualServices of one Service there are, each for a namespace of its own.
const TENANTS: usize = 5;
/// How many objects are written at once.
const WRITERS: usize = 8;

/// Writes that many Services, and VirtualServices for them in the tenants' namespaces.
fn fill(cluster: &Cluster, services: usize) {
    for tenant in 0..TENANTS {
        cluster.kubectl_ok(["create", "namespace", &format!("tenant-{tenant}")]);
    }
    cluster.in_network(|| async {
        let api = Api::of(cluster).await;
        let writers = (0..WRITERS).map(|writer| {
            let api = api.clone();
            tokio::spawn(async move {
                for number in (writer..services).step_by(WRITERS) {
                    write(&api, number).await;
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
}

async fn write(api: &Api, number: usize) {
    let name = format!("s{number}");
    let ports = json!([{ "name": "http", "port": 80 }]);
    let service = json!({ "spec": { "selector": { "app": name }, "ports": ports } });
    let made = api.create(SERVICE, "default", &name, &service);
    made.await.unwrap();
    for tenant in 0..TENANTS {
        let object = json!({ "spec": private(number, 0) });
        let namespace = format!("tenant-{tenant}");
        let made = api.create(VIRTUAL_SERVICE, &namespace, &name, &object);
        made.await.unwrap();
    }
}

/// A route that only its own namespace follows.
fn private(number: usize, mark: usize) -> Value {
    let mut spec = numbered(&format!("s{number}.default.svc.cluster.local"), mark);
    spec["exportTo"] = json!(["."]);
    spec
}

/// From the API server's answer to an edit until a proxy has accepted what comes of it.
async fn accepted(cluster: &Cluster, proxy: &mut Proxy) -> Vec<Duration> {
    let api = Api::of(cluster).await;
    let mut times = Vec::new();
    for mark in 1..=20 {
        let change = json!({ CHANGE: mark.to_string() });
        let fields = json!({ "metadata": { "annotations": change }, "spec": private(mark, mark) });
        let (name, namespace) = (format!("s{mark}"), "tenant-0");
        let done = api.patch(VIRTUAL_SERVICE, namespace, &name, &fields);
        done.await.unwrap();
        let answered = Instant::now();
        let response = proxy.accept().await;
        times.push(answered.elapsed());
        let names: Vec<_> = response
            .resources
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(names, ["80"]);
    }
    times
}

#[test]
fn thousands_of_objects_are_read_at_a_start() {
    let services = if soak() > 1 { 1000 } else { 100 };
    let cluster = Cluster::own();
    cluster.kubectl_ok(["create", "namespace", "istio-system"]);
    let crds = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/crds")).unwrap();
    let crds = crds.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    cluster.apply(&crds.collect::<Vec<_>>().join("\n---\n"));
    let empty = Outside::start(&cluster);
    let (nothing, took) = (empty.memory(), empty.took);
    println!("ready after {took:?} with {nothing} bytes in an empty cluster");
    drop(empty);

    fill(&cluster, services);
    let full = Outside::start(&cluster);
    let count = services * (1 + TENANTS);
    let sorts = [SERVICE, VIRTUAL_SERVICE];
    let ours = |(kind, namespace, name): &&(String, String, String)| {
        namespace.starts_with("tenant-") || (kind == "Service" && name.starts_with('s'))
    };
    assert_eq!(
        configz(&full.objects(), &sorts).keys().filter(ours).count(),
        count
    );
    let each = (full.memory().saturating_sub(nothing)) / u64::try_from(count).unwrap();
    println!(
        "ready after {:?} with {count} objects, {each} bytes each",
        full.took
    );

    let token = [
        "-n",
        "tenant-0",
        "create",
        "token",
        "default",
        "--audience=istio-ca",
    ];
    let token = cluster.kubectl_ok(token);
    let published = "configmap/istio-ca-root-cert";
    cluster.kubectl_ok(["-n", "tenant-0", "wait", "--for=create", published]);
    let roots = ["-n", "tenant-0", "get", published, "-o"];
    let roots = cluster.kubectl_ok([&roots[..], &["jsonpath={.data.root-cert\\.pem}"]].concat());
    let address = full.address("secureGRPCAddr").unwrap();
    let times = cluster.in_network(|| async {
        let (channel, _) = secure_at(&address, &roots, None).await.unwrap();
        let id = "sidecar~198.18.255.9~a.tenant-0~tenant-0.svc.cluster.local";
        let first = one(Kind::Route, "80");
        let proxy = Proxy::open(channel, bearer(token.trim()), node(id, &[]), first);
        let mut proxy = proxy.await.unwrap();
        proxy.accept().await;
        accepted(&cluster, &mut proxy).await
    });
    tell("from an edit to a proxy's ACK", times);
    println!("{} bytes after all that", full.memory());
}
