//! What exists for the mesh while it runs: the namespaces that discoverySelectors choose, and the kinds whose CRDs are
//! installed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use testkit::{Cluster, Space};

use super::installed::{SYSTEM, chart, install, told};
use super::plane::Plane;

const PATIENCE: Duration = Duration::from_secs(30);
const CRD: &str = "virtualservices.networking.istio.io";

const SERVICE: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: cart}
spec: {ports: [{name: http, port: 80}]}
"#;

const ROUTE: &str = r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart}
spec: {hosts: [cart], http: [{route: [{destination: {host: cart}}]}]}
"#;
const RULE: &str = r#"
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart}
spec: {host: cart}
"#;

/// The namespaces of which the control plane knows an object of a kind.
fn known(plane: &Plane, kind: &str) -> BTreeSet<String> {
    let objects = plane.configz();
    let objects = objects.as_array().unwrap().iter();
    let of_kind = objects.filter(|object| object["kind"] == kind);
    of_kind
        .map(|service| service["namespace"].as_str().unwrap().to_owned())
        .collect()
}

fn becomes(plane: &Plane, kind: &str, wanted: &[&str]) {
    let wanted: BTreeSet<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    let began = Instant::now();
    loop {
        let now = known(plane, kind);
        if now == wanted {
            return;
        }
        let waited = began.elapsed() > PATIENCE;
        assert!(!waited, "{kind}: {now:?} instead of {wanted:?}");
    }
}

/// A kind whose CRD goes takes its objects with it and nothing else; it is followed again once the CRD is back.
fn kinds_come_and_go(space: &Space, plane: &Plane) {
    let (own, none): (&[&str], &[&str]) = (&[space.name()], &[]);
    let crd = format!(
        "{}/files/crds/networking.istio.io_virtualservices.yaml",
        chart()
    );
    space.apply(ROUTE);
    space.apply(RULE);
    becomes(plane, "VirtualService", own);
    becomes(plane, "DestinationRule", own);
    let cluster = space.cluster();
    cluster.kubectl_ok(["delete", "crd", CRD]);
    becomes(plane, "VirtualService", none);
    let said = "the API server has no virtualservices: install the CRDs to use them";
    let began = Instant::now();
    while !plane.log().contains(said) {
        assert!(began.elapsed() < PATIENCE, "{}", plane.log());
    }
    space.kubectl_ok(&["delete", "destinationrule", "cart"]);
    becomes(plane, "DestinationRule", none);
    cluster.kubectl_ok(["apply", "--server-side", "-f", &crd]);
    cluster.kubectl_ok(["wait", "crd", CRD, "--for=condition=Established"]);
    space.apply(ROUTE);
    becomes(plane, "VirtualService", own);
}

#[test]
fn the_mesh_is_of_the_namespaces_that_are_selected() {
    let cluster = Cluster::own();
    let selectors = "meshConfig.discoverySelectors[0].matchLabels.mesh=yes";
    let done = install(&cluster, &[selectors]);
    assert!(done.status.success(), "{}", told(&done));
    let (inside, outside) = (cluster.space("inside"), cluster.space("outside"));
    for space in [&inside, &outside] {
        space.apply(SERVICE);
    }
    let plane = Plane::of(&cluster);
    let becomes = |wanted: &[&str]| becomes(&plane, "Service", wanted);
    becomes(&[SYSTEM]);
    cluster.kubectl_ok(["label", "namespace", inside.name(), "mesh=yes"]);
    becomes(&[SYSTEM, inside.name()]);
    cluster.kubectl_ok(["label", "namespace", outside.name(), "mesh=yes"]);
    cluster.kubectl_ok(["label", "namespace", inside.name(), "mesh-"]);
    becomes(&[SYSTEM, outside.name()]);
    let all = r#"{"data":{"mesh":"{}"}}"#;
    cluster.kubectl_ok(["-n", SYSTEM, "patch", "configmap", "istio", "-p", all]);
    becomes(&[
        SYSTEM,
        inside.name(),
        outside.name(),
        "default",
        "kube-system",
    ]);
    kinds_come_and_go(&inside, &plane);
}
