//! Outbound listeners: the one that captures connections and those that it hands them to.

use envoy_api::envoy::config::core::v3::TrafficDirection;
use envoy_api::envoy::config::listener::v3 as envoy;
use envoy_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use hcm::http_connection_manager::RouteSpecifier;
use ir::model::{EnvoyMinor, Families, OutboundTrafficPolicy};
use ir::{
    ChosenConnections, HttpFilter, OutboundListener, OutboundTraffic, PeerMetadata, RouteTableName,
    TcpBackend, VirtualOutbound,
};

use crate::common::Common;
use crate::dynamic_dns;
use crate::http_connection::{ClientCertificate, HttpConnection, http_connection};
use crate::listener::{
    OUTBOUND_PORT, any_address, fallback_cluster, http_inspector, listener, plaintext_http,
    tls_inspector,
};
use crate::proto::{ads, cidr};
use crate::tcp_proxy::{black_hole, tcp_proxy};
use crate::telemetry::Reporter;

/// A listener that captured connections are handed to by their original destination.
#[must_use]
pub fn outbound_listener(outbound: &OutboundListener, envoy: EnvoyMinor) -> envoy::Listener {
    let OutboundListener {
        name,
        families,
        chosen,
        traffic,
        fallback,
        resolves_hosts,
        settings,
    } = outbound;
    let common = Common { settings, envoy };
    let title = name.text(*families);
    let resolver = resolves_hosts.then_some(*families);
    let http = |table| http(table, &title, resolver, common);
    let mut chains = match traffic {
        // Only HTTP can be meant for this address: no inspector need wait for the first bytes.
        OutboundTraffic::Http(table) if name.address.is_some() => Chains {
            plain: vec![chain("", [http(table)])],
            ..Chains::default()
        },
        OutboundTraffic::Http(table) => {
            let rest = chain("PassthroughFilterChain", [stranger(*fallback, common)]);
            Chains::detecting(http(table), rest)
        }
        OutboundTraffic::Detect(table, backend) => {
            Chains::detecting(http(table), chain("", tcp_backend(backend, common)))
        }
        OutboundTraffic::Tcp(backend) if chosen.is_empty() => Chains {
            plain: vec![chain("", tcp_backend(backend, common))],
            ..Chains::default()
        },
        OutboundTraffic::Tcp(backend) => Chains {
            default: Some(chain("", tcp_backend(backend, common))),
            ..Chains::default()
        },
        OutboundTraffic::Fallback => Chains {
            default: Some(chain(
                "PassthroughFilterChain",
                [stranger(*fallback, common)],
            )),
            ..Chains::default()
        },
    };
    chains.choose(chosen, common);
    let port = name.port.get();
    let direction = TrafficDirection::Outbound;
    let own = name.address.as_ref().map(std::slice::from_ref);
    envoy::Listener {
        bind_to_port: Some(false),
        listener_filters: chains.inspectors,
        filter_chains: chains.plain,
        default_filter_chain: chains.default,
        ..listener(
            title,
            own.unwrap_or(any_address(*families)),
            port,
            direction,
            common,
        )
    }
}

/// The listener that all captured connections reach first.
#[must_use]
pub fn virtual_outbound(outbound: &VirtualOutbound, envoy: EnvoyMinor) -> envoy::Listener {
    let VirtualOutbound {
        families,
        fallback,
        settings,
    } = outbound;
    let common = Common { settings, envoy };
    // A connection to this port itself would be captured for ever.
    let loops = envoy::FilterChain {
        filter_chain_match: Some(envoy::FilterChainMatch {
            destination_port: Some(OUTBOUND_PORT.into()),
            ..Default::default()
        }),
        ..chain("virtualOutbound-blackhole", [black_hole()])
    };
    let rest = chain(
        "virtualOutbound-catchall-tcp",
        [stranger(*fallback, common)],
    );
    let direction = TrafficDirection::Outbound;
    envoy::Listener {
        use_original_dst: Some(true),
        filter_chains: vec![loops, rest],
        ..listener(
            "virtualOutbound".to_owned(),
            any_address(*families),
            OUTBOUND_PORT,
            direction,
            common,
        )
    }
}

