//! The control plane stops or crashes: what the API server still takes, and how it is freed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use testkit::Cluster;

use super::{
    BAD, GOOD, all_gone, helm_ok, installed, lateen_says, objects, policies, refuses,
    waits_for_lateen,
};
use crate::kube::installed::{SYSTEM, label, told};

fn scale(cluster: &Cluster, replicas: u32) {
    let scale = format!("scale deployment/istiod -n istio-system --replicas={replicas}");
    cluster.kubectl_ok(scale.split(' '));
}

/// Waits until as many pods of the control plane as wanted are left, all of them ready.
fn settled(cluster: &Cluster, replicas: u32) {
    let rolled = "rollout status deployment/istiod -n istio-system --timeout=90s";
    cluster.kubectl_ok(rolled.split(' '));
    let pods = "get pods -l app=istiod -n istio-system -o name";
    loop {
        let pods = cluster.kubectl_ok(pods.split(' '));
        if pods.lines().count() <= replicas as usize {
            return;
        }
        for_the_end_of_one(cluster, &pods);
    }
}

/// Waits until one of the pods that are ending is gone.
fn for_the_end_of_one(cluster: &Cluster, pods: &str) {
    let ending = "-n istio-system --ignore-not-found -o jsonpath={.metadata.deletionTimestamp}";
    for pod in pods.lines() {
        let ending = format!("get {pod} {ending}");
        if !cluster.kubectl_ok(ending.split(' ')).is_empty() {
            let gone = format!("wait --for=delete {pod} -n istio-system --timeout=60s");
            cluster.kubectl_ok(gone.split(' '));
            return;
        }
    }
}

#[test]
fn an_outage_stops_nobody_who_does_not_need_lateen() {
    let cluster = Cluster::own();
    let before = objects(&cluster);
    installed(&cluster, &["pilot.replicaCount=2", "purge=true"]);
    the_last_replica_that_stops_frees_the_api_server_first(&cluster);
    after_a_crash_only_what_lateen_is_for_waits_until_it_is_freed(&cluster);
    all_gone(&cluster, &before);
}

fn the_last_replica_that_stops_frees_the_api_server_first(cluster: &Cluster) {
    scale(cluster, 1);
    settled(cluster, 1);
    waits_for_lateen(cluster);
    refuses(cluster);

    let ended = AtomicBool::new(false);
    let taken = thread::scope(|scope| {
        let writes = scope.spawn(|| {
            let mut taken = 0;
            loop {
                let last = ended.load(Ordering::Acquire);
                cluster.apply(&GOOD.replace("hosts: [a]", &format!("hosts: [a{taken}]")));
                taken += 1;
                if last {
                    return taken;
                }
            }
        });
        scale(cluster, 0);
        settled(cluster, 0);
        assert_eq!(policies(cluster), ["Ignore".to_owned()].into());
        ended.store(true, Ordering::Release);
        writes.join().unwrap()
    });
    println!("{taken} writes while the last replica stopped, all taken");
    cluster.apply(BAD);
    scale(cluster, 1);
    settled(cluster, 1);
    lateen_says(cluster, "check --webhook --timeout=60s", 0);
    waits_for_lateen(cluster);
}

/// Every replica is gone without a word, and the API server still waits for them.
fn crash(cluster: &Cluster) {
    let id = "jsonpath={.items[0].status.containerStatuses[0].containerID}";
    let id = format!("get pods -l app=istiod -n istio-system -o {id}");
    let id = cluster.kubectl_ok(id.split(' '));
    let id = id.strip_prefix("containerd://").unwrap();
    // It would start it again.
    cluster.kill("kubelet");
    let mut kill = cluster.exec("ctr");
    kill.args(["tasks", "kill", "--signal", "SIGKILL", id]);
    let done = kill.output().unwrap();
    assert!(done.status.success(), "{}", told(&done));
    scale(cluster, 0);
    let pods = "pods -l app=istiod -n istio-system --timeout=60s";
    let ending = format!("wait --for=jsonpath={{.metadata.deletionTimestamp}} {pods}");
    cluster.kubectl_ok(ending.split(' '));
    cluster.start("kubelet");
    let gone = format!("wait --for=delete {pods}");
    cluster.kubectl_ok(gone.split(' '));
}

