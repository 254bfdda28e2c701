//! A release from its installation to its end, the API server's full list of objects before and after, and everybody who
//! must not be run over on the way.

mod outage;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use testkit::{Cluster, soak};

use super::installed::{SYSTEM, chart, install, told};

/// How long the garbage collector may take after a release is gone.
const SWEPT: Duration = Duration::from_secs(60);
/// An object that its CRD lets pass and validation refuses.
const BAD: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bad, namespace: default}
spec: {hosts: [a], http: [{route: [{destination: {host: not a host}}]}]}
";
const GOOD: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: good, namespace: default}
spec: {hosts: [a], http: [{route: [{destination: {host: a}}]}]}
";
const CRDS: [&str; 6] = [
    "authorizationpolicies.security.istio.io",
    "destinationrules.networking.istio.io",
    "peerauthentications.security.istio.io",
    "serviceentries.networking.istio.io",
    "virtualservices.networking.istio.io",
    "workloadentries.networking.istio.io",
];
/// What else an uninstalled release leaves, apart from users' objects: what the API server makes of the CRDs, and what
/// Kubernetes puts into every namespace.
const LEFT: [&str; 8] = [
    "APIService /v1.networking.istio.io",
    "APIService /v1.security.istio.io",
    "APIService /v1alpha3.networking.istio.io",
    "APIService /v1beta1.networking.istio.io",
    "APIService /v1beta1.security.istio.io",
    "ConfigMap istio-system/kube-root-ca.crt",
    "Namespace /istio-system",
    "ServiceAccount istio-system/default",
];
const ROOT: &str = "Secret istio-system/istio-ca-secret";
const USERS: &str = "VirtualService default/good";

type Objects = BTreeSet<String>;

/// Every object of the API server, as `Kind namespace/name`, without the books that Kubernetes itself keeps.
fn objects(cluster: &Cluster) -> Objects {
    let kinds = cluster.kubectl_ok(["api-resources", "--verbs=list", "-o", "name"]);
    let skipped = [
        "events",
        "events.events.k8s.io",
        "endpoints",
        "componentstatuses",
    ];
    let kinds: Vec<&str> = kinds
        .lines()
        .filter(|kind| !skipped.contains(kind))
        .collect();
    let line =
        "jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{'\\n'}{end}";
    let all = cluster.kubectl_ok(["get", &kinds.join(","), "-A", "-o", line]);
    let of_kubernetes =
        |line: &&str| line.contains(" kube-system/") || line.contains(" kube-node-lease/");
    all.lines()
        .filter(|line| !of_kubernetes(line))
        .map(str::to_owned)
        .collect()
}

/// Waits until there are exactly these objects.
fn only(cluster: &Cluster, expected: &Objects) {
    let until = Instant::now() + SWEPT;
    loop {
        let now = objects(cluster);
        if now == *expected {
            return;
        }
        let more: Vec<_> = now.difference(expected).collect();
        let missing: Vec<_> = expected.difference(&now).collect();
        assert!(
            Instant::now() < until,
            "left over: {more:#?}, gone: {missing:#?}"
        );
    }
}

/// What is left of a release: `before`, the CRDs, the root of trust and what users made.
fn after(before: &Objects, also: &[&str]) -> Objects {
    let crds = CRDS
        .iter()
        .map(|name| format!("CustomResourceDefinition /{name}"));
    let others = LEFT.iter().chain(also).map(|line| (*line).to_owned());
    before.iter().cloned().chain(crds).chain(others).collect()
}

