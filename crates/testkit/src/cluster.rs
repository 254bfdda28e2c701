//! A real one-node Kubernetes for tests: API server, controllers, scheduler, kubelet, containerd, DNS.
//!
//! [`Cluster::shared`] is one for all tests of a test program, each of which takes a [`Space`] (a namespace) of it. Tests
//! that touch what is there only once (the root namespace, webhooks, the health of the cluster) take [`Cluster::own`].
//! `hack/cluster` starts and ends it. It lives at the other end of a pipe that this process holds: it ends with this
//! process, however that ends. When a test panics, what the cluster says about it is printed and kept.

mod logs;
mod space;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use nix::sched::{CloneFlags, setns};

pub use space::Space;

/// A running cluster. Clones are the same one; it is removed with the last.
#[derive(Clone, Debug)]
pub struct Cluster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    folder: PathBuf,
    /// The cluster ends when this is closed. None while it is being removed.
    life: Option<ChildStdin>,
}

impl Cluster {
    /// The one that all tests of this program share. It ends with the program.
    ///
    /// # Panics
    /// It cannot be started; the message says what is missing and how to get it.
    pub fn shared() -> Self {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        match SHARED.get_or_init(start) {
            Ok(cluster) => cluster.clone(),
            Err(why) => panic!("{why}"),
        }
    }

    /// One of its own for this test. It is gone when this value is.
    ///
    /// # Panics
    /// It cannot be started; the message says what is missing and how to get it.
    pub fn own() -> Self {
        start().unwrap_or_else(|why| panic!("{why}"))
    }

    /// A new namespace in it, whose name begins with `name`; deleted when the value is dropped.
    pub fn space(&self, name: &str) -> Space {
        Space::new(self.clone(), name)
    }

    /// The folder of its files. Logs are in `log/`.
    pub fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// A kubeconfig with all rights. Its server can be reached from [`Cluster::in_network`] only.
    pub fn kubeconfig(&self) -> PathBuf {
        self.0.folder.join("admin.kubeconfig")
    }

    /// A command that runs in the cluster's network, with its names, and `kubectl` and `helm` in its `PATH`. Files are
    /// those of this machine.
    pub fn exec(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = hack_cluster(&self.0.name);
        command.arg("exec").arg(program);
        command
    }

    /// `kubectl` to its end, whatever that is.
    pub fn kubectl<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        let mut command = self.exec("kubectl");
        command.args(arguments).stdin(Stdio::null());
        command
            .output()
            .expect("hack/cluster is there and can be run")
    }

    /// `kubectl`, which must succeed; what it printed.
    ///
    /// # Panics
    /// It failed.
    pub fn kubectl_ok<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let arguments: Vec<_> = arguments.into_iter().collect();
        let shown: Vec<_> = arguments
            .iter()
            .map(|argument| argument.as_ref().to_string_lossy().into_owned())
            .collect();
        said(&shown.join(" "), &self.kubectl(arguments))
    }

    /// `kubectl apply` of YAML or JSON documents, whatever comes of it.
    pub fn try_apply(&self, yaml: &str) -> Output {
        let mut command = self.exec("kubectl");
        command.args(["apply", "-f", "-"]);
        with_input(command, yaml)
    }

    /// `kubectl apply` of YAML or JSON documents, which must succeed.
    ///
    /// # Panics
    /// One of them was refused.
    pub fn apply(&self, yaml: &str) -> String {
        said("apply", &self.try_apply(yaml))
    }

    /// Kills a component, such as `kube-apiserver`, `etcd` or `kubelet`; it has ended when this returns.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&self, component: &str) {
        self.component("kill", component);
    }

    /// Starts a component, which is killed first if it runs.
    ///
    /// # Panics
    /// There is none of that name.
    pub fn start(&self, component: &str) {
        self.component("start", component);
    }

    fn component(&self, verb: &str, component: &str) {
        let mut command = hack_cluster(&self.0.name);
        command.args([verb, component]).stdin(Stdio::null());
        let done = command.output().expect("hack/cluster can be run");
        said(&format!("{verb} {component}"), &done);
    }

    /// Runs async code on a thread of its own whose network is the cluster's. Threads and processes that it starts are
    /// in there too, and so is a `kube::Client` from [`Cluster::kubeconfig`].
    ///
    /// # Panics
    /// When `work` does.
    pub fn in_network<T: Send, F: Future<Output = T>>(&self, work: impl FnOnce() -> F + Send) -> T {
        in_network_of(self.process("init"), work)
    }

    /// The number of a process on which the cluster's life depends: `init`, its first one, or `supervisor`, which
    /// removes what is left.
    ///
    /// # Panics
    /// The cluster has ended.
    pub fn process(&self, role: &str) -> u32 {
        let line = fs::read_to_string(self.0.folder.join(role)).expect("the cluster runs");
        let number = line.split(' ').next().and_then(|word| word.parse().ok());
        number.expect("a process is noted by its number")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if thread::panicking() {
            logs::keep(&self.name, &self.folder);
        }
        drop(self.life.take());
        let mut command = hack_cluster(&self.name);
        let done = command.arg("down").stdin(Stdio::null()).output();
        // A second panic would end the process and hide the first.
        if let Err(why) = done
            .map_err(|error| error.to_string())
            .and_then(|done| check("down", &done))
        {
            eprintln!("{why}");
        }
    }
}

