//! ServiceEntry: a service that Kubernetes does not know.

use std::sync::Arc;

use ipnet::IpNet;

use crate::{ExportTo, HostPattern, Port, PortName, Protocol, Selector, WorkloadEntry};

/// `networking.istio.io` ServiceEntry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceEntry {
    /// `spec.hosts`.
    pub hosts: Arc<[HostPattern]>,
    /// `spec.addresses`.
    pub addresses: Arc<[IpNet]>,
    /// `spec.ports`.
    pub ports: Arc<[EntryPort]>,
    /// `spec.location`.
    pub location: Location,
    /// `spec.resolution`.
    pub resolution: Resolution,
    /// `spec.endpoints`.
    pub endpoints: Arc<[WorkloadEntry]>,
    /// `spec.workloadSelector`.
    pub selector: Option<Selector>,
    /// `spec.exportTo`.
    pub export_to: ExportTo,
    /// `spec.subjectAltNames`: the identities that a client accepts, instead of the endpoints' own.
    pub subject_alt_names: Arc<[Arc<str>]>,
}

/// `spec.ports[]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntryPort {
    /// `number`.
    pub number: Port,
    /// `name`.
    pub name: PortName,
    /// `protocol`, or what the name says.
    pub protocol: Protocol,
    /// `targetPort`; absent: `number`.
    pub target: Port,
}

/// `spec.location`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// Outside the mesh: no mutual TLS, no peer metadata.
    #[default]
    External,
    /// Part of the mesh.
    Internal,
}

/// `spec.resolution`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    /// `NONE`: to the address that the caller addressed.
    #[default]
    None,
    /// `STATIC`: to the endpoints' addresses.
    Static,
    /// `DNS`: to every address that the names resolve to.
    Dns,
    /// `DNS_ROUND_ROBIN`: to the address that the name resolves to when connecting.
    DnsRoundRobin,
    /// `DYNAMIC_DNS`: to the addresses of the name that the request's Host or the connection's SNI says, which is
    /// resolved when it is asked for.
    DynamicDns,
}
