//! How Envoy finds the endpoints of a cluster, and how it chooses among them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use envoy::{ClusterDiscoveryType, DiscoveryType, LbPolicy};
use envoy_api::envoy::config::cluster::v3::cluster as envoy;
use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_api::envoy::extensions::clusters::common::dns::v3::DnsLookupFamily;
use envoy_api::envoy::extensions::clusters::dns::v3::DnsCluster;
use envoy_api::pack;
use ir::model::{Families, LoadBalancer};
use ir::{Cluster, Discovery};

use crate::dynamic_dns;
use crate::endpoint::dns_assignment;
use crate::load_balancer;
use crate::proto::{ads, duration};

/// Envoy's own address when it calls the app beside it. The capture rules leave connections from it alone.
const INBOUND_SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));
/// The same for an app that is called by IPv6; the agent gives it to the pod.
const INBOUND_SOURCE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6));
/// How often names are looked up again where their records do not say (Istio: MeshConfig `dnsRefreshRate`).
pub(crate) const DNS_REFRESH: Duration = Duration::from_secs(60);
/// Envoy wants more than a millisecond.
const SHORTEST_DNS_REFRESH: Duration = Duration::from_nanos(1_000_001);
/// How far look-ups of many proxies drift apart (Istio: `PILOT_DNS_JITTER_DURATION`).
const DNS_JITTER: Duration = Duration::from_millis(100);

/// How endpoints are found, and what follows from it.
pub(crate) struct Way {
    pub kind: ClusterDiscoveryType,
    pub load_balancer: LbPolicy,
    pub eds: Option<envoy::EdsClusterConfig>,
    pub assignment: Option<ClusterLoadAssignment>,
    pub bind: Option<core::BindConfig>,
}

impl Way {
    /// The way of a cluster of this name.
    pub(crate) fn of(cluster: &Cluster, name: &str) -> Self {
        match &cluster.discovery {
            Discovery::Nothing => Self::plain(DiscoveryType::Static, LbPolicy::RoundRobin),
            Discovery::Inbound(families) => Self {
                bind: Some(inbound_source(*families)),
                ..Self::original()
            },
            Discovery::DynamicDns(families) => Self {
                kind: dynamic_dns::cluster_type(*families),
                ..Self::original()
            },
            Discovery::OriginalDestination => Self::original(),
            // `PASSTHROUGH` chooses nobody: the caller did.
            Discovery::Eds | Discovery::StrictDns(..) | Discovery::LogicalDns(..)
                if cluster.load_balancer == LoadBalancer::Passthrough =>
            {
                Self::original()
            }
            Discovery::Eds => Self {
                eds: Some(envoy::EdsClusterConfig {
                    eds_config: Some(ads()),
                    service_name: name.to_owned(),
                }),
                ..Self::plain(
                    DiscoveryType::Eds,
                    load_balancer::policy(&cluster.load_balancer),
                )
            },
            Discovery::StrictDns(endpoints, families) => Self::dns(
                cluster,
                *families,
                dns_assignment(name, endpoints, usize::MAX),
                false,
            ),
            Discovery::LogicalDns(endpoints, families) => {
                let assignment = dns_assignment(name, endpoints, 1);
                // Envoy demands exactly one endpoint of a logical DNS cluster; the strict kind may have none.
                let is_logical = !assignment.endpoints.is_empty();
                Self::dns(cluster, *families, assignment, is_logical)
            }
        }
    }

    fn plain(kind: DiscoveryType, load_balancer: LbPolicy) -> Self {
        Self {
            kind: ClusterDiscoveryType::Type(kind.into()),
            load_balancer,
            eds: None,
            assignment: None,
            bind: None,
        }
    }

    fn original() -> Self {
        Self::plain(DiscoveryType::OriginalDst, LbPolicy::ClusterProvided)
    }

    /// By DNS. Envoy's extension rather than its `STRICT_DNS` and `LOGICAL_DNS`, whose settings are deprecated.
    fn dns(
        cluster: &Cluster,
        families: Families,
        assignment: ClusterLoadAssignment,
        is_logical: bool,
    ) -> Self {
        let refresh = cluster.dns_refresh.unwrap_or(DNS_REFRESH);
        let config = DnsCluster {
            dns_refresh_rate: Some(duration(refresh.max(SHORTEST_DNS_REFRESH))),
            dns_jitter: Some(duration(DNS_JITTER)),
            respect_dns_ttl: true,
            dns_lookup_family: family(families).into(),
            all_addresses_in_single_endpoint: is_logical,
            ..Default::default()
        };
        Self {
            kind: ClusterDiscoveryType::ClusterType(envoy::CustomClusterType {
                name: "envoy.cluster.dns".to_owned(),
                typed_config: Some(pack(&config)),
            }),
            assignment: Some(assignment),
            ..Self::plain(
                DiscoveryType::Static,
                load_balancer::policy(&cluster.load_balancer),
            )
        }
    }
}

