//! WorkloadEntry: an endpoint that is not a pod.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::{Hostname, Labels, Port, PortName, ServiceAccount};

/// `networking.istio.io` WorkloadEntry; also `spec.endpoints[]` of a ServiceEntry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadEntry {
    /// `address`; none: it has no endpoint (a WorkloadEntry of another network, say).
    pub address: Option<EndpointAddress>,
    /// `ports`: a service port's name to the port here.
    pub ports: BTreeMap<PortName, Port>,
    /// `labels`, with those of the object's metadata (a WorkloadEntry's own win).
    pub labels: Labels,
    /// `locality`.
    pub locality: Locality,
    /// `network`.
    pub network: Option<Arc<str>>,
    /// `weight`; absent: 1.
    pub weight: u32,
    /// `serviceAccount`: whom it runs as.
    pub service_account: Option<ServiceAccount>,
}

/// Where an endpoint is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointAddress {
    /// An address.
    Ip(IpAddr),
    /// A name that Envoy resolves.
    Dns(Hostname),
    /// `unix://`: a socket beside the proxy.
    Unix(Arc<str>),
}

/// `region/zone/subzone`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// The region; empty when unknown.
    pub region: Arc<str>,
    /// The zone; empty when unknown.
    pub zone: Arc<str>,
    /// The part of the zone; empty when unknown.
    pub subzone: Arc<str>,
}

impl Locality {
    /// Reads `region/zone/subzone`, of which the last two may be left out.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut parts = text.splitn(3, '/').map(Arc::from);
        let mut next = || parts.next().unwrap_or_default();
        Self {
            region: next(),
            zone: next(),
            subzone: next(),
        }
    }
}
