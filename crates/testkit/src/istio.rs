//! Builders of Istio's objects.

use serde_json::{Value, json};

use crate::builder::{Document, builder};

const NETWORKING: &str = "networking.istio.io/v1";
const SECURITY: &str = "security.istio.io/v1";

builder! {
    /// A VirtualService.
    VirtualService
}

/// A VirtualService without hosts and routes.
pub fn virtual_service(name: &str) -> VirtualService {
    VirtualService(Document::new(NETWORKING, "VirtualService", name))
}

impl VirtualService {
    /// For a host.
    pub fn host(self, host: &str) -> Self {
        self.pushing("spec.hosts", host)
    }

    /// With one more route, tried after those before.
    pub fn route(self, route: Route) -> Self {
        self.pushing("spec.http", route.0)
    }

    /// Seen by these namespaces only.
    pub fn exported_to(self, namespaces: &[&str]) -> Self {
        self.with("spec.exportTo", json!(namespaces))
    }
}

/// One entry of `spec.http`.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Route(Value);

/// A route without conditions and destinations.
pub fn route() -> Route {
    Route(json!({}))
}

/// A route of all requests to one host.
pub fn to(host: &str) -> Route {
    route().to(host)
}

impl Route {
    /// With any field.
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0[field] = value.into();
        self
    }

    /// With one more set of conditions; one of them must hold.
    pub fn when(mut self, conditions: Value) -> Self {
        match self.0["match"].as_array_mut() {
            Some(list) => list.push(conditions),
            None => self.0["match"] = json!([conditions]),
        }
        self
    }

    /// With one more destination.
    pub fn to(mut self, host: &str) -> Self {
        let destination = json!({"destination": {"host": host}});
        match self.0["route"].as_array_mut() {
            Some(list) => list.push(destination),
            None => self.0["route"] = json!([destination]),
        }
        self
    }

    /// Sets the port of the destination that was added last.
    pub fn port(mut self, port: u16) -> Self {
        self.last()["destination"]["port"] = json!({"number": port});
        self
    }

    /// Sets the subset of the destination that was added last.
    pub fn subset(mut self, subset: &str) -> Self {
        self.last()["destination"]["subset"] = subset.into();
        self
    }

    /// Sets the weight of the destination that was added last.
    pub fn weight(mut self, weight: u32) -> Self {
        self.last()["weight"] = weight.into();
        self
    }

    fn last(&mut self) -> &mut Value {
        self.0["route"].as_array_mut().unwrap().last_mut().unwrap()
    }
}

builder! {
    /// A DestinationRule.
    DestinationRule
}

/// A DestinationRule for a host.
pub fn destination_rule(name: &str, host: &str) -> DestinationRule {
    DestinationRule(Document::new(NETWORKING, "DestinationRule", name)).with("spec.host", host)
}

impl DestinationRule {
    /// With a subset of the endpoints that have the label `version` of the subset's name.
    pub fn subset(self, name: &str) -> Self {
        self.pushing(
            "spec.subsets",
            json!({"name": name, "labels": {"version": name}}),
        )
    }

    /// With a field of the `trafficPolicy`.
    pub fn policy(self, field: &str, value: impl Into<Value>) -> Self {
        self.with(&format!("spec.trafficPolicy.{field}"), value)
    }

    /// With at most this many connections.
    pub fn connections(self, limit: u32) -> Self {
        self.policy("connectionPool.tcp.maxConnections", limit)
    }

    /// For clients with this label only.
    pub fn for_clients(mut self, key: &str, value: &str) -> Self {
        self.0.at("spec.workloadSelector.matchLabels")[key] = value.into();
        self
    }

    /// Seen by these namespaces only.
    pub fn exported_to(self, namespaces: &[&str]) -> Self {
        self.with("spec.exportTo", json!(namespaces))
    }
}

builder! {
    /// A PeerAuthentication.
    PeerAuthentication
}

/// A PeerAuthentication that says nothing.
pub fn peer_authentication(name: &str) -> PeerAuthentication {
    PeerAuthentication(Document::new(SECURITY, "PeerAuthentication", name))
}

