//! The containers that injection makes, as this agent understands them: the real flags, the real environment.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::{Value, json};
use webhook::inject::{Decision, Request, Settings, decide};

use crate::network::{ADDRESS, enter, run};

const AGENT: &str = env!("CARGO_BIN_EXE_lateen-agent");

/// A pod with everything that changes flags and variables, injected.
fn pod() -> Value {
    let mut pod = json!({
        "metadata": { "name": "web", "annotations": {
            "proxy.istio.io/config": "terminationDrainDuration: 7s",
            "sidecar.istio.io/componentLogLevel": "http:debug",
            "traffic.sidecar.istio.io/excludeOutboundIPRanges": "192.0.2.0/24",
            "traffic.sidecar.istio.io/includeOutboundPorts": "443",
            "traffic.sidecar.istio.io/excludeOutboundPorts": "3306",
            "traffic.sidecar.istio.io/excludeInboundPorts": "9100",
            "traffic.sidecar.istio.io/excludeInterfaces": "eth9",
            "istio.io/reroute-virtual-interfaces": "tap0",
            "prometheus.io/port": "9100",
        }},
        "spec": { "containers": [{
            "name": "app",
            "livenessProbe": { "httpGet": { "path": "/$(x)", "port": 8080 } },
        }]},
    });
    let values = json!({ "global": { "logAsJson": true } });
    let yaml = |_: &str| Ok(json!({ "terminationDrainDuration": "7s" }));
    let (settings, problems) = Settings::parse(&values, &Value::Null, yaml);
    assert_eq!(problems, []);
    let request = Request {
        pod: &pod,
        namespace: "shop",
        namespace_labels: None,
        owner: None,
        nodes_have_native_sidecars: false,
        environment: &BTreeMap::new(),
    };
    let Decision::Inject(injection) = decide(&settings, &request) else {
        panic!("the pod is right");
    };
    injection.apply(&mut pod).unwrap();
    pod
}

fn words(container: &Value) -> Vec<String> {
    let words = container["args"].as_array().unwrap().iter();
    words
        .map(|word| word.as_str().unwrap().replace("$(POD_NAMESPACE)", "shop"))
        .collect()
}

#[test]
fn the_agent_takes_the_flags_and_environment_of_a_proxy() {
    let pod = pod();
    let proxy = &pod["spec"]["containers"][1];
    let folder = tempfile::tempdir().unwrap();
    // As a volume of Kubernetes': root's, and anybody may write.
    let volume = folder.path().join("etc/istio/proxy");
    std::fs::create_dir_all(&volume).unwrap();
    std::fs::create_dir_all(folder.path().join("etc/istio/pod")).unwrap();
    std::fs::write(folder.path().join("etc/istio/pod/labels"), "app=\"web\"\n").unwrap();
    for open in [folder.path(), &volume] {
        std::fs::set_permissions(open, PermissionsExt::from_mode(0o777)).unwrap();
    }
    let agent = folder.path().join("lateen-agent");
    std::fs::copy(AGENT, &agent).unwrap();
    let mut command = Command::new(agent);
    command
        .current_dir(folder.path())
        .uid(1337)
        .gid(1337)
        .env_clear();
    for variable in proxy["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        let value = match (name, variable["value"].as_str()) {
            (_, Some(value)) => value.replace("$$", "$"),
            ("POD_NAME", None) => "web".to_owned(),
            ("POD_NAMESPACE", None) => "shop".to_owned(),
            ("SERVICE_ACCOUNT", None) => "default".to_owned(),
            ("INSTANCE_IP" | "HOST_IP" | "ISTIO_META_NODE_NAME" | "ISTIO_CPU_LIMIT", None) => {
                "1".to_owned()
            }
            (name, None) => panic!("{name} has no value"),
        };
        command.env(name, value);
    }
    // This address is nobody's: here the start ends, when everything else was understood.
    command
        .args(words(proxy))
        .args(["--ip", ADDRESS, "--dnsAddress", "192.0.2.1:15053"]);
    let ended = command.output().unwrap();
    let error = String::from_utf8(ended.stderr).unwrap();
    assert!(error.contains("192.0.2.1:15053"), "{error}");
    let made = std::fs::metadata(volume.join("agent")).unwrap();
    assert_eq!(made.permissions().mode() & 0o777, 0o700);
}

#[test]
fn the_agent_sets_the_rules_that_injection_asks_for() {
    enter();
    run("ip", &["tuntap", "add", "tap0", "mode", "tap"]);
    let init = &pod()["spec"]["initContainers"][0];
    let words = words(init);
    run(AGENT, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let rules = run("iptables-save", &["-t", "nat"]);
    for rule in [
        "-A ISTIO_INBOUND -i tap0 -p tcp -j ISTIO_REDIRECT",
        "-A ISTIO_INBOUND -i eth9 -j RETURN",
        "-A ISTIO_INBOUND -p tcp -m tcp --dport 9100 -j RETURN",
        "-A ISTIO_INBOUND -p tcp -m tcp --dport 15020 -j RETURN",
        "-A ISTIO_OUTPUT -p tcp -m tcp --dport 3306 -j RETURN",
        "-A ISTIO_OUTPUT -d 192.0.2.0/24 -j RETURN",
        "-A ISTIO_OUTPUT -p tcp -m tcp --dport 443 -j ISTIO_REDIRECT",
        "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001",
    ] {
        assert!(
            rules.lines().any(|line| line == rule),
            "no {rule} in\n{rules}"
        );
    }
}
