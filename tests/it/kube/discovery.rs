//! discoverySelectors: which namespaces exist for the mesh, and that it follows their labels.

use std::collections::BTreeSet;

use testkit::Cluster;

use super::installed::{SYSTEM, install, told};
use super::plane::Plane;

const SERVICE: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: cart}
spec: {ports: [{name: http, port: 80}]}
"#;

/// The namespaces of which the control plane knows a Service.
fn known(plane: &Plane) -> BTreeSet<String> {
    let objects = plane.configz();
    let objects = objects.as_array().unwrap().iter();
    let services = objects.filter(|object| object["kind"] == "Service");
    services
        .map(|service| service["namespace"].as_str().unwrap().to_owned())
        .collect()
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
    let becomes = |wanted: &[&str]| {
        let wanted: BTreeSet<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        let last = (0..200).map(|_| known(&plane)).find(|now| *now == wanted);
        assert!(last.is_some(), "{wanted:?}, not {:?}", known(&plane));
    };
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
}
