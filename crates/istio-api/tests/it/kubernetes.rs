//! Kubernetes' objects as an API server writes them: unknown fields and `null` lists included.

use istio_api::{Deployment, EndpointSlice, IntOrString, Namespace, Pod, Service, ServiceAccount};
use serde_json::{from_value, json, to_value};

#[test]
fn a_service_is_read_past_what_is_unknown() {
    let service: Service = from_value(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "cart", "creationTimestamp": null, "finalizers": ["x"]},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "clusterIPs": ["None"],
            "allocateLoadBalancerNodePorts": true,
            "selector": null,
            "sessionAffinity": "None",
            "ports": [
                {"name": "http", "port": 80, "targetPort": "web", "appProtocol": "http"},
                {"name": "grpc", "port": 70000, "targetPort": 9090, "nodePort": 30080},
            ],
        },
        "status": {"loadBalancer": {}},
    }))
    .unwrap();
    let spec = &service.spec;
    assert_eq!(spec.cluster_ip.as_deref(), Some("None"));
    assert_eq!(
        spec.ports[0].target_port,
        Some(IntOrString::String("web".into()))
    );
    assert_eq!(spec.ports[1].target_port, Some(IntOrString::Int(9090)));
    // Out of range, and still readable: the parser says so with its line.
    assert_eq!(spec.ports[1].port, Some(70_000));
    assert_eq!(
        from_value::<Service>(to_value(&service).unwrap()).unwrap(),
        service
    );

    let wrong = json!({"spec": {"ports": [{"targetPort": [80]}]}});
    let error = from_value::<Service>(wrong).unwrap_err().to_string();
    assert!(error.contains("expected an integer or a string"), "{error}");
}

#[test]
fn an_endpoint_slice_is_read_and_written() {
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "cart-1", "labels": {"kubernetes.io/service-name": "cart"}},
        "addressType": "IPv4",
        "endpoints": [{
            "addresses": ["198.18.0.1"],
            "conditions": {"ready": false, "serving": true, "terminating": true},
            "hostname": "cart-0",
            "nodeName": "node",
            "zone": "a",
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": "cart-0"},
        }],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "http"}],
    });
    let read: EndpointSlice = from_value(slice.clone()).unwrap();
    assert_eq!(to_value(read).unwrap(), slice);

    let empty = json!({"addressType": "IPv4", "endpoints": null, "ports": null});
    let empty: EndpointSlice = from_value(empty).unwrap();
    assert!(empty.endpoints.is_empty() && empty.ports.is_empty());
}

#[test]
fn pods_and_what_stands_around_them_are_read() {
    let pod = json!({
        "metadata": {"name": "cart-0", "labels": {"app": "cart"}},
        "spec": {
            "serviceAccountName": "cart",
            "hostNetwork": true,
            "initContainers": [{"name": "istio-proxy", "restartPolicy": "Always"}],
            "containers": [{"name": "app", "image": "x",
                            "ports": [{"name": "web", "containerPort": 8080}]}],
        },
        "status": {
            "phase": "Running",
            "podIP": "198.18.0.1",
            "podIPs": [{"ip": "198.18.0.1"}, {"ip": "2001:db8::1"}],
            "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": null}],
        },
    });
    let pod: Pod = from_value(pod).unwrap();
    assert_eq!(pod.spec.service_account_name.as_deref(), Some("cart"));
    assert_eq!(pod.spec.containers[0].ports[0].container_port, Some(8080));
    assert_eq!(pod.status.pod_ips[1].ip.as_deref(), Some("2001:db8::1"));
    assert_eq!(pod.status.conditions[0].type_.as_deref(), Some("Ready"));
    assert_eq!(from_value::<Pod>(to_value(&pod).unwrap()).unwrap(), pod);

    let deployment: Deployment = from_value(json!({
        "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": "cart"}}, "spec": {}}},
    }))
    .unwrap();
    assert_eq!(deployment.spec.template.metadata.labels["app"], "cart");

    let labels = json!({"metadata": {"name": "shop", "labels": {"istio-injection": "enabled"}}});
    let namespace: Namespace = from_value(labels).unwrap();
    assert_eq!(namespace.metadata.labels["istio-injection"], "enabled");
    let account: ServiceAccount =
        from_value(json!({"metadata": {"name": "cart"}, "secrets": []})).unwrap();
    assert_eq!(account.metadata.name.as_deref(), Some("cart"));
}
