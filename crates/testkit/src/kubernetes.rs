//! Builders of Kubernetes' objects.

use serde_json::{Value, json};

use crate::builder::{Document, builder};

builder! {
    /// A Service.
    Service
}

/// A Service without ports, addressed by an address that Lateen allocates.
pub fn service(name: &str) -> Service {
    Service(Document::new("v1", "Service", name))
}

impl Service {
    /// An HTTP port called `http-80`, which leads to the same port of its workloads.
    pub fn port(self, port: u16) -> Self {
        self.named_port(&format!("http-{port}"), port)
    }

    /// A TCP port called `tcp-3306`.
    pub fn tcp_port(self, port: u16) -> Self {
        self.named_port(&format!("tcp-{port}"), port)
    }

    /// A port whose protocol its name says.
    pub fn named_port(self, name: &str, port: u16) -> Self {
        self.pushing("spec.ports", json!({"name": name, "port": port}))
    }

    /// Sets the `targetPort` of the port that was added last: a number or a container port's name.
    pub fn leading_to(mut self, target: impl Into<Value>) -> Self {
        let ports = self.0.at("spec.ports").as_array_mut().unwrap();
        ports.last_mut().unwrap()["targetPort"] = target.into();
        self
    }

    /// With a `clusterIP`; several make it dual stack.
    pub fn at(self, address: &str) -> Self {
        self.pushing("spec.clusterIPs", address)
    }

    /// Without an address: callers use its endpoints'.
    pub fn headless(self) -> Self {
        self.with("spec.clusterIP", "None")
    }

    /// Its endpoints are the workloads with this label.
    pub fn selecting(mut self, key: &str, value: &str) -> Self {
        self.0.at("spec.selector")[key] = value.into();
        self
    }

    /// Seen by these namespaces only (the annotation).
    pub fn exported_to(self, namespaces: &str) -> Self {
        self.annotated("networking.istio.io/exportTo", namespaces)
    }
}

builder! {
    /// A Pod.
    Pod
}

/// A Pod that is not in the mesh and has no address.
pub fn pod(name: &str) -> Pod {
    Pod(Document::new("v1", "Pod", name))
}

impl Pod {
    /// With an address.
    pub fn at(self, address: &str) -> Self {
        self.pushing("status.podIPs", json!({"ip": address}))
    }

    /// With the label that the injector sets: it takes mutual TLS.
    pub fn in_mesh(self) -> Self {
        self.labelled("security.istio.io/tlsMode", "istio")
    }

    /// Running as this service account.
    pub fn running_as(self, account: &str) -> Self {
        self.with("spec.serviceAccountName", account)
    }

    /// With a container port.
    pub fn container_port(self, name: &str, port: u16) -> Self {
        self.pushing(
            "spec.containers[0].ports",
            json!({"name": name, "containerPort": port}),
        )
    }

    /// Not ready to be called.
    pub fn unready(self) -> Self {
        self.pushing(
            "status.conditions",
            json!({"type": "Ready", "status": "False"}),
        )
    }
}

builder! {
    /// An EndpointSlice.
    EndpointSlice
}

/// The EndpointSlice of a Service, called `<service>-1`.
pub fn endpoint_slice(service: &str) -> EndpointSlice {
    let slice = Document::new(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        &format!("{service}-1"),
    );
    EndpointSlice(slice)
        .labelled("kubernetes.io/service-name", service)
        .with("addressType", "IPv4")
}

impl EndpointSlice {
    /// With another name.
    pub fn called(self, name: &str) -> Self {
        self.with("metadata.name", name)
    }

    /// A port of the service, by name, and the port of the endpoints behind it.
    pub fn port(self, name: &str, port: u16) -> Self {
        self.pushing("ports", json!({"name": name, "port": port}))
    }

    /// An endpoint that is no pod.
    pub fn address(self, address: &str) -> Self {
        self.pushing("endpoints", json!({"addresses": [address]}))
    }

    /// An endpoint that is a pod.
    pub fn pod(self, pod: &str, address: &str) -> Self {
        self.pushing(
            "endpoints",
            json!({"addresses": [address], "targetRef": {"kind": "Pod", "name": pod}}),
        )
    }

    /// Sets the conditions of the endpoint that was added last.
    pub fn conditions(mut self, ready: bool, serving: bool, terminating: bool) -> Self {
        let endpoints = self.0.at("endpoints").as_array_mut().unwrap();
        endpoints.last_mut().unwrap()["conditions"] =
            json!({"ready": ready, "serving": serving, "terminating": terminating});
        self
    }
}

builder! {
    /// A Deployment.
    Deployment
}

/// A Deployment without labels on its template.
pub fn deployment(name: &str) -> Deployment {
    Deployment(Document::new("apps/v1", "Deployment", name))
}

impl Deployment {
    /// With a label on its template.
    pub fn template(mut self, key: &str, value: &str) -> Self {
        self.0.at("spec.template.metadata.labels")[key] = value.into();
        self
    }
}
