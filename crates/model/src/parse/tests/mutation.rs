//! Objects that are broken at random never panic, and what is wrong with them is found at a field of theirs.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

fn samples() -> Vec<Value> {
    let destination = json!({"host": "a", "subset": "v1", "port": {"number": 80}});
    vec![
        object(
            "VirtualService",
            &json!({
                "hosts": ["a", "*.b"], "gateways": ["mesh"], "exportTo": ["."],
                "http": [{
                    "match": [{"uri": {"prefix": "/"}, "headers": {"a": {"exact": "b"}}, "port": 80, "queryParams": {"a": {}}}],
                    "route": [{"destination": destination, "weight": 1}, {"destination": destination, "weight": 2}],
                    "timeout": "1s", "retries": {"attempts": 1, "retryOn": "5xx,503", "perTryTimeout": "1s"},
                    "fault": {"delay": {"fixedDelay": "1s", "percentage": {"value": 5}}, "abort": {"grpcStatus": "OK", "percentage": {"value": 5}}},
                    "rewrite": {"uriRegexRewrite": {"match": "(a)", "rewrite": "\\1"}}, "headers": {"request": {"set": {"a": "%REQ(b)%"}, "remove": ["c"]}},
                    "mirrors": [{"destination": {"host": "b"}, "percentage": {"value": 5}}], "corsPolicy": {"allowOrigins": [{"exact": "a"}], "maxAge": "1s"},
                }, {
                    "match": [{"withoutHeaders": {"a": {}}, "sourceLabels": {"a": "b"}, "sourceNamespace": "c", "scheme": {"exact": "http"}}],
                    "redirect": {"uri": "/", "scheme": "https", "port": 80, "redirectCode": 302},
                }, {
                    "directResponse": {"status": 200, "body": {"bytes": "YQ=="}},
                }, {
                    "delegate": {"name": "b", "namespace": "c"},
                }],
            }),
        ),
        object(
            "DestinationRule",
            &json!({
                "host": "a", "subsets": [{"name": "v1", "labels": {"a": "b"}, "trafficPolicy": {}}],
                "trafficPolicy": {
                    "loadBalancer": {"simple": "RANDOM"}, "connectionPool": {"tcp": {"maxConnections": 1, "connectTimeout": "1s"}},
                    "outlierDetection": {"interval": "1s", "maxEjectionPercent": 1}, "tls": {"mode": "SIMPLE", "sni": "a"},
                    "portLevelSettings": [{"port": {"number": 1}, "tls": {"mode": "DISABLE"}}],
                },
            }),
        ),
        object(
            "AuthorizationPolicy",
            &json!({
                "selector": {"matchLabels": {"a": "b"}}, "action": "DENY",
                "rules": [{"from": [{"source": {"principals": ["a"], "ipBlocks": ["10.0.0.0/8"]}}],
                    "to": [{"operation": {"ports": ["80"], "paths": ["/a*"]}}], "when": [{"key": "source.ip", "values": ["10.0.0.1"]}]}],
            }),
        ),
        object(
            "PeerAuthentication",
            &json!({"selector": {"matchLabels": {"a": "b"}}, "mtls": {"mode": "STRICT"}, "portLevelMtls": {"80": {"mode": "UNSET"}}}),
        ),
        object(
            "ServiceEntry",
            &json!({
                "hosts": ["a.com"], "addresses": ["10.0.0.1"], "resolution": "STATIC", "location": "MESH_INTERNAL",
                "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}], "endpoints": [{"address": "10.0.0.1", "ports": {"http": 1}}],
            }),
        ),
        object(
            "WorkloadEntry",
            &json!({"address": "10.0.0.1", "locality": "a/b/c", "weight": 1}),
        ),
        object(
            "Service",
            &json!({"clusterIP": "10.0.0.1", "selector": {"a": "b"}, "ports": [{"name": "http", "port": 80, "targetPort": "a"}]}),
        ),
        object(
            "Pod",
            &json!({"containers": [{"ports": [{"containerPort": 80, "name": "a"}]}]}),
        ),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "a"},
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}], "ports": [{"port": 1}]}),
    ]
}

fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(json!("*")),
        Just(json!("9".repeat(60) + "h")),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null, {"a": [1]}])),
        Just(json!({"exact": "a", "": null, "mode": "X"})),
    ]
}

/// Every node of a value, by JSON pointer.
fn pointers(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), value)];
    while let Some((at, value)) = open.pop() {
        match value {
            Value::Object(map) => open.extend(map.iter().map(|(key, value)| {
                (
                    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")),
                    value,
                )
            })),
            Value::Array(items) => open.extend(
                items
                    .iter()
                    .enumerate()
                    .map(|(i, value)| (format!("{at}/{i}"), value)),
            ),
            _ => {}
        }
        found.push(at);
    }
    found.sort();
    found
}

fn mutate(value: &mut Value, at: Index, new: Value, how: u8) {
    let pointers = pointers(value);
    let node = value.pointer_mut(at.get::<String>(&pointers)).unwrap();
    match (how % 3, &mut *node) {
        (0, Value::Object(map)) => {
            map.insert("surprise".to_owned(), new);
        }
        (1, Value::Array(items)) => items.push(new),
        _ => *node = new,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]
    #[test]
    fn no_object_panics(which in any::<Index>(), changes in prop::collection::vec((any::<Index>(), anything(), any::<u8>()), 1..4)) {
        let mut value = which.get(&samples()).clone();
        for (at, new, how) in changes {
            mutate(&mut value, at, new, how);
        }
        let parsed = read(&value);
        let refused = !matches!(parsed, Parsed::Object(_) | Parsed::Ignored(_));
        let errors = parsed.diagnostics().iter().any(|d| d.severity == crate::Severity::Error);
        prop_assert!(errors || !refused, "refused without an error: {value}");
        prop_assert!(parsed.diagnostics().iter().all(|d| d.line.is_some()));
        let document = Document { place: place(&value), value };
        let _ = parse_mesh_config(document);
    }
}

#[test]
fn the_samples_are_good() {
    for value in samples() {
        assert!(matches!(read(&value), Parsed::Object(_)), "{value}");
    }
}
