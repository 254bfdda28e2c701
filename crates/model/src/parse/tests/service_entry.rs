//! ServiceEntry and WorkloadEntry.

use super::*;
use crate::{EndpointAddress, Protocol, WorkloadEntry};

/// A ServiceEntry for `a.com` on port 443, with some fields changed.
fn entry(fields: Value) -> Value {
    let mut spec = json!({"hosts": ["a.com"], "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}], "resolution": "DNS"});
    for (name, value) in fields.as_object().unwrap() {
        spec[name] = value.clone();
    }
    spec
}

#[test]
fn a_service_entry_is_read_whole() {
    let spec = entry(json!({
        "addresses": ["10.0.0.1", "10.1.0.0/16"], "location": "MESH_INTERNAL", "resolution": "STATIC",
        "ports": [{"number": 80, "name": "http-web", "targetPort": 8080}],
        "endpoints": [{"address": "10.2.0.1", "ports": {"http-web": 81}, "labels": {"v": "1"}, "locality": "r/z", "serviceAccount": "b"}],
    }));
    let Spec::ServiceEntry(read) = good("ServiceEntry", spec).spec else {
        panic!()
    };
    assert_eq!(
        read.addresses
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["10.0.0.1/32", "10.1.0.0/16"]
    );
    assert_eq!(
        (read.ports[0].protocol, read.ports[0].target.get()),
        (Protocol::Http, 8080)
    );
    assert_eq!(&*read.endpoints[0].locality.zone, "z");
    let Spec::ServiceEntry(short) = good("ServiceEntry", entry(json!({"hosts": ["db"]}))).spec
    else {
        panic!()
    };
    assert_eq!(short.hosts[0].to_string(), "db");
}

#[test]
fn what_a_service_entry_needs_and_forbids() {
    let se = |fields: Value, expected: &[&str]| {
        check("ServiceEntry", entry(fields), "refused", expected);
    };
    let endpoints = json!([{"address": "10.0.0.1"}]);
    se(json!({"hosts": []}), &["error IST0106 spec.hosts"]);
    se(json!({"hosts": ["*"]}), &["error IST0106 spec.hosts[0]"]);
    se(
        json!({"hosts": ["*.a.com"]}),
        &["error IST0106 spec.hosts[0]"],
    );
    se(
        json!({"resolution": "STATIC"}),
        &["error IST0106 spec.endpoints"],
    );
    se(
        json!({"resolution": "NONE", "endpoints": endpoints}),
        &["error IST0106 spec.endpoints"],
    );
    se(
        json!({"endpoints": endpoints, "workloadSelector": {"labels": {"a": "b"}}}),
        &["error IST0106 spec.endpoints"],
    );
    se(
        json!({"resolution": "STATIC", "endpoints": [{"address": "a.com"}]}),
        &["error IST0106 spec.endpoints[0].address"],
    );
    se(
        json!({"endpoints": [{"address": "unix:///a"}]}),
        &["error IST0106 spec.endpoints[0].address"],
    );
    se(
        json!({"resolution": "STATIC", "endpoints": [{"address": "unix://a"}]}),
        &["error IST0106 spec.endpoints[0].address"],
    );
    se(
        json!({"resolution": "DNS_ROUND_ROBIN", "endpoints": [{"address": "a.com"}, {"address": "b.com"}]}),
        &["error IST0106 spec.endpoints"],
    );
    se(
        json!({"addresses": ["10.0.0.0/33"]}),
        &["error IST0106 spec.addresses[0]"],
    );
    se(
        json!({"ports": [{"number": 0, "name": "a"}]}),
        &["error IST0106 spec.ports[0].number"],
    );
    se(
        json!({"ports": [{"number": 1}]}),
        &["error IST0106 spec.ports[0].name"],
    );
    se(
        json!({"ports": [{"number": 1, "name": "a", "protocol": "FTP"}]}),
        &["error IST0106 spec.ports[0].protocol"],
    );
    se(
        json!({"resolution": "SOMEHOW"}),
        &["error IST0106 spec.resolution"],
    );
}

#[test]
fn what_is_applied_with_a_diagnostic() {
    let se = |fields: Value, expected: &[&str]| {
        check("ServiceEntry", entry(fields), "applied", expected);
    };
    se(
        json!({"ports": [{"number": 1, "name": "tls-a"}, {"number": 1, "name": "tls-b"}]}),
        &["error IST0106 spec.ports[1]"],
    );
    se(
        json!({"endpoints": [{"address": "b.com", "ports": {"x": 1}}]}),
        &["error IST0106 spec.endpoints[0].ports.x"],
    );
    se(
        json!({"ports": [{"number": 1, "name": "tcp"}]}),
        &["warning IST0134 spec.ports[0]"],
    );
    se(
        json!({"ports": [{"number": 1, "name": "tcp"}], "addresses": ["10.0.0.1"]}),
        &[],
    );
    se(
        json!({"resolution": "STATIC", "workloadSelector": {"labels": {"a": "b"}}}),
        &[],
    );
}

#[test]
fn dynamic_dns_is_for_domains_outside_of_the_mesh() {
    let se = |outcome: &str, fields: Value, expected: &[&str]| {
        let mut spec = entry(json!({"resolution": "DYNAMIC_DNS", "hosts": ["*.a.com"]}));
        for (name, value) in fields.as_object().unwrap() {
            spec[name] = value.clone();
        }
        check("ServiceEntry", spec, outcome, expected);
    };
    let port = |protocol: &str, target: u16| json!([{"number": 80, "name": "a", "protocol": protocol, "targetPort": target}]);
    se("applied", json!({}), &[]);
    se("applied", json!({"ports": port("GRPC", 80)}), &[]);
    se("applied", json!({"ports": port("TLS", 443)}), &[]);
    se(
        "refused",
        json!({"hosts": ["*.a.com", "a.com"]}),
        &["error IST0106 spec.hosts[1]"],
    );
    se(
        "refused",
        json!({"location": "MESH_INTERNAL"}),
        &["error IST0106 spec.location"],
    );
    se(
        "applied",
        json!({"endpoints": [{"address": "10.0.0.1"}]}),
        &["warning IST0133 spec.endpoints"],
    );
    se(
        "applied",
        json!({"workloadSelector": {"labels": {"a": "b"}}}),
        &["warning IST0133 spec.workloadSelector"],
    );
    se(
        "applied",
        json!({"ports": port("HTTP", 8080)}),
        &["warning IST0133 spec.ports[0].targetPort"],
    );
    for protocol in ["HTTPS", "TCP", "MONGO"] {
        let expected = ["error IST0106 spec.ports[0].protocol"];
        se(
            "applied",
            json!({"ports": port(protocol, 80), "addresses": ["10.0.0.1"]}),
            &expected,
        );
    }
}

#[test]
fn workload_entries() {
    let mut value = object(
        "WorkloadEntry",
        &json!({"address": "10.0.0.1", "labels": {"a": "own"}, "weight": 0}),
    );
    value["metadata"]["labels"] = json!({"a": "metadata", "b": "metadata"});
    let Parsed::Object(read) = check_object(&value, "applied", &[]) else {
        panic!()
    };
    let Spec::WorkloadEntry(read) = read.spec else {
        panic!()
    };
    let WorkloadEntry {
        address,
        labels,
        weight,
        ..
    } = &*read;
    assert_eq!(
        address,
        &Some(EndpointAddress::Ip("10.0.0.1".parse().unwrap()))
    );
    assert_eq!(
        (labels.get("a"), labels.get("b"), *weight),
        (Some("own"), Some("metadata"), 1)
    );
    for (spec, field) in [
        (json!({}), "address"),
        (json!({"address": "a b"}), "address"),
        (json!({"address": "a.com", "weight": -1}), "weight"),
        (
            json!({"address": "a.com", "ports": {"http": 0}}),
            "ports.http",
        ),
        (
            json!({"address": "a.com", "serviceAccount": "A"}),
            "serviceAccount",
        ),
        (
            json!({"address": "unix:///a", "ports": {"http": 1}}),
            "ports",
        ),
    ] {
        check(
            "WorkloadEntry",
            spec,
            "refused",
            &[format!("error IST0106 spec.{field}").as_str()],
        );
    }
    good("WorkloadEntry", json!({"network": "n"}));
}
