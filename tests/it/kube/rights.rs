//! What the control plane may do, and who may do what with it: its rights as the API server has them, and every path of
//! every port for three kinds of callers.

mod ports;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use testkit::Cluster;

use super::installed::{SYSTEM, shared};

/// The rights of the chart's accounts. Who changes them changes this table, with the reason in the commit.
const RIGHTS: &str = include_str!("rights.txt");

fn list(cluster: &Cluster, kind: &str) -> Vec<Value> {
    let text = cluster.kubectl_ok(["get", kind, "-A", "-o", "json"]);
    let mut list: Value = serde_json::from_str(&text).unwrap();
    match list["items"].take() {
        Value::Array(items) => items,
        other => panic!("{kind}: {other}"),
    }
}

fn words(value: &Value) -> Vec<&str> {
    let words = value.as_array().into_iter().flatten();
    words.map(|word| word.as_str().unwrap()).collect()
}

/// What is said of a binding: whom it is for, where, and which role.
struct Grant {
    /// None: everywhere.
    namespace: Option<String>,
    rules: Vec<Value>,
}

/// The rights that bindings give to a service account, by whatever name its holder is known.
fn grants(cluster: &Cluster, account: &str) -> Vec<Grant> {
    let is_it = |subject: &Value| {
        let name = subject["name"].as_str().unwrap();
        match subject["kind"].as_str().unwrap() {
            "ServiceAccount" => name == account && subject["namespace"] == SYSTEM,
            "User" => name == format!("system:serviceaccount:{SYSTEM}:{account}"),
            _ => name == format!("system:serviceaccounts:{SYSTEM}"),
        }
    };
    let roles: BTreeMap<(String, String, String), Value> = ["roles", "clusterroles"]
        .into_iter()
        .flat_map(|kind| list(cluster, kind))
        .map(|mut role| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let key = (
                text(&role["kind"]),
                text(&role["metadata"]["namespace"]),
                text(&role["metadata"]["name"]),
            );
            (key, role["rules"].take())
        })
        .collect();
    let bindings = ["rolebindings", "clusterrolebindings"];
    let bindings = bindings.into_iter().flat_map(|kind| list(cluster, kind));
    let ours = bindings.filter(|binding| {
        let subjects = binding["subjects"].as_array();
        subjects.into_iter().flatten().any(is_it)
    });
    ours.map(|binding| {
        let namespace = binding["metadata"]["namespace"].as_str().map(str::to_owned);
        let role = &binding["roleRef"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let of_role = match role["kind"].as_str().unwrap() {
            "Role" => namespace.clone().unwrap(),
            _ => String::new(),
        };
        let key = (text(&role["kind"]), of_role, text(&role["name"]));
        let rules = roles[&key].as_array().unwrap().clone();
        Grant { namespace, rules }
    })
    .collect()
}

/// One line for each resource of a rule.
fn lines(account: &str, grant: &Grant) -> BTreeSet<String> {
    let place = grant.namespace.as_deref().unwrap_or("everywhere");
    let mut lines = BTreeSet::new();
    for rule in &grant.rules {
        let names = match words(&rule["resourceNames"]) {
            names if names.is_empty() => "any".to_owned(),
            names => names.join(","),
        };
        let verbs = words(&rule["verbs"]).join(",");
        let mut line = |what: &str| {
            lines.insert(format!(
                "{account:<13} {place:<13} {what:<60} {names:<30} {verbs}"
            ));
        };
        words(&rule["nonResourceURLs"])
            .into_iter()
            .for_each(&mut line);
        for group in words(&rule["apiGroups"]) {
            let group = if group.is_empty() { "core" } else { group };
            for resource in words(&rule["resources"]) {
                line(&format!("{group}/{resource}"));
            }
        }
    }
    lines
}

#[test]
fn sec_23_the_rights_are_these_and_no_others() {
    let cluster = shared();
    let mut table = String::new();
    for account in ["istiod", "lateen-hooks"] {
        let grants = grants(&cluster, account);
        let lines: BTreeSet<String> = grants
            .iter()
            .flat_map(|grant| lines(account, grant))
            .collect();
        for line in lines {
            assert!(!line.contains('*'), "a wildcard: {line}");
            let is_secrets = line.contains(" core/secrets ");
            assert!(
                !(is_secrets && line.contains("everywhere")),
                "secrets of all namespaces: {line}"
            );
            table += &line;
            table += "\n";
        }
    }
    let committed = RIGHTS.lines().filter(|line| !line.starts_with('#'));
    assert!(
        committed.eq(table.lines()),
        "the rights differ from rights.txt; they are now:\n{table}"
    );
    println!("{} rights, none with a wildcard", table.lines().count());
}

#[test]
fn the_rights_are_enough() {
    let cluster = shared();
    let log = cluster.kubectl_ok("logs deployment/istiod -n istio-system".split(' '));
    assert!(log.contains("leads: it writes for all replicas"), "{log}");
    assert!(!log.contains("forbidden"), "{log}");
}

#[test]
fn sec_23_the_api_server_refuses_the_control_plane_what_it_does_not_need() {
    let cluster = shared();
    let account = format!("--as=system:serviceaccount:{SYSTEM}:istiod");
    let may = |right: &[&str]| {
        let done = cluster.kubectl([&["auth", "can-i", "-q", &account], right].concat());
        done.status.success()
    };
    for right in [
        &["get", "secret/istio-ca-secret", "-n", SYSTEM][..],
        &["get", "secret/cacerts", "-n", SYSTEM],
        &["list", "pods", "-A"],
        &["create", "tokenreviews.authentication.k8s.io"],
    ] {
        assert!(may(right), "{right:?}");
    }
    for right in [
        &["get", "secrets", "-A"][..],
        &["list", "secrets", "-A"],
        &["watch", "secrets", "-A"],
        &["get", "secrets", "-n", SYSTEM],
        &["list", "secrets", "-n", SYSTEM],
        &["get", "secret/istio-ca-secret", "-n", "default"],
        &["create", "secrets", "-n", "default"],
        &["delete", "secret/istio-ca-secret", "-n", SYSTEM],
        &["get", "configmaps", "-A"],
        &["update", "configmap/istio", "-n", SYSTEM],
        &["create", "pods", "-A"],
        &["create", "pods", "-n", SYSTEM],
        &["create", "pods", "--subresource=exec", "-A"],
        &["get", "pods", "--subresource=log", "-A"],
        &["get", "nodes", "--subresource=proxy"],
        &["create", "serviceaccounts", "--subresource=token", "-A"],
        &["impersonate", "serviceaccounts", "-A"],
        &["escalate", "clusterroles"],
        &["bind", "clusterroles"],
        &["update", "virtualservices.networking.istio.io", "-A"],
        &[
            "delete",
            "virtualservices.networking.istio.io",
            "-n",
            SYSTEM,
        ],
        &[
            "create",
            "virtualservices.networking.istio.io",
            "-n",
            "default",
        ],
        &[
            "create",
            "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        ],
        &[
            "patch",
            "mutatingwebhookconfigurations.admissionregistration.k8s.io/of-others",
        ],
        &[
            "delete",
            "validatingwebhookconfigurations.admissionregistration.k8s.io",
        ],
        &["patch", "customresourcedefinitions.apiextensions.k8s.io"],
        &["list", "leases.coordination.k8s.io", "-n", SYSTEM],
        &["delete", "namespaces"],
    ] {
        assert!(!may(right), "it may {right:?}");
    }
}
