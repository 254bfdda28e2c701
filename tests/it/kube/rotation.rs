//! Another root of trust while the mesh runs: everything that hangs on it changes in step, and no call fails.

use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ca::CaFiles;
use lab::app::Call;
use model::TrustDomain;
use serde_json::json;
use testkit::{Cluster, Space};

use super::apps::{Load, app, calls, failed, ready};
use super::installed::{SYSTEM, install, label, told};

const SECRET: &str = "istio-ca-secret";
/// New roots are published for two minutes before they sign.
const PATIENCE: Duration = Duration::from_secs(200);

/// The text of one key of the Secret of the root.
fn secret(cluster: &Cluster, key: &str) -> String {
    let path = format!("jsonpath={{.data.{}}}", key.replace('.', "\\."));
    let text = cluster.kubectl_ok(["-n", SYSTEM, "get", "secret", SECRET, "-o", &path]);
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}

/// Asks until the answer is `wanted`.
fn becomes(what: &str, wanted: &str, ask: impl Fn() -> String) {
    let mut last = String::new();
    for _ in 0..300 {
        last = ask();
        if last == wanted {
            return;
        }
    }
    panic!("{what} is not {wanted:?} but {last:?}");
}

/// A pod that comes now talks to those that are there, both ways, from its first call.
fn joins(space: &Space, name: &str) {
    space.apply(&app(name).port(8080).yaml());
    ready(space, name);
    for (from, to) in [(name, "server"), ("client", name)] {
        let outcomes = calls(space, from, Call::get(&format!("http://{to}:8080/")), 20, 4);
        assert!(failed(&outcomes).is_empty(), "{:#?}", failed(&outcomes));
    }
}

#[test]
fn another_root_reaches_everything_that_hangs_on_it() {
    let cluster = Cluster::own();
    let done = install(&cluster, &["pilot.replicaCount=2"]);
    assert!(done.status.success(), "{}", told(&done));
    let made = "jsonpath={.items[*].metadata.name}";
    let pods = cluster.kubectl_ok(["-n", SYSTEM, "get", "pods", "-l", "app=istiod", "-o", made]);
    let makers = pods.split(' ').filter(|pod| {
        let log = cluster.kubectl_ok(["-n", SYSTEM, "logs", pod]);
        log.contains("the root was put into the Secret")
    });
    assert_eq!(
        makers.count(),
        1,
        "two replicas that start at once make one root"
    );

    let space = cluster.space("apps");
    label(&space);
    space.apply(&app("server").port(8080).yaml());
    space.apply(&app("client").yaml());
    ready(&space, "server");
    ready(&space, "client");
    let load = Load::start(&space, "client", Call::get("http://server:8080/"), 20);
    load.wait_for(20);

    let old = secret(&cluster, "root-cert.pem");
    let next = CaFiles::self_signed(&TrustDomain::cluster_local(), SystemTime::now()).unwrap();
    let bundle = format!("{old}{}", next.root_cert);
    let data = json!({ "stringData": {
        "ca-cert.pem": next.ca_cert, "ca-key.pem": *next.ca_key,
        "cert-chain.pem": next.cert_chain, "root-cert.pem": bundle,
    } });
    cluster.kubectl_ok([
        "-n",
        SYSTEM,
        "patch",
        "secret",
        SECRET,
        "-p",
        &data.to_string(),
    ]);

    let roots = r"jsonpath={.data.root-cert\.pem}";
    becomes("the ConfigMap", &bundle, || {
        space.kubectl_ok(&["get", "configmap", "istio-ca-root-cert", "-o", roots])
    });
    for (kind, name) in [
        ("mutatingwebhookconfiguration", "istio-sidecar-injector"),
        (
            "validatingwebhookconfiguration",
            "istio-validator-istio-system",
        ),
    ] {
        let wanted = STANDARD.encode(&bundle);
        let first = "jsonpath={.webhooks[0].clientConfig.caBundle}";
        becomes(kind, &wanted, || {
            cluster.kubectl_ok(["get", kind, name, "-o", first])
        });
    }

    // Until everybody has heard of the new root the old one signs. Who comes meanwhile is injected, so the webhook's
    // certificate is trusted, and is trusted by all.
    joins(&space, "early");
    let signs = "signs with its new key";
    let all_sign = || {
        let logs = pods
            .split(' ')
            .map(|pod| cluster.kubectl_ok(["-n", SYSTEM, "logs", pod]));
        logs.filter(|log| log.contains(signs)).count() == 2
    };
    let began = Instant::now();
    while !all_sign() {
        assert!(began.elapsed() < PATIENCE, "nobody {signs}");
        load.wait_for(50);
    }
    joins(&space, "late");
    load.wait_for(20);
    let outcomes = load.stop();
    println!(
        "rotation: {} calls, {} failed",
        outcomes.len(),
        failed(&outcomes).len()
    );
    assert!(failed(&outcomes).is_empty(), "{:#?}", failed(&outcomes));
}
