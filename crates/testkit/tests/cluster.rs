//! The cluster that other tests stand on: it runs pods as any Kubernetes does, several run at once, and nothing of one
//! is left, whatever becomes of the test that started it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::Cluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A pod with all that injection will need: an init container, a native sidecar, a probe, a projected token.
const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: whole, labels: {app: whole}}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - name: first
    image: localhost/lateen/app:0.1.0
    command: [/usr/bin/sh, -c, "echo written first > /shared/word"]
    volumeMounts: [{name: shared, mountPath: /shared}]
  - name: sidecar
    image: localhost/lateen/app:0.1.0
    restartPolicy: Always
    args: [lab-app, '{"namespace":"x","name":"sidecar","version":null,"ports":[9090],"socket":"/tmp/app.sock"}']
  containers:
  - name: app
    image: localhost/lateen/app:0.1.0
    args: [lab-app, '{"namespace":"x","name":"whole","version":"v1","ports":[8080],"socket":"/tmp/app.sock"}']
    readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
    volumeMounts: [{name: shared, mountPath: /shared}, {name: token, mountPath: /var/run/secrets/tokens}]
  volumes:
  - {name: shared, emptyDir: {}}
  - {name: token, projected: {sources: [{serviceAccountToken: {audience: istio-ca, path: istio-token}}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: caller}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: localhost/lateen/app:0.1.0
    args: [lab-app, '{"namespace":"x","name":"caller","version":null,"ports":[],"socket":"/tmp/app.sock"}']
---
apiVersion: v1
kind: Service
metadata: {name: whole}
spec: {selector: {app: whole}, ports: [{port: 80, targetPort: 8080}]}
"#;

const READY: [&str; 4] = [
    "wait",
    "--for=condition=Ready",
    "pod/whole",
    "--timeout=60s",
];

async fn get(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(b"GET /word HTTP/1.1\r\nHost: whole\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[test]
fn a_whole_pod_becomes_ready_and_is_reached() {
    let space = Cluster::shared().space("whole");
    space.apply(POD);
    space.wait("Ready", "pod/whole");
    let in_pod = |command: &str| {
        let words = ["exec", "whole", "-c", "app", "--", "sh", "-c", command];
        space.kubectl_ok(&words)
    };
    assert_eq!(in_pod("cat /shared/word"), "written first\n");
    assert_eq!(in_pod("id -u"), "10001\n");
    // Three parts, base64 without padding: header, claims, signature.
    let token = in_pod("cat /var/run/secrets/tokens/istio-token");
    assert_eq!(token.split('.').count(), 3, "{token}");
    let from_sidecar = in_pod("wget -q -O - http://127.0.0.1:9090/");
    assert!(
        from_sidecar.contains(r#""workload":"sidecar""#),
        "{from_sidecar}"
    );

    let address = space.kubectl_ok(&["get", "pod/whole", "-o", "jsonpath={.status.podIP}"]);
    let answer = space
        .cluster()
        .in_network(|| get_owned(format!("{address}:8080")));
    assert!(answer.contains(r#""workload":"whole""#), "{answer}");
    // kube-proxy takes a moment to hear of the endpoint: calls are made until one arrives.
    let load = r#"{"load":{"call":{"url":"http://whole/word","fresh":true},"every_ms":50}}"#;
    let until = format!("timeout 30 lateen lab-call '{load}' | grep -m 1 '\"workload\":\"whole\"'");
    space.wait("Ready", "pod/caller");
    let arrived = space.kubectl_ok(&["exec", "caller", "--", "sh", "-c", &until]);
    assert!(arrived.contains(r#""path":"/word""#), "{arrived}");
    let logs = space.kubectl(&["logs", "whole", "-c", "app"]);
    assert!(logs.status.success(), "{logs:?}");
}

async fn get_owned(address: String) -> String {
    get(&address).await.unwrap()
}

#[test]
fn what_runs_inside_keeps_folder_input_and_exit_code() {
    let cluster = Cluster::shared();
    let script = "cat; pwd; getent hosts kubernetes.default.svc.cluster.local; exit 7";
    let mut child = cluster
        .exec("sh")
        .args(["-c", script])
        .current_dir("/usr/share")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"input\n").unwrap();
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[..2], ["input", "/usr/share"]);
    assert!(lines[2].starts_with("198.19.128.1 "), "{said}");
    assert_eq!(done.status.code(), Some(7));
}

#[test]
fn two_run_at_once_and_one_outlives_the_other() {
    let [one, other] = [Cluster::own(), Cluster::own()];
    for cluster in [&one, &other] {
        cluster.apply(POD);
        cluster.kubectl_ok(READY);
    }
    let pods = [
        "get",
        "pods",
        "-A",
        "-o",
        "jsonpath={.items[*].metadata.uid}",
    ];
    let [here, there] = [&one, &other].map(|cluster| cluster.kubectl_ok(pods));
    assert_eq!(here.split(' ').count(), 2, "{here}");
    assert_ne!(here, there);
    drop(one);
    assert_eq!(other.kubectl_ok(pods), there);
    other.kubectl_ok(READY);
}

#[test]
fn a_component_is_killed_and_comes_back() {
    let cluster = Cluster::own();
    cluster.kill("kube-apiserver");
    assert!(!cluster.kubectl(["get", "nodes"]).status.success());
    cluster.start("kube-apiserver");
    let until_ready = "until kubectl get --raw /readyz; do :; done 2>/dev/null";
    let done = cluster
        .exec("timeout")
        .args(["60", "sh", "-c", until_ready])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout), "ok");
    cluster.kubectl_ok(["get", "node", "node0"]);
}

/// What a cluster is on this machine.
struct Traces {
    folder: String,
    namespace: String,
    /// Held open, so that no later namespace gets the same number.
    _held: fs::File,
}

impl Traces {
    fn new(folder: &str, init: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            namespace: process_namespace(init).unwrap(),
            _held: fs::File::open(format!("/proc/{init}/ns/pid")).unwrap(),
        }
    }

    /// All that is there of it now, by where it was found.
    fn found(&self) -> BTreeSet<String> {
        let name = Path::new(&self.folder)
            .file_name()
            .unwrap()
            .to_str()
            .unwrap();
        // Without the random end of the folder: lateen-NAME.
        let group = name.replace("lateen-cluster-", "lateen-");
        let group = group.rsplit_once('-').unwrap().0;
        let mut found = BTreeSet::new();
        for pid in children("/proc") {
            let lines = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&lines).contains(&self.folder)
                || process_namespace(&pid).as_ref() == Some(&self.namespace)
            {
                let line = String::from_utf8_lossy(&lines).replace('\0', " ");
                eprintln!("process {pid} of {name}: {line}");
                found.insert("process".to_owned());
            }
        }
        if fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .contains(name)
        {
            found.insert("mount".to_owned());
        }
        let groups = children("/sys/fs/cgroup")
            .into_iter()
            .map(|top| format!("{top}/{group}"));
        if groups
            .chain([group.to_owned()])
            .any(|path| Path::new("/sys/fs/cgroup").join(path).exists())
        {
            found.insert("cgroup".to_owned());
        }
        if Path::new(&self.folder).exists() {
            found.insert("folder".to_owned());
        }
        let link = group.replace("lateen-", "/run/lateen-clusters/");
        if fs::symlink_metadata(link).is_ok() {
            found.insert("name".to_owned());
        }
        found
    }
}

fn children(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| entry.file_name().to_str().unwrap().to_owned())
        .collect()
}

fn process_namespace(pid: &str) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/ns/pid")).ok()?;
    Some(link.to_str()?.to_owned())
}

/// What kubelet would set for the whole machine.
fn settings() -> Vec<String> {
    [
        "vm/overcommit_memory",
        "vm/panic_on_oom",
        "kernel/panic",
        "kernel/panic_on_oops",
        "kernel/keys/root_maxkeys",
    ]
    .map(|name| fs::read_to_string(format!("/proc/sys/{name}")).unwrap())
    .to_vec()
}

/// The mounts of this machine that a cluster could have made.
fn mounts() -> BTreeSet<String> {
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = [
        "kubelet",
        "containerd",
        "netns",
        "lateen-cluster",
        "/run",
        "/var/lib",
        "/var/log",
    ];
    let one = |line: &&str| {
        ours.iter()
            .any(|part| line.split(' ').nth(4).unwrap().contains(part))
    };
    all.lines().filter(one).map(str::to_owned).collect()
}

#[test]
fn nothing_is_left_of_it() {
    let before = (settings(), mounts());
    let cluster = Cluster::own();
    let space = cluster.space("whole");
    space.apply(POD);
    space.wait("Ready", "pod/whole");
    let init = cluster.process("init").to_string();
    let traces = Traces::new(cluster.folder().to_str().unwrap(), &init);
    let running = ["cgroup", "folder", "name", "process"].map(str::to_owned);
    assert_eq!(traces.found(), BTreeSet::from(running));
    assert_eq!((settings(), mounts()), before);
    drop(space);
    drop(cluster);
    assert_eq!(traces.found(), BTreeSet::new());
    assert_eq!((settings(), mounts()), before);
}

const CHILD: &str = "LATEEN_TEST_IS_TO_BE_KILLED";

#[test]
fn a_killed_test_leaves_nothing() {
    if std::env::var_os(CHILD).is_some() {
        let cluster = Cluster::own();
        println!(
            "\n{} {}",
            cluster.folder().display(),
            cluster.process("supervisor")
        );
        println!("{}", cluster.process("init"));
        // Held until it is killed, with the cluster in its hands.
        let _ = std::io::stdin().read(&mut [0]);
        unreachable!("it was killed");
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_test_leaves_nothing", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines
        .by_ref()
        .map(Result::unwrap)
        .find(|line| line.starts_with('/'));
    let line = line.expect("the child has a cluster");
    let (folder, supervisor) = line.split_once(' ').unwrap();
    let init = lines.next().unwrap().unwrap();
    let traces = Traces::new(folder, &init);
    assert!(traces.found().contains("process"));
    child.kill().unwrap();
    child.wait().unwrap();
    // The supervisor goes last.
    let gone = Command::new("timeout")
        .args(["60", "tail", "-s", "0.1", "-f", "/dev/null"])
        .arg(format!("--pid={supervisor}"))
        .status()
        .unwrap();
    assert!(gone.success(), "the supervisor has not ended");
    assert_eq!(traces.found(), BTreeSet::new());
}