/// Runs async code on a thread of its own whose network is that of a process, such as one of a pod.
///
/// # Panics
/// When `work` does, and when there is no such process.
pub fn in_network_of<T: Send, F: Future<Output = T>>(
    process: u32,
    work: impl FnOnce() -> F + Send,
) -> T {
    let done = thread::scope(|scope| {
        let entered = scope.spawn(|| {
            let network = format!("/proc/{process}/ns/net");
            let network = fs::File::open(network).expect("the process lives");
            setns(network, CloneFlags::CLONE_NEWNET).expect("root may enter a network");
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made")
                .block_on(work())
        });
        entered.join()
    });
    done.unwrap_or_else(|panic| resume_unwind(panic))
}

fn hack(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../hack")
        .join(script)
}

fn hack_cluster(name: &str) -> Command {
    let mut command = Command::new(hack("cluster"));
    command.args(["--name", name]);
    command
}

/// The build folder of this test program: `lateend`, `lateen` and `lateen-agent` stand there.
fn build_folder() -> PathBuf {
    let program = std::env::current_exe().expect("a test program knows its own path");
    let up = |path: &Path| path.parent().map(Path::to_owned);
    let folder = up(&program).and_then(|deps| up(&deps));
    folder.expect("cargo puts test programs into deps/")
}

fn start() -> Result<Cluster, String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    if !nix::unistd::geteuid().is_root() {
        return Err("a cluster needs root: run the tests by `make test`, or by hack/test".into());
    }
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("test-{}-{number}", std::process::id());
    // Ten minutes of building are nothing for the middle of a test.
    let programs = run(Command::new(hack("kube/build")).arg("--check"))?;
    let mut command = hack_cluster(&name);
    command
        .args(["up", "--while-stdin"])
        .env("LATEEN_KUBE", programs.trim())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if std::env::var_os("LATEEN_BINARIES").is_none() {
        command.env("LATEEN_BINARIES", build_folder());
    }
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let life = child.stdin.take();
    let done = child.wait_with_output().map_err(|e| e.to_string())?;
    check("hack/cluster up", &done)?;
    let folder = run(hack_cluster(&name).arg("folder"))?;
    Ok(Cluster(Arc::new(Inner {
        name,
        folder: folder.trim().into(),
        life,
    })))
}

fn run(command: &mut Command) -> Result<String, String> {
    let done = command.stdin(Stdio::null()).output();
    let done = done.map_err(|error| format!("{command:?}: {error}"))?;
    check(&format!("{command:?}"), &done)
}

/// What a command printed, if it succeeded; else all that it said.
fn check(what: &str, done: &Output) -> Result<String, String> {
    let [out, err] = [&done.stdout, &done.stderr].map(|text| String::from_utf8_lossy(text));
    if done.status.success() {
        return Ok(out.into_owned());
    }
    Err(format!("{what}: {}\n{out}{err}", done.status))
}

fn said(what: &str, done: &Output) -> String {
    check(what, done).unwrap_or_else(|why| panic!("{why}"))
}

fn with_input(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hack/cluster can be run");
    let mut stdin = child.stdin.take().expect("it was asked for");
    // A program that ends without reading says why by itself.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("its output can be read")
}
