//! Random objects of Kubernetes.

use serde_json::{Value, json};

use super::{
    ACCOUNTS, IPS, NAMES, NAMESPACES, PORTS, TARGETS, VIPS, frame, labels, name, sprinkle, wanted,
};
use crate::dice::Dice;

/// Port names of every protocol; `main` declares none.
const PORT_NAMES: [&str; 12] = [
    "http-a", "http-b", "http2", "grpc", "grpc-web", "https", "tls", "tcp", "mongo", "redis",
    "mysql", "main",
];

pub(super) fn service(dice: &mut Dice) -> Value {
    let own = name(dice);
    let mut service = frame(dice, "v1", "Service", own);
    match dice.below(8) {
        0 | 1 => service["spec"]["clusterIP"] = "None".into(),
        2..=4 => service["spec"]["clusterIP"] = dice.one(&VIPS).into(),
        5 => service["spec"]["clusterIPs"] = json!(dice.some(&VIPS)),
        6 if dice.once_in(3) => {
            service["spec"]["type"] = "ExternalName".into();
            let targets = [
                "api.example.com",
                "cart.shop.svc.cluster.local",
                "web.shop.svc.cluster.local.",
            ];
            service["spec"]["externalName"] = dice.one(&targets).into();
        }
        _ => {}
    }
    if !dice.once_in(5) {
        service["spec"]["selector"] = wanted(dice);
    }
    service["spec"]["ports"] = dice.many(1, 3, port).into();
    sprinkle(
        dice,
        6,
        &mut service["spec"],
        &[
            ("publishNotReadyAddresses", &|_| json!(true)),
            ("sessionAffinity", &|_| json!("ClientIP")),
            ("internalTrafficPolicy", &|_| json!("Local")),
            ("trafficDistribution", &|dice| {
                dice.one(&["PreferClose", "PreferSameNode"]).into()
            }),
        ],
    );
    if dice.once_in(4) {
        let names = dice.one(&[".", "*", "~", "shop", "web,istio-system", "shop , ."]);
        service["metadata"]["annotations"] = json!({"networking.istio.io/exportTo": names});
    }
    service
}

fn port(dice: &mut Dice) -> Value {
    let mut port = json!({"name": dice.one(&PORT_NAMES), "port": dice.one(&PORTS)});
    if dice.once_in(2) {
        port["targetPort"] = dice.one(&[
            json!(8080),
            json!(9000),
            json!("web"),
            json!("http-a"),
            json!(0),
        ]);
    }
    sprinkle(
        dice,
        8,
        &mut port,
        &[
            ("appProtocol", &|dice| {
                dice.one(&[
                    "http",
                    "kubernetes.io/h2c",
                    "kubernetes.io/ws",
                    "tcp",
                    "x.example/y",
                ])
                .into()
            }),
            ("protocol", &|dice| dice.one(&["TCP", "UDP", "SCTP"]).into()),
        ],
    );
    port
}

pub(super) fn pod(dice: &mut Dice) -> Value {
    let own = format!("{}-{}", name(dice), dice.below(2));
    let mut pod = frame(dice, "v1", "Pod", &own);
    pod["metadata"]["labels"] = labels(dice);
    if dice.once_in(2) {
        pod["metadata"]["labels"]["istio-locality"] = dice.one(&["eu.a", "eu.b.1", "us.a"]).into();
    }
    pod["spec"]["serviceAccountName"] = dice.one(&ACCOUNTS).into();
    if dice.once_in(2) {
        pod["spec"]["nodeName"] = dice.one(&["node-1", "node-2"]).into();
    }
    let ports = dice.many(0, 2, |dice| {
        json!({"name": dice.one(&["web", "http-a", "tcp"]), "containerPort": dice.one(&TARGETS)})
    });
    pod["spec"]["containers"] = json!([{"name": "app", "ports": ports}]);
    if dice.once_in(10) {
        pod["spec"]["hostNetwork"] = true.into();
    }
    if !dice.once_in(4) {
        let ips: Vec<Value> = dice.many(1, 2, |dice| json!({"ip": dice.one(&IPS)}));
        pod["status"]["podIPs"] = ips.into();
    }
    sprinkle(
        dice,
        5,
        &mut pod["status"],
        &[
            ("phase", &|dice| {
                dice.one(&["Running", "Pending", "Succeeded"]).into()
            }),
            (
                "conditions",
                &|dice| json!([{"type": "Ready", "status": dice.one(&["True", "False"])}]),
            ),
        ],
    );
    pod
}

pub(super) fn endpoint_slice(dice: &mut Dice) -> Value {
    let own = name(dice);
    let slice = format!("{own}-{}", dice.below(2));
    let mut slice = frame(dice, "discovery.k8s.io/v1", "EndpointSlice", &slice);
    if !dice.once_in(10) {
        slice["metadata"]["labels"] = json!({"kubernetes.io/service-name": own});
    }
    slice["addressType"] = dice.one(&["IPv4", "IPv4", "IPv4", "IPv6", "FQDN"]).into();
    slice["endpoints"] = dice.many(0, 3, endpoint).into();
    slice["ports"] = dice
        .many(0, 3, |dice| {
            let names = [json!(dice.one(&PORT_NAMES)), json!("http-a"), json!("main"), Value::Null, json!("")];
            json!({"name": dice.one(&names), "port": dice.one(&TARGETS), "protocol": dice.one(&["TCP", "TCP", "UDP"])})
        })
        .into();
    slice
}

fn endpoint(dice: &mut Dice) -> Value {
    let mut endpoint = json!({"addresses": [dice.one(&IPS)]});
    if !dice.once_in(3) {
        let pod = format!("{}-{}", name(dice), dice.below(2));
        endpoint["targetRef"] = json!({"kind": dice.one(&["Pod", "Pod", "Node"]), "name": pod});
        if dice.once_in(8) {
            endpoint["targetRef"]["namespace"] = dice.one(&NAMESPACES).into();
        }
    }
    sprinkle(
        dice,
        3,
        &mut endpoint,
        &[
            ("zone", &|dice| dice.one(&["a", "b"]).into()),
            ("hostname", &|_| json!("cart-0")),
            ("conditions", &|dice| {
                let mut conditions = json!({});
                let truth = |dice: &mut Dice| json!(dice.once_in(2));
                sprinkle(
                    dice,
                    2,
                    &mut conditions,
                    &[
                        ("ready", &truth),
                        ("serving", &truth),
                        ("terminating", &truth),
                    ],
                );
                conditions
            }),
        ],
    );
    endpoint
}

pub(super) fn namespace(dice: &mut Dice) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": dice.one(&NAMESPACES)}})
}

pub(super) fn deployment(dice: &mut Dice) -> Value {
    let own = dice.one(&NAMES);
    let mut deployment = frame(dice, "apps/v1", "Deployment", own);
    deployment["spec"]["template"]["metadata"]["labels"] = labels(dice);
    deployment
}
