//! Apps in pods: what they are made from, and calls that they make.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lab::app::{Call, Outcome};
use serde_json::{Value, json};
use testkit::Space;

use super::plane::process_in;

const IMAGE: &str = "localhost/lateen/app:0.1.0";
/// Where an app listens for commands.
const SOCKET: &str = "/tmp/app";
/// How long an outcome may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A Deployment of the echo server, which is also a caller.
#[derive(Clone, Debug)]
pub struct App {
    name: String,
    app: String,
    version: Option<String>,
    ports: Vec<u16>,
    replicas: u32,
    lingers: u64,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// An app of that name, with one replica and no port.
pub fn app(name: &str) -> App {
    App {
        name: name.to_owned(),
        app: name.to_owned(),
        version: None,
        ports: Vec::new(),
        replicas: 1,
        lingers: 0,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    }
}

impl App {
    pub fn version(mut self, version: &str) -> Self {
        self.name = format!("{}-{version}", self.app);
        self.version = Some(version.to_owned());
        self
    }

    pub fn port(mut self, port: u16) -> Self {
        self.ports.push(port);
        self
    }

    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// Goes on serving for so many seconds once it is told to end.
    pub fn lingers(mut self, seconds: u64) -> Self {
        self.lingers = seconds;
        self
    }

    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Without a sidecar.
    pub fn outside(self) -> Self {
        self.label("sidecar.istio.io/inject", "false")
    }

    /// Its ServiceAccount and Deployment, and its Service if it has ports.
    pub fn yaml(&self) -> String {
        let mut objects = vec![self.service_account(), self.deployment()];
        if !self.ports.is_empty() {
            objects.push(self.service());
        }
        let texts: Vec<String> = objects.iter().map(Value::to_string).collect();
        texts.join("\n---\n")
    }

    fn service_account(&self) -> Value {
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": self.app } })
    }

    fn service(&self) -> Value {
        let port = |port: &u16| json!({ "name": format!("http-{port}"), "port": port });
        let ports: Vec<Value> = self.ports.iter().map(port).collect();
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": self.app },
            "spec": { "selector": { "app": self.app }, "ports": ports },
        })
    }

    fn deployment(&self) -> Value {
        let mut labels = self.labels.clone();
        labels.insert("app".to_owned(), self.app.clone());
        if let Some(version) = &self.version {
            labels.insert("version".to_owned(), version.clone());
        }
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": self.name },
            "spec": {
                "replicas": self.replicas,
                "selector": { "matchLabels": labels },
                "strategy": { "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
                "template": {
                    "metadata": { "labels": labels, "annotations": self.annotations },
                    "spec": self.pod(),
                },
            },
        })
    }

    /// The spec of its pods.
    pub fn pod(&self) -> Value {
        let spec = json!({
            "namespace": "$(NAMESPACE)", "name": "$(NAME)", "version": self.version,
            "ports": self.ports, "socket": SOCKET, "lingers": self.lingers,
        });
        let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
        let ports: Vec<Value> = self
            .ports
            .iter()
            .map(|port| json!({ "containerPort": port }))
            .collect();
        let mut container = json!({
            "name": "app",
            "image": IMAGE,
            "args": ["lab-app", spec.to_string()],
            "env": [field("NAMESPACE", "metadata.namespace"), field("NAME", "metadata.name")],
            "ports": ports,
            "resources": { "requests": { "cpu": "1m", "memory": "8Mi" } },
        });
        if let Some(port) = self.ports.first() {
            container["readinessProbe"] =
                json!({ "httpGet": { "path": "/", "port": port }, "periodSeconds": 1 });
        }
        json!({
            "serviceAccountName": self.app,
            "terminationGracePeriodSeconds": 30,
            "containers": [container],
        })
    }
}

/// Waits until all pods of a Deployment are ready, and those of its earlier versions are gone.
pub fn ready(space: &Space, deployment: &str) {
    let deployment = format!("deployment/{deployment}");
    space.kubectl_ok(&["rollout", "status", &deployment, "--timeout=90s"]);
}

