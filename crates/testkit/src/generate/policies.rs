//! Random PeerAuthentications, AuthorizationPolicies and MeshConfigs.

use serde_json::{Value, json};

use super::routes::retries;
use super::rules::{keepalive, locality};
use super::{Field, NAMESPACES, TARGETS, duration, frame, name, sprinkle, wanted};
use crate::dice::Dice;

/// The names of providers, of which MeshConfig may have some.
const PROVIDERS: [&str; 3] = ["ext-authz", "ext-authz", "other"];

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
        0 if dice.once_in(2) => spec["targetRef"] = target(dice),
        0 => spec["targetRefs"] = dice.many(1, 2, target).into(),
        1..=4 => spec["selector"] = json!({"matchLabels": wanted(dice)}),
        _ => {}
    }
    if !dice.once_in(3) {
        spec["action"] = dice
            .one(&["ALLOW", "DENY", "DENY", "AUDIT", "CUSTOM"])
            .into();
    }
    if spec["action"] == "CUSTOM" {
        spec["provider"] = json!({"name": dice.one(&PROVIDERS)});
    }
    if !dice.once_in(6) {
        spec["rules"] = dice.many(0, 3, rule).into();
    }
    if dice.once_in(5) {
        let dry = dice.one(&["true", "true", "false", "perhaps"]);
        policy["metadata"]["annotations"]["istio.io/dry-run"] = dry.into();
    }
    policy
}

fn target(dice: &mut Dice) -> Value {
    let mut target = dice.one(&[
        json!({"kind": "Gateway", "group": "gateway.networking.k8s.io", "name": "gw"}),
        json!({"kind": "Service", "group": "", "name": "cart"}),
    ]);
    let whose: Field<'_> = ("namespace", &|dice| dice.one(&NAMESPACES).into());
    sprinkle(dice, 3, &mut target, &[whose]);
    target
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
        &[("when", &|dice| dice.many(1, 2, condition).into())],
    );
    rule
}

fn condition(dice: &mut Dice) -> Value {
    let (key, values) = dice.one(&[
        ("request.headers[x-token]", ["a", "b*"]),
        ("source.ip", ["10.0.0.0/8", "fd00::/8"]),
        ("remote.ip", ["203.0.113.7", "10.1.0.0/16"]),
        ("source.namespace", ["shop", "w*"]),
        ("source.principal", ["cluster.local/ns/shop/sa/cart", "*"]),
        ("source.serviceAccount", ["cart", "web/default"]),
        ("source.trustDomain", ["cluster.local", "old.*"]),
        ("request.auth.principal", ["issuer/*", "*"]),
        ("request.auth.audiences", ["a", "*b"]),
        ("request.auth.presenter", ["a", "b"]),
        ("request.auth.claims[group][name]", ["a", "*"]),
        ("destination.ip", ["10.0.0.1", "10.0.0.0/24"]),
        ("destination.port", ["80", "8080"]),
        ("connection.sni", ["*.example.com", "a"]),
        (
            "experimental.envoy.filters.network.mongo_proxy[db]",
            ["[find]", "a"],
        ),
    ]);
    let field = if dice.once_in(3) {
        "notValues"
    } else {
        "values"
    };
    json!({"key": key, field: dice.many(1, 2, |dice| dice.one(&values))})
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
            ("requestPrincipals", &|_| json!(["*", "issuer/a"])),
            ("notRequestPrincipals", &|_| json!(["*"])),
            ("ipBlocks", &|_| json!(["10.0.0.0/8", "10.1.2.3"])),
            ("notIpBlocks", &|_| json!(["10.0.0.0/8"])),
            ("remoteIpBlocks", &|_| json!(["fd00::/8"])),
            ("notRemoteIpBlocks", &|_| json!(["203.0.113.7"])),
            ("trustDomains", &|_| json!(["cluster.local", "*.example"])),
            ("notTrustDomains", &|_| json!(["old"])),
        ],
    );
    source
}

fn operation(dice: &mut Dice) -> Value {
    let paths = |dice: &mut Dice| {
        json!([dice.one(&[
            "/", "/api/*", "*.html", "*", "/a*b", "/{*}", "/x", "/a/{**}"
        ])])
    };
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
        &[
            ("hosts", &|dice| {
                json!([dice.one(&["a.example.com", "*", "cart*"])])
            }),
            ("notHosts", &|_| json!(["*.example.com"])),
        ],
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
            ("trustDomainAliases", &|dice| {
                json!([dice.one(&["old", "td.example", "cluster.local"])])
            }),
            ("extensionProviders", &providers),
            ("enableTracing", &|_| json!(true)),
            ("discoverySelectors", &selectors),
        ],
    );
    sprinkle(
        dice,
        6,
        &mut config,
        &[
            ("connectTimeout", &|dice| duration(dice).into()),
            ("dnsRefreshRate", &|dice| duration(dice).into()),
            ("defaultHttpRetryPolicy", &retries),
            ("tcpKeepalive", &keepalive),
            ("h2UpgradePolicy", &|dice| {
                dice.one(&["UPGRADE", "DO_NOT_UPGRADE"]).into()
            }),
            ("localityLbSetting", &locality),
            ("defaultServiceExportTo", &exports),
            ("defaultVirtualServiceExportTo", &exports),
            ("defaultDestinationRuleExportTo", &exports),
        ],
    );
    config
}

fn exports(dice: &mut Dice) -> Value {
    dice.one(&[json!(["."]), json!(["*"]), json!(["~"]), json!(NAMESPACES)])
}

fn selectors(dice: &mut Dice) -> Value {
    dice.one(&[
        json!([{"matchLabels": {"mesh": "yes"}}]),
        json!([{"matchExpressions": [{"key": "mesh", "operator": "NotIn", "values": ["no"]}]}]),
    ])
}

fn providers(dice: &mut Dice) -> Value {
    let service = format!("{}.{}.svc.cluster.local", name(dice), dice.one(&NAMESPACES));
    let whom =
        json!({"service": service, "port": dice.one(&[80, 9080]), "failOpen": dice.once_in(2)});
    let mut http = whom.clone();
    sprinkle(
        dice,
        2,
        &mut http,
        &[
            ("timeout", &|_| json!("1.5s")),
            ("pathPrefix", &|_| json!("/check")),
            ("statusOnError", &|_| json!("503")),
            ("clearRouteCache", &|_| json!(true)),
            ("includeRequestHeadersInCheck", &|_| {
                json!(["x-token", "x-*", "*"])
            }),
            (
                "includeAdditionalHeadersInCheck",
                &|_| json!({"x-from": "mesh"}),
            ),
            (
                "includeRequestBodyInCheck",
                &|_| json!({"maxRequestBytes": 100}),
            ),
            ("headersToUpstreamOnAllow", &|_| json!(["x-user"])),
            ("headersToDownstreamOnAllow", &|_| json!(["x-by"])),
            ("headersToDownstreamOnDeny", &|_| json!(["x-why"])),
        ],
    );
    let mut all = vec![json!({"name": "ext-authz", "envoyExtAuthzHttp": http})];
    if dice.once_in(2) {
        all = vec![json!({"name": "ext-authz", "envoyExtAuthzGrpc": whom})];
    }
    if dice.once_in(3) {
        all.push(json!({"name": "tracer", "zipkin": {"service": service, "port": 9411}}));
    }
    all.into()
}
