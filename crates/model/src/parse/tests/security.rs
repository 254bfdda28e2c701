//! PeerAuthentication and AuthorizationPolicy: broken conditions close, and a refusal knows for whom it was meant.

use super::*;
use crate::{AuthorizationPolicy, Condition, MtlsMode, Port};

fn policy(parsed: Parsed) -> Arc<AuthorizationPolicy> {
    match parsed {
        Parsed::Object(Object {
            spec: Spec::AuthorizationPolicy(spec),
            ..
        }) => spec,
        other => panic!("{other:?}"),
    }
}

#[test]
fn peer_authentication() {
    let pa =
        |spec, outcome, expected: &[&str]| check("PeerAuthentication", spec, outcome, expected);
    let selector = json!({"matchLabels": {"app": "a"}});
    let spec = json!({"selector": selector, "mtls": {"mode": "STRICT"}, "portLevelMtls": {"80": {"mode": "DISABLE"}, "81": {}}});
    let Spec::PeerAuthentication(read) = good("PeerAuthentication", spec).spec else {
        panic!()
    };
    assert_eq!(read.mode, Some(MtlsMode::Strict));
    let ports: Vec<_> = read.ports.values().copied().collect();
    assert_eq!(ports, [Some(MtlsMode::Disable), None]);
    pa(
        json!({"portLevelMtls": {"80": {}}}),
        "refused",
        &["error IST0106 spec.portLevelMtls"],
    );
    let refused = pa(
        json!({"selector": selector, "portLevelMtls": {"http": {}}}),
        "refused",
        &["error IST0106 spec.portLevelMtls.http"],
    );
    assert!(matches!(scope(refused), Some(RefusedScope::Workloads(_))));
    let misspelt = pa(
        json!({"mtls": {"modes": "STRICT"}}),
        "refused",
        &[
            "error IST0106 spec.mtls.mode",
            "error LAT0002 spec.mtls.modes",
        ],
    );
    assert_eq!(scope(misspelt), Some(RefusedScope::Namespace));
    let unreadable = pa(
        json!({"selector": {"matchLabels": {"app": 1}}, "mtls": {"mode": "X"}}),
        "refused",
        &[
            "error IST0106 spec.mtls.mode",
            "error IST0106 spec.selector.matchLabels.app",
        ],
    );
    assert_eq!(scope(unreadable), None);
    assert_eq!(
        scope(pa(json!("x"), "refused", &["error IST0106 spec"])),
        None
    );
}

#[test]
fn a_policy_is_read_whole() {
    let spec = json!({
        "selector": {"matchLabels": {"app": "a"}}, "action": "DENY",
        "rules": [{
            "from": [{"source": {"principals": ["cluster.local/ns/b/sa/*"], "notNamespaces": ["c"]}},
                     {"source": {"serviceAccounts": ["x", "b/y"]}}],
            "to": [{"operation": {"paths": ["/a*"], "methods": ["GET"], "ports": ["80"], "notPorts": ["81"]}}],
        }],
    });
    let Spec::AuthorizationPolicy(read) = good("AuthorizationPolicy", spec).spec else {
        panic!()
    };
    let rule = &read.rules[0];
    assert_eq!(
        rule.from[0].principals.any[0],
        crate::StringPattern::Prefix("cluster.local/ns/b/sa/".into())
    );
    let accounts: Vec<String> = rule.from[1]
        .service_accounts
        .any
        .iter()
        .map(|a| format!("{}/{}", a.namespace, a.account))
        .collect();
    assert_eq!(accounts, ["shop/x", "b/y"]);
    assert_eq!(&*rule.to[0].ports.any, &[Port::new(80).unwrap()]);
    assert!(!rule.unknown && !rule.from[0].unknown && !rule.to[0].unknown);
    good("AuthorizationPolicy", json!({}));
    good("AuthorizationPolicy", json!({"rules": [{}]}));
}

