//! What an HTTP route does to requests and answers: each field that Istio refuses, at its path.

use super::virtual_service::check_route;
use super::*;
use crate::{HttpAction, Share};

/// A route with this field is refused there.
#[track_caller]
fn refused(field: &str, value: Value, at: &str) {
    let line = format!("error IST0106 {at}");
    check_route(json!({field: value}), "refused", &[line.as_str()]);
}

#[test]
fn rewrites() {
    check_route(
        json!({"rewrite": {"uri": "/", "authority": "a"}}),
        "applied",
        &[],
    );
    let regex =
        |pattern: &str, with: &str| json!({"uriRegexRewrite": {"match": pattern, "rewrite": with}});
    check_route(
        json!({"rewrite": regex("^/(a)(b)", r"/\2\1\\")}),
        "applied",
        &[],
    );
    refused("rewrite", json!({}), "rewrite");
    refused(
        "rewrite",
        json!({"uri": "/", "uriRegexRewrite": {"match": "a", "rewrite": "b"}}),
        "rewrite",
    );
    refused("rewrite", regex("(", "a"), "rewrite.uriRegexRewrite.match");
    refused("rewrite", regex("", "a"), "rewrite.uriRegexRewrite.match");
    refused("rewrite", regex("a", ""), "rewrite.uriRegexRewrite.rewrite");
    refused(
        "rewrite",
        regex("(a)", r"\2"),
        "rewrite.uriRegexRewrite.rewrite",
    );
    refused(
        "rewrite",
        regex("(a)", r"\n"),
        "rewrite.uriRegexRewrite.rewrite",
    );
    refused("rewrite", json!({"authority": "a\nb"}), "rewrite.authority");
    let both = json!({"rewrite": {"uri": "/"}, "redirect": {"uri": "/"}});
    check_route(both, "refused", &["error IST0106 rewrite"]);
    let twice =
        json!({"rewrite": {"authority": "a"}, "headers": {"request": {"set": {"Host": "b"}}}});
    check_route(twice, "refused", &["error IST0106 rewrite.authority"]);
}

#[test]
fn redirects_and_direct_responses() {
    for (wire, at) in [
        (json!({}), "redirect"),
        (json!({"uri": "/", "prefixRewrite": "/"}), "redirect"),
        (
            json!({"port": 1, "derivePort": "FROM_REQUEST_PORT"}),
            "redirect",
        ),
        (json!({"port": 70000}), "redirect.port"),
        (json!({"scheme": "ftp"}), "redirect.scheme"),
        (
            json!({"uri": "/", "redirectCode": 304}),
            "redirect.redirectCode",
        ),
        (
            json!({"uri": "/", "redirectCode": 200}),
            "redirect.redirectCode",
        ),
    ] {
        refused("redirect", wire, at);
    }
    check_route(
        json!({"redirect": {"derivePort": "FROM_PROTOCOL_DEFAULT"}}),
        "applied",
        &[],
    );
    let body = |body: Value| json!({"status": 200, "body": body});
    for (wire, at) in [
        (json!({}), "directResponse.status"),
        (json!({"status": 600}), "directResponse.status"),
        (
            body(json!({"string": "a", "bytes": "YQ=="})),
            "directResponse.body",
        ),
        (body(json!({"bytes": "*"})), "directResponse.body.bytes"),
        (
            body(json!({"string": "a".repeat(1 << 20) + "a"})),
            "directResponse.body",
        ),
    ] {
        refused("directResponse", wire, at);
    }
    let large = json!({"directResponse": body(json!({"string": "a".repeat(200_000)}))});
    check_route(large, "applied", &["warning IST0133 directResponse.body"]);
    let read = check_route(
        json!({"directResponse": body(json!({"bytes": "_-8="}))}),
        "applied",
        &[],
    );
    let Some(HttpAction::DirectResponse { status: 200, body }) = read.map(|read| read.action)
    else {
        panic!()
    };
    assert_eq!(*body, [0xff, 0xef], "base64 for URLs is read too");
    let fault = json!({"directResponse": {"status": 200}, "fault": {"abort": {"httpStatus": 500, "percentage": {"value": 1}}}});
    check_route(fault, "refused", &["error IST0106 fault"]);
}

