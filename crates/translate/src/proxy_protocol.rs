//! The PROXY protocol: connections begin with the caller's address, before TLS.

use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::extensions::transport_sockets::proxy_protocol::v3 as envoy;
use envoy_api::pack;
use ir::Cluster;
use ir::model::ProxyProtocol;

use crate::cluster::TransportSockets;
use crate::tls::plaintext_socket;

/// The same ways with the header before each, where the cluster wants one.
pub(crate) fn wrap(cluster: &Cluster, sockets: TransportSockets) -> TransportSockets {
    let Some(version) = cluster.proxy_protocol else {
        return sockets;
    };
    let (socket, mut matches) = sockets;
    if socket.is_none() && matches.is_empty() {
        return (Some(with_header(version, plaintext_socket())), matches);
    }
    for one in &mut matches {
        one.transport_socket = one
            .transport_socket
            .take()
            .map(|inner| with_header(version, inner));
    }
    (socket.map(|inner| with_header(version, inner)), matches)
}

fn with_header(version: ProxyProtocol, inner: core::TransportSocket) -> core::TransportSocket {
    let version = match version {
        ProxyProtocol::V1 => core::proxy_protocol_config::Version::V1,
        ProxyProtocol::V2 => core::proxy_protocol_config::Version::V2,
    };
    let config = envoy::ProxyProtocolUpstreamTransport {
        config: Some(core::ProxyProtocolConfig {
            version: version.into(),
            ..Default::default()
        }),
        transport_socket: Some(inner),
        ..Default::default()
    };
    core::TransportSocket {
        name: "envoy.transport_sockets.upstream_proxy_protocol".to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(pack(
            &config,
        ))),
    }
}
