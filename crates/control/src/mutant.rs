//! Built-in sabotage: each mutant breaks one promise, so that the tests of that promise can be seen to fail.
//! Only under the feature `mutants`, which no release has.

use std::str::FromStr;
use std::sync::Arc;

use ir::model::MtlsMode;
use ir::{Authorization, AuthorizationFilter, InboundPort, Node, UpstreamTls, VirtualInbound};

/// A promise to break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutant {
    /// What is gone stays in the views.
    DroppedRemoval,
    /// What changed stays as it was first seen.
    StaleEntry,
    /// Bytes depend on what came before.
    ArrivalOrder,
    /// Proxies whose view changed are not named.
    UntoldProxies,
    /// Clusters of subsets are not made, though routes lead to them.
    MissingCluster,
    /// No AuthorizationPolicy reaches a proxy.
    NoAuthorization,
    /// Nobody speaks or demands mutual TLS.
    NoMutualTls,
}

impl Mutant {
    /// Every mutant with its name on the command line.
    pub const ALL: [(&'static str, Self); 7] = [
        ("dropped-removal", Self::DroppedRemoval),
        ("stale-entry", Self::StaleEntry),
        ("arrival-order", Self::ArrivalOrder),
        ("untold-proxies", Self::UntoldProxies),
        ("missing-cluster", Self::MissingCluster),
        ("no-authorization", Self::NoAuthorization),
        ("no-mutual-tls", Self::NoMutualTls),
    ];

    /// The node as this mutant would have it.
    pub(crate) fn spoil(self, node: Node) -> Node {
        match (self, node) {
            (Self::NoAuthorization, Node::AuthorizationFilter(filter)) => {
                Node::AuthorizationFilter(AuthorizationFilter {
                    authorization: Authorization::default(),
                    ..filter
                })
            }
            (Self::NoMutualTls, Node::VirtualInbound(inbound)) => {
                Node::VirtualInbound(plaintext(&inbound))
            }
            (Self::NoMutualTls, Node::Cluster(cluster)) => Node::Cluster(ir::Cluster {
                tls: UpstreamTls::Plaintext,
                ..cluster
            }),
            (_, node) => node,
        }
    }
}

fn plaintext(inbound: &VirtualInbound) -> VirtualInbound {
    let mtls = MtlsMode::Disable;
    let port = |port: &InboundPort| InboundPort {
        mtls,
        ..port.clone()
    };
    VirtualInbound {
        ports: inbound.ports.iter().map(port).collect(),
        passthrough: mtls,
        passthrough_ports: inbound
            .passthrough_ports
            .iter()
            .map(|(port, _)| (*port, mtls))
            .collect::<Arc<[_]>>(),
        ..inbound.clone()
    }
}

impl FromStr for Mutant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, mutant)| mutant).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.into_iter().map(|(name, _)| name).collect();
            format!("{text:?} is no mutant; there are: {}", names.join(", "))
        })
    }
}
