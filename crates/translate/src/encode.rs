//! Nodes as bytes: the parts that resources are made of.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use envoy_api::envoy::config::route::v3::RouteConfiguration;
use ir::model::EnvoyMinor;
use ir::{
    AuthorizationFilter, AuthorizationStage, ClusterName, Custom, Node, OutboundListener,
    OutboundTraffic, RouteAction, TcpBackend, VirtualHost,
};
use prost::Message;

use crate::forward::clusters_of;
use crate::{
    authorization_filter, cluster, name_table, outbound_listener, route_configuration,
    virtual_host, virtual_inbound, virtual_outbound,
};

/// A node, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The whole message of a cluster or listener. Of a route table what stands around its virtual hosts, of a virtual
    /// host the field that holds it: joined they are the RouteConfiguration. Of a name one entry of the NameTable.
    pub body: Bytes,
    /// The outbound clusters that must be there before Envoy uses this, ordered. Clusters that every proxy has are not
    /// named.
    pub needs: Arc<[ClusterName]>,
}

/// Translates and encodes a node for an Envoy.
#[must_use]
pub fn encode(node: &Node, envoy: EnvoyMinor) -> Encoded {
    match node {
        Node::Cluster(node) => alone(&cluster(node, envoy)),
        Node::RouteTable(node) => alone(&route_configuration(node)),
        Node::VirtualHost(node) => Encoded {
            body: bytes(&RouteConfiguration {
                virtual_hosts: vec![virtual_host(node, envoy)],
                ..Default::default()
            }),
            needs: ordered(clusters_of_host(node)),
        },
        Node::OutboundListener(node) => Encoded {
            body: bytes(&outbound_listener(node, envoy)),
            needs: ordered(clusters_of_listener(node)),
        },
        Node::VirtualOutbound(node) => alone(&virtual_outbound(node, envoy)),
        Node::VirtualInbound(node) => alone(&virtual_inbound(node, envoy)),
        Node::AuthorizationFilter(node) => Encoded {
            body: bytes(&authorization_filter(node)),
            needs: ordered(cluster_of_provider(node)),
        },
        Node::NameEntry(node) => alone(&name_table(node)),
    }
}

fn alone(message: &impl Message) -> Encoded {
    Encoded {
        body: bytes(message),
        needs: Arc::new([]),
    }
}

fn bytes(message: &impl Message) -> Bytes {
    Bytes::from(message.encode_to_vec())
}

fn ordered<'a>(clusters: impl Iterator<Item = &'a ClusterName>) -> Arc<[ClusterName]> {
    // What every proxy has is live.
    let outbound: BTreeSet<&ClusterName> = clusters
        .filter(|cluster| match cluster {
            ClusterName::Outbound { .. } | ClusterName::AllowAnyDynamicDns => true,
            ClusterName::Inbound(_)
            | ClusterName::BlackHole
            | ClusterName::Passthrough
            | ClusterName::InboundPassthrough => false,
        })
        .collect();
    outbound.into_iter().cloned().collect()
}

fn clusters_of_host(host: &VirtualHost) -> impl Iterator<Item = &ClusterName> {
    let forwarding = host.routes.iter().filter_map(|route| match &route.action {
        RouteAction::Forward(forward) => Some(forward),
        RouteAction::Redirect(_) | RouteAction::Respond { status: _, body: _ } => None,
    });
    forwarding.flat_map(clusters_of)
}

/// The cluster of the provider, where this filter asks one.
fn cluster_of_provider(filter: &AuthorizationFilter) -> impl Iterator<Item = &ClusterName> {
    let provider = match (&filter.authorization.custom, filter.name.stage) {
        (Some(Custom::Ask(provider, _)), AuthorizationStage::Custom) => Some(provider),
        (Some(Custom::Ask(..) | Custom::Refuse(_)) | None, _) => None,
    };
    provider.map(|provider| &provider.cluster).into_iter()
}

