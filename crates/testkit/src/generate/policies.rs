//! Random PeerAuthentications, AuthorizationPolicies and MeshConfigs.

use serde_json::{Value, json};

use super::{NAMESPACES, TARGETS, frame, name, sprinkle, wanted};
use crate::dice::Dice;

const MODES: [&str; 4] = ["STRICT", "PERMISSIVE", "DISABLE", "UNSET"];

pub(super) fn peer_authentication(dice: &mut Dice) -> Value {
    let own = format!("{}-mtls", name(dice));
    let mut policy = frame(dice, "security.istio.io/v1", "PeerAuthentication", &own);
    policy["spec"] = json!({});
    if !dice.once_in(4) {
        policy["spec"]["mtls"] = json!({"mode": dice.one(&MODES)});
    }
    if dice.once_in(2) {
        policy["spec"]["selector"] = json!({"matchLabels": wanted(dice)});
        if dice.once_in(2) {
            let port = dice.one(&TARGETS).to_string();
            policy["spec"]["portLevelMtls"] = json!({port: {"mode": dice.one(&MODES)}});
        }
    }
    policy
}

pub(super) fn authorization_policy(dice: &mut Dice) -> Value {
    let own = format!("{}-policy", name(dice));
    let mut policy = frame(dice, "security.istio.io/v1", "AuthorizationPolicy", &own);
    policy["spec"] = json!({});
    let spec = &mut policy["spec"];
    match dice.below(8) {
        0 => {
            spec["targetRefs"] =
                json!([{"kind": "Gateway", "group": "gateway.networking.k8s.io", "name": "gw"}])
        }
        1..=4 => spec["selector"] = json!({"matchLabels": wanted(dice)}),
        _ => {}
    }
    if !dice.once_in(3) {
        spec["action"] = dice
            .one(&["ALLOW", "DENY", "DENY", "AUDIT", "CUSTOM"])
            .into();
    }
    if spec["action"] == "CUSTOM" {
        spec["provider"] = json!({"name": "ext-authz"});
    }
    if !dice.once_in(6) {
        spec["rules"] = dice.many(0, 3, rule).into();
    }
    policy
}

fn rule(dice: &mut Dice) -> Value {
    let mut rule = json!({});
    sprinkle(
        dice,
        2,
        &mut rule,
        &[
            ("from", &|dice| {
                dice.many(1, 2, |dice| json!({"source": source(dice)}))
                    .into()
            }),
            ("to", &|dice| {
                dice.many(1, 2, |dice| json!({"operation": operation(dice)}))
                    .into()
            }),
        ],
    );
    sprinkle(
        dice,
        8,
        &mut rule,
        &[(
            "when",
            &|_| json!([{"key": "request.headers[x-token]", "values": ["a"]}]),
        )],
    );
    rule
}

fn source(dice: &mut Dice) -> Value {
    let principals = |dice: &mut Dice| {
        json!(dice.many(1, 2, |dice| dice.one(&[
            "cluster.local/ns/shop/sa/cart",
            "*",
            "*/sa/cart",
            "cluster.local/ns/shop/*",
            "spiffe://x/y",
            "a.b",
            "*a*",
        ])))
    };
    let namespaces = |dice: &mut Dice| json!([dice.one(&["shop", "web", "sh*", "*op", "*"])]);
    let accounts = |dice: &mut Dice| json!([dice.one(&["cart", "shop/cart", "web/default"])]);
    let mut source = json!({});
    match dice.below(4) {
        0 => source["principals"] = principals(dice),
        1 => source["namespaces"] = namespaces(dice),
        2 => source["serviceAccounts"] = accounts(dice),
        _ => source["notPrincipals"] = principals(dice),
    }
    sprinkle(
        dice,
        5,
        &mut source,
        &[
            ("notPrincipals", &principals),
            ("notNamespaces", &namespaces),
            ("notServiceAccounts", &accounts),
        ],
    );
    sprinkle(
        dice,
        12,
        &mut source,
        &[
            ("requestPrincipals", &|_| json!(["*"])),
            ("notIpBlocks", &|_| json!(["10.0.0.0/8"])),
        ],
    );
    source
}

fn operation(dice: &mut Dice) -> Value {
    let paths =
        |dice: &mut Dice| json!([dice.one(&["/", "/api/*", "*.html", "*", "/a*b", "/{*}", "/x"])]);
    let methods = |dice: &mut Dice| json!([dice.one(&["GET", "P*", "*", "*T"])]);
    let ports = |dice: &mut Dice| json!([dice.one(&TARGETS).to_string()]);
    let mut operation = json!({});
    match dice.below(4) {
        0 => operation["paths"] = paths(dice),
        1 => operation["methods"] = methods(dice),
        2 => operation["ports"] = ports(dice),
        _ => operation["notPaths"] = paths(dice),
    }
    sprinkle(
        dice,
        5,
        &mut operation,
        &[
            ("notPaths", &paths),
            ("notMethods", &methods),
            ("notPorts", &ports),
            ("paths", &paths),
        ],
    );
    sprinkle(
        dice,
        12,
        &mut operation,
        &[("hosts", &|_| json!(["a.example.com"]))],
    );
    operation
}

pub(super) fn mesh_config(dice: &mut Dice) -> Value {
    let mut config = json!({});
    sprinkle(
        dice,
        2,
        &mut config,
        &[
            (
                "outboundTrafficPolicy",
                &|dice| json!({"mode": dice.one(&["REGISTRY_ONLY", "ALLOW_ANY"])}),
            ),
            ("accessLogFile", &|dice| {
                dice.one(&["/dev/stdout", ""]).into()
            }),
            ("enableAutoMtls", &|dice| json!(dice.once_in(2))),
        ],
    );
    sprinkle(
        dice,
        4,
        &mut config,
        &[
            ("trustDomain", &|_| json!("td.example")),
            ("rootNamespace", &|dice| dice.one(&NAMESPACES).into()),
            ("accessLogFormat", &|dice| {
                dice.one(&["%PROTOCOL%\n", "{\"a\": \"%PROTOCOL%\"}", "%NOT"])
                    .into()
            }),
            ("accessLogEncoding", &|dice| {
                dice.one(&["TEXT", "JSON"]).into()
            }),
            ("enableTracing", &|_| json!(true)),
        ],
    );
    config
}