/// `helm` with these arguments, to its end.
fn helm(cluster: &Cluster, arguments: &[&str]) -> Output {
    let mut command = cluster.exec("helm");
    command.args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

/// `helm`, which must succeed, in the control plane's namespace.
fn helm_ok(cluster: &Cluster, arguments: &[&str]) {
    let waits = ["-n", SYSTEM, "--wait", "--timeout", "120s"];
    let done = helm(cluster, &[arguments, &waits].concat());
    assert!(
        done.status.success(),
        "helm {}: {}",
        arguments.join(" "),
        told(&done)
    );
}

fn installed(cluster: &Cluster, set: &[&str]) {
    let done = install(cluster, set);
    assert!(done.status.success(), "{}", told(&done));
}

/// `lateen` as it was built with these tests.
fn lateen(cluster: &Cluster, arguments: &[&str]) -> Output {
    let program: PathBuf = std::env::current_exe().unwrap();
    let folder = program.parent().and_then(|deps| deps.parent()).unwrap();
    let mut command = cluster.exec(folder.join("lateen"));
    command.args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

/// `lateen`, whose exit code must be this; what it said.
fn lateen_says(cluster: &Cluster, arguments: &[&str], code: i32) -> String {
    let done = lateen(cluster, arguments);
    let said = told(&done);
    assert_eq!(
        done.status.code(),
        Some(code),
        "lateen {}: {said}",
        arguments.join(" ")
    );
    said
}

/// The failure policies of all webhooks, and whether each has a CA bundle.
fn policies(cluster: &Cluster) -> BTreeSet<String> {
    let line = "jsonpath={range .items[*]}{range .webhooks[*]}{.failurePolicy} {.clientConfig.caBundle}{'\\n'}{end}{end}";
    let kinds = "mutatingwebhookconfigurations,validatingwebhookconfigurations";
    let all = cluster.kubectl_ok(["get", kinds, "-o", line]);
    let policy = |line: &str| match line.split_once(' ') {
        Some((policy, "")) | Some((policy, "Cg==")) => format!("{policy} without a bundle"),
        Some((policy, _)) => policy.to_owned(),
        None => line.to_owned(),
    };
    all.lines().map(policy).collect()
}

fn waits_for_lateen(cluster: &Cluster) {
    assert_eq!(policies(cluster), BTreeSet::from(["Fail".to_owned()]));
}

/// A bad object is refused by the webhook, now.
fn refuses(cluster: &Cluster) {
    let done = cluster.try_apply(BAD);
    let said = told(&done);
    let denied = "admission webhook \"validation.istio.io\" denied the request";
    assert!(!done.status.success() && said.contains(denied), "{said}");
}

/// The certificate of the root of trust.
fn root(cluster: &Cluster) -> String {
    let path = "jsonpath={.data.ca-cert\\.pem}";
    let root = cluster.kubectl_ok(["get", "secret", "istio-ca-secret", "-n", SYSTEM, "-o", path]);
    assert!(!root.is_empty(), "it has no certificate");
    root
}

/// Has the Deployment want an image that no node has.
fn dead(cluster: &Cluster) {
    let none = [
        "set",
        "image",
        "deployment/istiod",
        "discovery=registry.invalid/none:1",
        "-n",
        SYSTEM,
    ];
    cluster.kubectl_ok(none);
    let at_once = [
        "delete",
        "pods",
        "-l",
        "app=istiod",
        "-n",
        SYSTEM,
        "--grace-period=0",
        "--force",
    ];
    cluster.kubectl_ok(at_once);
}

#[test]
fn a_release_leaves_the_crds_users_objects_and_the_root_of_trust() {
    let cluster = Cluster::own();
    let before = objects(&cluster);
    let said = lateen_says(
        &cluster,
        &["check", "--pre", "--hub", "localhost/lateen"],
        0,
    );
    assert!(
        said.contains("a node gets the image localhost/lateen/lateend:"),
        "{said}"
    );
    only(&cluster, &before);

    installed(&cluster, &[]);
    refuses(&cluster);
    waits_for_lateen(&cluster);
    lateen_says(&cluster, &["check"], 0);
    cluster.apply(GOOD);
    let first = root(&cluster);

    helm_ok(
        &cluster,
        &[
            "upgrade",
            "lateen",
            chart(),
            "--reuse-values",
            "--set",
            "pilot.replicaCount=2",
        ],
    );
    refuses(&cluster);
    waits_for_lateen(&cluster);
    helm_ok(&cluster, &["rollback", "lateen", "1"]);
    refuses(&cluster);
    waits_for_lateen(&cluster);
    assert_eq!(root(&cluster), first);
    helm_ok(&cluster, &["uninstall", "lateen"]);
    only(&cluster, &after(&before, &[ROOT, USERS]));

    installed(&cluster, &[]);
    refuses(&cluster);
    assert_eq!(root(&cluster), first, "a reinstallation adopts the root");
    dead(&cluster);
    helm_ok(&cluster, &["uninstall", "lateen"]);
    only(&cluster, &after(&before, &[ROOT, USERS]));

    installed(&cluster, &["purge=true"]);
    assert_eq!(root(&cluster), first);
    helm_ok(&cluster, &["uninstall", "lateen"]);
    only(&cluster, &after(&before, &[USERS]));
    installed(&cluster, &[]);
    assert_ne!(root(&cluster), first, "a purged root does not come back");
    println!(
        "{} objects before; uninstalled three times, nothing else stays",
        before.len()
    );
}

#[test]
fn nobody_is_run_over() {
    let cluster = Cluster::own();
    let before = objects(&cluster);
    let foreign = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: mesh-of-others, labels: {app: istiod, istio.io/rev: default}}
spec:
  replicas: 0
  selector: {matchLabels: {app: istiod}}
  template: {metadata: {labels: {app: istiod}}, spec: {containers: [{name: discovery, image: localhost/none}]}}
";
    cluster.kubectl_ok(["create", "namespace", "mesh-of-others"]);
    cluster.apply(foreign);
    let refused = told(&install(&cluster, &[]));
    let named = "Deployment mesh-of-others/istiod is a control plane of revision default already";
    assert!(refused.contains(named), "{refused}");
    for arguments in [&["install"][..], &["check", "--pre"]] {
        let refused = lateen_says(&cluster, arguments, 1);
        assert!(
            refused.contains("Deployment mesh-of-others/istiod is a control plane"),
            "{refused}"
        );
    }
    cluster.kubectl_ok(["delete", "namespace", "mesh-of-others"]);
    cluster.kubectl_ok(["delete", "namespace", SYSTEM, "--ignore-not-found"]);
    only(&cluster, &before);

    let crds = format!("{}/files/crds", chart());
    cluster.kubectl_ok(["apply", "--server-side", "-f", &crds]);
    let versions = || {
        cluster.kubectl_ok([
            "get",
            "crds",
            "-o",
            "jsonpath={.items[*].metadata.resourceVersion}",
        ])
    };
    let of_others = versions();
    let refused = told(&install(&cluster, &[]));
    assert!(
        refused.contains("is there already and was not installed by Helm"),
        "{refused}"
    );
    assert!(refused.contains("--set crds.install=false"), "{refused}");
    let refused = lateen_says(&cluster, &["install"], 1);
    assert!(refused.contains("--skip-crds"), "{refused}");
    installed(&cluster, &["crds.install=false"]);
    refuses(&cluster);
    let refused = lateen_says(&cluster, &["install", "--skip-crds"], 1);
    assert!(
        refused.contains("of the Helm release istio-system/lateen"),
        "{refused}"
    );
    let refused = lateen_says(&cluster, &["uninstall"], 1);
    assert!(refused.contains("helm uninstall"), "{refused}");
    waits_for_lateen(&cluster);
    helm_ok(&cluster, &["uninstall", "lateen"]);
    only(&cluster, &after(&before, &[ROOT]));
    assert_eq!(versions(), of_others, "others' CRDs are as they were");
}

#[test]
fn without_helm_it_comes_and_goes_the_same() {
    let cluster = Cluster::own();
    let before = objects(&cluster);
    let said = lateen_says(&cluster, &["install"], 0);
    assert!(
        said.starts_with("installing into "),
        "the cluster comes first: {said}"
    );
    refuses(&cluster);
    waits_for_lateen(&cluster);
    cluster.apply(GOOD);
    lateen_says(&cluster, &["verify-install"], 0);
    lateen_says(&cluster, &["check"], 0);
    let refused = told(&install(&cluster, &[]));
    assert!(
        refused.contains("istio-system/istiod is a control plane of revision default already"),
        "{refused}"
    );

    cluster.kubectl_ok(["delete", "poddisruptionbudget", "istiod", "-n", SYSTEM]);
    let first_rule = "[{\"op\": \"remove\", \"path\": \"/rules/0\"}]";
    cluster.kubectl_ok([
        "patch",
        "clusterrole",
        "istiod-istio-system",
        "--type=json",
        "-p",
        first_rule,
    ]);
    let said = lateen_says(&cluster, &["verify-install"], 1);
    for broken in [
        "PodDisruptionBudget istio-system/istiod is not there",
        "ClusterRole istiod-istio-system",
    ] {
        assert!(said.contains(broken), "{broken}: {said}");
    }
    let said = lateen_says(&cluster, &["check"], 1);
    assert!(
        said.contains("ServiceAccount istio-system/istiod may not"),
        "{said}"
    );
    lateen_says(&cluster, &["install"], 0);
    lateen_says(&cluster, &["verify-install"], 0);

    let hopeless = [
        "install",
        "--hub",
        "registry.invalid/none",
        "--timeout",
        "20s",
    ];
    let said = lateen_says(&cluster, &hopeless, 1);
    assert!(said.contains("registry.invalid/none/lateend"), "{said}");
    waits_for_lateen(&cluster);
    lateen_says(&cluster, &["uninstall"], 0);
    only(&cluster, &after(&before, &[ROOT, USERS]));
    lateen_says(&cluster, &["install"], 0);
    lateen_says(&cluster, &["uninstall", "--purge"], 0);
    only(&cluster, &after(&before, &[USERS]));
}

#[test]
fn the_first_bad_object_after_an_installation_is_refused() {
    let cluster = Cluster::own();
    let before = objects(&cluster);
    let installations = if soak() > 1 { 10 } else { 1 };
    for _ in 0..installations {
        installed(&cluster, &["purge=true"]);
        refuses(&cluster);
        helm_ok(&cluster, &["uninstall", "lateen"]);
        cluster.kubectl_ok(["delete", "crds", "--all"]);
        cluster.kubectl_ok(["delete", "namespace", SYSTEM]);
        only(&cluster, &before);
    }
    println!("{installations} installations, {installations} refusals at once");
}
