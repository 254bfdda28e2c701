//! IPv4, IPv6 and dual-stack clients: what of a scope reads the families, and that nothing else does.

use ir::{Discovery, ListenerName, Node};
use mesh::{ClusterKey, EndpointsKey, Key, Scope, endpoints, endpoints_key};
use model::{EndpointAddress, Families};
use testkit::{pod, service, service_entry};

use crate::kit::{World, port_of};

fn world() -> World {
    let pod = |name: &str| pod(name).in_namespace("shop").labelled("app", "db");
    mesh![
        service("db")
            .in_namespace("shop")
            .port(80)
            .tcp_port(3306)
            .at("10.0.0.1")
            .at("fd00::1")
            .selecting("app", "db"),
        pod("a").at("10.1.0.1").at("fd00:1::1"),
        pod("b").at("10.1.0.2").at("fd00:1::2"),
        pod("c").at("fd00:1::3"),
        service_entry("api", "api.example.com")
            .resolution("DNS")
            .port("HTTP", 80),
    ]
}

fn scope(families: Families) -> Scope {
    Scope {
        families,
        ..Scope::of("shop".parse().unwrap())
    }
}

const ALL: [Families; 3] = [Families::V4, Families::V6, Families::Dual];

#[test]
fn clients_reach_endpoints_of_their_families_and_a_pod_of_both_once() {
    let world = world();
    let reached = |families| -> Vec<String> {
        let key = ClusterKey {
            host: "db.shop.svc.cluster.local".parse().unwrap(),
            port: port_of(80),
            subset: None,
        };
        let key: EndpointsKey = endpoints_key(&world.0, &scope(families), &key).unwrap();
        let found = endpoints(&world.0, &key, None);
        let all = found.localities.iter().flat_map(|l| l.endpoints.iter());
        all.map(|endpoint| match &endpoint.address {
            EndpointAddress::Ip(ip) => format!("{ip} {:?}", endpoint.more_addresses),
            other => panic!("{other:?}"),
        })
        .collect()
    };
    assert_eq!(reached(Families::V4), ["10.1.0.1 []", "10.1.0.2 []"]);
    assert_eq!(
        reached(Families::V6),
        ["fd00:1::1 []", "fd00:1::2 []", "fd00:1::3 []"]
    );
    assert_eq!(
        reached(Families::Dual),
        [
            "10.1.0.1 [fd00:1::1]",
            "10.1.0.2 [fd00:1::2]",
            "fd00:1::3 []"
        ]
    );
}

#[test]
fn listeners_are_for_the_addresses_that_a_client_can_call() {
    let world = world();
    let names = |families| -> Vec<String> {
        let keys = world.0.keys().into_iter();
        let nodes = keys.filter_map(|key| world.node(&scope(families), &key));
        nodes
            .filter_map(|node| match node {
                Node::OutboundListener(listener) => Some(listener.name.text(listener.families)),
                _ => None,
            })
            .collect()
    };
    assert_eq!(names(Families::V4), ["0.0.0.0_80", "10.0.0.1_3306"]);
    assert_eq!(names(Families::V6), ["::_80", "fd00::1_3306"]);
    assert_eq!(
        names(Families::Dual),
        ["0.0.0.0_80", "10.0.0.1_3306", "fd00::1_3306"]
    );
}

#[test]
fn names_have_addresses_of_the_clients_families() {
    let world = world();
    let addresses = |host: &str, families| -> Vec<String> {
        match world.node(&scope(families), &Key::Name(host.parse().unwrap())) {
            Some(Node::NameEntry(entry)) => {
                entry.addresses.iter().map(ToString::to_string).collect()
            }
            other => panic!("{other:?}"),
        }
    };
    let db = "db.shop.svc.cluster.local";
    assert_eq!(addresses(db, Families::V4), ["10.0.0.1"]);
    assert_eq!(addresses(db, Families::V6), ["fd00::1"]);
    assert_eq!(addresses(db, Families::Dual), ["10.0.0.1", "fd00::1"]);
    let given = addresses("api.example.com", Families::Dual);
    assert!(given[0].starts_with("240.240.") && given[1].starts_with("2001:2::"));
    assert_eq!(addresses("api.example.com", Families::V6), given[1..]);
}

#[test]
fn names_are_looked_up_in_the_clients_families() {
    let world = world();
    for families in ALL {
        let cluster = world.cluster_in(&scope(families), "api.example.com:80");
        match cluster.unwrap().discovery {
            Discovery::StrictDns(_, looked_up) => assert_eq!(looked_up, families),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn only_what_reads_the_families_differs_by_them() {
    let world = world();
    let differs = |key: &Key| {
        let nodes = ALL.map(|families| world.node(&scope(families), key));
        nodes[0] != nodes[1] || nodes[0] != nodes[2]
    };
    let own = |key: &Key| match key {
        Key::Listener(_) | Key::VirtualOutbound | Key::Name(_) => true,
        Key::VirtualHost(..) => true, // the addresses among its domains
        Key::Fixed(name) => name.to_string() == "InboundPassthroughCluster",
        Key::Cluster(cluster) => cluster.host.as_str() == "api.example.com",
        Key::RouteTable(_) => false,
    };
    for key in world.0.keys() {
        assert!(!differs(&key) || own(&key), "{key:?}");
    }
    let shared = ListenerName {
        address: None,
        port: port_of(80),
    };
    assert!(differs(&Key::Listener(shared)));
    let catch_all = Key::VirtualHost(
        ir::RouteTableName::Port(port_of(80)),
        mesh::VirtualHostKey::CatchAll,
    );
    assert!(!differs(&catch_all));
}
