//! What all listeners are made of: addresses, inspectors, filter chains.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use envoy_api::envoy::config::core::v3::TrafficDirection;
use envoy_api::envoy::config::listener::v3 as envoy;
use envoy_api::envoy::extensions::filters::listener::{
    http_inspector::v3::HttpInspector, original_dst::v3::OriginalDst,
    tls_inspector::v3::TlsInspector,
};
use envoy_api::{Any, pack};
use ir::model::{Families, OutboundTrafficPolicy};

use crate::access_log;
use crate::common::Common;
use crate::proto::{duration, never, socket_address};

/// Where captured outbound connections arrive.
pub const OUTBOUND_PORT: u16 = 15001;
/// Where captured inbound connections arrive.
pub const INBOUND_PORT: u16 = 15006;
/// What the HTTP inspector calls HTTP.
pub(crate) const HTTP_PROTOCOLS: [&str; 3] = ["http/1.0", "http/1.1", "h2c"];
/// What the TLS inspector calls TLS.
pub(crate) const TLS: &str = "tls";
/// What is not TLS.
pub(crate) const RAW: &str = "raw_buffer";

/// Every address of these families.
pub(crate) fn any_address(families: Families) -> &'static [IpAddr] {
    const V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    match families {
        Families::V4 => &[V4],
        Families::V6 => &[V6],
        Families::Dual => &[V4, V6],
    }
}

/// A listener without chains. It waits for the first bytes as long as the mesh says (Istio: protocolDetectionTimeout).
pub(crate) fn listener(
    name: String,
    addresses: &[IpAddr],
    port: u16,
    direction: TrafficDirection,
    common: Common<'_>,
) -> envoy::Listener {
    let mut addresses = addresses
        .iter()
        .map(|address| socket_address(*address, port));
    let timeout = common.settings.protocol_detection_timeout;
    envoy::Listener {
        name,
        address: addresses.next(),
        additional_addresses: addresses
            .map(|address| envoy::AdditionalAddress {
                address: Some(address),
                ..Default::default()
            })
            .collect(),
        traffic_direction: direction.into(),
        listener_filters_timeout: timeout.map_or_else(never, |timeout| Some(duration(timeout))),
        continue_on_listener_filters_timeout: true,
        access_log: access_log::of_strays(common),
        ..Default::default()
    }
}

/// A network filter with its configuration.
pub(crate) fn network_filter<M: prost::Message + prost::Name>(
    name: &str,
    config: &M,
) -> envoy::Filter {
    envoy::Filter {
        name: name.to_owned(),
        config_type: Some(envoy::filter::ConfigType::TypedConfig(pack(config))),
    }
}

/// Finds out whether a connection is TLS, and its ALPN.
pub(crate) fn tls_inspector() -> envoy::ListenerFilter {
    inspector(
        "envoy.filters.listener.tls_inspector",
        pack(&TlsInspector::default()),
    )
}

/// Finds out whether plaintext is HTTP. Behind the TLS inspector, whose findings it respects.
pub(crate) fn http_inspector() -> envoy::ListenerFilter {
    inspector(
        "envoy.filters.listener.http_inspector",
        pack(&HttpInspector::default()),
    )
}

/// Restores the address that the caller addressed.
pub(crate) fn original_dst() -> envoy::ListenerFilter {
    inspector(
        "envoy.filters.listener.original_dst",
        pack(&OriginalDst::default()),
    )
}

fn inspector(name: &str, config: Any) -> envoy::ListenerFilter {
    envoy::ListenerFilter {
        name: name.to_owned(),
        config_type: Some(envoy::listener_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

/// Matches plaintext HTTP, as the inspectors find it.
pub(crate) fn plaintext_http() -> envoy::FilterChainMatch {
    envoy::FilterChainMatch {
        transport_protocol: RAW.to_owned(),
        application_protocols: HTTP_PROTOCOLS.map(str::to_owned).to_vec(),
        ..Default::default()
    }
}

/// The cluster of what no route takes.
pub(crate) fn fallback_cluster(policy: OutboundTrafficPolicy) -> ir::ClusterName {
    match policy {
        // What is no HTTP names no host.
        OutboundTrafficPolicy::AllowAny | OutboundTrafficPolicy::AllowAnyDynamicDns => {
            ir::ClusterName::Passthrough
        }
        OutboundTrafficPolicy::RegistryOnly => ir::ClusterName::BlackHole,
    }
}
