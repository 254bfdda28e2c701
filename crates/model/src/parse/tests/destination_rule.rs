//! DestinationRule.

use std::time::Duration;

use super::*;
use crate::{ClientTls, DestinationRule, LoadBalancer, LoadBalancing};

/// Checks a rule for host `a`; the fields are those of `spec.trafficPolicy`.
#[track_caller]
fn check_policy(policy: Value, outcome: &str, expected: &[&str]) -> Option<Arc<DestinationRule>> {
    let full: Vec<String> = expected
        .iter()
        .map(|line| {
            line.rsplit_once(' ')
                .map(|(head, field)| format!("{head} spec.trafficPolicy.{field}"))
                .unwrap()
        })
        .collect();
    let full: Vec<&str> = full.iter().map(String::as_str).collect();
    let spec = json!({"host": "a", "trafficPolicy": policy});
    match check("DestinationRule", spec, outcome, &full) {
        Parsed::Object(Object {
            spec: Spec::DestinationRule(spec),
            ..
        }) => Some(spec),
        _ => None,
    }
}

#[test]
fn host_and_subsets() {
    let spec = json!({"host": "a", "subsets": [{"name": "v1", "labels": {"version": "v1"}}], "workloadSelector": {"matchLabels": {"app": "b"}}});
    let Spec::DestinationRule(rule) = good("DestinationRule", spec).spec else {
        panic!()
    };
    assert_eq!(rule.host.to_string(), "a.shop.svc.cluster.local");
    assert_eq!(rule.subsets[0].labels.get("version"), Some("v1"));
    assert!(rule.workload_selector.is_some());
    let dr = |spec, outcome, expected: &[&str]| check("DestinationRule", spec, outcome, expected);
    dr(json!({}), "refused", &["error IST0106 spec.host"]);
    dr(
        json!({"host": "a", "subsets": [{"name": "v", "labels": {"a": "b"}}, {"name": "v", "labels": {"a": "c"}}]}),
        "applied",
        &["error IST0106 spec.subsets[1].name"],
    );
    dr(
        json!({"host": "a", "subsets": [{"labels": {"a": "b"}}]}),
        "refused",
        &["error IST0106 spec.subsets[0].name"],
    );
    dr(
        json!({"host": "a", "subsets": [{"name": "v"}]}),
        "applied",
        &["warning IST0133 spec.subsets[0].labels"],
    );
    dr(
        json!({"host": "a", "subsets": [{"name": "v", "labels": {"a": "*"}}]}),
        "refused",
        &["error IST0106 spec.subsets[0].labels.a"],
    );
    dr(
        json!({"host": "a", "workloadSelector": {}}),
        "applied",
        &["warning IST0133 spec.workloadSelector"],
    );
}

#[test]
fn policies_are_read_whole() {
    let policy = json!({
        "loadBalancer": {"simple": "ROUND_ROBIN"},
        "connectionPool": {
            "tcp": {"maxConnections": 0, "connectTimeout": "5s", "tcpKeepalive": {"probes": 3, "time": "10s", "interval": "1s"}},
            "http": {"http1MaxPendingRequests": 7, "h2UpgradePolicy": "UPGRADE", "http2KeepAlive": {"interval": "1s", "timeout": "2s"}},
        },
        "outlierDetection": {"consecutive5xxErrors": 0, "maxEjectionPercent": 50},
        "portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "SIMPLE", "sni": "a.com"}}],
    });
    let rule = check_policy(policy, "applied", &[]).unwrap();
    let default = &rule.policy.default;
    let pool = default.connection_pool.as_ref().unwrap();
    assert_eq!(
        default.load_balancer,
        Some(LoadBalancing {
            policy: LoadBalancer::RoundRobin,
            ..LoadBalancing::default()
        })
    );
    assert_eq!(
        (
            pool.max_connections,
            pool.http1_max_pending_requests,
            pool.h2_upgrade
        ),
        (None, Some(7), Some(true))
    );
    assert_eq!(
        pool.http2_keepalive,
        Some((Duration::from_secs(1), Duration::from_secs(2)))
    );
    assert_eq!(
        default.outlier_detection.as_ref().unwrap().consecutive_5xx,
        Some(0)
    );
    let port = rule
        .policy
        .ports
        .get(&crate::Port::new(80).unwrap())
        .unwrap();
    assert!(matches!(port.tls, Some(ClientTls::Simple(_))) && port.load_balancer.is_none());
}

