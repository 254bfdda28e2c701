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
fn lateen(cluster: &Cluster, arguments: &str) -> Output {
    let program: PathBuf = std::env::current_exe().unwrap();
    let folder = program.parent().and_then(|deps| deps.parent()).unwrap();
    let mut command = cluster.exec(folder.join("lateen"));
    command.args(arguments.split(' ')).stdin(Stdio::null());
    command.output().unwrap()
}

/// `lateen`, whose exit code must be this; what it said.
fn lateen_says(cluster: &Cluster, arguments: &str, code: i32) -> String {
    let done = lateen(cluster, arguments);
    let said = told(&done);
    assert_eq!(done.status.code(), Some(code), "lateen {arguments}: {said}");
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
    let image = "set image deployment/istiod discovery=registry.invalid/none:1 -n istio-system";
    cluster.kubectl_ok(image.split(' '));
    let at_once = "delete pods -l app=istiod -n istio-system --grace-period=0 --force";
    cluster.kubectl_ok(at_once.split(' '));
}

#[test]
fn a_release_leaves_the_crds_users_objects_and_the_root_of_trust() {
    let cluster = Cluster::own();
    let before = objects(&cluster);
    let said = lateen_says(&cluster, "check --pre", 0);
    let image = "a node gets the image localhost/lateen/lateend:";
    assert!(said.contains(image), "{said}");
    only(&cluster, &before);

    installed(&cluster, &[]);
    refuses(&cluster);
    waits_for_lateen(&cluster);
    lateen_says(&cluster, "check", 0);
    cluster.apply(GOOD);
    let first = root(&cluster);

    let two = ["--reuse-values", "--set", "pilot.replicaCount=2"];
    helm_ok(
        &cluster,
        &[&["upgrade", "lateen", chart()], &two[..]].concat(),
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
    println!("{} objects before; nothing else stays", before.len());

    cluster.kubectl_ok("delete virtualservice good -n default".split(' '));
    let installations = if soak() > 1 { 10 } else { 1 };
    for _ in 0..installations {
        all_gone(&cluster, &before);
        installed(&cluster, &["purge=true"]);
        refuses(&cluster);
        assert_ne!(root(&cluster), first, "a purged root does not come back");
        helm_ok(&cluster, &["uninstall", "lateen"]);
    }
    println!("{installations} fresh installations, {installations} refusals at once");
}

/// Removes what an uninstalled and purged release has left.
fn all_gone(cluster: &Cluster, before: &Objects) {
    cluster.kubectl_ok("delete crds --all".split(' '));
    cluster.kubectl_ok("delete namespace istio-system --ignore-not-found".split(' '));
    only(cluster, before);
}

#[test]
fn nobody_is_run_over() {
    let cluster = Cluster::own();
    let before = objects(&cluster);
    beside_another_control_plane(&cluster);
    all_gone(&cluster, &before);
    beside_crds_of_others(&cluster, &before);
    lateen_says(&cluster, "uninstall --purge", 0);
    all_gone(&cluster, &before);
    without_helm(&cluster, &before);
}

/// A control plane of the same revision stops the installation with its name.
fn beside_another_control_plane(cluster: &Cluster) {
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
    let refused = told(&install(cluster, &[]));
    let named = "Deployment mesh-of-others/istiod is a control plane of revision default already";
    assert!(refused.contains(named), "{refused}");
    for arguments in ["install", "check --pre"] {
        let refused = lateen_says(cluster, arguments, 1);
        let named = "Deployment mesh-of-others/istiod is a control plane";
        assert!(refused.contains(named), "{refused}");
    }
    cluster.kubectl_ok(["delete", "namespace", "mesh-of-others"]);
}

/// CRDs of somebody else are neither changed nor removed.
fn beside_crds_of_others(cluster: &Cluster, before: &Objects) {
    let crds = format!("{}/files/crds", chart());
    cluster.kubectl_ok(["apply", "--server-side", "-f", &crds]);
    // The API server writes their conditions a little later, which changes their versions too.
    let established = "wait crd --all --for=condition=Established --timeout=30s";
    cluster.kubectl_ok(established.split(' '));
    let versions = "get crds -o jsonpath={.items[*].metadata.resourceVersion}";
    let versions = || cluster.kubectl_ok(versions.split(' '));
    let of_others = versions();
    let refused = told(&install(cluster, &[]));
    for said in [
        "is there already and was not installed by Helm",
        "--set crds.install=false",
    ] {
        assert!(refused.contains(said), "{refused}");
    }
    let refused = lateen_says(cluster, "install", 1);
    assert!(refused.contains("--skip-crds"), "{refused}");
    installed(cluster, &["crds.install=false"]);
    refuses(cluster);
    for (command, named) in [
        (
            "install --skip-crds",
            "of the Helm release istio-system/lateen",
        ),
        ("uninstall", "helm uninstall"),
    ] {
        let refused = lateen_says(cluster, command, 1);
        assert!(refused.contains(named), "{refused}");
    }
    waits_for_lateen(cluster);
    helm_ok(cluster, &["uninstall", "lateen"]);
    only(cluster, &after(before, &[ROOT]));
    assert_eq!(versions(), of_others, "others' CRDs are as they were");
}

/// `lateen install` and its way back.
fn without_helm(cluster: &Cluster, before: &Objects) {
    let said = lateen_says(cluster, "install", 0);
    assert!(
        said.starts_with("installing into "),
        "the cluster comes first: {said}"
    );
    refuses(cluster);
    waits_for_lateen(cluster);
    cluster.apply(GOOD);
    lateen_says(cluster, "verify-install", 0);
    lateen_says(cluster, "check", 0);
    let refused = told(&install(cluster, &[]));
    let named = "istio-system/istiod is a control plane of revision default already";
    assert!(refused.contains(named), "{refused}");

    cluster.kubectl_ok("delete poddisruptionbudget istiod -n istio-system".split(' '));
    let rule = "patch clusterrole istiod-istio-system --type=json -p [{\"op\":\"remove\",\"path\":\"/rules/0\"}]";
    cluster.kubectl_ok(rule.split(' '));
    let said = lateen_says(cluster, "verify-install", 1);
    for broken in [
        "PodDisruptionBudget istio-system/istiod is not there",
        "ClusterRole istiod-istio-system",
    ] {
        assert!(said.contains(broken), "{broken}: {said}");
    }
    let said = lateen_says(cluster, "check", 1);
    assert!(
        said.contains("ServiceAccount istio-system/istiod may not"),
        "{said}"
    );
    lateen_says(cluster, "install", 0);
    lateen_says(cluster, "verify-install", 0);

    let said = lateen_says(
        cluster,
        "install --hub registry.invalid/none --timeout 20s",
        1,
    );
    assert!(said.contains("registry.invalid/none/lateend"), "{said}");
    waits_for_lateen(cluster);
    lateen_says(cluster, "uninstall", 0);
    only(cluster, &after(before, &[ROOT, USERS]));
    lateen_says(cluster, "install", 0);
    lateen_says(cluster, "uninstall --purge", 0);
    only(cluster, &after(before, &[USERS]));
}
