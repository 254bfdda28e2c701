//! Random routes of connections: `tcp` and `tls` of a VirtualService.

use serde_json::{Value, json};

use super::routes::{source_labels, weighted};
use super::{Field, NAMESPACES, PORTS, sprinkle};
use crate::dice::Dice;

/// Ranges that hold some of the addresses that callers use.
const NETS: [&str; 4] = ["10.0.0.0/30", "10.0.0.1", "fd00::/64", "0.0.0.0/0"];

pub(super) fn tcp(dice: &mut Dice) -> Value {
    let mut route = json!({"route": dice.many(1, 2, weighted)});
    if dice.once_in(2) {
        route["match"] = dice.many(0, 2, tcp_conditions).into();
    }
    route
}

fn tcp_conditions(dice: &mut Dice) -> Value {
    let mut conditions = conditions(dice);
    let from: Field<'_> = ("sourceSubnet", &|dice| dice.one(&NETS).into());
    sprinkle(dice, 6, &mut conditions, &[from]);
    conditions
}

/// A route of TLS for names under `hosts`.
pub(super) fn tls(dice: &mut Dice, hosts: &[&str]) -> Value {
    let matches = dice.many(1, 2, |dice| {
        let mut conditions = conditions(dice);
        conditions["sniHosts"] = dice.many(1, 2, |dice| name(dice, hosts)).into();
        conditions
    });
    json!({"match": matches, "route": dice.many(1, 2, weighted)})
}

fn name(dice: &mut Dice, hosts: &[&str]) -> String {
    if hosts.is_empty() {
        return "cart".to_owned();
    }
    let host = dice.one(hosts);
    match host.strip_prefix("*.") {
        Some(domain) if dice.once_in(2) => format!("x.{domain}"),
        Some(_) | None => host.to_owned(),
    }
}

fn conditions(dice: &mut Dice) -> Value {
    let mut conditions = json!({});
    sprinkle(
        dice,
        3,
        &mut conditions,
        &[
            ("destinationSubnets", &|dice| json!(dice.some(&NETS))),
            ("port", &|dice| dice.one(&PORTS).into()),
            ("sourceLabels", &source_labels),
            ("sourceNamespace", &|dice| dice.one(&NAMESPACES).into()),
            ("gateways", &|dice| {
                dice.one(&[json!(["mesh"]), json!(["gateway"])])
            }),
        ],
    );
    conditions
}