/// Calls `call` so often from a pod of a Deployment, `parallel` at a time.
pub fn calls(space: &Space, from: &str, call: Call, count: u32, parallel: u32) -> Vec<Outcome> {
    let command = lab::app::Command::Calls {
        call,
        count,
        parallel,
    };
    let command = serde_json::to_string(&command).unwrap();
    let from = format!("deployment/{from}");
    let told = space.kubectl_ok(&[
        "exec",
        &from,
        "-c",
        "app",
        "--",
        "/usr/local/bin/lateen",
        "lab-call",
        &command,
    ]);
    let outcome = |line: &str| serde_json::from_str(line).unwrap();
    told.lines().map(outcome).collect()
}

/// The one outcome of a GET.
pub fn get(space: &Space, from: &str, url: &str) -> Outcome {
    calls(space, from, Call::get(url), 1, 1).remove(0)
}

/// Calls that a pod of a Deployment makes at a steady pace until it is told to stop.
pub struct Load {
    child: Child,
    seen: Arc<(Mutex<Vec<Outcome>>, Condvar)>,
    reader: JoinHandle<()>,
}

impl Load {
    /// One call each `every_ms` milliseconds.
    pub fn start(space: &Space, from: &str, call: Call, every_ms: u64) -> Self {
        let mut kubectl = space.cluster().exec("kubectl");
        kubectl.args(["-n", space.name(), "exec", &format!("deployment/{from}")]);
        kubectl.args(["-c", "app", "--"]);
        Self::by(kubectl, call, every_ms)
    }

    /// As [`start`](Self::start), from the one pod of a Deployment, and without an API server between.
    pub fn start_beside(space: &Space, from: &str, call: Call, every_ms: u64) -> Self {
        let label = format!("app={from}");
        let path = "jsonpath={.items[0].metadata.name}";
        let pod = space.kubectl_ok(&["get", "pods", "-l", &label, "-o", path]);
        let process = process_in(space, &pod, "app").to_string();
        let mut enter = Command::new("nsenter");
        enter.args(["--mount", "--net", "--target", &process, "--"]);
        Self::by(enter, call, every_ms)
    }

    /// By a command that runs another one in a pod.
    fn by(mut inside: Command, call: Call, every_ms: u64) -> Self {
        let load = lab::app::Command::Load { call, every_ms };
        let load = serde_json::to_string(&load).unwrap();
        inside.args(["/usr/local/bin/lateen", "lab-call", &load]);
        let mut child = inside.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let seen: Arc<(Mutex<Vec<Outcome>>, Condvar)> = Arc::default();
        let outcomes = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Ok(outcome) = serde_json::from_str(&line) else {
                    return;
                };
                outcomes.0.lock().unwrap().push(outcome);
                outcomes.1.notify_all();
            }
        });
        Self {
            child,
            seen,
            reader,
        }
    }

    /// Waits for so many more outcomes.
    pub fn wait_for(&self, more: usize) {
        let (seen, came) = &*self.seen;
        let seen = seen.lock().unwrap();
        let wanted = seen.len() + more;
        drop(came.wait_while(seen, |seen| seen.len() < wanted).unwrap());
    }

    /// Those so far.
    pub fn seen(&self) -> usize {
        self.seen.0.lock().unwrap().len()
    }

    /// Waits for an outcome after the first `from`.
    pub fn wait_until(&self, from: usize, is_it: impl Fn(&Outcome) -> bool) -> Outcome {
        let (seen, came) = &*self.seen;
        let (mut seen, mut next) = (seen.lock().unwrap(), from);
        let began = Instant::now();
        loop {
            if let Some(found) = seen[next..].iter().find(|outcome| is_it(outcome)) {
                return found.clone();
            }
            next = seen.len();
            assert!(began.elapsed() < PATIENCE, "not yet: {:?}", seen.last());
            (seen, _) = came.wait_timeout(seen, PATIENCE).unwrap();
        }
    }

    /// Ends it: all outcomes.
    pub fn stop(mut self) -> Vec<Outcome> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reader.join().unwrap();
        std::mem::take(&mut self.seen.0.lock().unwrap())
    }
}

/// Those of the outcomes that are no 200.
pub fn failed(outcomes: &[Outcome]) -> Vec<&Outcome> {
    let failed = outcomes.iter().filter(|one| one.status != Some(200));
    failed.collect()
}