#[test]
fn ranges_and_exclusions() {
    for (policy, field) in [
        (
            json!({"connectionPool": {"tcp": {"maxConnections": -1}}}),
            "connectionPool.tcp.maxConnections",
        ),
        (
            json!({"connectionPool": {"tcp": {"connectTimeout": "0s"}}}),
            "connectionPool.tcp.connectTimeout",
        ),
        (
            json!({"connectionPool": {"http": {"maxRetries": 4294967296_i64}}}),
            "connectionPool.http.maxRetries",
        ),
        (
            json!({"connectionPool": {"http": {"http2KeepAlive": {"interval": "1s"}}}}),
            "connectionPool.http.http2KeepAlive.timeout",
        ),
        (
            json!({"connectionPool": {"http": {"h2UpgradePolicy": "UPGRADE", "useClientProtocol": true}}}),
            "connectionPool.http.h2UpgradePolicy",
        ),
        (
            json!({"outlierDetection": {"maxEjectionPercent": 101}}),
            "outlierDetection.maxEjectionPercent",
        ),
        (
            json!({"outlierDetection": {"minHealthPercent": -1}}),
            "outlierDetection.minHealthPercent",
        ),
        (
            json!({"outlierDetection": {"interval": "x"}}),
            "outlierDetection.interval",
        ),
        (
            json!({"portLevelSettings": [{}]}),
            "portLevelSettings[0].port.number",
        ),
        (
            json!({"loadBalancer": {"simple": "BEST"}}),
            "loadBalancer.simple",
        ),
        (
            json!({"outlierDetection": {"consecutiveLocalOriginFailures": 1}}),
            "outlierDetection.consecutiveLocalOriginFailures",
        ),
        (
            json!({"outlierDetection": {"outlierDetectionHttpErrorCodes": [500, 600]}}),
            "outlierDetection.outlierDetectionHttpErrorCodes[1]",
        ),
        (
            json!({"tunnel": {"targetHost": "a.com", "targetPort": 443, "protocol": "GET"}}),
            "tunnel.protocol",
        ),
        (
            json!({"tunnel": {"targetHost": "a.com"}}),
            "tunnel.targetPort",
        ),
        (
            json!({"retryBudget": {"percent": 101}}),
            "retryBudget.percent",
        ),
        (
            json!({"tls": {"mode": "SIMPLE", "credentialName": "a", "caCrl": "/a"}}),
            "tls.credentialName",
        ),
        (
            json!({"tls": {"mode": "MUTUAL", "clientCertificate": "/a"}}),
            "tls.privateKey",
        ),
        (
            json!({"tls": {"mode": "ISTIO_MUTUAL", "privateKey": "/a"}}),
            "tls.privateKey",
        ),
        (
            json!({"tls": {"mode": "SIMPLE", "insecureSkipVerify": true, "subjectAltNames": ["a"]}}),
            "tls.insecureSkipVerify",
        ),
    ] {
        check_policy(
            policy,
            "refused",
            &[format!("error IST0106 {field}").as_str()],
        );
    }
}

