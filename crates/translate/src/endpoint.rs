//! Endpoints: the assignment of a cluster, by locality.

use bytes::Bytes;
use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::config::endpoint::v3 as envoy;
use ir::model::{EndpointAddress, Locality, Port};
use ir::{Endpoint, Endpoints, Health, LocalityEndpoints, WorkloadRef};
use prost::Message as _;

use crate::proto::{address_of, fit_weights, metadata, socket_address, strings};
use crate::telemetry::key;

/// The metadata that Envoy chooses a transport socket by.
const SOCKET_MATCH: &str = "envoy.transport_socket_match";

/// The whole ClusterLoadAssignment of a cluster, encoded.
#[must_use]
pub fn encode_endpoints(name: &str, endpoints: &Endpoints) -> Bytes {
    Bytes::from(load_assignment(name, endpoints).encode_to_vec())
}

/// The assignment of an EDS cluster. Names that somebody would have to resolve have no place in it and are left out.
#[must_use]
pub fn load_assignment(name: &str, endpoints: &Endpoints) -> envoy::ClusterLoadAssignment {
    assignment(name, endpoints, usize::MAX, |address| match address {
        EndpointAddress::Ip(_) | EndpointAddress::Unix(_) => true,
        EndpointAddress::Dns(_) => false,
    })
}

/// The assignment that stands in a DNS cluster, cut to `most` endpoints. Sockets have no place in it.
pub(crate) fn dns_assignment(
    name: &str,
    endpoints: &Endpoints,
    most: usize,
) -> envoy::ClusterLoadAssignment {
    assignment(name, endpoints, most, |address| match address {
        EndpointAddress::Ip(_) | EndpointAddress::Dns(_) => true,
        EndpointAddress::Unix(_) => false,
    })
}

fn assignment(
    name: &str,
    endpoints: &Endpoints,
    most: usize,
    has_place: impl Fn(&EndpointAddress) -> bool,
) -> envoy::ClusterLoadAssignment {
    let mut left = most;
    let localities = endpoints.localities.iter().filter_map(|locality| {
        let chosen: Vec<&Endpoint> = locality
            .endpoints
            .iter()
            .filter(|endpoint| has_place(&endpoint.address))
            .take(left)
            .collect();
        left -= chosen.len();
        (!chosen.is_empty()).then(|| locality_endpoints(locality, &chosen))
    });
    envoy::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: localities.collect(),
        ..Default::default()
    }
}

fn locality_endpoints(
    locality: &LocalityEndpoints,
    endpoints: &[&Endpoint],
) -> envoy::LocalityLbEndpoints {
    let weights: Vec<u32> = endpoints
        .iter()
        .map(|endpoint| endpoint.weight.max(1))
        .collect();
    let Locality {
        region,
        zone,
        subzone,
    } = &locality.locality;
    envoy::LocalityLbEndpoints {
        locality: Some(core::Locality {
            region: region.to_string(),
            zone: zone.to_string(),
            sub_zone: subzone.to_string(),
        }),
        lb_endpoints: endpoints
            .iter()
            .zip(fit_weights(&weights))
            .map(|(endpoint, weight)| lb_endpoint(endpoint, weight))
            .collect(),
        priority: locality.priority,
        load_balancing_weight: locality.weight,
        ..Default::default()
    }
}

fn lb_endpoint(endpoint: &Endpoint, weight: u32) -> envoy::LbEndpoint {
    let Endpoint {
        address: location,
        more_addresses,
        port,
        weight: _, // as the others of its locality allow
        health,
        mesh_tls,
        workload,
    } = endpoint;
    let status = match health {
        Health::Healthy => core::HealthStatus::Healthy,
        Health::Draining => core::HealthStatus::Draining,
    };
    let tls_mode = if *mesh_tls { "istio" } else { "" };
    envoy::LbEndpoint {
        health_status: status.into(),
        metadata: metadata([
            (SOCKET_MATCH, strings([("tlsMode", tls_mode)])),
            (key::NAMESPACE, workload_fields(workload)),
        ]),
        load_balancing_weight: Some(weight),
        host_identifier: Some(envoy::lb_endpoint::HostIdentifier::Endpoint(
            envoy::Endpoint {
                address: Some(address(location, *port)),
                additional_addresses: more_addresses
                    .iter()
                    .map(|more| envoy::endpoint::AdditionalAddress {
                        address: Some(socket_address(*more, port.get())),
                    })
                    .collect(),
                ..Default::default()
            },
        )),
    }
}

fn address(location: &EndpointAddress, port: Port) -> core::Address {
    let socket = |address: String| {
        address_of(core::SocketAddress {
            address,
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(
                port.get().into(),
            )),
            ..Default::default()
        })
    };
    match location {
        EndpointAddress::Ip(address) => socket(address.to_string()),
        EndpointAddress::Dns(host) => socket(host.to_string()),
        EndpointAddress::Unix(path) => core::Address {
            address: Some(core::address::Address::Pipe(core::Pipe {
                path: path.to_string(),
                ..Default::default()
            })),
        },
    }
}

fn workload_fields(workload: &WorkloadRef) -> prost_types::Struct {
    let WorkloadRef {
        name,
        namespace,
        canonical_service,
        canonical_revision,
        principal: _, // the certificate of the connection says it
    } = workload;
    strings([
        (key::WORKLOAD, &**name),
        (key::WORKLOAD_NAMESPACE, &**namespace),
        (key::CANONICAL_SERVICE, &**canonical_service),
        (key::CANONICAL_REVISION, &**canonical_revision),
    ])
}