fn pod(namespace: &str, labels: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{generateName: p-, namespace: {namespace}, labels: {labels}}}\nspec: {{containers: [{{name: app, image: localhost/lateen/app:0.1.0}}]}}\n"
    )
}

fn of_istio(kind: &str, version: &str, spec: &str) -> String {
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{generateName: w-, namespace: default}}\nspec: {spec}\n"
    )
}

/// Writes that wait for Lateen, and the webhook that the error must name.
fn waiting(injected: &str) -> Vec<(String, &'static str)> {
    let (networking, security) = ("networking.istio.io/v1", "security.istio.io/v1");
    let validation = "validation.istio.io";
    vec![
        (
            of_istio(
                "VirtualService",
                networking,
                "{hosts: [b], http: [{route: [{destination: {host: b}}]}]}",
            ),
            validation,
        ),
        (
            of_istio("DestinationRule", networking, "{host: b}"),
            validation,
        ),
        (
            of_istio("ServiceEntry", networking, "{hosts: [b.example]}"),
            validation,
        ),
        (
            of_istio("WorkloadEntry", networking, "{address: 198.18.9.9}"),
            validation,
        ),
        (
            of_istio("PeerAuthentication", security, "{mtls: {mode: STRICT}}"),
            validation,
        ),
        (
            of_istio("AuthorizationPolicy", security, "{action: ALLOW}"),
            validation,
        ),
        (
            pod(injected, "{app: a}"),
            "namespace.sidecar-injector.istio.io",
        ),
        (
            pod("default", "{sidecar.istio.io/inject: \"true\"}"),
            "object.sidecar-injector.istio.io",
        ),
    ]
}

/// Writes that nobody is asked about.
fn free(injected: &str) -> Vec<String> {
    let config_map = |namespace: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{generateName: c-, namespace: {namespace}}}\n"
        )
    };
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{generateName: s-, namespace: {injected}}}\nspec: {{ports: [{{port: 80}}]}}\n"
    );
    vec![
        pod("default", "{app: a}"),
        pod(injected, "{sidecar.istio.io/inject: \"false\"}"),
        pod(SYSTEM, "{app: a}"),
        pod("kube-system", "{app: a}"),
        config_map(injected),
        config_map(SYSTEM),
        service,
        "apiVersion: v1\nkind: Namespace\nmetadata: {generateName: n-}\n".to_owned(),
    ]
}

/// `kubectl create` as the API server answers it, with nothing kept.
fn create(cluster: &Cluster, yaml: &str) -> (bool, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), yaml).unwrap();
    let path = file.path().to_str().unwrap();
    let done = cluster.kubectl(["create", "--dry-run=server", "-f", path]);
    (done.status.success(), told(&done))
}

fn after_a_crash_only_what_lateen_is_for_waits_until_it_is_freed(cluster: &Cluster) {
    let space = cluster.space("injected");
    label(&space);
    cluster.apply(GOOD);
    crash(cluster);
    waits_for_lateen(cluster);

    let (waiting, free) = (waiting(space.name()), free(space.name()));
    for (yaml, webhook) in &waiting {
        let (taken, said) = create(cluster, yaml);
        let named = format!("failed calling webhook \"{webhook}\"");
        assert!(!taken && said.contains(&named), "{yaml}{said}");
    }
    for yaml in &free {
        let (taken, said) = create(cluster, yaml);
        assert!(taken, "{yaml}{said}");
    }
    cluster.kubectl_ok(["delete", "virtualservice", "good", "-n", "default"]);
    println!(
        "without Lateen {} writes wait and {} do not",
        waiting.len(),
        free.len()
    );

    let said = lateen_says(cluster, "check", 1);
    assert!(
        said.contains("istio-system/istiod is scaled to 0"),
        "{said}"
    );
    lateen_says(cluster, "uninstall --webhooks", 0);
    assert_eq!(policies(cluster), ["Ignore".to_owned()].into());
    for (yaml, _) in &waiting {
        let (taken, said) = create(cluster, yaml);
        assert!(taken, "{yaml}{said}");
    }
    scale(cluster, 1);
    lateen_says(cluster, "check --webhook --timeout=60s", 0);
    let said = lateen_says(cluster, "uninstall --webhooks", 1);
    assert!(said.contains("makes it wait again"), "{said}");

    crash(cluster);
    waits_for_lateen(cluster);
    helm_ok(cluster, &["uninstall", "lateen"]);
}
