//! Workloads of every kind under STRICT mutual TLS: Jobs that end, probes that pass, a StatefulSet that talks to itself,
//! an app that talks to the API server.

use lab::app::Call;
use serde_json::{Value, json};
use testkit::Space;

use super::apps::{app, calls, get, ready};
use super::installed::injected;

const STRICT: &str = r#"
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
"#;
const IMAGE: &str = "localhost/lateen/app:0.1.0";

fn job(name: &str, native: &str, command: &str) -> String {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": name },
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": { "annotations": { "sidecar.istio.io/nativeSidecar": native } },
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{
                        "name": "app",
                        "image": IMAGE,
                        "command": ["/usr/bin/sh", "-c", command],
                    }],
                },
            },
        },
    })
    .to_string()
}

/// A call from a Job's shell: the proxy may not be ready at once.
const CALL: &str = "until wget -q -O - http://server:8080/; do sleep 0.2; done";

#[test]
fn a_job_completes_with_a_native_and_with_a_classic_sidecar() {
    let space = injected("job");
    space.apply(&app("server").port(8080).yaml());
    space.apply(STRICT);
    ready(&space, "server");
    space.apply(&job("native", "true", CALL));
    let quit = format!("{CALL}; wget -q -O - --post-data= http://127.0.0.1:15020/quitquitquit");
    space.apply(&job("classic", "false", &quit));
    for name in ["native", "classic"] {
        space.wait("Complete", &format!("job/{name}"));
        let said = space.kubectl_ok(&["logs", &format!("job/{name}"), "-c", "app"]);
        assert!(said.contains(r#""workload":"server"#), "{said}");
    }
}

/// Pods whose probes are of each kind.
fn probed(space: &Space) {
    let http = json!({ "httpGet": { "path": "/", "port": 8080 }, "periodSeconds": 1 });
    let tcp = json!({ "tcpSocket": { "port": 8080 }, "periodSeconds": 1 });
    let exec = json!({ "exec": { "command": ["/usr/bin/sh", "-c", "true"] }, "periodSeconds": 1 });
    let named = json!({ "httpGet": { "path": "/", "port": "web" }, "periodSeconds": 1 });
    for (name, probe) in [
        ("http", http),
        ("tcp", tcp),
        ("exec", exec),
        ("named", named),
    ] {
        let mut pod = app(name).port(8080).pod();
        let container = &mut pod["containers"][0];
        container["ports"] = json!([{ "name": "web", "containerPort": 8080 }]);
        for kind in ["startupProbe", "readinessProbe", "livenessProbe"] {
            container[kind] = probe.clone();
        }
        pod["serviceAccountName"] = Value::from("default");
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "labels": { "app": name } },
            "spec": pod,
        });
        space.apply(&pod.to_string());
    }
    for name in ["http", "tcp", "exec", "named"] {
        space.wait("Ready", &format!("pod/{name}"));
    }
}

#[test]
fn probes_of_every_kind_pass_under_strict() {
    let space = injected("probes");
    space.apply(STRICT);
    probed(&space);
}

#[test]
fn a_statefulset_talks_to_itself_by_pod_names_under_strict() {
    let space = injected("stateful");
    space.apply(STRICT);
    let template = app("db").port(8080);
    let objects = [
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "db" } }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "db" },
            "spec": {
                "clusterIP": "None", "selector": { "app": "db" },
                "ports": [{ "name": "http", "port": 8080 }],
            },
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "db" },
            "spec": {
                "serviceName": "db", "replicas": 2, "podManagementPolicy": "Parallel",
                "selector": { "matchLabels": { "app": "db" } },
                "template": { "metadata": { "labels": { "app": "db" } }, "spec": template.pod() },
            },
        }),
    ];
    for object in objects {
        space.apply(&object.to_string());
    }
    space.kubectl_ok(&["rollout", "status", "statefulset/db", "--timeout=90s"]);
    space.apply(&app("client").yaml());
    ready(&space, "client");
    for (from, to) in [("db-0", "db-1"), ("db-1", "db-0"), ("db-0", "db-0")] {
        let url = format!("http://{to}.db:8080/");
        let call = json!({ "calls": { "call": { "url": url }, "count": 1, "parallel": 1 } });
        let call = call.to_string();
        let words = [
            "exec",
            from,
            "-c",
            "app",
            "--",
            "/usr/local/bin/lateen",
            "lab-call",
            &call,
        ];
        let said: Value = serde_json::from_str(&space.kubectl_ok(&words)).unwrap();
        assert_eq!(said["status"], 200, "{from} calls {to}: {said}");
        assert_eq!(said["answer"]["workload"], to, "{said}");
        // What a pod sends to its own address goes through its loopback, past every proxy.
        if from == to {
            continue;
        }
        let by = said["answer"]["headers"]["x-forwarded-client-cert"].to_string();
        let identity = format!("URI=spiffe://cluster.local/ns/{}/sa/db", space.name());
        assert!(by.contains(&identity), "{from} calls {to}: {by}");
    }
    let spread = calls(&space, "client", Call::get("http://db:8080/"), 40, 4);
    assert!(
        spread.iter().all(|one| one.status == Some(200)),
        "{spread:?}"
    );
}

#[test]
fn an_app_reaches_the_api_server_through_its_sidecar() {
    let space = injected("api");
    space.apply(STRICT);
    space.apply(&app("client").yaml());
    ready(&space, "client");
    let version = get(&space, "client", "https://kubernetes.default/version");
    assert_eq!(version.status, Some(200), "{version:?}");
    assert!(version.body.contains("gitVersion"), "{version:?}");
}
