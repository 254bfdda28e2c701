//! Nodes as agents send them, and as nobody should.

use super::*;
use prost_types::Value;

fn string(text: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    }
}

fn object(fields: &[(&str, Value)]) -> Struct {
    Struct {
        fields: fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    }
}

fn node(id: &str, fields: &[(&str, Value)]) -> envoy::Node {
    envoy::Node {
        id: id.to_owned(),
        metadata: Some(object(fields)),
        ..Default::default()
    }
}

const ID: &str = "sidecar~198.18.0.7~cart-1.shop~shop.svc.cluster.local";

fn caller(namespace: &str, service_account: &str) -> Caller {
    Caller {
        namespace: namespace.parse().unwrap(),
        service_account: service_account.parse().unwrap(),
        pod: None,
    }
}

#[test]
fn a_node_of_istios_agent_is_understood() {
    let labels = Value {
        kind: Some(Kind::StructValue(object(&[("app", string("cart"))]))),
    };
    let node = node(
        ID,
        &[
            ("NAMESPACE", string("shop")),
            ("SERVICE_ACCOUNT", string("cart")),
            ("LABELS", labels),
            ("INSTANCE_IPS", string("198.18.0.7,fd00::7")),
            ("ISTIO_VERSION", string("1.32.0")),
        ],
    );
    let node = Node::parse(&node).unwrap();
    let info = node.of_caller(&caller("shop", "cart")).unwrap();
    assert_eq!(
        (
            info.namespace.as_str(),
            info.name.as_str(),
            info.service_account.as_str()
        ),
        ("shop", "cart-1", "cart")
    );
    assert_eq!(info.labels.get("app"), Some("cart"));
    assert_eq!(info.addresses.len(), 2);
    assert_eq!(
        (node.proxy_id().as_str(), node.version.as_str()),
        ("cart-1.shop", "1.32.0")
    );
}

#[test]
fn sec_01_no_node_crashes_anything() {
    assert_eq!(
        Node::parse(&envoy::Node::default()),
        Err(InvalidNode::Missing)
    );
    let dots = ".".repeat(70_000);
    let ids = [
        "",
        "~",
        "~~~",
        "sidecar",
        "sidecar~~~",
        "sidecar~~~~",
        "sidecar~1.2.3.4~cart~d",
        "sidecar~1.2.3.4~.~d",
        "sidecar~1.2.3.4~cart.~d",
        "sidecar~1.2.3.4~.shop~d",
        "sidecar~x~cart.shop~d",
        "sidecar~1.2.3.4~CART.shop~d",
        "sidecar~1.2.3.4~cart.shop~d~e",
        "router~1.2.3.4~cart.shop~d",
        "\u{0}~\u{0}~\u{0}~\u{0}",
        &dots,
    ];
    for id in ids {
        assert!(Node::parse(&node(id, &[])).is_err(), "{id}");
    }
    let null = Value {
        kind: Some(Kind::NullValue(0)),
    };
    let number = Value {
        kind: Some(Kind::NumberValue(1.0)),
    };
    assert!(
        Node::parse(&node(
            ID,
            &[("NAMESPACE", null), ("LABELS", number.clone())]
        ))
        .is_ok()
    );
    let many: Vec<(String, Value)> = (0..2000).map(|n| (n.to_string(), string(""))).collect();
    let many = Value {
        kind: Some(Kind::StructValue(Struct {
            fields: many.into_iter().collect(),
        })),
    };
    let bad = [
        ("NAMESPACE", string("Shop")),
        ("NAMESPACE", number),
        ("SERVICE_ACCOUNT", string("a/b")),
        ("INSTANCE_IPS", string("1.2.3.4,")),
        ("INSTANCE_IPS", string(&["1.2.3.4"; 100].join(","))),
        ("LABELS", many),
        ("ANNOTATIONS", string(&"x".repeat(4 << 20))),
    ];
    for (name, value) in bad {
        assert!(Node::parse(&node(ID, &[(name, value)])).is_err(), "{name}");
    }
}

#[test]
fn sec_37_a_node_is_whom_its_credentials_prove() {
    let parse = |fields: &[(&str, Value)]| Node::parse(&node(ID, fields)).unwrap();
    let silent = parse(&[]);
    assert_eq!(
        silent
            .of_caller(&caller("shop", "cart"))
            .unwrap()
            .service_account
            .as_str(),
        "cart"
    );
    assert!(matches!(
        silent.of_caller(&caller("other", "cart")),
        Err(NotYours::Namespace { .. })
    ));
    let elsewhere = parse(&[("NAMESPACE", string("other"))]);
    for namespace in ["shop", "other"] {
        assert!(matches!(
            elsewhere.of_caller(&caller(namespace, "cart")),
            Err(NotYours::Namespace { .. })
        ));
    }
    let stated = parse(&[("SERVICE_ACCOUNT", string("cart"))]);
    assert!(matches!(
        stated.of_caller(&caller("shop", "web")),
        Err(NotYours::ServiceAccount { .. })
    ));
    assert!(stated.of_caller(&caller("shop", "cart")).is_ok());
}

#[test]
fn an_envoy_that_is_too_old_is_told_what_to_run() {
    let of = |major, minor| {
        let version = envoy_api::envoy::r#type::v3::SemanticVersion {
            major_number: major,
            minor_number: minor,
            patch: 3,
        };
        let build = envoy::BuildVersion {
            version: Some(version),
            metadata: None,
        };
        Node::parse(&envoy::Node {
            user_agent_name: "envoy".to_owned(),
            user_agent_version_type: Some(
                envoy::node::UserAgentVersionType::UserAgentBuildVersion(build),
            ),
            ..node(ID, &[])
        })
    };
    assert_eq!(of(1, 38).unwrap().envoy, EnvoyMinor::V1_38);
    assert_eq!(of(1, 41).unwrap().envoy, EnvoyMinor::NEWEST);
    assert_eq!(
        of(1, 37).unwrap_err().to_string(),
        "Envoy 1.37 is not served: run 1.38 or newer in the proxy"
    );
    assert_eq!(
        Node::parse(&node(ID, &[])).unwrap().envoy,
        EnvoyMinor::NEWEST
    );
}
