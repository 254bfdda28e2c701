//! What holds for every kind: key, metadata, unknown fields, wrong types, depth, durations.

use std::time::Duration;

use super::super::value::read_duration;
use super::*;

#[test]
fn an_object_needs_a_key() {
    let name = |metadata: Value| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
    let at_name = &["error IST0106 metadata.name"];
    check_object(&json!(1), "unreadable", &["error IST0106 "]);
    check_object(
        &json!({"kind": "Pod"}),
        "unreadable",
        &["error IST0106 apiVersion"],
    );
    check_object(
        &json!({"apiVersion": "v1", "kind": "Pod"}),
        "unreadable",
        at_name,
    );
    check_object(&name(json!({"generateName": "a-"})), "unreadable", at_name);
    check_object(&name(json!({"name": 5})), "unreadable", at_name);
    check_object(&name(json!({"name": "A"})), "unreadable", at_name);
    check_object(&name(json!("a")), "unreadable", at_name);
    // It would else be one of the namespace `default`.
    check_object(
        &name(json!({"name": "a", "namespace": 5})),
        "unreadable",
        &["error IST0106 metadata.namespace"],
    );
    let parsed = check_object(&name(json!({"name": "a"})), "applied", &[]);
    let Parsed::Object(object) = parsed else {
        panic!()
    };
    assert_eq!(object.key.to_string(), "ServiceAccount default/a");
}

#[test]
fn kinds_that_are_not_read_are_named() {
    let of = |version: &str, kind: &str| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}});
    check_object(
        &of("networking.istio.io/v1", "Gateway"),
        "ignored",
        &["warning LAT0003 kind"],
    );
    check_object(
        &of("networking.istio.io/v9", "VirtualService"),
        "ignored",
        &["warning LAT0003 kind"],
    );
    check_object(&of("v1", "Secret"), "ignored", &["info LAT0003 kind"]);
    check_object(
        &of("example.com/v1", "VirtualService"),
        "ignored",
        &["info LAT0003 kind"],
    );
}

#[test]
fn metadata_is_read_and_checked() {
    let mut value = object("PeerAuthentication", &json!({}));
    value["metadata"] = json!({
        "name": "a", "labels": {"version": 1}, "annotation": {}, "managedFields": [{}],
        "ownerReferences": [], "creationTimestamp": "yesterday",
    });
    check_object(
        &value,
        "refused",
        &[
            "error IST0106 metadata.creationTimestamp",
            "error IST0106 metadata.labels.version",
            "error LAT0002 metadata.annotation",
        ],
    );
    value["metadata"] = json!({"name": "a", "creationTimestamp": "1970-01-01T00:01:00Z"});
    let Parsed::Object(object) = check_object(&value, "applied", &[]) else {
        panic!()
    };
    assert_eq!(object.meta.created, Some(60));
}

#[test]
fn unknown_fields_are_dropped_at_their_path_with_a_hint() {
    let spec = json!({
        "host": ["a"], "hosts": ["a"], "export_to": ["."],
        "http": [{"timout": "1s", "route": [{"destination": {"host": "a", "sub-set": "v1"}}]}],
    });
    let parsed = check(
        "VirtualService",
        spec,
        "applied",
        &[
            "error LAT0002 spec.host",
            "error LAT0002 spec.http[0].timout",
            "error LAT0002 spec.http[0].route[0].destination.sub-set",
        ],
    );
    let hints: Vec<&str> = parsed.diagnostics().iter().map(|d| &*d.hint).collect();
    for word in ["`hosts`", "`timeout`", "`subset`"] {
        assert!(
            hints.iter().any(|hint| hint.contains(word)),
            "{word} {hints:?}"
        );
    }
    let value = json!({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": "a"},
        "specs": {}, "spec": {"hosts": ["a.com"]}});
    check_object(&value, "applied", &["error LAT0002 specs"]);
}

