//! The generated worlds: every translated field is set, most objects are good, and the same seed makes the same world.

use std::collections::{BTreeMap, BTreeSet};

use model::Parsed;
use serde_json::Value;
use testkit::{Dice, Edit, Run, Sort, check, read};

/// Every field that is translated, by kind; `*` stands for names that users choose.
const TRANSLATED: &[(&str, &[&str])] = &[
    (
        "VirtualService",
        &[
            "hosts",
            "gateways",
            "exportTo",
            "http.name",
            "http.timeout",
            "http.match.name",
            "http.match.uri.exact",
            "http.match.uri.prefix",
            "http.match.uri.regex",
            "http.match.method.exact",
            "http.match.headers.*.exact",
            "http.match.port",
            "http.match.gateways",
            "http.route.destination.host",
            "http.route.destination.subset",
            "http.route.destination.port.number",
            "http.route.weight",
            "http.retries.attempts",
            "http.retries.perTryTimeout",
            "http.retries.retryOn",
            "http.retries.backoff",
            "http.retries.retryIgnorePreviousHosts",
        ],
    ),
    (
        "DestinationRule",
        &[
            "host",
            "exportTo",
            "workloadSelector.matchLabels.*",
            "subsets.name",
            "subsets.labels.*",
            "subsets.trafficPolicy.loadBalancer.simple",
            "trafficPolicy.loadBalancer.simple",
            "trafficPolicy.portLevelSettings.port.number",
            "trafficPolicy.portLevelSettings.tls.mode",
            "trafficPolicy.connectionPool.tcp.maxConnections",
            "trafficPolicy.connectionPool.tcp.connectTimeout",
            "trafficPolicy.connectionPool.tcp.tcpKeepalive.probes",
            "trafficPolicy.connectionPool.tcp.tcpKeepalive.time",
            "trafficPolicy.connectionPool.tcp.tcpKeepalive.interval",
            "trafficPolicy.connectionPool.tcp.maxConnectionDuration",
            "trafficPolicy.connectionPool.tcp.idleTimeout",
            "trafficPolicy.connectionPool.http.http1MaxPendingRequests",
            "trafficPolicy.connectionPool.http.http2MaxRequests",
            "trafficPolicy.connectionPool.http.maxRequestsPerConnection",
            "trafficPolicy.connectionPool.http.maxRetries",
            "trafficPolicy.connectionPool.http.idleTimeout",
            "trafficPolicy.connectionPool.http.h2UpgradePolicy",
            "trafficPolicy.connectionPool.http.useClientProtocol",
            "trafficPolicy.connectionPool.http.maxConcurrentStreams",
            "trafficPolicy.connectionPool.http.http2KeepAlive.interval",
            "trafficPolicy.outlierDetection.consecutive5xxErrors",
            "trafficPolicy.outlierDetection.consecutiveGatewayErrors",
            "trafficPolicy.outlierDetection.consecutiveLocalOriginFailures",
            "trafficPolicy.outlierDetection.splitExternalLocalOriginErrors",
            "trafficPolicy.outlierDetection.interval",
            "trafficPolicy.outlierDetection.baseEjectionTime",
            "trafficPolicy.outlierDetection.maxEjectionPercent",
            "trafficPolicy.outlierDetection.minHealthPercent",
            "trafficPolicy.tls.mode",
            "trafficPolicy.tls.sni",
            "trafficPolicy.tls.subjectAltNames",
            "trafficPolicy.tls.clientCertificate",
            "trafficPolicy.tls.privateKey",
            "trafficPolicy.tls.caCertificates",
            "trafficPolicy.tls.insecureSkipVerify",
        ],
    ),
    (
        "PeerAuthentication",
        &[
            "selector.matchLabels.*",
            "mtls.mode",
            "portLevelMtls.*.mode",
        ],
    ),
    (
        "AuthorizationPolicy",
        &[
            "selector.matchLabels.*",
            "action",
            "rules.from.source.principals",
            "rules.from.source.notPrincipals",
            "rules.from.source.namespaces",
            "rules.from.source.notNamespaces",
            "rules.from.source.serviceAccounts",
            "rules.from.source.notServiceAccounts",
            "rules.to.operation.paths",
            "rules.to.operation.notPaths",
            "rules.to.operation.methods",
            "rules.to.operation.notMethods",
            "rules.to.operation.ports",
            "rules.to.operation.notPorts",
        ],
    ),
    (
        "ServiceEntry",
        &[
            "hosts",
            "addresses",
            "ports.number",
            "ports.name",
            "ports.protocol",
            "ports.targetPort",
            "location",
            "resolution",
            "endpoints.address",
            "endpoints.ports.*",
            "endpoints.labels.*",
            "endpoints.weight",
            "endpoints.locality",
            "endpoints.serviceAccount",
            "workloadSelector.labels.*",
            "exportTo",
            "subjectAltNames",
        ],
    ),
    (
        "WorkloadEntry",
        &[
            "address",
            "ports.*",
            "labels.*",
            "weight",
            "locality",
            "serviceAccount",
            "network",
        ],
    ),
    (
        "Service",
        &[
            "clusterIP",
            "clusterIPs",
            "selector.*",
            "ports.name",
            "ports.port",
            "ports.targetPort",
            "ports.appProtocol",
            "ports.protocol",
            "publishNotReadyAddresses",
        ],
    ),
    (
        "Pod",
        &[
            "serviceAccountName",
            "hostNetwork",
            "containers.ports.name",
            "containers.ports.containerPort",
        ],
    ),
];

