//! Random ServiceEntries and WorkloadEntries.

use serde_json::{Value, json};

use super::{
    ACCOUNTS, IPS, PORTS, TARGETS, VIPS, export_to, frame, host, labels, name, sprinkle, wanted,
};
use crate::dice::Dice;

/// Names of a ServiceEntry's ports, which endpoints refer to.
const PORT_NAMES: [&str; 3] = ["one", "two", "http-a"];

pub(super) fn workload_entry(dice: &mut Dice) -> Value {
    let own = format!("{}-vm", name(dice));
    let mut entry = frame(dice, "networking.istio.io/v1", "WorkloadEntry", &own);
    if dice.once_in(3) {
        entry["metadata"]["labels"] = labels(dice);
    }
    entry["spec"] = endpoint(dice, false);
    entry["spec"]["labels"] = labels(dice);
    entry
}

/// A WorkloadEntry's spec.
fn endpoint(dice: &mut Dice, by_name: bool) -> Value {
    let address = match dice.below(10) {
        0 => "vm.example.com",
        1 if by_name => "db.example.com",
        2 => "unix:///var/run/app.sock",
        _ => dice.one(&IPS),
    };
    let mut entry = json!({"address": address});
    sprinkle(
        dice,
        3,
        &mut entry,
        &[
            ("labels", &labels),
            ("serviceAccount", &|dice| dice.one(&ACCOUNTS).into()),
            ("weight", &|dice| {
                dice.one(&[json!(0), json!(3), json!(4_294_967_295_u32)])
            }),
            ("locality", &|dice| {
                dice.one(&["eu", "eu/a", "us/a/1", ""]).into()
            }),
            ("network", &|_| json!("net-1")),
        ],
    );
    if dice.once_in(3) && !address.starts_with("unix") {
        entry["ports"] = json!({dice.one(&PORT_NAMES): dice.one(&TARGETS)});
    }
    entry
}

pub(super) fn service_entry(dice: &mut Dice) -> Value {
    let own = format!("{}-entry", name(dice));
    let mut entry = frame(dice, "networking.istio.io/v1", "ServiceEntry", &own);
    const RESOLUTIONS: [&str; 7] = [
        "STATIC",
        "DNS",
        "NONE",
        "STATIC",
        "DNS",
        "DNS_ROUND_ROBIN",
        "DYNAMIC_DNS",
    ];
    let resolution = dice.one(&RESOLUTIONS);
    entry["spec"] = json!({
        "hosts": dice.many(1, 2, host),
        "resolution": resolution,
        "ports": dice.many(1, 2, port),
    });
    let spec = &mut entry["spec"];
    match (resolution, dice.below(3)) {
        ("NONE", _) => {}
        ("DYNAMIC_DNS", _) => spec["hosts"] = json!(["*.example.com"]),
        ("STATIC" | "DNS", 0) => spec["workloadSelector"] = json!({"labels": wanted(dice)}),
        ("DNS" | "DNS_ROUND_ROBIN", 1) => {}
        ("DNS_ROUND_ROBIN", _) => spec["endpoints"] = json!([endpoint(dice, true)]),
        (resolution, _) => {
            let by_name = resolution != "STATIC";
            spec["endpoints"] = dice.many(1, 3, |dice| endpoint(dice, by_name)).into();
        }
    }
    sprinkle(
        dice,
        2,
        spec,
        &[
            ("addresses", &|dice| match dice.below(5) {
                0 => json!(["10.0.0.0/30"]),
                _ => json!(dice.some(&VIPS)),
            }),
            ("location", &|dice| {
                dice.one(&["MESH_INTERNAL", "MESH_EXTERNAL"]).into()
            }),
        ],
    );
    sprinkle(
        dice,
        5,
        spec,
        &[
            ("exportTo", &export_to),
            ("subjectAltNames", &|_| {
                json!(["spiffe://cluster.local/ns/shop/sa/pay", "api.example.com"])
            }),
        ],
    );
    entry
}

fn port(dice: &mut Dice) -> Value {
    const PROTOCOLS: [&str; 11] = [
        "HTTP", "http", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS", "TLS", "TCP", "MONGO", "UDP", "MYSQL",
    ];
    let mut port = json!({"number": dice.one(&PORTS), "name": dice.one(&PORT_NAMES)});
    sprinkle(
        dice,
        2,
        &mut port,
        &[
            ("protocol", &|dice| dice.one(&PROTOCOLS).into()),
            ("targetPort", &|dice| dice.one(&TARGETS).into()),
        ],
    );
    port
}
