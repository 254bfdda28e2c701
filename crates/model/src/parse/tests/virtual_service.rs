//! VirtualService.

use std::time::Duration;

use super::*;
use crate::{HttpAction, HttpRoute, StringMatch};

fn route() -> Value {
    json!([{"destination": {"host": "a"}}])
}

/// Checks one route of a VirtualService for host `a`; the fields are those of `spec.http[0]`.
#[track_caller]
pub(super) fn check_route(mut http: Value, outcome: &str, expected: &[&str]) -> Option<HttpRoute> {
    let actions = ["route", "redirect", "directResponse", "delegate"];
    if actions.iter().all(|action| http.get(action).is_none()) {
        http["route"] = route();
    }
    let full: Vec<String> = expected
        .iter()
        .map(|line| {
            line.rsplit_once(' ')
                .map(|(head, field)| format!("{head} spec.http[0].{field}"))
                .unwrap()
        })
        .collect();
    let full: Vec<&str> = full.iter().map(String::as_str).collect();
    let parsed = check(
        "VirtualService",
        json!({"hosts": ["a"], "http": [http]}),
        outcome,
        &full,
    );
    match parsed {
        Parsed::Object(Object {
            spec: Spec::VirtualService(spec),
            ..
        }) => spec.http.first().cloned(),
        _ => None,
    }
}

#[test]
fn hosts_gateways_and_visibility() {
    let vs = |hosts: Value, gateways: Value| json!({"hosts": hosts, "gateways": gateways, "http": [{"route": route()}]});
    let object = good(
        "VirtualService",
        vs(json!(["a", "*.b.com"]), json!(["mesh"])),
    );
    let Spec::VirtualService(spec) = object.spec else {
        panic!()
    };
    let hosts: Vec<String> = spec.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["a.shop.svc.cluster.local", "*.b.com"]);
    assert!(spec.in_mesh);
    let vs_check =
        |spec, outcome, expected: &[&str]| check("VirtualService", spec, outcome, expected);
    vs_check(
        vs(json!(["*"]), json!(["gw"])),
        "applied",
        &["warning LAT0004 spec.gateways[0]"],
    );
    vs_check(
        vs(json!(["*"]), json!([])),
        "refused",
        &["error IST0106 spec.hosts[0]"],
    );
    vs_check(vs(json!([]), json!([])), "applied", &[]);
    vs_check(
        vs(json!([]), json!(["mesh"])),
        "refused",
        &["error IST0106 spec.gateways"],
    );
    vs_check(
        vs(json!(["a", "A"]), json!([])),
        "applied",
        &["error IST0106 spec.hosts[1]"],
    );
    vs_check(
        vs(json!(["a b"]), json!([])),
        "refused",
        &["error IST0106 spec.hosts[0]"],
    );
    vs_check(
        json!({"hosts": ["a"]}),
        "refused",
        &["error IST0106 spec.http"],
    );
    let export =
        |names: Value| json!({"hosts": ["a"], "exportTo": names, "http": [{"route": route()}]});
    let object = good("VirtualService", export(json!([".", "b"])));
    let Spec::VirtualService(spec) = object.spec else {
        panic!()
    };
    assert!(spec.export_to.shows_to(&object.key.namespace));
    vs_check(
        export(json!(["*", "b"])),
        "refused",
        &["error IST0106 spec.exportTo"],
    );
    vs_check(
        export(json!(["B"])),
        "refused",
        &["error IST0106 spec.exportTo[0]"],
    );
}

#[test]
fn actions_exclude_each_other() {
    let both = json!({"hosts": ["a"], "http": [{"route": route(), "redirect": {"uri": "/"}}]});
    let lines = &["error IST0106 spec.http[0]"];
    check("VirtualService", both, "refused", lines);
    let none = json!({"hosts": ["a"], "http": [{"timeout": "1s"}]});
    check(
        "VirtualService",
        none,
        "refused",
        &["error IST0106 spec.http[0].route"],
    );
}

#[test]
fn weights_and_destinations() {
    let to = |weights: &[i64]| {
        let one = |w: &i64| json!({"destination": {"host": "a"}, "weight": w});
        json!({"route": weights.iter().map(one).collect::<Vec<_>>()})
    };
    let weights = |http: Value| {
        let Some(HttpRoute {
            action: HttpAction::Route(list),
            ..
        }) = check_route(http, "applied", &[])
        else {
            panic!()
        };
        list.iter().map(|d| d.weight).collect::<Vec<_>>()
    };
    assert_eq!(weights(to(&[90, 10])), [90, 10]);
    assert_eq!(weights(to(&[0])), [100]);
    assert_eq!(weights(json!({"route": route()})), [100]);
    check_route(to(&[0, 0]), "refused", &["error IST0106 route"]);
    check_route(
        to(&[2147483647, 2147483647, 2]),
        "refused",
        &["error IST0106 route"],
    );
    check_route(to(&[-1, 5]), "refused", &["error IST0106 route[0].weight"]);
    let one = |destination: Value| json!({"route": [{"destination": destination}]});
    check_route(
        json!({"route": [{}]}),
        "refused",
        &["error IST0106 route[0].destination"],
    );
    check_route(
        one(json!({})),
        "refused",
        &["error IST0106 route[0].destination.host"],
    );
    for host in ["*", "a.*", "a b"] {
        let expected = &["error IST0106 route[0].destination.host"];
        check_route(one(json!({"host": host})), "refused", expected);
    }
    check_route(one(json!({"host": "*.a"})), "applied", &[]);
    check_route(
        one(json!({"host": "a", "subset": "a|b"})),
        "refused",
        &["error IST0106 route[0].destination.subset"],
    );
    let at_port = &["error IST0106 route[0].destination.port.number"];
    check_route(one(json!({"host": "a", "port": {}})), "refused", at_port);
    check_route(
        one(json!({"host": "a", "port": {"number": 70000}})),
        "refused",
        at_port,
    );
}

