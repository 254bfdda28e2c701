//! A cluster in which Lateen is installed as the README says.

use std::process::Output;
use std::sync::OnceLock;

use testkit::{Cluster, Space};

/// The namespace of the control plane.
pub const SYSTEM: &str = "istio-system";
/// Less than the chart's defaults: the machines of tests have two cores.
const SMALL: [&str; 6] = [
    "--set",
    "pilot.resources.requests.cpu=50m",
    "--set",
    "global.proxy.resources.requests.cpu=10m",
    "--set",
    "global.proxy.resources.requests.memory=32Mi",
];

/// The cluster that tests share, with Lateen in it.
pub fn shared() -> Cluster {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let cluster = Cluster::shared();
    INSTALLED.get_or_init(|| {
        let done = install(&cluster, &[]);
        assert!(done.status.success(), "{}", told(&done));
    });
    cluster
}

/// `helm install` as the README has it, with small requests and whatever else is `set`.
pub fn install(cluster: &Cluster, set: &[&str]) -> Output {
    let mut command = cluster.exec("helm");
    command.args([
        "install",
        "lateen",
        chart(),
        "-n",
        SYSTEM,
        "--create-namespace",
    ]);
    command.args(["--wait", "--timeout", "120s"]).args(SMALL);
    for value in set {
        command.args(["--set", value]);
    }
    command.output().unwrap()
}

/// The chart's folder.
pub fn chart() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/charts/lateen")
}

/// A namespace of the shared cluster whose pods are injected.
pub fn injected(name: &str) -> Space {
    let space = shared().space(name);
    label(&space);
    space
}

/// Has the pods of a namespace injected.
pub fn label(space: &Space) {
    let label = [
        "label",
        "namespace",
        space.name(),
        "istio-injection=enabled",
    ];
    space.cluster().kubectl_ok(label);
}

/// All that a command said.
pub fn told(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{err}")
}