/// The maps whose keys users choose.
const FREE: [&str; 6] = [
    "headers",
    "matchLabels",
    "labels",
    "portLevelMtls",
    "selector",
    "ports",
];

fn paths(value: &Value, path: &str, free: bool, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (field, inner) in map {
                let step = if free { "*" } else { field };
                let path = if path.is_empty() {
                    step.to_owned()
                } else {
                    format!("{path}.{step}")
                };
                let chosen =
                    FREE.contains(&field.as_str()) && !free && inner.get("matchLabels").is_none();
                paths(inner, &path, chosen && inner.is_object(), found);
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| paths(item, path, false, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn every_translated_field_is_set() {
    let mut dice = Dice::new(1);
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for _ in 0..8000 {
        let value = Sort::any(&mut dice).generate(&mut dice);
        let kind = value["kind"].as_str().unwrap_or("MeshConfig").to_owned();
        paths(&value["spec"], "", false, found.entry(kind).or_default());
    }
    for (kind, fields) in TRANSLATED {
        let missing: Vec<_> = fields
            .iter()
            .filter(|field| !found[*kind].contains(**field))
            .collect();
        assert!(missing.is_empty(), "{kind} never has {missing:?}");
    }
}

#[test]
fn most_objects_are_good_and_every_sort_is_sometimes_refused() {
    let mut dice = Dice::new(2);
    let (mut good, mut all) = (0, 0);
    for _ in 0..2000 {
        let value = Sort::any(&mut dice).generate(&mut dice);
        all += 1;
        good += usize::from(matches!(read(&value), Parsed::Object(_)));
    }
    assert!(
        (all * 6 / 10..all).contains(&good),
        "{good} of {all} are good"
    );
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let tell = || {
        let told = std::cell::RefCell::new(Vec::new());
        let run = Run {
            worlds: 5,
            edits: 5,
        };
        check("telling", run, |story| {
            told.borrow_mut().push(format!("{story:?}"));
            Ok(())
        });
        told.into_inner()
    };
    let told = tell();
    assert_eq!(told, tell());
    assert!(told[0] != told[1] && !told[0].is_empty());
}

#[test]
#[should_panic(expected = "1 documents made it")]
fn a_failure_is_told_with_few_documents() {
    let run = Run {
        worlds: 20,
        edits: 20,
    };
    check("no service is ever called cart", run, |story| {
        let (mut world, sets) = story.begin();
        let mut store = store::Store::default();
        sets.into_iter().for_each(|set| drop(store.apply(set)));
        for edit in &story.edits {
            world
                .edit(*edit)
                .into_iter()
                .for_each(|set| drop(store.apply(set)));
        }
        let cart = store
            .snapshot()
            .objects
            .keys()
            .any(|key| key.kind == model::Kind::Service && key.name.as_str() == "cart");
        if !cart {
            return Ok(());
        }
        let first = story.documents.iter().filter(|seed| **seed != 0).count();
        let added = |edit: &&Edit| matches!(edit, Edit::Add(seed) if *seed != 0);
        let added = story.edits.iter().filter(added).count();
        Err(format!("{} documents made it", first + added))
    });
}
