//! Pods come and go, and so do the replicas of the control plane: no call fails.

use lab::app::Call;
use testkit::Cluster;

use super::apps::{Load, app, failed, ready};
use super::installed::{SYSTEM, chart, injected, install, label, told};

const URL: &str = "http://server:8080/";
/// A hundred calls a second.
const PACE_MS: u64 = 10;

/// Rolls a Deployment over, and deletes its pods one by one, while it is called.
fn roll(native: &str) {
    let space = injected(&format!("roll-{native}"));
    let server = app("server").port(8080).replicas(2).lingers(5);
    let server = server.annotation("sidecar.istio.io/nativeSidecar", native);
    space.apply(&server.yaml());
    space.apply(&app("client").yaml());
    ready(&space, "server");
    ready(&space, "client");
    let load = Load::start(&space, "client", Call::get(URL), PACE_MS);
    load.wait_for(100);
    space.kubectl_ok(&["rollout", "restart", "deployment/server"]);
    ready(&space, "server");
    // Pods of before still end.
    let staying =
        "{{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}} {{end}}{{end}}";
    let pods = ["get", "pods", "-l", "app=server", "-o", "go-template"];
    let names = space.kubectl_ok(&[&pods[..], &["--template", staying]].concat());
    for pod in names.split_whitespace().take(2) {
        space.kubectl_ok(&["delete", "pod", pod]);
        ready(&space, "server");
    }
    load.wait_for(200);
    let outcomes = load.stop();
    let failed = failed(&outcomes);
    println!(
        "native {native}: {} calls, {} failed",
        outcomes.len(),
        failed.len()
    );
    assert!(
        failed.is_empty(),
        "{} failed: {:#?}",
        failed.len(),
        &failed[..failed.len().min(5)]
    );
    assert!(outcomes.len() > 1000, "{}", outcomes.len());
}

#[test]
fn a_rollout_and_deletions_of_pods_fail_no_call() {
    roll("true");
}

#[test]
fn a_rollout_of_classic_sidecars_fails_no_call() {
    roll("false");
}

#[test]
fn an_upgrade_and_a_restart_of_the_control_plane_fail_no_call() {
    let cluster = Cluster::own();
    let done = install(&cluster, &["pilot.replicaCount=2"]);
    assert!(done.status.success(), "{}", told(&done));
    let space = cluster.space("apps");
    label(&space);
    space.apply(&app("server").port(8080).replicas(2).lingers(5).yaml());
    space.apply(&app("client").yaml());
    ready(&space, "server");
    ready(&space, "client");
    let load = Load::start(&space, "client", Call::get(URL), PACE_MS);
    load.wait_for(100);
    let mut upgrade = cluster.exec("helm");
    upgrade.args(["upgrade", "lateen", chart(), "-n", SYSTEM, "--reuse-values"]);
    upgrade.args([
        "--set",
        "pilot.podAnnotations.again=yes",
        "--wait",
        "--timeout",
        "120s",
    ]);
    let done = upgrade.output().unwrap();
    assert!(done.status.success(), "{}", told(&done));
    cluster.kubectl_ok(["-n", SYSTEM, "rollout", "restart", "deployment/istiod"]);
    cluster.kubectl_ok([
        "-n",
        SYSTEM,
        "rollout",
        "status",
        "deployment/istiod",
        "--timeout=90s",
    ]);
    space.kubectl_ok(&["rollout", "restart", "deployment/server"]);
    ready(&space, "server");
    load.wait_for(200);
    let outcomes = load.stop();
    let failed = failed(&outcomes);
    println!("upgrade: {} calls, {} failed", outcomes.len(), failed.len());
    assert!(
        failed.is_empty(),
        "{} failed: {:#?}",
        failed.len(),
        &failed[..failed.len().min(5)]
    );
}
