//! How Envoy finds the endpoints of a cluster, and how it chooses among them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use envoy::{ClusterDiscoveryType, DiscoveryType, LbPolicy};
use envoy_api::envoy::config::cluster::v3::cluster as envoy;
use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_api::envoy::extensions::clusters::common::dns::v3::DnsLookupFamily;
use envoy_api::envoy::extensions::clusters::dns::v3::DnsCluster;
use envoy_api::pack;
use ir::model::{EndpointAddress, LoadBalancer};
use ir::{Cluster, Discovery, Endpoints};

use crate::dynamic_dns;
use crate::endpoint::dns_assignment;
use crate::load_balancer;
use crate::proto::{ads, duration};

/// Envoy's own address when it calls the app beside it. The capture rules leave connections from it alone.
const INBOUND_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// How often names are looked up again where their records do not say (Istio: MeshConfig `dnsRefreshRate`).
pub(crate) const DNS_REFRESH: Duration = Duration::from_secs(60);
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
            Discovery::Inbound => Self {
                bind: Some(inbound_source()),
                ..Self::original()
            },
            Discovery::DynamicDns => Self {
                kind: dynamic_dns::cluster_type(),
                ..Self::original()
            },
            Discovery::OriginalDestination => Self::original(),
            // `PASSTHROUGH` chooses nobody: the caller did.
            Discovery::Eds | Discovery::StrictDns(_) | Discovery::LogicalDns(_)
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
            Discovery::StrictDns(endpoints) => Self::dns(
                cluster,
                endpoints,
                dns_assignment(name, endpoints, usize::MAX),
                false,
            ),
            Discovery::LogicalDns(endpoints) => {
                let assignment = dns_assignment(name, endpoints, 1);
                // Envoy demands exactly one endpoint of a logical DNS cluster; the strict kind may have none.
                let is_logical = !assignment.endpoints.is_empty();
                Self::dns(cluster, endpoints, assignment, is_logical)
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
        endpoints: &Endpoints,
        assignment: ClusterLoadAssignment,
        is_logical: bool,
    ) -> Self {
        let config = DnsCluster {
            dns_refresh_rate: Some(duration(cluster.dns_refresh.unwrap_or(DNS_REFRESH))),
            dns_jitter: Some(duration(DNS_JITTER)),
            respect_dns_ttl: true,
            dns_lookup_family: family(endpoints).into(),
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

/// IPv4, unless the endpoints say that there is only IPv6.
fn family(endpoints: &Endpoints) -> DnsLookupFamily {
    let mut addresses = endpoints
        .localities
        .iter()
        .flat_map(|locality| locality.endpoints.iter())
        .map(|endpoint| &endpoint.address)
        .peekable();
    let only_v6 = addresses.peek().is_some()
        && addresses.all(|address| matches!(address, EndpointAddress::Ip(IpAddr::V6(_))));
    if only_v6 {
        DnsLookupFamily::V6Only
    } else {
        DnsLookupFamily::V4Only
    }
}

fn inbound_source() -> core::BindConfig {
    core::BindConfig {
        source_address: Some(core::SocketAddress {
            address: INBOUND_SOURCE.to_string(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(0)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use ir::model::ConnectionPool;
    use ir::{ClusterName, UpstreamProtocol, UpstreamTls};

    use super::*;

    fn way(discovery: Discovery, load_balancer: LoadBalancer) -> Way {
        let cluster = Cluster {
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
        };
        Way::of(&cluster, "c")
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
        let bind = way(Discovery::Inbound, LoadBalancer::LeastRequest)
            .bind
            .unwrap();
        assert_eq!(bind.source_address.unwrap().address, "127.0.0.6");
    }
}