/// Of both families, where there are both: the address that answers first is taken.
fn family(families: Families) -> DnsLookupFamily {
    match families {
        Families::V4 => DnsLookupFamily::V4Only,
        Families::V6 => DnsLookupFamily::V6Only,
        Families::Dual => DnsLookupFamily::All,
    }
}

/// Envoy takes the one of the app's family.
fn inbound_source(families: Families) -> core::BindConfig {
    let source = |address: IpAddr| core::SocketAddress {
        address: address.to_string(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(0)),
        ..Default::default()
    };
    let (first, other) = match families {
        Families::V4 => (INBOUND_SOURCE, None),
        Families::V6 => (INBOUND_SOURCE_V6, None),
        Families::Dual => (INBOUND_SOURCE, Some(INBOUND_SOURCE_V6)),
    };
    let other = other.map(|address| core::ExtraSourceAddress {
        address: Some(source(address)),
        ..Default::default()
    });
    core::BindConfig {
        source_address: Some(source(first)),
        extra_source_addresses: other.into_iter().collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use ir::model::ConnectionPool;
    use ir::{ClusterName, Endpoints, UpstreamProtocol, UpstreamTls};

    use super::*;

    fn way(discovery: Discovery, load_balancer: LoadBalancer) -> Way {
        Way::of(&cluster(discovery, load_balancer), "c")
    }

    fn cluster(discovery: Discovery, load_balancer: LoadBalancer) -> Cluster {
        Cluster {
            name: ClusterName::BlackHole,
            discovery,
            dns_refresh: None,
            load_balancer,
            weighs_localities: false,
            warmup: None,
            connection_pool: ConnectionPool::default(),
            outlier_detection: None,
            retry_budget: None,
            proxy_protocol: None,
            protocol: UpstreamProtocol::Tcp,
            tls: UpstreamTls::Plaintext,
            service: None,
        }
    }

    #[test]
    fn names_are_looked_up_again_as_often_as_the_mesh_says() {
        let refresh = |mesh| {
            let discovery = Discovery::StrictDns(Endpoints::default(), Families::V4);
            let cluster = Cluster {
                dns_refresh: mesh,
                ..cluster(discovery, LoadBalancer::LeastRequest)
            };
            let ClusterDiscoveryType::ClusterType(kind) = Way::of(&cluster, "c").kind else {
                panic!("no DNS");
            };
            let config: DnsCluster = kind.typed_config.unwrap().unpack().unwrap().unwrap();
            config.dns_refresh_rate.unwrap().seconds
        };
        assert_eq!(refresh(None), 60);
        assert_eq!(refresh(Some(Duration::from_secs(5))), 5);
        assert_eq!(refresh(Some(Duration::from_millis(1))), 0);
    }

    #[test]
    fn eds_by_ads_under_the_clusters_name() {
        let eds = way(Discovery::Eds, LoadBalancer::LeastRequest).eds.unwrap();
        assert_eq!(eds.service_name, "c");
        let source = eds.eds_config.unwrap();
        assert_eq!(
            source.initial_fetch_timeout,
            Some(prost_types::Duration::default())
        );
        assert_eq!(source.resource_api_version, i32::from(core::ApiVersion::V3));
    }

    #[test]
    fn passthrough_goes_where_the_caller_addressed_it() {
        let way = way(Discovery::Eds, LoadBalancer::Passthrough);
        assert_eq!(
            way.kind,
            ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into())
        );
        assert_eq!(way.load_balancer, LbPolicy::ClusterProvided);
        assert!(way.eds.is_none() && way.bind.is_none());
    }

    #[test]
    fn the_app_is_called_from_an_address_that_is_not_captured() {
        let sources = |families| {
            let way = way(Discovery::Inbound(families), LoadBalancer::LeastRequest);
            let bind = way.bind.unwrap();
            let more = bind.extra_source_addresses.into_iter();
            let all = bind
                .source_address
                .into_iter()
                .chain(more.filter_map(|a| a.address));
            all.map(|source| source.address).collect::<Vec<_>>()
        };
        assert_eq!(sources(Families::V4), ["127.0.0.6"]);
        assert_eq!(sources(Families::V6), ["::6"]);
        assert_eq!(sources(Families::Dual), ["127.0.0.6", "::6"]);
    }
}
