//! Objects as users write them: read and written back unchanged, in camelCase and in snake_case.

use istio_api::{
    AuthorizationPolicy, KINDS, MeshConfig, OutboundTrafficPolicyMode, PeerAuthentication,
    VirtualService, mesh_config,
};
use serde_json::{Value, from_value, json};

use crate::schema::{kinds, snake};

fn virtual_service() -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "reviews", "namespace": "shop", "labels": {"team_name": "books"}},
        "spec": {
            "hosts": ["reviews"],
            "exportTo": ["."],
            "http": [{
                "name": "canary",
                "match": [{
                    "uri": {"prefix": "/v2"},
                    "headers": {"x_user": {"exact": "jason"}, "x-canary": {}},
                    "withoutHeaders": {"x-bot": {}},
                    "queryParams": {"debugMode": {}, "q": {"regex": "[0-9]+"}},
                    "ignoreUriCase": true,
                    "sourceLabels": {"app_name": "web"},
                }],
                "route": [
                    {"destination": {"host": "reviews", "subset": "v1"}, "weight": 90},
                    {"destination": {"host": "reviews", "subset": "v2", "port": {"number": 9080}},
                     "weight": 10,
                     "headers": {"response": {"set": {"x_version": "v2"}}}},
                ],
                "mirror": {"host": "shadow"},
                "mirrorPercentage": {"value": 0.5},
                "timeout": "1.5s",
                "retries": {"attempts": 0, "perTryTimeout": "250ms", "retryOn": "5xx,503"},
                "fault": {"abort": {"httpStatus": 503, "percentage": {"value": 1.0}}},
                "corsPolicy": {"allowOrigins": [{"exact": "https://a.example"}], "maxAge": "24h"},
            }],
            "tls": [{
                "match": [{"sniHosts": ["reviews"], "port": 443}],
                "route": [{"destination": {"host": "reviews"}}],
            }],
        },
    })
}

fn destination_rule() -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "DestinationRule",
        "metadata": {"name": "reviews", "annotations": {"a/b_c": "d"}},
        "spec": {
            "host": "reviews.shop.svc.cluster.local",
            "trafficPolicy": {
                "connectionPool": {
                    "tcp": {"maxConnections": 100, "tcpKeepalive": {"time": "7200s"}},
                    "http": {"http1MaxPendingRequests": 1, "h2UpgradePolicy": "UPGRADE"},
                },
                "loadBalancer": {
                    "consistentHash": {"httpCookie": {"name": "user", "ttl": "0s"}},
                    "localityLbSetting": {
                        "distribute": [{"from": "us/*", "to": {"us/z_1/*": 80, "eu/*": 20}}],
                    },
                },
                "outlierDetection": {"consecutive5xxErrors": 7, "baseEjectionTime": "15m"},
                "portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "ISTIO_MUTUAL"}}],
            },
            "subsets": [
                {"name": "v1", "labels": {"version": "v1"}},
                {"name": "v2", "labels": {"version": "v2"},
                 "trafficPolicy": {"loadBalancer": {"simple": "ROUND_ROBIN"}}},
            ],
            "workloadSelector": {"matchLabels": {"app_name": "web"}},
        },
    })
}

fn security() -> [Value; 2] {
    let peer_authentication = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": "cart"}},
            "mtls": {"mode": "STRICT"},
            "portLevelMtls": {"8080": {"mode": "DISABLE"}},
        },
    });
    let authorization_policy = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {
            "action": "DENY",
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"}],
            "rules": [{
                "from": [{"source": {
                    "notPrincipals": ["cluster.local/ns/shop/sa/web"],
                    "remoteIpBlocks": ["10.0.0.0/8"],
                }}],
                "to": [{"operation": {"methods": ["GET"], "notPaths": ["/healthz"]}}],
                "when": [{"key": "request.headers[x_token]", "notValues": ["secret"]}],
            }],
        },
    });
    [peer_authentication, authorization_policy]
}

fn workloads() -> [Value; 2] {
    let service_entry = json!({
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "ServiceEntry",
        "metadata": {"name": "db", "namespace": "shop", "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {
            "hosts": ["db.example.com"],
            "addresses": ["240.0.0.1"],
            "ports": [{"number": 5432, "name": "tcp-db", "protocol": "TCP", "targetPort": 15432}],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "endpoints": [{"address": "192.0.2.1", "ports": {"tcp-db": 6432}, "weight": 3}],
            "subjectAltNames": ["spiffe://cluster.local/ns/shop/sa/db"],
        },
    });
    let workload_entry = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {"name": "vm-1", "namespace": "shop"},
        "spec": {
            "address": "192.0.2.2",
            "labels": {"app_name": "db"},
            "locality": "us/a",
            "serviceAccount": "db",
        },
    });
    [service_entry, workload_entry]
}

