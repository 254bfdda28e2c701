//! Connections that are not HTTP: routed by VirtualServices, told apart by the name that TLS asks for or by address.

use serde_json::{Value, json};
use testkit::{destination_rule, service, service_entry, virtual_service};

const OWN: &str = "shop.svc.cluster.local";

fn db(name: &str) -> testkit::Service {
    service(name).in_namespace("shop").at("10.0.0.1")
}

fn to(host: &str, weight: u32) -> Value {
    json!({"destination": {"host": format!("{host}.{OWN}")}, "weight": weight})
}

#[test]
fn tcp_goes_by_weight_to_subsets_and_other_services() {
    let world = mesh![
        db("db").tcp_port(3306),
        service("old").in_namespace("shop").tcp_port(3306),
        destination_rule("db", &format!("db.{OWN}"))
            .in_namespace("shop")
            .subset("v2"),
        virtual_service("db")
            .host(&format!("db.{OWN}"))
            .in_namespace("shop")
            .with(
                "spec.tcp",
                json!([
                    {"match": [{"port": 1}], "route": [to("old", 1)]},
                    {"route": [
                        {"destination": {"host": "db", "subset": "v2"}, "weight": 90},
                        to("old", 10),
                    ]},
                ])
            ),
    ];
    assert_eq!(
        world.connect("web", "10.0.0.1:3306"),
        format!("tcp 90 outbound|3306|v2|db.{OWN}, 10 outbound|3306||old.{OWN}")
    );
}

#[test]
fn tcp_to_what_does_not_exist_is_closed() {
    let world = mesh![
        db("db").tcp_port(3306),
        virtual_service("db")
            .host(&format!("db.{OWN}"))
            .in_namespace("shop")
            .with("spec.tcp", json!([{"route": [to("none", 1)]}])),
    ];
    assert_eq!(
        world.connect("web", "10.0.0.1:3306"),
        "tcp BlackHoleCluster"
    );
}

#[test]
fn names_of_a_domain_are_resolved_by_what_tls_asks_for() {
    let world = mesh![
        service_entry("domain", "*.example.com")
            .resolution("DYNAMIC_DNS")
            .with("spec.addresses", json!(["10.9.0.1"]))
            .with(
                "spec.ports",
                json!([{"number": 443, "name": "tls", "protocol": "TLS", "targetPort": 8443}])
            ),
    ];
    let by_name = "*.example.com to outbound|443||*.example.com resolved on 8443";
    assert_eq!(world.connect("web", "10.9.0.1:443"), by_name);
    assert_eq!(world.connect("web", "192.0.2.1:443"), by_name);
}

#[test]
fn tls_goes_by_the_name_that_is_asked_for() {
    let world = mesh![
        service_entry("sites", "*.a.com")
            .in_namespace("shop")
            .port("TLS", 443),
        service("eg").in_namespace("shop").named_port("tls", 8443),
        virtual_service("sites").host("*.a.com")
            .in_namespace("shop")
            .with("spec.tls", json!([
                {"match": [{"sniHosts": ["x.a.com", "y.a.com"], "port": 443}],
                 "route": [{"destination": {"host": format!("eg.{OWN}"), "port": {"number": 8443}}}]},
                {"match": [{"sniHosts": ["*.a.com", "x.a.com"]}],
                 "route": [{"destination": {"host": format!("eg.{OWN}"), "port": {"number": 1}}}]},
            ])),
    ];
    assert_eq!(
        world.connect("web", "192.0.2.1:443"),
        format!("x.a.com y.a.com to outbound|8443||eg.{OWN}; *.a.com to BlackHoleCluster")
    );
}

#[test]
fn tls_services_share_a_port_by_their_names() {
    let world = mesh![
        service_entry("a", "*.a.com").port("TLS", 443),
        service_entry("b", "b.com").port("HTTPS", 443),
        service_entry("c", "c.com")
            .port("TLS", 443)
            .at("192.0.2.0/24"),
        service_entry("d", "d.com")
            .port("TLS", 443)
            .at("203.0.113.7"),
    ];
    assert_eq!(
        world.connect("web", "192.0.2.1:443"),
        "*.a.com to outbound|443||*.a.com; b.com to outbound|443||b.com; \
         c.com 192.0.2.0/24 to outbound|443||c.com"
    );
    assert_eq!(
        world.connect("web", "203.0.113.7:443"),
        "tcp outbound|443||d.com"
    );
}

#[test]
fn a_range_of_addresses_is_told_apart() {
    let world = mesh![
        service_entry("net", "net.example")
            .port("TCP", 9000)
            .at("192.0.2.0/24")
            .at("203.0.113.7"),
        service_entry("all", "all.example").port("TCP", 9000),
        virtual_service("net").host("net.example").with(
            "spec.tcp",
            json!([
                {"match": [{"destinationSubnets": ["192.0.2.128/25"]}],
                 "route": [{"destination": {"host": "all.example"}}]},
            ])
        ),
    ];
    assert_eq!(
        world.connect("web", "192.0.2.1:9000"),
        "192.0.2.128/25 to outbound|9000||all.example; 192.0.2.0/24 to outbound|9000||net.example; \
         tcp outbound|9000||all.example"
    );
    assert_eq!(
        world.connect("web", "203.0.113.7:9000"),
        "192.0.2.128/25 to outbound|9000||all.example; tcp outbound|9000||net.example"
    );
}

#[test]
fn requests_to_a_domain_reach_its_service() {
    let world = mesh![
        service_entry("sites", "*.a.com").port("HTTP", 80),
        virtual_service("x").host("x.a.com").with(
            "spec.http",
            json!([{"route": [{"destination": {"host": "nowhere.example"}}]}]),
        ),
    ];
    assert_eq!(world.get("web", "y.a.com"), "outbound|80||*.a.com");
    assert_eq!(
        world.get("web", "x.a.com"),
        "503 no service nowhere.example exists"
    );
}

#[test]
fn only_who_sees_the_routes_takes_them() {
    let world = mesh![
        db("db").tcp_port(3306),
        service("old").in_namespace("shop").tcp_port(3306),
        virtual_service("db")
            .host(&format!("db.{OWN}"))
            .in_namespace("shop")
            .exported_to(&["web"])
            .with("spec.tcp", json!([{"route": [to("old", 1)]}])),
    ];
    let own = format!("tcp outbound|3306||db.{OWN}");
    assert_eq!(
        world.connect("web", "10.0.0.1:3306"),
        format!("tcp outbound|3306||old.{OWN}")
    );
    assert_eq!(world.connect("elsewhere", "10.0.0.1:3306"), own);
}
