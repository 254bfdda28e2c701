//! The endpoints of a cluster, by locality. This is the hot path: nothing else changes as often.

use std::net::IpAddr;
use std::sync::Arc;

use model::{EndpointAddress, Locality, Port};

/// The endpoints of one cluster, ordered by priority and locality.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// One entry a priority and locality; none is empty.
    pub localities: Arc<[LocalityEndpoints]>,
}

impl Endpoints {
    /// Whether there is one that may be called.
    #[must_use]
    pub fn has_callable(&self) -> bool {
        let mut all = self
            .localities
            .iter()
            .flat_map(|locality| locality.endpoints.iter());
        all.any(|endpoint| endpoint.health == Health::Healthy)
    }
}

/// The endpoints of one locality, ordered by address and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocalityEndpoints {
    /// The locality.
    pub locality: Locality,
    /// How soon it is called: one with a higher number only when too few of the lower ones are healthy. From 0 on
    /// without a gap.
    pub priority: u32,
    /// Its share among the localities; none: it counts as much as its endpoints.
    pub weight: Option<u32>,
    /// Its endpoints.
    pub endpoints: Arc<[Endpoint]>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Where it is reached.
    pub address: EndpointAddress,
    /// Its other addresses, ordered: they are tried where the first does not answer.
    pub more_addresses: Arc<[IpAddr]>,
    /// The port there; means nothing for a unix socket.
    pub port: Port,
    /// Its share of the locality's load, at least 1.
    pub weight: u32,
    /// Whether it may be called, or only drains.
    pub health: Health,
    /// Whether it takes Istio's mutual TLS (metadata `tlsMode: istio`).
    pub mesh_tls: bool,
    /// What telemetry says of it.
    pub workload: WorkloadRef,
}

/// Whether an endpoint may be called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// It may.
    #[default]
    Healthy,
    /// It ends: no new calls (`DRAINING`).
    Draining,
}

/// What telemetry says of a workload. Empty where unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadRef {
    /// `destination_workload`.
    pub name: Arc<str>,
    /// `destination_workload_namespace`.
    pub namespace: Arc<str>,
    /// `destination_canonical_service`.
    pub canonical_service: Arc<str>,
    /// `destination_canonical_revision`.
    pub canonical_revision: Arc<str>,
    /// `destination_principal`, such as `spiffe://cluster.local/ns/shop/sa/cart`.
    pub principal: Arc<str>,
}