#[test]
fn headers() {
    let of = |direction: &str, operation: Value| json!({direction: operation});
    for (wire, at) in [
        (
            of("request", json!({"set": {"a(b": "c"}})),
            "headers.request.set.a(b",
        ),
        (
            of("request", json!({"set": {":path": "c"}})),
            "headers.request.set.:path",
        ),
        (
            of("request", json!({"add": {"a": "100%"}})),
            "headers.request.add.a",
        ),
        (
            of("request", json!({"add": {"a": "%NOT()%"}})),
            "headers.request.add.a",
        ),
        (
            of("request", json!({"add": {"a": "b\nc"}})),
            "headers.request.add.a",
        ),
        (
            of("request", json!({"remove": ["host"]})),
            "headers.request.remove[0]",
        ),
        (
            of("request", json!({"remove": ["a", ""]})),
            "headers.request.remove[1]",
        ),
        (
            of(
                "request",
                json!({"set": {"host": "a"}, "add": {"Host": "b"}}),
            ),
            "headers.request.add.Host",
        ),
        (
            of("response", json!({"set": {"host": "a"}})),
            "headers.response.set.host",
        ),
    ] {
        refused("headers", wire, at);
    }
    let of_destination = json!({"route": [{"destination": {"host": "a"}, "headers": {"response": {"add": {"a": "%"}}}}]});
    check_route(
        of_destination,
        "refused",
        &["error IST0106 route[0].headers.response.add.a"],
    );
    check_route(
        json!({"headers": {"request": {"set": {"a": "%REQ(:PATH)% 5%%"}}}}),
        "applied",
        &[],
    );
}

#[test]
fn faults() {
    let delay = |delay: Value| json!({"delay": delay});
    let abort = |abort: Value| json!({"abort": abort});
    let half = json!({"value": 50});
    for (wire, at) in [
        (json!({}), "fault"),
        (
            delay(json!({"exponentialDelay": "1s"})),
            "fault.delay.exponentialDelay",
        ),
        (
            delay(json!({"fixedDelay": "1us", "percentage": half})),
            "fault.delay.fixedDelay",
        ),
        (
            abort(json!({"http2Error": "x", "percentage": half})),
            "fault.abort.http2Error",
        ),
        (
            abort(json!({"httpStatus": 600, "percentage": half})),
            "fault.abort.httpStatus",
        ),
        (
            abort(json!({"grpcStatus": "GONE", "percentage": half})),
            "fault.abort.grpcStatus",
        ),
        (
            abort(json!({"grpcStatus": "OK", "httpStatus": 500, "percentage": half})),
            "fault.abort",
        ),
    ] {
        refused("fault", wire, at);
    }
    for (wire, kind) in [
        (
            delay(json!({"fixedDelay": "1s", "percentage": {"value": 100.1}})),
            "delay",
        ),
        (
            abort(json!({"httpStatus": 500, "percentage": {"value": 0.00001}})),
            "abort",
        ),
    ] {
        let wrong = format!("error IST0106 fault.{kind}.percentage.value");
        let nobody = format!("warning IST0133 fault.{kind}.percentage");
        check_route(json!({"fault": wire}), "refused", &[&wrong, &nobody]);
    }
    let old = delay(json!({"fixedDelay": "1s", "percent": 5}));
    check_route(
        json!({"fault": old}),
        "applied",
        &["warning IST0002 fault.delay.percent"],
    );
    let silent = check_route(
        json!({"fault": delay(json!({"fixedDelay": "1s"}))}),
        "applied",
        &["warning IST0133 fault.delay.percentage"],
    );
    assert_eq!(silent.unwrap().fault.unwrap().delay, None);
    let nothing = json!({"fault": abort(json!({"percentage": {"value": 50}}))});
    check_route(nothing, "applied", &["warning IST0133 fault.abort"]);
}

