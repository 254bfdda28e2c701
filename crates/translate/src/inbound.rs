//! The inbound listener: for each port of the workload the chains that its mutual TLS mode and its protocol call for.

use envoy_api::envoy::config::core::v3::TrafficDirection;
use envoy_api::envoy::config::listener::v3 as envoy;
use envoy_api::envoy::r#type::v3::Int32Range;
use ir::model::{EnvoyMinor, MtlsMode, Port, TrustDomains};
use ir::{ClusterName, InboundPort, InboundTraffic, VirtualInbound};

use crate::common::Common;
use crate::inbound_chain::{Target, chains};
use crate::listener::{
    INBOUND_PORT, any_address, http_inspector, listener, original_dst, tls_inspector,
};
use crate::tcp_proxy::black_hole;

/// The listener that captures inbound connections.
#[must_use]
pub fn virtual_inbound(inbound: &VirtualInbound, envoy: EnvoyMinor) -> envoy::Listener {
    let VirtualInbound {
        families,
        trust_domains,
        ports,
        passthrough,
        passthrough_ports,
        settings,
    } = inbound;
    let common = Common { settings, envoy };
    let other = |port, mtls| any_port(port, mtls, trust_domains, common);
    let mut filter_chains = vec![blackhole()];
    filter_chains.extend(other(None, *passthrough));
    filter_chains.extend(
        passthrough_ports
            .iter()
            // Two chains that match alike would cost the whole listener.
            .filter(|(port, _)| !ports.iter().any(|declared| declared.port == *port))
            .flat_map(|(port, mtls)| other(Some(*port), *mtls)),
    );
    filter_chains.extend(
        ports
            .iter()
            .flat_map(|port| declared(port, trust_domains, common)),
    );
    let silent = server_first(ports);
    let direction = TrafficDirection::Inbound;
    envoy::Listener {
        listener_filters: vec![
            original_dst(),
            except(tls_inspector(), silent.clone()),
            except(http_inspector(), silent),
        ],
        filter_chains,
        ..listener(
            "virtualInbound".to_owned(),
            any_address(*families),
            INBOUND_PORT,
            direction,
            common,
        )
    }
}

/// A connection to the capturing port itself would come back for ever.
fn blackhole() -> envoy::FilterChain {
    envoy::FilterChain {
        name: "virtualInbound-blackhole".to_owned(),
        filter_chain_match: Some(envoy::FilterChainMatch {
            destination_port: Some(INBOUND_PORT.into()),
            ..Default::default()
        }),
        filters: vec![black_hole()],
        ..Default::default()
    }
}

/// The chains of a port that a service declares.
fn declared(
    inbound: &InboundPort,
    trust_domains: &TrustDomains,
    common: Common<'_>,
) -> Vec<envoy::FilterChain> {
    let InboundPort {
        port,
        traffic,
        mtls,
        service,
    } = inbound;
    let target = Target {
        port: Some(*port),
        cluster: ClusterName::Inbound(*port),
        service: Some(service),
        trust_domains,
        common,
    };
    chains(&target, *traffic, *mtls)
}

/// The chains of all other ports, or of one that has a rule of its own.
fn any_port(
    port: Option<Port>,
    mtls: MtlsMode,
    trust_domains: &TrustDomains,
    common: Common<'_>,
) -> Vec<envoy::FilterChain> {
    let target = Target {
        port,
        cluster: ClusterName::InboundPassthrough,
        service: None,
        trust_domains,
        common,
    };
    chains(&target, InboundTraffic::Detect, mtls)
}

/// The ports on which nobody may wait for the caller's first bytes: plaintext whose server may speak first. No other
/// port is named here, so that a new one changes filter chains only and drains no connection.
fn server_first(ports: &[InboundPort]) -> Vec<Port> {
    ports
        .iter()
        .filter(|port| port.traffic == InboundTraffic::Tcp && port.mtls == MtlsMode::Disable)
        .map(|port| port.port)
        .collect()
}

/// An inspector that leaves these ports alone.
fn except(inspector: envoy::ListenerFilter, ports: Vec<Port>) -> envoy::ListenerFilter {
    use envoy::listener_filter_chain_match_predicate::{MatchSet, Rule};
    let mut rules: Vec<envoy::ListenerFilterChainMatchPredicate> = ports
        .into_iter()
        .map(|port| envoy::ListenerFilterChainMatchPredicate {
            rule: Some(Rule::DestinationPortRange(Int32Range {
                start: i32::from(port.get()),
                end: i32::from(port.get()) + 1,
            })),
        })
        .collect();
    let filter_disabled = match rules.len() {
        0 | 1 => rules.pop(),
        // Envoy takes sets of two and more.
        _ => Some(envoy::ListenerFilterChainMatchPredicate {
            rule: Some(Rule::OrMatch(MatchSet { rules })),
        }),
    };
    envoy::ListenerFilter {
        filter_disabled,
        ..inspector
    }
}

