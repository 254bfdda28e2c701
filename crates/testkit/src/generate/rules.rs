//! Random DestinationRules.

use serde_json::{Value, json};

use super::{
    Field, PORTS, duration, export_to, frame, host, limit, name, sprinkle, version, wanted,
};
use crate::dice::Dice;

pub(super) fn destination_rule(dice: &mut Dice) -> Value {
    let own = format!("{}-rule", name(dice));
    let mut rule = frame(dice, "networking.istio.io/v1", "DestinationRule", &own);
    rule["spec"] = json!({"host": host(dice)});
    sprinkle(
        dice,
        2,
        &mut rule["spec"],
        &[
            ("trafficPolicy", &policy),
            ("subsets", &|dice| dice.many(1, 3, subset).into()),
        ],
    );
    sprinkle(
        dice,
        4,
        &mut rule["spec"],
        &[
            (
                "workloadSelector",
                &|dice| json!({"matchLabels": wanted(dice)}),
            ),
            ("exportTo", &export_to),
        ],
    );
    rule
}

fn subset(dice: &mut Dice) -> Value {
    let version = version(dice);
    let mut subset = json!({"name": version, "labels": {"version": version}});
    if dice.once_in(4) {
        subset["labels"] = wanted(dice);
    }
    sprinkle(dice, 3, &mut subset, &[("trafficPolicy", &policy)]);
    subset
}

fn policy(dice: &mut Dice) -> Value {
    let mut policy = settings(dice);
    sprinkle(
        dice,
        6,
        &mut policy,
        &[
            (
                "retryBudget",
                &|dice| json!({"percent": dice.one(&[0.0, 12.5]), "minRetryConcurrency": limit(dice), "budgetInterval": duration(dice)}),
            ),
            (
                "tunnel",
                &|dice| json!({"protocol": dice.one(&["CONNECT", "POST"]), "targetHost": "a.example.com", "targetPort": 443}),
            ),
        ],
    );
    if policy["tunnel"].is_null() {
        sprinkle(
            dice,
            6,
            &mut policy,
            &[(
                "proxyProtocol",
                &|dice| json!({"version": dice.one(&["V1", "V2"])}),
            )],
        );
    }
    if dice.once_in(3) {
        policy["portLevelSettings"] = dice
            .many(1, 2, |dice| {
                let mut settings = settings(dice);
                settings["port"] = json!({"number": dice.one(&PORTS)});
                settings
            })
            .into();
    }
    policy
}

fn settings(dice: &mut Dice) -> Value {
    let mut settings = json!({});
    sprinkle(
        dice,
        3,
        &mut settings,
        &[
            ("loadBalancer", &load_balancer),
            ("connectionPool", &|dice| {
                let mut pool = json!({});
                sprinkle(dice, 2, &mut pool, &[("tcp", &tcp), ("http", &http)]);
                if pool == json!({}) {
                    pool["tcp"] = tcp(dice);
                }
                pool
            }),
            ("outlierDetection", &outlier_detection),
            ("tls", &tls),
        ],
    );
    if settings == json!({}) {
        settings["loadBalancer"] = load_balancer(dice);
    }
    settings
}