#[test]
fn load_balancers() {
    let refused = |policy, field: &str| {
        check_policy(
            policy,
            "refused",
            &[format!("error IST0106 {field}").as_str()],
        );
    };
    let hash = |hash: Value| json!({"loadBalancer": {"consistentHash": hash}});
    refused(
        hash(json!({"httpCookie": {"ttl": "0s"}})),
        "loadBalancer.consistentHash.httpCookie.name",
    );
    refused(
        hash(json!({"httpHeaderName": "x", "useSourceIp": true})),
        "loadBalancer.consistentHash",
    );
    for size in [
        json!({}),
        json!({"tableSize": 10}),
        json!({"tableSize": 5000011}),
    ] {
        refused(
            hash(json!({"useSourceIp": true, "maglev": size})),
            "loadBalancer.consistentHash.maglev.tableSize",
        );
    }
    check_policy(
        hash(json!({"useSourceIp": true, "minimumRingSize": 4})),
        "applied",
        &["warning IST0002 loadBalancer.consistentHash.minimumRingSize"],
    );
    check_policy(
        hash(json!({"ringHash": {}})),
        "applied",
        &["warning IST0133 loadBalancer.consistentHash"],
    );
    refused(
        json!({"loadBalancer": {"warmup": {"aggression": 2}}}),
        "loadBalancer.warmup.duration",
    );
    refused(
        json!({"loadBalancer": {"warmup": {"duration": "1s", "aggression": 0.5}}}),
        "loadBalancer.warmup.aggression",
    );
    check_policy(
        json!({"loadBalancer": {"simple": "RANDOM", "warmup": {"duration": "1s"}}}),
        "applied",
        &["warning IST0133 loadBalancer.warmup"],
    );
}

#[test]
fn localities() {
    let policy = |setting: Value| json!({"loadBalancer": {"localityLbSetting": setting}, "outlierDetection": {"interval": "1s"}});
    let refused = |setting, field: &str| {
        let line = format!("error IST0106 loadBalancer.localityLbSetting.{field}");
        check_policy(policy(setting), "refused", &[line.as_str()]);
    };
    let distribute = |from: &str, to: Value| json!({"distribute": [{"from": from, "to": to}]});
    refused(distribute("*/a", json!({"eu": 100})), "distribute[0].from");
    refused(
        distribute("eu", json!({"eu": 60, "us": 30})),
        "distribute[0].to",
    );
    refused(
        distribute("eu", json!({"eu": 50, "eu/a": 50})),
        "distribute[0].to.eu/a",
    );
    refused(
        json!({"failover": [{"from": "eu", "to": "us/a"}]}),
        "failover[0].to",
    );
    refused(
        json!({"failover": [{"from": "eu", "to": "eu"}]}),
        "failover[0].to",
    );
    refused(
        json!({"failover": [{"from": "eu", "to": "us"}], "failoverPriority": ["topology.kubernetes.io/zone"]}),
        "failoverPriority",
    );
    refused(
        json!({"failover": [{"from": "eu", "to": "us"}], "distribute": [{"from": "eu", "to": {"us": 100}}]}),
        "distribute",
    );
    let good = json!({"distribute": [{"from": "eu/a/*", "to": {"eu/a/*": 80, "us": 20}}]});
    check_policy(policy(good), "applied", &[]);
    check_policy(
        json!({"loadBalancer": {"localityLbSetting": {"failoverPriority": ["zone=a"]}}}),
        "applied",
        &["warning IST0133 loadBalancer.localityLbSetting.failoverPriority"],
    );
}

#[test]
fn what_says_nothing_is_an_error() {
    for (policy, field) in [
        (json!({"connectionPool": {}}), "connectionPool"),
        (
            json!({"portLevelSettings": [{"port": {"number": 80}}]}),
            "portLevelSettings[0]",
        ),
    ] {
        check_policy(
            policy,
            "applied",
            &[format!("error IST0106 {field}").as_str()],
        );
    }
}

#[test]
fn what_has_no_effect() {
    for (policy, warning) in [
        (
            json!({"tls": {"mode": "MUTUAL", "credentialName": "a"}}),
            "IST0133 tls.credentialName",
        ),
        (
            json!({"loadBalancer": {"simple": "LEAST_CONN"}}),
            "IST0002 loadBalancer.simple",
        ),
        (
            json!({"outlierDetection": {"consecutiveErrors": 1}}),
            "IST0002 outlierDetection.consecutiveErrors",
        ),
        (
            json!({"retryBudget": {"percent": 10}, "connectionPool": {"http": {"maxRetries": 1}}}),
            "IST0133 retryBudget",
        ),
    ] {
        check_policy(policy, "applied", &[format!("warning {warning}").as_str()]);
    }
}
