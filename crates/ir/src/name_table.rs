//! One host of the name table that the agent's DNS server answers from (Istio: NDS).

use std::net::IpAddr;
use std::sync::Arc;

use model::{Hostname, Namespace};

/// One host and its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameEntry {
    /// The fully qualified name.
    pub host: Hostname,
    /// Its addresses, ordered.
    pub addresses: Arc<[IpAddr]>,
    /// `Kubernetes` or `External`, as Istio's registries are called.
    pub registry: Registry,
    /// The name without namespace and domain, for a Kubernetes Service.
    pub short_name: Option<Arc<str>>,
    /// The namespace, for a Kubernetes Service.
    pub namespace: Option<Namespace>,
    /// The pods that a headless Service names, ordered.
    pub pods: Arc<[PodName]>,
}

/// A pod's name under a headless Service, such as that of a StatefulSet's pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodName {
    /// Its own part of the name: `db-0` of `db-0.db.shop.svc.cluster.local`.
    pub hostname: Arc<str>,
    /// Its addresses, ordered.
    pub addresses: Arc<[IpAddr]>,
}

/// Where a host comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Registry {
    /// A Service.
    Kubernetes,
    /// A ServiceEntry.
    External,
}