#[test]
fn conditions_that_cannot_be_checked_match_nothing() {
    let one = |conditions: Value| json!({"match": [conditions]});
    let good = check_route(
        one(json!({
            "uri": {"prefix": "/a"}, "method": {"exact": "GET"}, "headers": {"X-A": {"regex": "a+"}, "x-b": {}, "x-c": {"exact": ""}},
            "port": 80, "gateways": ["mesh"], "name": "n",
        })),
        "applied",
        &[],
    );
    let matches = good.unwrap().matches;
    assert!(!matches[0].never);
    let headers: Vec<&str> = matches[0].headers.iter().map(|(name, _)| &**name).collect();
    assert_eq!(headers, ["x-a", "x-b", "x-c"]);
    assert_eq!(matches[0].headers[2].1, StringMatch::Present);
    let claim = json!({"headers": {"@request.auth.claims.a": {"exact": "b"}}});
    let line = "warning LAT0009 match[0].headers.@request.auth.claims.a";
    assert!(check_route(one(claim), "applied", &[line]).unwrap().matches[0].never);
    let unknown = check_route(
        one(json!({"url": {"exact": "/"}})),
        "applied",
        &["error LAT0002 match[0].url"],
    );
    assert!(unknown.unwrap().matches[0].never);
    let nothing = check_route(
        one(json!({"uri": {}})),
        "applied",
        &["warning IST0133 match[0].uri"],
    );
    assert!(!nothing.unwrap().matches[0].never);
    check_route(
        one(json!({"uri": {"exact": "a", "prefix": "b"}})),
        "refused",
        &["error IST0106 match[0].uri"],
    );
    check_route(one(json!({"uri": {"prefix": ""}})), "applied", &[]);
    for (field, value, at) in [
        ("method", json!({"prefix": ""}), "method.prefix"),
        ("scheme", json!({"regex": ""}), "scheme.regex"),
        (
            "authority",
            json!({"exact": "a", "regex": "b"}),
            "authority",
        ),
        (
            "queryParams",
            json!({"a": {"prefix": ""}}),
            "queryParams.a.prefix",
        ),
        (
            "withoutHeaders",
            json!({"a": {"regex": "("}}),
            "withoutHeaders.a.regex",
        ),
        ("sourceNamespace", json!("A_b"), "sourceNamespace"),
        ("sourceLabels", json!({"a": "*"}), "sourceLabels.a"),
    ] {
        let line = format!("error IST0106 match[0].{at}");
        check_route(one(json!({field: value})), "refused", &[line.as_str()]);
    }
    check_route(
        one(json!({"port": 0})),
        "refused",
        &["error IST0106 match[0].port"],
    );
    check_route(
        one(json!({"headers": {"a(b": {}}})),
        "refused",
        &["error IST0106 match[0].headers.a(b"],
    );
    for regex in ["(", "a(?=b)", "(a{1000}){1000}"] {
        let lines = &["error IST0106 match[0].uri.regex"];
        check_route(one(json!({"uri": {"regex": regex}})), "refused", lines);
    }
}

#[test]
fn timeouts_and_retries() {
    let route = check_route(json!({
        "timeout": "0s",
        "retries": {"attempts": 3, "perTryTimeout": "1m30s", "retryOn": "5xx, 503,reset,429", "backoff": "1ms"},
    }), "applied", &[]).unwrap();
    assert_eq!(route.timeout, Some(Duration::ZERO));
    let retries = route.retries.unwrap();
    assert_eq!(
        retries.retry_on.as_deref(),
        Some("5xx,reset,retriable-status-codes")
    );
    assert_eq!(
        (retries.status_codes.as_ref(), retries.per_try_timeout),
        ([429, 503].as_slice(), Some(Duration::from_secs(90)))
    );
    let off = check_route(json!({"retries": {}}), "applied", &[]).unwrap();
    assert_eq!(off.retries.unwrap().attempts, 0);
    check_route(
        json!({"timeout": "-1s"}),
        "refused",
        &["error IST0106 timeout"],
    );
    check_route(
        json!({"timeout": "1000000h"}),
        "refused",
        &["error IST0106 timeout"],
    );
    let retries = |field: &str, value: Value| json!({"retries": {"attempts": 1, field: value}});
    check_route(
        retries("attempts", json!(-1)),
        "refused",
        &["error IST0106 retries.attempts"],
    );
    check_route(
        retries("perTryTimeout", json!("100us")),
        "refused",
        &["error IST0106 retries.perTryTimeout"],
    );
    check_route(
        retries("retryOn", json!("sometimes")),
        "refused",
        &["error IST0106 retries.retryOn"],
    );
    check_route(
        retries("retryOn", json!("999")),
        "refused",
        &["error IST0106 retries.retryOn"],
    );
    let off = json!({"retries": {"attempts": 0, "retryOn": "5xx"}});
    check_route(off, "applied", &["error IST0106 retries.attempts"]);
}