#[test]
fn every_wrong_type_is_found_at_its_path() {
    let spec = json!({
        "hosts": "a",
        "http": [
            {"timeout": 5, "match": [{"port": "80", "uri": {"exact": true}}], "route": {"destination": {}}},
            7,
        ],
    });
    let value = object("VirtualService", &spec);
    let parsed = check_object(
        &value,
        "refused",
        &[
            "error IST0106 spec.hosts",
            "error IST0106 spec.http[0].match[0].port",
            "error IST0106 spec.http[0].match[0].uri.exact",
            "error IST0106 spec.http[0].route",
            "error IST0106 spec.http[0].timeout",
            "error IST0106 spec.http[1]",
        ],
    );
    let known = |d: &&Diagnostic| &*d.field == "spec.http[1]";
    let line = parsed.diagnostics().iter().find(known).unwrap().line;
    assert_eq!(line, place(&value).line_of("spec.http[1]"));
    check(
        "PeerAuthentication",
        json!([]),
        "refused",
        &["error IST0106 spec"],
    );
    check(
        "PeerAuthentication",
        json!({"mtls": {"mode": "STRICTER"}}),
        "refused",
        &["error IST0106 spec.mtls.mode"],
    );
    check(
        "PeerAuthentication",
        json!({"mtls": {"mode": 9}}),
        "refused",
        &["error IST0106 spec.mtls.mode"],
    );
    check(
        "PeerAuthentication",
        json!({"mtls": {"mode": 3}}),
        "applied",
        &[],
    );
}

#[test]
fn null_is_as_if_it_were_absent() {
    check(
        "PeerAuthentication",
        json!({"mtls": null, "selector": {"matchLabels": {"a": "b"}}}),
        "applied",
        &[],
    );
    check_object(
        &{
            let mut value = object("PeerAuthentication", &Value::Null);
            value["status"] = Value::Null;
            value
        },
        "applied",
        &[],
    );
}

#[test]
fn sec_02_and_36_deep_objects_are_refused() {
    let mut deep = json!(1);
    for _ in 0..MAX_DEPTH {
        deep = json!([deep]);
    }
    check("ServiceEntry", deep, "unreadable", &["error IST0106 "]);
}

#[test]
fn durations_as_go_and_proto_json_write_them() {
    let ms = |ms: u64| Some(Duration::from_millis(ms));
    for (text, duration) in [
        ("1.5s", ms(1500)),
        ("1h2m", ms(3_720_000)),
        ("250ms", ms(250)),
        ("0", ms(0)),
        ("0s", ms(0)),
        ("1m0.5s", ms(60_500)),
        (".5s", ms(500)),
        ("1.s", ms(1000)),
        ("2us", Some(Duration::from_micros(2))),
        ("1.000000001s", Some(Duration::new(1, 1))),
        ("", None),
        ("1", None),
        ("s", None),
        ("-1s", None),
        ("1 s", None),
        ("1.5.5s", None),
        ("1d", None),
        (".s", None),
        ("99999999999999999999999999999999999999999h", None),
    ] {
        assert_eq!(read_duration(text), duration, "{text}");
    }
}