#[test]
fn mirrors_and_their_percentages() {
    let mirrored = |more: Value| {
        let mut http = more;
        http["mirror"] = json!({"host": "b"});
        http
    };
    let share = |http: Value, lines: &[&str]| {
        let route = check_route(http, "applied", lines).unwrap();
        route.mirror.unwrap().share
    };
    assert_eq!(share(mirrored(json!({})), &[]), Share::ALL);
    let half = mirrored(json!({"mirrorPercentage": {"value": 12.5}, "mirror_percent": 3}));
    let lines = [
        "warning IST0002 mirror_percent",
        "warning IST0133 mirror_percent",
    ];
    assert_eq!(share(half, &lines).millionths(), 125_000);
    let old = mirrored(json!({"mirrorPercent": 7}));
    assert_eq!(
        share(old, &["warning IST0002 mirrorPercent"]).millionths(),
        70_000
    );
    let lonely = json!({"mirrorPercentage": {"value": 1}});
    check_route(lonely, "applied", &["warning IST0133 mirrorPercentage"]);
    let both = mirrored(json!({"mirrors": [{"destination": {"host": "c"}}]}));
    check_route(both, "refused", &["error IST0106 mirrors"]);
    refused("mirrors", json!([{}]), "mirrors[0].destination");
    refused(
        "mirrors",
        json!([{"destination": {"host": "c"}, "percentage": {"value": 101}}]),
        "mirrors[0].percentage.value",
    );
    refused("mirrorPercent", json!(101), "mirrorPercent");
}

#[test]
fn cross_origin_policies() {
    for (wire, at) in [
        (json!({"allowOrigins": [{}]}), "corsPolicy.allowOrigins[0]"),
        (
            json!({"allowOrigins": [{"regex": "("}]}),
            "corsPolicy.allowOrigins[0].regex",
        ),
        (
            json!({"allowMethods": ["get"]}),
            "corsPolicy.allowMethods[0]",
        ),
        (
            json!({"allowHeaders": ["a b"]}),
            "corsPolicy.allowHeaders[0]",
        ),
        (
            json!({"exposeHeaders": [""]}),
            "corsPolicy.exposeHeaders[0]",
        ),
        (json!({"maxAge": "1.5s"}), "corsPolicy.maxAge"),
    ] {
        refused("corsPolicy", wire, at);
    }
    let both = json!({"corsPolicy": {"allowOrigin": ["a"], "allowOrigins": [{"exact": "b"}]}});
    let lines = [
        "warning IST0002 corsPolicy.allowOrigin",
        "warning IST0133 corsPolicy.allowOrigin",
    ];
    let cors = check_route(both, "applied", &lines).unwrap().cors.unwrap();
    assert_eq!(cors.allow_origins.len(), 1);
}

#[test]
fn delegates() {
    let delegate = json!({"delegate": {"name": "b", "namespace": "c"}});
    let route = check_route(delegate, "applied", &[]).unwrap();
    assert!(
        matches!(route.action, HttpAction::Delegate(delegate) if delegate.namespace.as_str() == "c")
    );
    refused("delegate", json!({}), "delegate.name");
    refused("delegate", json!({"name": "A_"}), "delegate.name");
    let further = json!({"http": [{"delegate": {"name": "b"}}]});
    check(
        "VirtualService",
        further,
        "refused",
        &["error IST0106 spec.http[0].delegate"],
    );
    let opaque = json!({"tcp": [{"route": [{"destination": {"host": "a"}}]}], "http": [{"redirect": {"uri": "/"}}]});
    let lines = &["error IST0106 spec.tcp"];
    check("VirtualService", opaque, "refused", lines);
}
