//! Random VirtualServices.

mod actions;

use serde_json::{Value, json};

use super::connections::{tcp, tls};
use super::{
    Field, NAMESPACES, PORTS, duration, exact_host, export_to, frame, host, name, sprinkle, version,
};
use crate::dice::Dice;

pub(super) fn virtual_service(dice: &mut Dice) -> Value {
    let own = format!("{}-routes", name(dice));
    let mut service = frame(dice, "networking.istio.io/v1", "VirtualService", &own);
    // One without hosts is a delegate.
    let least = usize::from(!dice.once_in(6));
    let hosts = dice.many(least, 2, host);
    service["spec"] = json!({"hosts": hosts, "http": dice.many(1, 3, route)});
    sprinkle(
        dice,
        4,
        &mut service["spec"],
        &[
            ("tcp", &|dice| dice.many(1, 2, tcp).into()),
            ("tls", &|dice| {
                dice.many(1, 2, |dice| tls(dice, &hosts)).into()
            }),
        ],
    );
    sprinkle(
        dice,
        5,
        &mut service["spec"],
        &[
            ("exportTo", &export_to),
            ("gateways", &|dice| {
                dice.one(&[
                    json!(["mesh"]),
                    json!(["shop/gateway"]),
                    json!(["mesh", "gateway"]),
                    json!([]),
                ])
            }),
        ],
    );
    service
}

fn route(dice: &mut Dice) -> Value {
    let mut route = match dice.below(8) {
        0 => json!({"redirect": actions::redirect(dice)}),
        1 => json!({"directResponse": actions::direct_response(dice)}),
        2 => json!({"delegate": delegate(dice)}),
        _ => json!({"route": dice.many(1, 3, |dice| {
            let mut to = weighted(dice);
            sprinkle(dice, 5, &mut to, &[("headers", &actions::headers)]);
            to
        })}),
    };
    actions::sprinkle_actions(dice, &mut route);
    if !dice.once_in(3) {
        route["match"] = dice.many(0, 2, conditions).into();
    }
    sprinkle(
        dice,
        4,
        &mut route,
        &[
            ("name", &|dice| {
                dice.one(&["first", "second", "a name with spaces"]).into()
            }),
            ("timeout", &|dice| duration(dice).into()),
            ("retries", &retries),
        ],
    );
    route
}

fn delegate(dice: &mut Dice) -> Value {
    let mut delegate = json!({"name": format!("{}-routes", name(dice))});
    let whose: Field<'_> = ("namespace", &|dice| dice.one(&NAMESPACES).into());
    sprinkle(dice, 2, &mut delegate, &[whose]);
    delegate
}

pub(super) fn weighted(dice: &mut Dice) -> Value {
    let destination = destination(dice);
    let weight = dice.one(&[
        json!(1),
        json!(50),
        json!(0),
        json!(100),
        json!(2_147_483_647),
    ]);
    json!({"destination": destination, "weight": weight})
}

/// A host, perhaps with its subset and port.
pub(super) fn destination(dice: &mut Dice) -> Value {
    let mut destination = json!({"host": exact_host(dice)});
    sprinkle(
        dice,
        2,
        &mut destination,
        &[
            ("subset", &|dice| version(dice).into()),
            ("port", &|dice| json!({"number": dice.one(&PORTS)})),
        ],
    );
    destination
}

fn conditions(dice: &mut Dice) -> Value {
    let mut conditions = json!({});
    sprinkle(
        dice,
        2,
        &mut conditions,
        &[
            ("uri", &|dice| text(dice, &["/", "/api", "/api/v1"])),
            ("headers", &|dice| {
                let header = dice.one(&["x-user", "X-User", "end-user", ":authority", "cookie"]);
                json!({header: text(dice, &["jason", "a"])})
            }),
        ],
    );
    sprinkle(
        dice,
        4,
        &mut conditions,
        &[
            ("name", &|_| json!("matched")),
            ("method", &|dice| text(dice, &["GET", "POST"])),
            ("scheme", &|dice| text(dice, &["http", "https"])),
            ("authority", &|dice| text(dice, &["cart", "cart:80"])),
            (
                "queryParams",
                &|dice| json!({dice.one(&["a", "b"]): text(dice, &["1", ""])}),
            ),
            (
                "withoutHeaders",
                &|dice| json!({dice.one(&["x-user", "x-none"]): text(dice, &["jason"])}),
            ),
            ("ignoreUriCase", &|dice| json!(dice.once_in(2))),
            ("sourceLabels", &source_labels),
            ("sourceNamespace", &|dice| dice.one(&NAMESPACES).into()),
            ("statPrefix", &|_| json!("counted")),
            ("port", &|dice| dice.one(&PORTS).into()),
            ("gateways", &|dice| {
                dice.one(&[json!(["mesh"]), json!(["gateway"])])
            }),
        ],
    );
    conditions
}

/// Labels that some clients bear.
pub(super) fn source_labels(dice: &mut Dice) -> Value {
    json!({dice.one(&["app", "version"]): dice.one(&["cart", "pay", "v1"])})
}

/// A StringMatch, sometimes an empty one.
pub(super) fn text(dice: &mut Dice, of: &[&str]) -> Value {
    match dice.below(7) {
        0 | 1 => json!({"exact": dice.one(of)}),
        2 | 3 => json!({"prefix": dice.one(of)}),
        4 => json!({"regex": dice.one(&[".*", "/a[0-9]+", "(a|b)*c", "*", "["])}),
        5 => json!({"exact": ""}),
        _ => json!({}),
    }
}

pub(super) fn retries(dice: &mut Dice) -> Value {
    let mut retries = json!({"attempts": dice.one(&[0, 1, 3, 2_147_483_647])});
    sprinkle(
        dice,
        2,
        &mut retries,
        &[
            ("perTryTimeout", &|dice| duration(dice).into()),
            ("retryOn", &|dice| {
                dice.one(&[
                    "5xx",
                    "503",
                    "reset,connect-failure",
                    "gateway-error,429,503",
                    "",
                    "sometimes",
                ])
                .into()
            }),
            ("backoff", &|dice| duration(dice).into()),
            ("retryIgnorePreviousHosts", &|dice| json!(dice.once_in(2))),
            ("retryRemoteLocalities", &|dice| json!(dice.once_in(2))),
        ],
    );
    retries
}
