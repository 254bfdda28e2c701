//! A namespace of a cluster for one test: made with the test, deleted with it, its story told when the test fails.

use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use super::{Cluster, logs, said, with_input};

/// A namespace of a [`Cluster`], in which a test has all names for itself.
#[derive(Debug)]
pub struct Space {
    cluster: Cluster,
    name: String,
}

impl Space {
    pub(super) fn new(cluster: Cluster, name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        cluster.kubectl_ok(["create", "namespace", &name]);
        Self { cluster, name }
    }

    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster in which it is.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// `kubectl --namespace ...` to its end, whatever that is.
    pub fn kubectl(&self, arguments: &[&str]) -> Output {
        self.cluster.kubectl(self.with_namespace(arguments))
    }

    /// `kubectl --namespace ...`, which must succeed; what it printed.
    ///
    /// # Panics
    /// It failed.
    pub fn kubectl_ok(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl_ok(self.with_namespace(arguments))
    }

    /// `kubectl apply` here of YAML or JSON documents, which must succeed.
    ///
    /// # Panics
    /// One of them was refused.
    pub fn apply(&self, yaml: &str) -> String {
        said("apply", &self.try_apply(yaml))
    }

    /// `kubectl apply` here of YAML or JSON documents, whatever comes of it.
    pub fn try_apply(&self, yaml: &str) -> Output {
        let mut command = self.cluster.exec("kubectl");
        command.args(self.with_namespace(&["apply", "-f", "-"]));
        with_input(command, yaml)
    }

    /// Waits until the pods, Deployments or whatever is named are as `condition` says, such as `Ready`.
    ///
    /// # Panics
    /// They are not, after a minute.
    pub fn wait(&self, condition: &str, what: &str) {
        let condition = format!("--for=condition={condition}");
        self.kubectl_ok(&["wait", &condition, what, "--timeout=60s"]);
    }

    fn with_namespace<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [&["--namespace", &self.name], arguments].concat()
    }

    /// What there is and what has happened, for somebody who must find out why a test failed.
    fn story(&self) -> String {
        let mut story = String::new();
        for arguments in [
            &["get", "all", "-o", "wide"][..],
            &["get", "events", "--sort-by=.lastTimestamp"],
            &["describe", "pods"],
        ] {
            let done = self.kubectl(arguments);
            story += &format!("--- kubectl {}\n", arguments.join(" "));
            story += &String::from_utf8_lossy(&done.stdout);
        }
        story
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.story());
            logs::keep(&self.name, self.cluster.folder());
        }
        let mut command = self.cluster.exec("kubectl");
        command.args(["delete", "namespace", &self.name, "--wait=false"]);
        command.stdin(Stdio::null());
        // The cluster may be gone already, with all that is in it.
        let _ = command.output();
    }
}
