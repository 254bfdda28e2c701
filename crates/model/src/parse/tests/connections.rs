//! `tcp` and `tls` of a VirtualService.

use super::*;

/// Checks a VirtualService for `a` and `*.b.com` with these routes.
fn routes(list: &str, routes: Value, outcome: &str, expected: &[&str]) -> Parsed {
    let spec = json!({"hosts": ["a", "*.b.com"], list: routes});
    check("VirtualService", spec, outcome, expected)
}

fn to() -> Value {
    json!([{"destination": {"host": "a"}}])
}

#[test]
fn connections_are_matched_by_name_address_and_port() {
    let conditions = json!({
        "sniHosts": ["x.b.com", "*.b.com", "a"], "destinationSubnets": ["10.1.2.3/8", "10.0.0.1"], "port": 443,
    });
    let routes = routes(
        "tls",
        json!([{"match": [conditions], "route": to()}]),
        "applied",
        &[],
    );
    let Parsed::Object(Object {
        spec: Spec::VirtualService(service),
        ..
    }) = routes
    else {
        panic!("{routes:?}");
    };
    let conditions = &service.tls[0].matches[0];
    let sni: Vec<String> = conditions.sni.iter().map(ToString::to_string).collect();
    assert_eq!(sni, ["x.b.com", "*.b.com", "a"]);
    let nets: Vec<String> = conditions
        .destinations
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(nets, ["10.0.0.0/8", "10.0.0.1/32"]);
    assert!(!conditions.never);
}

#[test]
fn wrong_routes_of_connections_are_refused_where_they_are_wrong() {
    let tls = |conditions: Value| json!([{"match": [conditions], "route": to()}]);
    for (list, wrong, expected) in [
        ("tls", json!([{"route": to()}]), "spec.tls[0].match"),
        ("tls", tls(json!({})), "spec.tls[0].match[0].sniHosts"),
        (
            "tls",
            tls(json!({"sniHosts": ["c.com"]})),
            "spec.tls[0].match[0].sniHosts[0]",
        ),
        (
            "tls",
            tls(json!({"sniHosts": ["*.com"]})),
            "spec.tls[0].match[0].sniHosts[0]",
        ),
        (
            "tls",
            tls(json!({"sniHosts": ["a b"]})),
            "spec.tls[0].match[0].sniHosts[0]",
        ),
        ("tcp", json!([{}]), "spec.tcp[0].route"),
        (
            "tcp",
            json!([{"route": [{}]}]),
            "spec.tcp[0].route[0].destination",
        ),
        (
            "tcp",
            json!([{"route": [{"destination": {"host": "a"}, "weight": 0}, {"destination": {"host": "b"}}]}]),
            "spec.tcp[0].route",
        ),
        (
            "tcp",
            json!([{"match": [{"destinationSubnets": ["10.0.0.0/33"]}], "route": to()}]),
            "spec.tcp[0].match[0].destinationSubnets[0]",
        ),
        (
            "tcp",
            json!([{"match": [{"port": 70000}], "route": to()}]),
            "spec.tcp[0].match[0].port",
        ),
    ] {
        let line = format!("error IST0106 {expected}");
        routes(list, wrong, "refused", &[&line]);
    }
}

#[test]
fn what_istio_ignores_too_is_said() {
    let conditions = json!({"sourceSubnet": "10.0.0.0/8"});
    let tcp = json!([{"match": [conditions], "route": to()}]);
    routes(
        "tcp",
        tcp,
        "applied",
        &["error IST0106 spec.tcp[0].match[0].sourceSubnet"],
    );
}