#[test]
fn a_policy_that_cannot_be_right_is_refused() {
    let ap =
        |spec, outcome, expected: &[&str]| check("AuthorizationPolicy", spec, outcome, expected);
    let both = json!({"selector": {"matchLabels": {"a": "b"}}, "targetRef": {"kind": "Service", "name": "g"}});
    let refused = ap(
        both,
        "refused",
        &[
            "error IST0106 spec.selector",
            "warning LAT0009 spec.targetRef",
        ],
    );
    assert_eq!(scope(refused), None);
    let custom = json!({"action": "CUSTOM", "rules": [{}]});
    assert_eq!(
        scope(ap(custom, "refused", &["error IST0106 spec.provider.name"])),
        Some(RefusedScope::Namespace)
    );
    ap(
        json!({"provider": {"name": "x"}}),
        "refused",
        &["error IST0106 spec.provider"],
    );
    ap(
        json!({"action": "CUSTOM", "provider": {"name": "x"}, "rules": [{}]}),
        "applied",
        &[],
    );
    let who = json!({"from": [{"source": {"principals": ["a"]}}], "when": [{"key": "source.namespace", "values": ["a"]}]});
    ap(
        json!({"action": "CUSTOM", "provider": {"name": "x"}, "rules": [who]}),
        "applied",
        &[
            "error IST0106 spec.rules[0].from[0].source.principals",
            "error IST0106 spec.rules[0].when[0].key",
        ],
    );
    ap(
        json!({"action": "DENY"}),
        "applied",
        &["error IST0106 spec.rules"],
    );
    let only_http =
        json!({"action": "DENY", "rules": [{"to": [{"operation": {"methods": ["GET"]}}]}]});
    ap(only_http, "applied", &["warning IST0133 spec.rules[0]"]);
    let rule = |rule: Value, field: &str| {
        let line = format!("error IST0106 spec.rules[0].{field}");
        ap(json!({"rules": [rule]}), "refused", &[line.as_str()]);
    };
    rule(json!({"from": [{}]}), "from[0].source");
    rule(json!({"from": [{"source": {}}]}), "from[0].source");
    rule(
        json!({"from": [{"source": {"namespaces": [""]}}]}),
        "from[0].source.namespaces[0]",
    );
    rule(
        json!({"from": [{"source": {"serviceAccounts": ["a/*"]}}]}),
        "from[0].source.serviceAccounts[0]",
    );
    rule(
        json!({"from": [{"source": {"serviceAccounts": ["a"], "namespaces": ["b"]}}]}),
        "from[0].source.serviceAccounts",
    );
    rule(json!({"to": [{"operation": {}}]}), "to[0].operation");
    rule(
        json!({"to": [{"operation": {"ports": ["http"]}}]}),
        "to[0].operation.ports[0]",
    );
}

#[test]
fn conditions_that_are_not_understood_are_flagged() {
    let rules = |rule: Value, expected: &[&str]| {
        let full: Vec<String> = expected
            .iter()
            .map(|line| {
                line.rsplit_once(' ')
                    .map(|(head, field)| format!("{head} spec.rules[0].{field}"))
                    .unwrap()
            })
            .collect();
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        policy(check(
            "AuthorizationPolicy",
            json!({"rules": [rule]}),
            "applied",
            &full,
        ))
        .rules[0]
            .clone()
    };
    // A misspelt field is dropped, but what is left must not allow more.
    let misspelt = json!({"to": [{"operation": {"path": ["/a"], "methods": ["GET"]}}]});
    let rule = rules(misspelt, &["error LAT0002 to[0].operation.path"]);
    assert!(rule.to[0].unknown && !rule.unknown);
    let rule = rules(
        json!({"form": [], "to": [{"operation": {"methods": ["GET"]}}]}),
        &["error LAT0002 form"],
    );
    assert!(rule.unknown && !rule.to[0].unknown);
    let star = json!({"from": [{"source": {"principals": ["*a*", "spiffe://a/ns/b/sa/c"]}}]});
    rules(
        star,
        &[
            "warning IST0133 from[0].source.principals[0]",
            "warning IST0133 from[0].source.principals[1]",
        ],
    );
    let token = json!({"from": [{"source": {"requestPrincipals": ["*"]}}]});
    let rule = rules(token, &["warning LAT0009 from[0].source.requestPrincipals"]);
    assert!(!rule.from[0].unknown && !rule.unknown);
}

#[test]
fn conditions_of_when_are_read() {
    let spec = json!({"rules": [{"when": [
        {"key": "request.headers[X-Token]", "values": ["a*"], "notValues": ["ab"]},
        {"key": "source.ip", "values": ["10.0.0.1", "10.0.0.0/8"]},
        {"key": "destination.port", "values": ["80"]},
        {"key": "experimental.envoy.filters.network.mongo_proxy[db.t]", "values": ["[find]"]},
    ]}]});
    let read = policy(check("AuthorizationPolicy", spec, "applied", &[]));
    let [header, ip, port, metadata] = &*read.rules[0].when else {
        panic!("{read:?}");
    };
    let Condition::Header(name, values) = header else {
        panic!("{header:?}");
    };
    assert_eq!((&**name, values.none.len()), ("x-token", 1));
    let Condition::SourceIp(blocks) = ip else {
        panic!("{ip:?}");
    };
    assert_eq!(blocks.any[0].to_string(), "10.0.0.1/32");
    assert!(matches!(port, Condition::DestinationPort(_)));
    let Condition::Metadata { filter, key, .. } = metadata else {
        panic!("{metadata:?}");
    };
    assert_eq!(
        (&**filter, &**key),
        ("envoy.filters.network.mongo_proxy", "db.t")
    );
}