/// The chains of a listener and the inspectors that they need.
#[derive(Default)]
struct Chains {
    plain: Vec<envoy::FilterChain>,
    default: Option<envoy::FilterChain>,
    inspectors: Vec<envoy::ListenerFilter>,
}

impl Chains {
    /// HTTP for what is HTTP, the other chain for the rest.
    fn detecting(http: envoy::Filter, rest: envoy::FilterChain) -> Self {
        Self {
            plain: vec![envoy::FilterChain {
                filter_chain_match: Some(plaintext_http()),
                ..chain("", [http])
            }],
            default: Some(rest),
            inspectors: vec![tls_inspector(), http_inspector()],
        }
    }

    /// Puts the chains of what is told apart before the others. Only where names tell it apart need the first bytes be
    /// waited for.
    fn choose(&mut self, chosen: &[ChosenConnections], common: Common<'_>) {
        let named = chosen.iter().any(|chosen| !chosen.sni.is_empty());
        if named && self.inspectors.is_empty() {
            self.inspectors.push(tls_inspector());
        }
        let own = chosen.iter().map(|chosen| envoy::FilterChain {
            filter_chain_match: Some(condition(chosen)),
            ..chain("", tcp_backend(&chosen.backend, common))
        });
        self.plain.splice(0..0, own);
    }
}

/// What a connection must be to be chosen.
fn condition(chosen: &ChosenConnections) -> envoy::FilterChainMatch {
    let ChosenConnections {
        sni,
        destinations,
        backend: _,
    } = chosen;
    envoy::FilterChainMatch {
        server_names: sni.iter().map(ToString::to_string).collect(),
        prefix_ranges: destinations.iter().map(cidr).collect(),
        ..Default::default()
    }
}

fn chain(name: &str, filters: impl IntoIterator<Item = envoy::Filter>) -> envoy::FilterChain {
    envoy::FilterChain {
        name: name.to_owned(),
        filters: filters.into_iter().collect(),
        ..Default::default()
    }
}

fn http(
    table: &RouteTableName,
    listener: &str,
    resolves_hosts: Option<Families>,
    common: Common<'_>,
) -> envoy::Filter {
    let resolver = resolves_hosts.map(HttpFilter::DynamicForwardProxy);
    let filters = [
        HttpFilter::PeerMetadata(PeerMetadata::Send),
        HttpFilter::GrpcStats,
        HttpFilter::Alpn,
        HttpFilter::Fault,
        HttpFilter::Cors,
        HttpFilter::Router,
    ];
    http_connection(HttpConnection {
        stat_prefix: format!("outbound_{listener};"),
        routes: RouteSpecifier::Rds(hcm::Rds {
            config_source: Some(ads()),
            route_config_name: table.to_string(),
        }),
        filters: filters.into_iter().chain(resolver).collect(),
        access_log: common.of_requests(Reporter::Source),
        paths: common.settings.path_normalization,
        client_certificate: ClientCertificate::Removed,
    })
}

/// The bytes of a connection to a backend, once the name that it asks for is resolved where that decides where to.
fn tcp_backend(backend: &TcpBackend, common: Common<'_>) -> Vec<envoy::Filter> {
    let resolver = backend
        .resolved_on
        .map(|(port, families)| dynamic_dns::sni_filter(port, families));
    let proxy = tcp_proxy(backend, common.of_connections(Reporter::Source));
    resolver.into_iter().chain([proxy]).collect()
}

fn stranger(fallback: OutboundTrafficPolicy, common: Common<'_>) -> envoy::Filter {
    let backend = TcpBackend::to(fallback_cluster(fallback));
    tcp_proxy(&backend, common.of_connections(Reporter::Source))
}

#[cfg(test)]
mod tests {
    use ir::model::{ListenerSettings, Port};
    use ir::{ClusterName, ListenerName};

    use super::*;

