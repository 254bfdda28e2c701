//! What not every Envoy knows that is served.

use super::*;

#[test]
fn what_only_newer_envoys_know_is_said_where_it_stands() {
    let policy = json!({"retryBudget": {"percent": 10, "budgetInterval": "1s"}});
    check(
        "DestinationRule",
        json!({"host": "a", "trafficPolicy": policy}),
        "applied",
        &["info LAT0012 spec.trafficPolicy.retryBudget.budgetInterval"],
    );
    let headers = json!({"response": {"set": {"x-group": "%UPSTREAM_TLS_GROUP%"}}});
    let route = json!([{"destination": {"host": "a"}}]);
    check(
        "VirtualService",
        json!({"hosts": ["a"], "http": [{"route": route, "headers": headers}]}),
        "applied",
        &["info LAT0012 spec.http[0].headers.response.set.x-group"],
    );
    for format in [
        "%PROTOCOL% %DOWNSTREAM_CX_RTT%",
        "{\"a\": \"%PROTOCOL%\", \"b\": \"%DOWNSTREAM_CX_RTT%\"}",
    ] {
        let encoding = if format.starts_with('{') {
            "JSON"
        } else {
            "TEXT"
        };
        let value = json!({"accessLogFormat": format, "accessLogEncoding": encoding});
        let parsed = parse_mesh_config(Document {
            place: place(&value),
            value,
        });
        assert_eq!(said(&parsed).1, ["info LAT0012 accessLogFormat"]);
        assert_eq!(
            &*parsed.diagnostics()[0].message,
            "Envoy before 1.40 does not know %DOWNSTREAM_CX_RTT%"
        );
    }
}