#[test]
fn routes_behind_one_that_takes_all_are_named() {
    let any = json!({"match": [{"uri": {"prefix": "/"}}], "route": route()});
    let spec = json!({"hosts": ["a"], "http": [{"match": [{"port": 1}], "route": route()}, any, {"route": route()}]});
    check(
        "VirtualService",
        spec,
        "applied",
        &["warning IST0130 spec.http[2]"],
    );
    let broken = json!({"match": [{"uri": {"regex": "("}}], "route": route()});
    let spec = json!({"hosts": ["a"], "http": [broken, {"route": route()}]});
    let lines = &["error IST0106 spec.http[0].match[0].uri.regex"];
    check("VirtualService", spec, "refused", lines);
}

#[test]
fn the_hosts_of_a_refused_one_are_kept_with_the_reason() {
    let spec = json!({"hosts": ["a", "b.com", "*"], "exportTo": ["."], "http": [{"route": route(), "timeout": 5}]});
    let parsed = read(&object("VirtualService", &spec));
    let Some(RefusedScope::Hosts(service)) = scope(parsed) else {
        panic!()
    };
    let hosts: Vec<String> = service.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["a.shop.svc.cluster.local", "b.com"]);
    assert!(service.in_mesh);
    let shown = |namespace: &str| service.export_to.shows_to(&namespace.parse().unwrap());
    assert!(shown("shop") && !shown("web"));
    let answers: Vec<&HttpAction> = service.http.iter().map(|route| &route.action).collect();
    let reason = "VirtualService shop/a is rejected: spec.http[0].timeout: invalid type: integer `...`, expected a string";
    assert_eq!(answers, [&HttpAction::Unavailable(reason.into())]);
}

#[test]
fn callers_learn_no_value_whatever_is_wrong() {
    let one = |field: &str, value: Value| json!({field: value, "route": route()});
    let retries = |field: &str, value: Value| one("retries", json!({"attempts": 1, field: value}));
    let conditions = |field: &str, value: Value| one("match", json!([{field: value}]));
    let to = |destination: Value| json!({"route": [{"destination": destination}]});
    let weights = |a: Value| json!({"route": [{"destination": {"host": "a"}, "weight": a}, {"destination": {"host": "b"}}]});
    let routes = [
        json!(4711),
        json!("4711"),
        one("timeout", json!("4711")),
        one("timeout", json!("47110000h")),
        one("timeout", json!(4711)),
        one("timeout", json!(4711.5)),
        one("timeout", json!(["4711"])),
        retries("attempts", json!(-4711)),
        retries("attempts", json!("4711")),
        retries("attempts", json!(4711.5)),
        retries("perTryTimeout", json!("4711")),
        retries("perTryTimeout", json!("4711ns")),
        retries("backoff", json!("4711ns")),
        retries("retryOn", json!("4711")),
        retries("retryOn", json!("503,x4711")),
        conditions("uri", json!({"regex": "(4711"})),
        conditions("uri", json!({"regex": "(?P<a4711>b)(?P<a4711>b)"})),
        conditions("uri", json!({"exact": "4711", "prefix": "4711"})),
        conditions("uri", json!("4711")),
        conditions("method", json!({"regex": "4711{9,1}"})),
        conditions("headers", json!({"a": {"regex": "[4711"}})),
        conditions("port", json!(471100)),
        conditions("port", json!(-4711)),
        weights(json!(-4711)),
        weights(json!("4711")),
        to(json!({"host": "4711 x"})),
        to(json!({"host": "a", "subset": "4711|x"})),
        to(json!({"host": "a", "port": {"number": 471100}})),
        json!({"route": route(), "redirect": {"uri": "4711"}}),
    ];
    let specs = routes
        .into_iter()
        .map(|route| json!({"hosts": ["a"], "http": [route]}));
    let hosts = json!({"hosts": ["a", "4711 x"], "http": [{"route": route()}]});
    for spec in specs.chain([hosts]) {
        let Some(RefusedScope::Hosts(service)) = scope(read(&object("VirtualService", &spec)))
        else {
            panic!("{spec}")
        };
        let HttpAction::Unavailable(reason) = &service.http[0].action else {
            panic!("{spec}")
        };
        assert!(!reason.contains("4711"), "{reason}");
    }
}