impl PeerAuthentication {
    /// `STRICT`, `PERMISSIVE`, `DISABLE` or `UNSET`.
    pub fn mode(self, mode: &str) -> Self {
        self.with("spec.mtls.mode", mode)
    }

    /// A mode of a port of the workload.
    pub fn port_mode(mut self, port: u16, mode: &str) -> Self {
        self.0.at("spec.portLevelMtls")[port.to_string()] = json!({"mode": mode});
        self
    }

    /// For the workloads with this label.
    pub fn selecting(mut self, key: &str, value: &str) -> Self {
        self.0.at("spec.selector.matchLabels")[key] = value.into();
        self
    }
}

builder! {
    /// An AuthorizationPolicy.
    AuthorizationPolicy
}

/// An AuthorizationPolicy that allows nothing.
pub fn authorization_policy(name: &str) -> AuthorizationPolicy {
    AuthorizationPolicy(Document::new(SECURITY, "AuthorizationPolicy", name))
        .with("spec", json!({}))
}

impl AuthorizationPolicy {
    /// `ALLOW`, `DENY`, `AUDIT` or `CUSTOM`.
    pub fn action(self, action: &str) -> Self {
        self.with("spec.action", action)
    }

    /// With one more rule.
    pub fn rule(self, rule: Value) -> Self {
        self.pushing("spec.rules", rule)
    }

    /// For the workloads with this label.
    pub fn selecting(mut self, key: &str, value: &str) -> Self {
        self.0.at("spec.selector.matchLabels")[key] = value.into();
        self
    }
}

builder! {
    /// A ServiceEntry.
    ServiceEntry
}

/// A ServiceEntry for a host, with resolution NONE.
pub fn service_entry(name: &str, host: &str) -> ServiceEntry {
    ServiceEntry(Document::new(NETWORKING, "ServiceEntry", name)).with("spec.hosts", json!([host]))
}

impl ServiceEntry {
    /// A port, called as its protocol and number.
    pub fn port(self, protocol: &str, port: u16) -> Self {
        let name = format!("{}-{port}", protocol.to_ascii_lowercase());
        self.pushing(
            "spec.ports",
            json!({"name": name, "number": port, "protocol": protocol}),
        )
    }

    /// With an address that callers use.
    pub fn at(self, address: &str) -> Self {
        self.pushing("spec.addresses", address)
    }

    /// `STATIC`, `DNS`, `DNS_ROUND_ROBIN` or `NONE`.
    pub fn resolution(self, resolution: &str) -> Self {
        self.with("spec.resolution", resolution)
    }

    /// With one more endpoint.
    pub fn endpoint(self, endpoint: Value) -> Self {
        self.pushing("spec.endpoints", endpoint)
    }

    /// Part of the mesh.
    pub fn in_mesh(self) -> Self {
        self.with("spec.location", "MESH_INTERNAL")
    }

    /// Its endpoints are the workloads with this label.
    pub fn selecting(mut self, key: &str, value: &str) -> Self {
        self.0.at("spec.workloadSelector.labels")[key] = value.into();
        self
    }

    /// Seen by these namespaces only.
    pub fn exported_to(self, namespaces: &[&str]) -> Self {
        self.with("spec.exportTo", json!(namespaces))
    }
}

builder! {
    /// A WorkloadEntry.
    WorkloadEntry
}

/// A WorkloadEntry at an address.
pub fn workload_entry(name: &str, address: &str) -> WorkloadEntry {
    WorkloadEntry(Document::new(NETWORKING, "WorkloadEntry", name)).with("spec.address", address)
}

impl WorkloadEntry {
    /// Running as this service account, and so in the mesh.
    pub fn running_as(self, account: &str) -> Self {
        self.with("spec.serviceAccount", account)
    }
}

builder! {
    /// A MeshConfig: the file of `--meshConfig`, which has neither kind nor metadata.
    MeshConfig
}

/// A MeshConfig that says nothing.
pub fn mesh_config() -> MeshConfig {
    MeshConfig(Document(json!({})))
}