    fn listener(address: Option<&str>, traffic: OutboundTraffic) -> envoy::Listener {
        outbound_listener(
            &OutboundListener {
                name: ListenerName {
                    address: address.map(|text| text.parse().unwrap()),
                    port: Port::new(80).unwrap(),
                },
                families: Families::V4,
                chosen: [].into(),
                traffic,
                fallback: OutboundTrafficPolicy::RegistryOnly,
                resolves_hosts: false,
                settings: ListenerSettings::default(),
            },
            EnvoyMinor::NEWEST,
        )
    }

    #[test]
    fn the_first_bytes_are_waited_for_as_long_as_the_mesh_says() {
        let patience = |timeout| {
            let outbound = VirtualOutbound {
                families: Families::V4,
                fallback: OutboundTrafficPolicy::AllowAny,
                settings: ListenerSettings {
                    protocol_detection_timeout: timeout,
                    ..ListenerSettings::default()
                },
            };
            let listener = virtual_outbound(&outbound, EnvoyMinor::NEWEST);
            assert!(listener.continue_on_listener_filters_timeout);
            listener.listener_filters_timeout.unwrap().seconds
        };
        assert_eq!(patience(None), 0, "as long as it takes");
        assert_eq!(patience(Some(std::time::Duration::from_secs(2))), 2);
    }

    fn cluster_of(chain: &envoy::FilterChain) -> String {
        use envoy_api::envoy::extensions::filters::network::tcp_proxy::v3::{
            TcpProxy, tcp_proxy::ClusterSpecifier,
        };
        let Some(envoy::filter::ConfigType::TypedConfig(config)) = &chain.filters[0].config_type
        else {
            panic!("no configuration");
        };
        match config
            .unpack::<TcpProxy>()
            .unwrap()
            .unwrap()
            .cluster_specifier
        {
            Some(ClusterSpecifier::Cluster(name)) => name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_shared_http_listener_lets_strangers_fall_through() {
        let table = RouteTableName::Port(Port::new(80).unwrap());
        let shared = listener(None, OutboundTraffic::Http(table.clone()));
        assert_eq!(shared.name, "0.0.0.0_80");
        assert_eq!(shared.bind_to_port, Some(false));
        let http = shared.filter_chains[0].filter_chain_match.as_ref().unwrap();
        assert_eq!(http.application_protocols, ["http/1.0", "http/1.1", "h2c"]);
        let rest = shared.default_filter_chain.unwrap();
        assert_eq!(rest.name, "PassthroughFilterChain");
        assert_eq!(cluster_of(&rest), "BlackHoleCluster");

        let own = listener(Some("10.0.0.1"), OutboundTraffic::Http(table));
        assert_eq!(own.name, "10.0.0.1_80");
        assert!(own.listener_filters.is_empty() && own.default_filter_chain.is_none());
    }

    #[test]
    fn tcp_waits_for_nobodys_first_bytes() {
        let backend = TcpBackend::to(ClusterName::Passthrough);
        let tcp = listener(None, OutboundTraffic::Tcp(backend));
        assert!(tcp.listener_filters.is_empty());
        assert_eq!(cluster_of(&tcp.filter_chains[0]), "PassthroughCluster");
    }

    #[test]
    fn the_capturing_listener_never_calls_itself() {
        let capture = virtual_outbound(
            &VirtualOutbound {
                families: Families::Dual,
                fallback: OutboundTrafficPolicy::AllowAny,
                settings: ListenerSettings::default(),
            },
            EnvoyMinor::NEWEST,
        );
        assert_eq!(capture.use_original_dst, Some(true));
        assert_eq!(capture.additional_addresses.len(), 1, "and IPv6");
        let [loops, rest] = &*capture.filter_chains else {
            panic!("{capture:?}");
        };
        let own_port = loops.filter_chain_match.as_ref().unwrap().destination_port;
        assert_eq!(
            (&*loops.name, own_port),
            ("virtualOutbound-blackhole", Some(15001))
        );
        assert_eq!(cluster_of(loops), "BlackHoleCluster");
        assert_eq!(rest.name, "virtualOutbound-catchall-tcp");
        assert_eq!(cluster_of(rest), "PassthroughCluster");
    }
}