#[cfg(test)]
mod tests {
    use ir::model::{Families, ListenerSettings, TrustDomain};
    use ir::{InboundTraffic, ServiceRef};

    use super::*;

    fn port(number: i64, traffic: InboundTraffic, mtls: MtlsMode) -> InboundPort {
        InboundPort {
            port: Port::new(number).unwrap(),
            traffic,
            mtls,
            service: ServiceRef {
                host: "cart.shop.svc.cluster.local".into(),
                name: "cart".into(),
                namespace: "shop".into(),
                in_mesh: true,
            },
        }
    }

    fn listener(ports: Vec<InboundPort>) -> envoy::Listener {
        virtual_inbound(
            &VirtualInbound {
                families: Families::V4,
                trust_domains: TrustDomains::new(TrustDomain::cluster_local(), []),
                ports: ports.into(),
                passthrough: MtlsMode::default(),
                passthrough_ports: [].into(),
                settings: ListenerSettings::default(),
            },
            EnvoyMinor::NEWEST,
        )
    }

    /// Of a port: transport protocol, ALPN, whether mutual TLS is spoken, in the order of the chains.
    fn matrix(listener: &envoy::Listener, port: Option<u32>) -> Vec<(String, String, bool)> {
        listener
            .filter_chains
            .iter()
            .filter(|chain| chain.name != "virtualInbound-blackhole")
            .filter_map(|chain| Some((chain.filter_chain_match.as_ref()?, chain)))
            .filter(|(found, _)| found.destination_port == port)
            .map(|(found, chain)| {
                let words = found.application_protocols.join(",");
                (
                    found.transport_protocol.clone(),
                    words,
                    chain.transport_socket.is_some(),
                )
            })
            .collect()
    }

    fn case(transport: &str, words: &str, mutual_tls: bool) -> (String, String, bool) {
        (transport.to_owned(), words.to_owned(), mutual_tls)
    }

    #[test]
    fn the_matrix_is_istios() {
        use InboundTraffic::{Detect, Http, Tcp};
        let all = "istio-http/1.0,istio-http/1.1,istio-h2,istio";
        let http = "istio-http/1.0,istio-http/1.1,istio-h2";
        let plain = "http/1.0,http/1.1,h2c";
        for (traffic, mode, expected) in [
            (Http, MtlsMode::Strict, vec![case("tls", "", true)]),
            (
                Http,
                MtlsMode::Permissive,
                vec![case("tls", all, true), case("raw_buffer", "", false)],
            ),
            (
                Tcp,
                MtlsMode::Permissive,
                vec![
                    case("tls", all, true),
                    case("raw_buffer", "", false),
                    case("tls", "", false),
                ],
            ),
            (
                Detect,
                MtlsMode::Permissive,
                vec![
                    case("tls", http, true),
                    case("raw_buffer", plain, false),
                    case("tls", "istio", true),
                    case("raw_buffer", "", false),
                    case("tls", "", false),
                ],
            ),
            (
                Detect,
                MtlsMode::Strict,
                vec![case("tls", http, true), case("tls", "", true)],
            ),
            (Tcp, MtlsMode::Disable, vec![case("raw_buffer", "", false)]),
        ] {
            let found = matrix(&listener(vec![port(80, traffic, mode)]), Some(80));
            assert_eq!(found, expected, "{traffic:?} {mode:?}");
        }
        assert_eq!(
            matrix(&listener(vec![]), None).len(),
            5,
            "passthrough detects"
        );
    }

    #[test]
    fn a_new_port_changes_no_field_of_the_listener_but_its_chains() {
        use InboundTraffic::{Detect, Http, Tcp};
        let one = listener(vec![port(80, Http, MtlsMode::Permissive)]);
        let two = listener(vec![
            port(80, Http, MtlsMode::Permissive),
            port(81, Detect, MtlsMode::Disable),
            port(82, Tcp, MtlsMode::Strict),
        ]);
        let without = |listener| envoy::Listener {
            filter_chains: Vec::new(),
            ..listener
        };
        assert_eq!(without(one), without(two));
    }

    #[test]
    fn nobody_waits_where_a_plaintext_server_may_speak_first() {
        let tcp = |number| port(number, InboundTraffic::Tcp, MtlsMode::Disable);
        for ports in [vec![tcp(25)], vec![tcp(25), tcp(3306)]] {
            let listener = listener(ports);
            let [original, tls, http] = &*listener.listener_filters else {
                panic!("{listener:?}");
            };
            assert!(original.filter_disabled.is_none());
            assert!(tls.filter_disabled.is_some() && http.filter_disabled.is_some());
        }
    }
}