fn load_balancer(dice: &mut Dice) -> Value {
    let mut balancer = match dice.once_in(2) {
        true => {
            json!({"simple": dice.one(&["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "PASSTHROUGH", "LEAST_CONN", "UNSPECIFIED"])})
        }
        false => json!({"consistentHash": consistent_hash(dice)}),
    };
    sprinkle(
        dice,
        3,
        &mut balancer,
        &[
            ("localityLbSetting", &locality),
            (
                "warmup",
                &|dice| json!({"duration": duration(dice), "aggression": dice.one(&[1.0, 1.5]), "minimumPercent": dice.one(&[0.0, 10.0])}),
            ),
        ],
    );
    if balancer["localityLbSetting"].is_null() {
        sprinkle(dice, 6, &mut balancer, &[("zoneAwareLbSetting", &zones)]);
    }
    if balancer["warmup"].is_null() {
        let old: Field<'_> = ("warmupDurationSecs", &|dice| duration(dice).into());
        sprinkle(dice, 8, &mut balancer, &[old]);
    }
    balancer
}

fn consistent_hash(dice: &mut Dice) -> Value {
    let mut hash = dice.one(&[
        json!({"httpHeaderName": "x-user"}),
        json!({"httpQueryParameterName": "user"}),
        json!({"useSourceIp": true}),
        json!({"httpCookie": {"name": "user", "ttl": "0s"}}),
        json!({"httpCookie": {"name": "user", "path": "/", "ttl": "1h", "attributes": [{"name": "SameSite", "value": "Lax"}]}}),
    ]);
    match dice.one(&[0, 1, 2]) {
        0 => hash["maglev"] = json!({"tableSize": dice.one(&[2, 251])}),
        1 => hash["ringHash"] = json!({"minimumRingSize": dice.one(&[0, 64])}),
        _ if dice.once_in(3) => hash["minimumRingSize"] = dice.one(&[1, 64]).into(),
        _ => {}
    }
    hash
}

pub(super) fn locality(dice: &mut Dice) -> Value {
    dice.one(&[
        json!({"enabled": false}),
        json!({"enabled": true}),
        json!({"distribute": [
            {"from": "eu/a/*", "to": {"eu/a": 80, "us": 20}},
            {"from": "us", "to": {"us": 100}},
        ]}),
        json!({"failover": [{"from": "eu", "to": "us"}]}),
        json!({"failoverPriority": ["version", "topology.kubernetes.io/zone"]}),
        json!({"failoverPriority": ["app=cart"], "failover": [{"from": "eu", "to": "us"}]}),
    ])
}

fn zones(dice: &mut Dice) -> Value {
    let mut zones = json!({"enabled": dice.once_in(2)});
    match dice.below(3) {
        0 => zones["failover"] = json!([{"from": "eu", "to": "us"}]),
        1 => zones["failoverPriority"] = json!(["topology.kubernetes.io/zone"]),
        _ => {}
    }
    let least: Field<'_> = ("minClusterSize", &limit);
    sprinkle(dice, 3, &mut zones, &[least]);
    zones
}

fn tcp(dice: &mut Dice) -> Value {
    let mut tcp = json!({});
    sprinkle(
        dice,
        2,
        &mut tcp,
        &[
            ("maxConnections", &limit),
            ("connectTimeout", &|dice| duration(dice).into()),
            ("tcpKeepalive", &keepalive),
            ("maxConnectionDuration", &|dice| duration(dice).into()),
            ("idleTimeout", &|dice| duration(dice).into()),
        ],
    );
    tcp
}

pub(super) fn keepalive(dice: &mut Dice) -> Value {
    json!({"probes": limit(dice), "time": "10s", "interval": dice.one(&["75s", "1s"])})
}

fn http(dice: &mut Dice) -> Value {
    let mut http = json!({});
    sprinkle(
        dice,
        2,
        &mut http,
        &[
            ("http1MaxPendingRequests", &limit),
            ("http2MaxRequests", &limit),
            ("maxRequestsPerConnection", &limit),
            ("maxRetries", &limit),
            ("idleTimeout", &|dice| duration(dice).into()),
            ("maxConcurrentStreams", &limit),
        ],
    );
    sprinkle(
        dice,
        4,
        &mut http,
        &[
            ("h2UpgradePolicy", &|dice| {
                dice.one(&["UPGRADE", "DO_NOT_UPGRADE", "DEFAULT"]).into()
            }),
            ("useClientProtocol", &|dice| json!(dice.once_in(2))),
            (
                "http2KeepAlive",
                &|_| json!({"interval": "5s", "timeout": "1s"}),
            ),
        ],
    );
    http
}

fn outlier_detection(dice: &mut Dice) -> Value {
    let mut detection = json!({});
    sprinkle(
        dice,
        2,
        &mut detection,
        &[
            ("consecutiveErrors", &limit),
            ("consecutive5xxErrors", &limit),
            ("consecutiveGatewayErrors", &limit),
            ("consecutiveLocalOriginFailures", &limit),
            ("splitExternalLocalOriginErrors", &|dice| {
                json!(dice.once_in(2))
            }),
            ("interval", &|dice| duration(dice).into()),
            ("baseEjectionTime", &|dice| duration(dice).into()),
            ("maxEjectionPercent", &|dice| dice.one(&[0, 10, 100]).into()),
            ("minHealthPercent", &|dice| dice.one(&[0, 50, 100]).into()),
            ("outlierDetectionHttpErrorCodes", &|dice| {
                dice.one(&[json!([404]), json!([500, 404])])
            }),
        ],
    );
    if !detection["consecutiveLocalOriginFailures"].is_null() {
        detection["splitExternalLocalOriginErrors"] = true.into();
    }
    detection
}

fn tls(dice: &mut Dice) -> Value {
    let mode = dice.one(&[
        "DISABLE",
        "SIMPLE",
        "MUTUAL",
        "ISTIO_MUTUAL",
        "ISTIO_MUTUAL",
    ]);
    let mut tls = json!({"mode": mode});
    sprinkle(
        dice,
        3,
        &mut tls,
        &[
            ("sni", &|dice| {
                dice.one(&[json!("sni.example.com"), json!("x".repeat(300))])
            }),
            ("subjectAltNames", &|_| {
                json!(["spiffe://cluster.local/ns/shop/sa/cart", "cart.example.com"])
            }),
        ],
    );
    if matches!(mode, "SIMPLE" | "MUTUAL") && dice.once_in(6) {
        tls["credentialName"] = dice.one(&["secret", "configmap://roots"]).into();
    } else if mode == "MUTUAL" {
        tls["clientCertificate"] = "/etc/certs/cert.pem".into();
        tls["privateKey"] = "/etc/certs/key.pem".into();
    }
    if matches!(mode, "SIMPLE" | "MUTUAL") {
        sprinkle(
            dice,
            3,
            &mut tls,
            &[
                ("caCertificates", &|_| json!("/etc/certs/ca.pem")),
                ("caCrl", &|_| json!("/etc/certs/crl.pem")),
                ("insecureSkipVerify", &|dice| json!(dice.once_in(2))),
            ],
        );
    }
    tls
}