#[test]
fn the_mesh_config_says_what_is_not_yet() {
    let config = |value: Value| {
        parse_mesh_config(Document {
            place: place(&value),
            value,
        })
    };
    let parsed = config(json!({
        "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY", "mod": 1}, "accessLogFile": "/dev/stdout",
        "accessLogEncoding": "JSON", "accessLogFormat": "{\"b\": \"%DURATION%\", \"a\": \"%PROTOCOL%\"}",
        "trustDomain": "example.org", "trustDomainAliases": ["old.example"], "rootNamespace": "root", "enableAutoMtls": false,
        "defaultHttpRetryPolicy": {"attempts": 1}, "dnsRefreshRate": "5s",
        "pathNormalization": {"normalization": "MERGE_SLASHES"}, "protocolDetectionTimeout": "0.3s",
        "defaultConfig": {}, "enableTracin": true,
        "discoverySelectors": [{
            "matchLabels": {"mesh": "yes"},
            "matchExpressions": [
                {"key": "env", "operator": "NotIn", "values": ["dev"]},
            ],
        }],
    }));
    let (outcome, words) = said(&parsed);
    assert_eq!(outcome, "applied");
    assert_eq!(
        words,
        [
            "error LAT0002 enableTracin",
            "error LAT0002 outboundTrafficPolicy.mod",
            "info LAT0004 defaultConfig",
            "info LAT0004 discoverySelectors",
        ]
    );
    let Parsed::Object(object) = parsed else {
        panic!()
    };
    assert_eq!(object.key.to_string(), "MeshConfig istio-system/istio");
    let Spec::MeshConfig(config_read) = object.spec else {
        panic!()
    };
    let keys = Arc::new([
        ("a".into(), "%PROTOCOL%".into()),
        ("b".into(), "%DURATION%".into()),
    ]);
    assert_eq!(
        *config_read,
        crate::MeshConfig {
            outbound_traffic_policy: crate::OutboundTrafficPolicy::RegistryOnly,
            listeners: crate::ListenerSettings {
                access_log: Some(crate::AccessLog {
                    path: "/dev/stdout".into(),
                    format: crate::AccessLogFormat::Json(keys),
                }),
                path_normalization: crate::PathNormalization::MergeSlashes,
                protocol_detection_timeout: Some(Duration::from_millis(300)),
            },
            trust_domain: "example.org".parse().unwrap(),
            root_namespace: "root".parse().unwrap(),
            auto_mtls: false,
            retries: Some(crate::Retries {
                attempts: 1,
                per_try_timeout: None,
                retry_on: None,
                status_codes: Arc::new([]),
                backoff: None,
                ignore_previous_hosts: None,
                remote_localities: false,
            }),
            dns_refresh: Some(Duration::from_secs(5)),
            discovery_selectors: Arc::new([crate::LabelSelector {
                labels: [("mesh", "yes")].into_iter().collect(),
                expressions: Arc::new([crate::LabelExpression::NotIn(
                    "env".into(),
                    Arc::new(["dev".into()]),
                )]),
            }]),
            trust_domain_aliases: Arc::new(["old.example".parse().unwrap()]),
            ..crate::MeshConfig::default()
        }
    );
    let Parsed::Object(object) = config(json!({})) else {
        panic!()
    };
    assert_eq!(object.spec, Spec::MeshConfig(Arc::default()));
    for (field, value) in [
        ("trustDomain", json!("A B")),
        ("rootNamespace", json!("A")),
        ("accessLogEncoding", json!("XML")),
        ("enableAutoMtls", json!("yes")),
    ] {
        let parsed = config(json!({field: value}));
        assert_eq!(
            said(&parsed),
            ("refused", vec![format!("error IST0106 {field}")])
        );
    }
}

#[test]
fn sec_04_work_on_one_object_is_bounded() {
    let start = std::time::Instant::now();
    let unknown: serde_json::Map<String, Value> =
        (0..50_000).map(|i| (format!("f{i}"), json!(1))).collect();
    let parsed = read(&object("VirtualService", &Value::Object(unknown)));
    assert!(matches!(&parsed, Parsed::Refused(refusal) if refusal.diagnostics.len() < 200));
    let matches: Vec<Value> = (0..20_000)
        .map(|_| json!({"url": {}, "scheme": {}}))
        .collect();
    let parsed = read(&object(
        "VirtualService",
        &json!({"hosts": ["a"], "http": [{"match": matches}]}),
    ));
    assert!(matches!(parsed, Parsed::Refused(_)) && parsed.diagnostics().len() <= 1000);
    let regexes: Vec<Value> = (0..100)
        .map(|_| json!({"uri": {"regex": "(a{1000}){1000}".repeat(1000)}}))
        .collect();
    let parsed = read(&object(
        "VirtualService",
        &json!({"hosts": ["a"], "http": [{"match": regexes}]}),
    ));
    assert!(matches!(parsed, Parsed::Refused(_)));
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}
