//! The generated checks refuse what Envoy's own field constraints refuse, and say where.

use std::collections::BTreeMap;

use envoy_api::envoy::config::cluster::v3::{Cluster, cluster};
use envoy_api::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_api::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use envoy_api::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use envoy_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_api::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use envoy_api::{Validate, pack, type_url, validate_any};
use prost::Message as _;

/// What is wrong with a message, as text; empty if nothing is.
fn violation(message: &impl Validate) -> String {
    message
        .validate()
        .err()
        .map(|violation| violation.to_string())
        .unwrap_or_default()
}

fn cluster() -> Cluster {
    Cluster {
        name: "outbound|80||a".to_owned(),
        connect_timeout: Some(prost_types::Duration {
            seconds: 1,
            nanos: 0,
        }),
        ..Cluster::default()
    }
}

fn host(domains: &[&str]) -> VirtualHost {
    VirtualHost {
        name: "a".to_owned(),
        domains: domains.iter().map(ToString::to_string).collect(),
        ..VirtualHost::default()
    }
}

/// A listener with one network filter that proxies to nothing if `cluster` is false.
fn listener(proxy: tcp::TcpProxy) -> Listener {
    let typed = filter::ConfigType::TypedConfig(pack(&proxy));
    let filter = Filter {
        name: "envoy.filters.network.tcp_proxy".to_owned(),
        config_type: Some(typed),
    };
    let chain = FilterChain {
        filters: vec![filter],
        ..FilterChain::default()
    };
    Listener {
        filter_chains: vec![chain],
        ..Listener::default()
    }
}

#[test]
fn numbers_and_durations() {
    assert_eq!(violation(&cluster()), "");
    let zero = Cluster {
        connect_timeout: Some(prost_types::Duration::default()),
        ..cluster()
    };
    assert_eq!(
        violation(&zero),
        "connect_timeout must be greater than (0, 0) as (seconds, nanoseconds)"
    );
    let unknown = Cluster {
        lb_policy: 99,
        ..cluster()
    };
    assert_eq!(violation(&unknown), "lb_policy must be a defined value");
    let removed = Cluster {
        lb_policy: 4,
        ..cluster()
    };
    assert!(violation(&removed).starts_with("lb_policy must"));
    let ring = cluster::RingHashLbConfig {
        maximum_ring_size: Some(8_388_609),
        ..Default::default()
    };
    let ring = Cluster {
        lb_config: Some(cluster::LbConfig::RingHashLbConfig(ring)),
        ..cluster()
    };
    assert_eq!(
        violation(&ring),
        "ring_hash_lb_config.maximum_ring_size must be at most 8388608"
    );
}

#[test]
fn text_lists_and_maps() {
    assert_eq!(
        violation(&Cluster {
            name: String::new(),
            ..cluster()
        }),
        "name must be at least 1 characters long"
    );
    let table = |hosts| RouteConfiguration {
        virtual_hosts: hosts,
        ..RouteConfiguration::default()
    };
    assert_eq!(violation(&table(vec![host(&["a"])])), "");
    assert_eq!(
        violation(&table(vec![host(&["a"]), host(&[])])),
        "virtual_hosts[1].domains must have at least 1 items"
    );
    assert_eq!(
        violation(&table(vec![host(&["a\n"])])),
        "virtual_hosts[0].domains[0] must not contain NUL, CR or LF"
    );

    let header = |key: &str, value: &str| HeaderValueOption {
        header: Some(HeaderValue {
            key: key.to_owned(),
            value: value.to_owned(),
            raw_value: Vec::new(),
        }),
        ..HeaderValueOption::default()
    };
    let with = |header| VirtualHost {
        request_headers_to_add: vec![header],
        ..host(&["a"])
    };
    assert_eq!(violation(&with(header("x-a", "b"))), "");
    assert_eq!(
        violation(&with(header("x-a", "b\r\n"))),
        "request_headers_to_add[0].header.value must not contain NUL, CR or LF"
    );
    assert_eq!(
        violation(&with(HeaderValueOption::default())),
        "request_headers_to_add[0].header is required"
    );
}

#[test]
fn packed_messages() {
    let specifier = Some(tcp::tcp_proxy::ClusterSpecifier::Cluster("a".to_owned()));
    let right = tcp::TcpProxy {
        stat_prefix: "a".to_owned(),
        cluster_specifier: specifier,
        ..Default::default()
    };
    assert_eq!(violation(&listener(right.clone())), "");
    let path = "filter_chains[0].filters[0].typed_config[type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy]";
    let wrong = tcp::TcpProxy {
        cluster_specifier: None,
        ..right.clone()
    };
    assert_eq!(
        violation(&listener(wrong)),
        format!("{path}.cluster_specifier is required")
    );
    let wrong = tcp::TcpProxy {
        stat_prefix: String::new(),
        ..right
    };
    assert_eq!(
        violation(&listener(wrong)),
        format!("{path}.stat_prefix must be at least 1 characters long")
    );

    let mut broken = pack(&cluster());
    broken.value = vec![0xff].into();
    assert!(
        validate_any(&broken)
            .unwrap_err()
            .text
            .starts_with("cannot be decoded")
    );
    let foreign = envoy_api::Any {
        type_url: "type.googleapis.com/istio.X".to_owned(),
        ..broken
    };
    assert_eq!(validate_any(&foreign), Ok(()));
}

/// Listener inside listener, ever deeper: refused, not followed.
#[test]
fn nesting_is_bounded() {
    let mut any = pack(&Listener::default());
    for _ in 0..1000 {
        let typed = filter::ConfigType::TypedConfig(any);
        let filter = Filter {
            name: "a".to_owned(),
            config_type: Some(typed),
        };
        let chain = FilterChain {
            filters: vec![filter],
            ..FilterChain::default()
        };
        any = pack(&Listener {
            filter_chains: vec![chain],
            ..Listener::default()
        });
    }
    assert_eq!(validate_any(&any).unwrap_err().text, "is packed too deep");
}

#[test]
fn names_and_json() {
    assert_eq!(pack(&cluster()).type_url, type_url::CLUSTER);
    assert_eq!(
        pack(&RouteConfiguration::default()).type_url,
        type_url::ROUTE_CONFIGURATION
    );
    assert_eq!(pack(&Listener::default()).type_url, type_url::LISTENER);
    let proxy = tcp::TcpProxy {
        stat_prefix: "a".to_owned(),
        ..Default::default()
    };
    let any = pack(&listener(proxy));
    let json = envoy_api::json::to_json(&any).unwrap();
    let typed = json
        .pointer("/filter_chains/0/filters/0/typed_config")
        .unwrap();
    assert_eq!(typed.get("stat_prefix").unwrap(), "a");
    assert_eq!(envoy_api::json::from_json(&json).unwrap(), any);
    assert!(
        envoy_api::json::from_json(&serde_json::json!({"@type": type_url::CLUSTER, "nme": "a"}))
            .is_err()
    );
}

#[test]
fn equal_messages_have_equal_bytes() {
    let metadata = |keys: [&str; 3]| {
        let fields: BTreeMap<_, _> = keys
            .map(|key| (key.to_owned(), prost_types::Struct::default()))
            .into();
        let metadata = envoy_api::envoy::config::core::v3::Metadata {
            filter_metadata: fields,
            ..Default::default()
        };
        Cluster {
            metadata: Some(metadata),
            ..cluster()
        }
        .encode_to_vec()
    };
    assert_eq!(metadata(["a", "b", "c"]), metadata(["c", "a", "b"]));
    let manager = hcm::HttpConnectionManager::default();
    assert!(manager.validate().is_err());
}