#[test]
fn objects_come_back_as_they_were_in_either_spelling() {
    let mut objects = vec![virtual_service(), destination_rule()];
    objects.extend(security());
    objects.extend(workloads());
    for kind in kinds() {
        let object = objects.iter().find(|o| o["kind"] == kind.name).unwrap();
        assert_eq!(&(kind.rewrite)(object.clone()).unwrap(), object);
        let mut written = object.clone();
        written["spec"] = snake(&object["spec"], &kind.schema["properties"]["spec"]);
        assert_ne!(&written, object);
        assert_eq!(&(kind.rewrite)(written).unwrap(), object);
    }
}

#[test]
fn an_empty_match_is_present() {
    let object: VirtualService = from_value(virtual_service()).unwrap();
    let condition = &object.spec.http[0].r#match[0];
    assert_eq!(condition.headers["x-canary"], Default::default());
    assert_eq!(condition.query_params["debugMode"], Default::default());
    assert_eq!(condition.without_headers["x-bot"], Default::default());
}

#[test]
fn one_empty_rule_is_not_no_rule() {
    let read = |spec: Value| from_value::<AuthorizationPolicy>(json!({"spec": spec})).unwrap();
    assert_eq!(read(json!({})), read(json!({"rules": []})));
    assert_eq!(read(json!({"rules": [{}]})).spec.rules.len(), 1);
    assert_eq!(
        from_value::<AuthorizationPolicy>(json!({})).unwrap(),
        read(json!({}))
    );
}

#[test]
fn status_and_unknown_metadata_are_dropped_whatever_their_shape() {
    for status in [
        json!(null),
        json!("x"),
        json!([1, {"a": []}]),
        json!({"mtls": {"a": 1e300}}),
    ] {
        let object: PeerAuthentication = from_value(json!({
            "metadata": {"name": "a", "managedFields": [status.clone()], "labels": null},
            "status": status,
        }))
        .unwrap();
        assert_eq!(
            serde_json::to_value(object).unwrap(),
            json!({"metadata": {"name": "a"}})
        );
    }
}

#[test]
fn both_spellings_of_one_field_are_an_error() {
    let twice = json!({"spec": {"exportTo": ["."], "export_to": ["*"]}});
    assert!(from_value::<VirtualService>(twice).is_err());
    let two_fields = json!({"spec": {"http": [{"mirrorPercent": 1, "mirror_percent": 2}]}});
    let object: VirtualService = from_value(two_fields).unwrap();
    assert_eq!(object.spec.http[0].mirror_percent, Some(1));
    assert_eq!(object.spec.http[0].mirror_percent_snake, Some(2));
}

#[test]
fn mesh_config_tells_not_yet_from_unknown() {
    let config: MeshConfig = from_value(json!({
        "outbound_traffic_policy": {"mode": "REGISTRY_ONLY"},
        "accessLogEncoding": 1,
        "enableAutoMtls": false,
        "connectTimeout": "10s",
        "meshMTLS": {},
        "hbone_idle_timeout": "1h",
        "conectTimeout": "1s",
    }))
    .unwrap();
    let mode = config.outbound_traffic_policy.unwrap().mode;
    assert_eq!(mode, Some(OutboundTrafficPolicyMode::RegistryOnly));
    assert_eq!(config.enable_auto_mtls, Some(false));
    let unknown = config
        .rest
        .keys()
        .filter(|k| !mesh_config::KNOWN.contains(&k.as_str()));
    assert_eq!(unknown.collect::<Vec<_>>(), ["conectTimeout"]);
}

#[test]
fn kinds_are_unique_and_nodes_and_namespaces_are_in_none() {
    for (index, kind) in KINDS.iter().enumerate() {
        let is_alone = matches!(kind.kind, "Node" | "Namespace");
        assert_eq!(kind.namespaced, !is_alone);
        assert!(
            KINDS
                .iter()
                .skip(index + 1)
                .all(|other| other.kind != kind.kind)
        );
    }
    for kind in kinds() {
        let info = KINDS.iter().find(|info| info.kind == kind.name).unwrap();
        assert!(info.group.ends_with(".istio.io") && info.versions.contains(&"v1beta1"));
        assert_eq!(
            info.versions.contains(&"v1alpha3"),
            info.group.starts_with("networking")
        );
    }
}