#[test]
fn conditions_of_when_are_checked() {
    let when = |condition: Value, field: &str| {
        let line = format!("error IST0106 spec.rules[0].when[0].{field}");
        let spec = json!({"rules": [{"when": [condition]}]});
        check("AuthorizationPolicy", spec, "refused", &[line.as_str()]);
    };
    when(json!({"values": ["a"]}), "key");
    when(json!({"key": "request.body", "values": ["a"]}), "key");
    when(json!({"key": "request.headers", "values": ["a"]}), "key");
    when(json!({"key": "request.headers[]", "values": ["a"]}), "key");
    when(
        json!({"key": "request.headers[a b]", "values": ["a"]}),
        "key",
    );
    when(
        json!({"key": "request.auth.claims[a][]", "values": ["a"]}),
        "key",
    );
    when(json!({"key": "destination.user", "values": ["a"]}), "key");
    when(json!({"key": "source.ip"}), "values");
    when(json!({"key": "source.ip", "values": ["a"]}), "values[0]");
    when(
        json!({"key": "destination.port", "notValues": ["65536"]}),
        "notValues[0]",
    );
    when(
        json!({"key": "source.namespace", "values": [""]}),
        "values[0]",
    );
}

#[test]
fn path_templates_that_envoy_would_die_of_are_refused() {
    for (path, good) in [
        ("/users/{*}", true),
        ("/users/{*}/orders/{**}", true),
        ("/{**}", true),
        ("/{**}/tail", true),
        ("/a/{*}.html", true),
        ("/{*}/", true),
        ("users/{*}", false),
        ("/users/{id}/{*}", false),
        ("/{}/{*}", false),
        ("/*/{*}", false),
        ("/{**}/{*}", false),
        ("/{**}/{**}", false),
        ("/{*}{*}", false),
        ("/a{**}", false),
        ("//{*}", false),
        ("/a b/{*}", false),
        ("/a?b={*}", false),
    ] {
        let spec = json!({"rules": [{"to": [{"operation": {"notPaths": ["/a", path]}}]}]});
        if good {
            self::good("AuthorizationPolicy", spec);
        } else {
            let line = "error IST0106 spec.rules[0].to[0].operation.notPaths[1]";
            check("AuthorizationPolicy", spec, "refused", &[line]);
        }
    }
}

#[test]
fn a_policy_that_is_attached_to_an_object_guards_no_sidecar() {
    let attached = |reference: Value, outcome, expected: &[&str]| {
        let spec = json!({"targetRefs": [reference], "rules": [{}]});
        check("AuthorizationPolicy", spec, outcome, expected);
    };
    let said = "warning LAT0009 spec.targetRefs";
    let gateway = "gateway.networking.k8s.io";
    attached(
        json!({"kind": "Gateway", "group": gateway, "name": "a"}),
        "applied",
        &[said],
    );
    attached(
        json!({"kind": "Gateway", "group": gateway}),
        "refused",
        &["error IST0106 spec.targetRefs[0].name", said],
    );
    attached(
        json!({"kind": "Pod", "name": "a"}),
        "refused",
        &["error IST0106 spec.targetRefs[0].kind", said],
    );
    attached(
        json!({"kind": "Service", "name": "a", "namespace": "b"}),
        "refused",
        &["error IST0106 spec.targetRefs[0].namespace", said],
    );
}

#[test]
fn a_misspelt_field_is_not_taken_for_an_absent_one() {
    let labels = json!({"matchLabels": {"a": "b"}});
    for (kind, spec, wrong, right) in [
        (
            "AuthorizationPolicy",
            json!({"actoin": "DENY", "rules": [{}]}),
            "actoin",
            "action",
        ),
        (
            "AuthorizationPolicy",
            json!({"action": "DENY", "rule": [{}]}),
            "rule",
            "rules",
        ),
        (
            "AuthorizationPolicy",
            json!({"selecter": labels, "rules": [{}]}),
            "selecter",
            "selector",
        ),
        (
            "AuthorizationPolicy",
            json!({"selector": {"matchLabel": {}}}),
            "selector.matchLabel",
            "selector.matchLabels",
        ),
        (
            "PeerAuthentication",
            json!({"mtsl": {"mode": "STRICT"}}),
            "mtsl",
            "mtls",
        ),
        (
            "PeerAuthentication",
            json!({"selectors": labels}),
            "selectors",
            "selector",
        ),
    ] {
        let lines = [
            format!("error IST0106 spec.{right}"),
            format!("error LAT0002 spec.{wrong}"),
        ];
        let warned = (right == "selector.matchLabels").then_some("warning IST0133 spec.selector");
        let warned = warned.or((right == "rules").then_some("error IST0106 spec.rules"));
        let lines: Vec<&str> = lines.iter().map(String::as_str).chain(warned).collect();
        let scope = scope(check(kind, spec, "refused", &lines));
        assert_eq!(scope.is_none(), right.starts_with("selector"), "{right}");
    }
    check(
        "AuthorizationPolicy",
        json!({"description": "x", "rules": [{}]}),
        "applied",
        &["error LAT0002 spec.description"],
    );
}
