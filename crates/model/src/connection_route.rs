//! Routes of connections: `tcp` and `tls` of a VirtualService.

use std::sync::Arc;

use ipnet::IpNet;

use crate::{Client, HostPattern, Port, WeightedDestination};

/// `spec.tcp[]` or `spec.tls[]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionRoute {
    /// `match`: one of them must hold; none: every connection.
    pub matches: Arc<[ConnectionMatch]>,
    /// `route`: to one of these, by weight. Weights sum to more than 0.
    pub destinations: Arc<[WeightedDestination]>,
}

/// `match[]`: all that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConnectionMatch {
    /// `sniHosts`: what the client asks TLS for; empty in `tcp`, never in `tls`.
    pub sni: Arc<[HostPattern]>,
    /// `destinationSubnets`: what the client addressed; empty: anything.
    pub destinations: Arc<[IpNet]>,
    /// `port`: the port that the client addressed.
    pub port: Option<Port>,
    /// `sourceNamespace` and `sourceLabels`.
    pub client: Client,
    /// It has a condition that is not understood, or that no sidecar meets: it matches no connection.
    pub never: bool,
}
