//! Every behaviour case and the dev mesh, as every proxy of theirs would get it, passes `envoy --mode validate`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::mesh::{envoy, lateen, top};

/// What Envoy checks at once: resources of several proxies, each only once, under names of their own.
#[derive(Default)]
struct Everything {
    seen: BTreeSet<String>,
    clusters: Vec<Value>,
    listeners: Vec<Value>,
    /// The clusters of external authorizers, which Envoy looks for by name.
    asked: BTreeSet<String>,
}

impl Everything {
    fn add(&mut self, shown: &Value) {
        for resource in bodies(shown, "clusters") {
            self.take(resource, |all, cluster| all.clusters.push(cluster));
        }
        for resource in bodies(shown, "endpoints") {
            self.take(json!({ "load_assignment": resource }), |all, assignment| {
                all.clusters.push(json!({
                    "name": "",
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "load_assignment": assignment["load_assignment"],
                }));
            });
        }
        for resource in bodies(shown, "listeners") {
            self.take(resource, |all, listener| all.listeners.push(listener));
        }
        for resource in bodies(shown, "routes") {
            self.take(resource, |all, table| all.listeners.push(routing(&table)));
        }
        for resource in bodies(shown, "extensions") {
            self.take(resource, |all, filter| {
                let cluster = "/typed_config/grpc_service/envoy_grpc/cluster_name";
                let cluster = filter.pointer(cluster).and_then(Value::as_str);
                all.asked.extend(cluster.map(str::to_owned));
                all.listeners.push(filtering(&filter));
            });
        }
    }

    fn take(&mut self, resource: Value, put: impl FnOnce(&mut Self, Value)) {
        if self.seen.insert(resource.to_string()) {
            put(self, resource);
        }
    }

    fn bootstrap(mut self) -> Value {
        let nobody = |name: &str| json!({ "name": name, "connect_timeout": "1s" });
        for (number, cluster) in self.clusters.iter_mut().enumerate() {
            cluster["name"] = json!(format!("cluster-{number}"));
        }
        for (number, listener) in self.listeners.iter_mut().enumerate() {
            listener["name"] = json!(format!("listener-{number}"));
            listener["address"] = json!({
                "socket_address": { "address": "127.0.0.1", "port_value": 20_000 + number }
            });
        }
        self.clusters
            .extend([nobody("xds-grpc"), nobody("sds-grpc")]);
        self.clusters
            .extend(self.asked.iter().map(|name| nobody(name)));
        json!({
            "node": { "id": "test", "cluster": "test", "metadata": { "CLUSTER_ID": "Kubernetes" } },
            "static_resources": { "clusters": self.clusters, "listeners": self.listeners },
            "dynamic_resources": { "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds-grpc" } }],
            } },
        })
    }
}

/// The resources of a type, without the name of their type.
fn bodies(shown: &Value, title: &str) -> Vec<Value> {
    let listed = shown[title].as_array().unwrap();
    let body = |item: &Value| {
        let mut resource = item["resource"].clone();
        resource.as_object_mut().unwrap().remove("@type");
        resource
    };
    listed.iter().map(body).collect()
}

/// A listener that holds a route table itself: Envoy checks routes only where it has them.
fn routing(table: &Value) -> Value {
    requests(table, None)
}

/// A listener that holds a discovered filter itself: Envoy checks its configuration only where it has it.
fn filtering(filter: &Value) -> Value {
    let kind = filter["typed_config"]["@type"].as_str().unwrap();
    if kind.contains(".http.") {
        return requests(&json!({ "name": "none" }), Some(filter));
    }
    json!({ "name": "", "filter_chains": [{ "filters": [filter, {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "test",
            "cluster": "xds-grpc",
        },
    }] }] })
}

fn requests(table: &Value, filter: Option<&Value>) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    });
    let filters: Vec<&Value> = filter.into_iter().chain([&router]).collect();
    json!({ "name": "", "filter_chains": [{ "filters": [{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "test",
            "route_config": table,
            "http_filters": filters,
        },
    }] }] })
}

/// The proxies of a folder: its Pods.
fn proxies(folder: &Path) -> Vec<String> {
    let (store, _) = sources::load(folder).unwrap();
    let pods = store.snapshot().of_kind(model::Kind::Pod);
    pods.map(|pod| format!("{}/{}", pod.key.namespace, pod.key.name))
        .collect()
}

fn everything(folder: &Path) -> Everything {
    let mut all = Everything::default();
    for proxy in proxies(folder) {
        let shown = lateen()
            .args(["translate", "--proxy", &proxy, "-o", "json"])
            .arg(folder)
            .output()
            .unwrap();
        assert!(
            shown.status.success(),
            "{proxy}: {}",
            String::from_utf8_lossy(&shown.stderr)
        );
        all.add(&serde_json::from_slice(&shown.stdout).unwrap());
    }
    all
}

fn refusal(folder: &Path, envoy: &Path) -> Option<String> {
    let file = folder.join("bootstrap.json");
    std::fs::write(&file, everything(folder).bootstrap().to_string()).unwrap();
    let run = Command::new(envoy)
        .args(["--mode", "validate", "-l", "error", "-c"])
        .arg(&file)
        .output()
        .unwrap();
    let said = || String::from_utf8_lossy(&run.stderr).into_owned();
    (!run.status.success()).then(said)
}

/// A folder with a case before its world: where both have an object, the case's is the one that counts.
fn scene(case: &Path) -> tempfile::TempDir {
    let scene = tempfile::tempdir().unwrap();
    let calls = std::fs::read_to_string(case.join("calls.yaml")).unwrap();
    let world = calls.lines().find_map(|line| line.strip_prefix("world: "));
    let world = top().join("tests/worlds").join(world.unwrap());
    for (from, to) in [(case, "a-case"), (&world, "b-world")] {
        let to = scene.path().join(to);
        std::fs::create_dir(&to).unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            if file.file_name() != "calls.yaml" {
                std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
    }
    scene
}

#[test]
fn the_real_envoy_accepts_every_case_and_the_dev_mesh() {
    let envoy = PathBuf::from(envoy());
    let cases: Vec<PathBuf> = std::fs::read_dir(top().join("tests/cases"))
        .unwrap()
        .map(|case| case.unwrap().path())
        .filter(|case| case.join("calls.yaml").exists())
        .collect();
    let check = |case: &PathBuf| {
        let why = refusal(scene(case).path(), &envoy)?;
        Some((case.display().to_string(), why))
    };
    let (some, others) = cases.split_at(cases.len() / 2);
    let mut refused: BTreeMap<String, String> = std::thread::scope(|scope| {
        let beside = scope.spawn(|| some.iter().filter_map(check).collect::<Vec<_>>());
        let here: Vec<_> = others.iter().filter_map(check).collect();
        here.into_iter().chain(beside.join().unwrap()).collect()
    });
    let dev = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(top().join("samples/dev")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), dev.path().join(file.file_name())).unwrap();
    }
    refused.extend(refusal(dev.path(), &envoy).map(|why| ("samples/dev".to_owned(), why)));
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(cases.len() >= 40, "{} cases", cases.len());
}