fn clusters_of_listener(listener: &OutboundListener) -> impl Iterator<Item = &ClusterName> {
    let rest: Option<&TcpBackend> = match &listener.traffic {
        OutboundTraffic::Tcp(backend) | OutboundTraffic::Detect(_, backend) => Some(backend),
        OutboundTraffic::Http(_) | OutboundTraffic::Fallback => None,
    };
    let chosen = listener.chosen.iter().map(|chosen| &chosen.backend);
    let clusters = chosen
        .chain(rest)
        .flat_map(|backend| backend.clusters.iter());
    clusters.map(|share| &share.cluster)
}

#[cfg(test)]
mod tests {
    use ir::model::{Headers, Port, Share};
    use ir::{Backend, Forward, Mirror, Route, RouteTable, RouteTableName, WeightedBackend};

    use super::*;

    fn subset(name: &str) -> ClusterName {
        ClusterName::Outbound {
            port: Port::new(80).unwrap(),
            subset: name.parse().ok(),
            host: "cart.shop.svc.cluster.local".parse().unwrap(),
        }
    }

    fn to(name: ClusterName, weight: u32) -> WeightedBackend {
        WeightedBackend {
            backend: Backend::Cluster {
                name,
                service: None,
                alpn: None,
                hash: None,
            },
            weight,
            headers: Headers::default(),
        }
    }

    fn host(name: &str, backends: Vec<WeightedBackend>) -> VirtualHost {
        VirtualHost {
            name: name.into(),
            domains: Arc::new([name.into()]),
            routes: Arc::new([Route::of(
                "default",
                RouteAction::Forward(Forward::among(backends)),
            )]),
        }
    }

    #[test]
    fn a_route_table_is_its_head_and_its_parts_joined() {
        let table = RouteTable {
            name: RouteTableName::Port(Port::new(80).unwrap()),
        };
        let hosts = ["a", "b"].map(|name| host(name, vec![to(subset("v1"), 1)]));
        let whole = RouteConfiguration {
            virtual_hosts: hosts
                .iter()
                .map(|host| virtual_host(host, EnvoyMinor::NEWEST))
                .collect(),
            ..route_configuration(&table)
        };
        let mut joined = encode(&Node::RouteTable(table), EnvoyMinor::NEWEST)
            .body
            .to_vec();
        for part in hosts {
            joined.extend(encode(&Node::VirtualHost(part), EnvoyMinor::NEWEST).body);
        }
        assert_eq!(RouteConfiguration::decode(&*joined).unwrap(), whole);
    }

    #[test]
    fn a_part_needs_the_clusters_that_get_requests() {
        let backends = vec![
            to(subset("v2"), 10),
            to(subset("v1"), 90),
            to(subset("v3"), 0),
            to(ClusterName::Passthrough, 1),
        ];
        let encoded = encode(&Node::VirtualHost(host("a", backends)), EnvoyMinor::NEWEST);
        assert_eq!(&*encoded.needs, [subset("v1"), subset("v2")]);
        let alone = encode(
            &Node::VirtualHost(host("a", vec![to(subset(""), 0)])),
            EnvoyMinor::NEWEST,
        );
        assert_eq!(&*alone.needs, [subset("")]);
    }

    #[test]
    fn a_route_to_nowhere_needs_no_cluster_for_copies() {
        let nowhere = Forward {
            mirrors: Arc::new([Mirror {
                cluster: subset("v1"),
                in_mesh: true,
                share: Share::ALL,
            }]),
            ..Forward::to(Backend::Missing {
                wanted: "cart".into(),
            })
        };
        let mut part = host("a", Vec::new());
        part.routes = Arc::new([Route::of("default", RouteAction::Forward(nowhere))]);
        assert!(
            encode(&Node::VirtualHost(part), EnvoyMinor::NEWEST)
                .needs
                .is_empty()
        );
    }
}
