//! Kubernetes' kinds.

use super::*;
use crate::{Addressing, Protocol, TargetPort};

#[test]
fn services() {
    let spec = json!({
        "selector": {"app": "a"}, "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"], "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster", "unknown": 1,
        "ports": [
            {"name": "http", "port": 80, "targetPort": "web"}, {"name": "x", "port": 81, "targetPort": 8081, "appProtocol": "grpc"},
            {"name": "dns", "port": 53, "protocol": "UDP"},
        ],
    });
    let Spec::Service(read) = good("Service", spec).spec else {
        panic!()
    };
    assert!(matches!(&read.addressing, Addressing::Cluster(all) if all.len() == 2));
    let ports: Vec<_> = read
        .ports
        .iter()
        .map(|p| (p.number.get(), p.protocol, p.target.clone()))
        .collect();
    let web = TargetPort::Named("web".parse().unwrap());
    let number = TargetPort::Number(crate::Port::new(8081).unwrap());
    assert_eq!(
        ports,
        [(80, Protocol::Http, web), (81, Protocol::Grpc, number)]
    );
    let addressing = |spec: Value| {
        let Spec::Service(read) = good("Service", spec).spec else {
            panic!()
        };
        read.addressing.clone()
    };
    assert_eq!(addressing(json!({})), Addressing::Allocated);
    assert_eq!(
        addressing(json!({"clusterIP": "None"})),
        Addressing::Headless
    );
    let service = |spec, outcome, expected: &[&str]| check("Service", spec, outcome, expected);
    service(
        json!({"type": "ExternalName", "externalName": "a.com"}),
        "applied",
        &[],
    );
    service(
        json!({"sessionAffinity": "ClientIP", "internalTrafficPolicy": "Local", "trafficDistribution": "PreferClose"}),
        "applied",
        &["warning IST0133 spec.sessionAffinity"],
    );
    service(
        json!({"externalIPs": ["192.0.2.1"], "trafficDistribution": "Far"}),
        "applied",
        &[
            "warning IST0133 spec.externalIPs",
            "warning IST0133 spec.trafficDistribution",
        ],
    );
    service(
        json!({"ports": [{"port": 80}]}),
        "applied",
        &["info IST0118 spec.ports[0].name"],
    );
    service(
        json!({"ports": [{"port": 80, "name": "http"}, {"port": 81, "appProtocol": "tcp"}]}),
        "refused",
        &["error IST0106 spec.ports[1].name"],
    );
    service(
        json!({"ports": [{"name": "http"}]}),
        "refused",
        &["error IST0106 spec.ports[0].port"],
    );
    service(
        json!({"ports": [{"name": "http", "port": "80"}]}),
        "refused",
        &["error IST0106 spec.ports[0].port"],
    );
    service(
        json!({"clusterIP": "x"}),
        "refused",
        &["error IST0106 spec.clusterIP"],
    );
}

#[test]
fn services_are_exported_by_annotation() {
    let mut value = object("Service", &json!({}));
    value["metadata"]["annotations"] = json!({"networking.istio.io/exportTo": "., b"});
    let Parsed::Object(read) = check_object(&value, "applied", &[]) else {
        panic!()
    };
    let Spec::Service(service) = read.spec else {
        panic!()
    };
    assert!(service.export_to.shows_to(&"b".parse().unwrap()));
    assert!(service.export_to.shows_to(&"shop".parse().unwrap()));
    assert!(!service.export_to.shows_to(&"c".parse().unwrap()));
}

#[test]
fn endpoint_slices() {
    let value = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "a", "namespace": "shop", "labels": {"kubernetes.io/service-name": "cart"}},
        "ports": [{"name": "", "port": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": false, "serving": true, "terminating": true},
             "targetRef": {"kind": "Pod", "name": "p", "namespace": "shop"}, "zone": "z"},
            {"addresses": ["10.0.0.2"], "conditions": null, "targetRef": {"kind": "Node", "name": "n"}},
        ],
    });
    let Parsed::Object(read) = check_object(&value, "applied", &[]) else {
        panic!()
    };
    let Spec::EndpointSlice(slice) = read.spec else {
        panic!()
    };
    assert_eq!(slice.service.as_ref().unwrap().as_str(), "cart");
    assert_eq!(slice.ports.len(), 1);
    let [first, second] = &*slice.endpoints else {
        panic!()
    };
    assert_eq!(
        (
            first.ready,
            first.serving,
            first.terminating,
            first.pod.is_some()
        ),
        (false, true, true, true)
    );
    assert_eq!(
        (
            second.ready,
            second.serving,
            second.terminating,
            second.pod.is_some()
        ),
        (true, true, false, false)
    );
}

#[test]
fn pods_and_deployments() {
    let spec = json!({
        "serviceAccountName": "cart", "hostNetwork": true,
        "containers": [{"ports": [{"name": "web", "containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]}],
        "initContainers": [{"ports": [{"containerPort": 1}]}, {"restartPolicy": "Always", "ports": [{"containerPort": 2}]}],
    });
    let pod = |mut value: Value, status: Value| {
        value["status"] = status;
        let Parsed::Object(read) = check_object(&value, "applied", &[]) else {
            panic!()
        };
        let Spec::Pod(pod) = read.spec else { panic!() };
        pod
    };
    let read = pod(
        object("Pod", &spec),
        json!({"podIP": "10.0.0.1", "phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}),
    );
    assert_eq!(
        (read.service_account.as_str(), read.host_network, read.ready),
        ("cart", true, false)
    );
    assert_eq!(
        read.ports
            .iter()
            .map(|(_, port)| port.get())
            .collect::<Vec<_>>(),
        [2, 80]
    );
    assert_eq!(read.addresses.len(), 1);
    assert!(!pod(object("Pod", &json!({})), json!({"phase": "Pending"})).ready);
    let bare = pod(object("Pod", &json!({})), Value::Null);
    assert_eq!(
        (bare.service_account.as_str(), bare.ready),
        ("default", true)
    );
    let spec = json!({"template": {"metadata": {"labels": {"app": "a"}}}});
    let Spec::Deployment(read) = good("Deployment", spec).spec else {
        panic!()
    };
    assert_eq!(read.template_labels.get("app"), Some("a"));
}
