//! What of Kubernetes concerns the mesh. Kubernetes has checked these objects itself, so only what would mislead the
//! mesh is refused.

use std::net::IpAddr;
use std::sync::Arc;

use istio_api::IntOrString;

use super::notes::{At, Notes, SPEC, Written};
use super::value::text;
use crate::{
    Addressing, Code, Deployment, EndpointSlice, ExportTo, Labels, Locality, Meta, Name, Node, Pod,
    Port, PortName, Protocol, Selector, Service, ServiceAccount, ServicePort, SliceEndpoint,
    TargetPort, TrafficDistribution,
};

/// The annotation that says which namespaces see a Service.
const EXPORT_TO: &str = "networking.istio.io/exportTo";
/// The label that says to which Service an EndpointSlice belongs.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Annotation: `spec.trafficDistribution` for clusters that do not have the field.
const DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";
/// The labels that say where a Node stands.
const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const SUBZONE: &str = "topology.istio.io/subzone";

/// Reads a Service.
pub(super) fn service(wire: istio_api::Service, meta: &Meta, notes: &mut Notes<'_>) -> Service {
    let istio_api::Object {
        api_version: _,
        kind: _,
        metadata: _,
        spec,
        status: istio_api::Ignored,
    } = wire;
    let istio_api::ServiceSpec {
        type_,
        cluster_ip,
        cluster_ips,
        external_ips,
        ip_families: _,
        ip_family_policy: _,
        selector,
        ports,
        external_name,
        publish_not_ready_addresses,
        internal_traffic_policy,
        external_traffic_policy: _,
        traffic_distribution,
        session_affinity,
    } = spec;
    let local = internal_traffic_policy.filter(|policy| policy != "Cluster");
    let sticky = session_affinity.filter(|affinity| affinity != "None");
    if sticky.is_some() {
        notes.warn(
            &SPEC.field("sessionAffinity"),
            Code::SchemaWarning,
            "callers with a proxy do not keep to one endpoint by it, as in Istio",
            "write a DestinationRule with `loadBalancer: {consistentHash: {useSourceIp: true}}`",
        );
    }
    if !external_ips.is_empty() {
        notes.warn(
            &SPEC.field("externalIPs"),
            Code::SchemaWarning,
            "proxies do not know a Service by its external addresses, as in Istio",
            "calls to them pass as they are; call the Service by its name",
        );
    }
    let addressing = if type_.as_deref() == Some("ExternalName") {
        external(external_name, notes)
    } else {
        addressing(cluster_ip, cluster_ips, notes)
    };
    let labels: Labels = selector.into_iter().collect();
    Service {
        addressing,
        selector: Selector::new(labels),
        ports: service_ports(ports, notes),
        export_to: exported(meta, notes),
        publish_not_ready: publish_not_ready_addresses.unwrap_or(false),
        node_local: local.is_some_and(|policy| policy == "Local"),
        distribution: distribution(traffic_distribution, meta, notes),
    }
}

/// The host that a Service stands for; a name may end in a dot. What is none leads nowhere.
fn external(name: Option<String>, notes: &mut Notes<'_>) -> Addressing {
    let at = SPEC.field("externalName");
    let Some(name) = name else {
        notes.missing(&at, "name the host that the Service stands for");
        return Addressing::Headless;
    };
    match notes.name(&at, name.trim_end_matches('.')) {
        Some(host) => Addressing::ExternalName(host),
        None => Addressing::Headless,
    }
}

/// Kubernetes' field, else Istio's annotation for clusters that do not have it.
fn distribution(wire: Option<String>, meta: &Meta, notes: &mut Notes<'_>) -> TrafficDistribution {
    let of_word = |word: &str| match word.to_ascii_lowercase().as_str() {
        "preferclose" | "prefersamezone" => Some(TrafficDistribution::SameZone),
        "prefersamenode" => Some(TrafficDistribution::SameNode),
        _ => None,
    };
    let annotated = || meta.annotations.get(DISTRIBUTION).and_then(of_word);
    let Some(word) = wire else {
        return annotated().unwrap_or_default();
    };
    let found = of_word(&word);
    if found.is_none() {
        notes.warn(
            &SPEC.field("trafficDistribution"),
            Code::SchemaWarning,
            format!("{word:?} is not known"),
            "no endpoint is preferred; write PreferClose, PreferSameZone or PreferSameNode",
        );
    }
    found.unwrap_or_default()
}

fn addressing(one: Option<String>, all: Vec<String>, notes: &mut Notes<'_>) -> Addressing {
    let (at, all) = match all.is_empty() {
        true => (SPEC.field("clusterIP"), one.into_iter().collect()),
        false => (SPEC.field("clusterIPs"), all),
    };
    let all: Vec<String> = all.into_iter().filter(|text| !text.is_empty()).collect();
    match all.first().map(String::as_str) {
        None => Addressing::Allocated,
        Some("None") => Addressing::Headless,
        Some(_) => {
            let found: Vec<IpAddr> = all.iter().filter_map(|text| notes.ip(&at, text)).collect();
            Addressing::Cluster(found.into())
        }
    }
}

fn exported(meta: &Meta, notes: &mut Notes<'_>) -> ExportTo {
    let names = meta.annotations.get(EXPORT_TO).unwrap_or_default();
    let names: Vec<String> = names
        .split(',')
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    let at = At::root("metadata");
    let at = at.field("annotations");
    notes.export_to(&at.field(EXPORT_TO), &names)
}

fn service_ports(wire: Vec<istio_api::ServicePort>, notes: &mut Notes<'_>) -> Arc<[ServicePort]> {
    let at = SPEC.field("ports");
    let several = wire.len() > 1;
    let mut found = Vec::with_capacity(wire.len());
    for (index, wire) in wire.into_iter().enumerate() {
        let at = at.item(index);
        if several && wire.name.is_none() {
            notes.missing(&at.field("name"), "with several ports each needs a name");
        }
        found.extend(service_port(wire, &at, notes));
    }
    found.into()
}

/// One port; none when it is not TCP, which no proxy captures.
fn service_port(
    wire: istio_api::ServicePort,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<ServicePort> {
    let istio_api::ServicePort {
        name,
        protocol,
        app_protocol,
        port,
        target_port,
        node_port: _,
    } = wire;
    if !is_tcp(protocol.as_deref()) {
        return None;
    }
    if port.is_none() {
        notes.missing(&at.field("port"), "give the number of the port");
    }
    let number = notes.port(&at.field("port"), port)?;
    let name = port_name(name, &at.field("name"), notes);
    let target_at = at.field("targetPort");
    let target = match target_port {
        None | Some(IntOrString::Int(0)) => TargetPort::Number(number),
        Some(IntOrString::Int(port)) => TargetPort::Number(notes.port(&target_at, Some(port))?),
        Some(IntOrString::String(name)) => TargetPort::Named(notes.name(&target_at, &name)?),
    };
    let protocol = Protocol::select(app_protocol.as_deref(), name.as_ref(), number);
    if protocol == Protocol::Auto {
        notes.info(
            &at.field("name"),
            Code::PortNameNotUnderConvention,
            format!("nothing says what is spoken on port {number}: it is found out per connection"),
            "set `appProtocol`, or begin the port's name with http-, grpc-, tcp- and so on",
        );
    }
    Some(ServicePort {
        name,
        number,
        target,
        protocol,
    })
}

fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol.is_empty() || protocol == "TCP")
}

fn port_name(name: Option<String>, at: &At<'_>, notes: &mut Notes<'_>) -> Option<PortName> {
    let name = name.filter(|name| !name.is_empty())?;
    notes.name(at, &name)
}

/// Reads an EndpointSlice.
pub(super) fn endpoint_slice(
    wire: istio_api::EndpointSlice,
    meta: &Meta,
    notes: &mut Notes<'_>,
) -> EndpointSlice {
    let istio_api::EndpointSlice {
        api_version: _,
        kind: _,
        metadata: _,
        address_type,
        endpoints,
        ports,
    } = wire;
    let names = address_type.filter(|kind| kind == "FQDN");
    let hint = "endpoints that are names are left out";
    notes.not_yet_with(&At::root("addressType"), &names, hint);
    let at = At::root("metadata");
    let at = at.field("labels");
    let service: Option<Name> = meta
        .labels
        .get(SERVICE_NAME)
        .and_then(|name| notes.name(&at.field(SERVICE_NAME), name));
    let at = At::root("endpoints");
    let mut found = Vec::with_capacity(endpoints.len());
    for (index, endpoint) in endpoints.into_iter().enumerate() {
        if !names.is_written() {
            found.push(slice_endpoint(endpoint, &at.item(index), notes));
        }
    }
    EndpointSlice {
        service,
        endpoints: found.into(),
        ports: slice_ports(ports, notes),
    }
}

fn slice_ports(
    wire: Vec<istio_api::EndpointPort>,
    notes: &mut Notes<'_>,
) -> Arc<[(Option<PortName>, Port)]> {
    let at = At::root("ports");
    let mut found = Vec::with_capacity(wire.len());
    for (index, wire) in wire.into_iter().enumerate() {
        let at = at.item(index);
        let istio_api::EndpointPort {
            name,
            port,
            protocol,
            app_protocol: _,
        } = wire;
        if is_tcp(protocol.as_deref()) {
            let name = port_name(name, &at.field("name"), notes);
            let port = notes.port(&at.field("port"), port);
            found.extend(port.map(|port| (name, port)));
        }
    }
    found.into()
}

fn slice_endpoint(wire: istio_api::Endpoint, at: &At<'_>, notes: &mut Notes<'_>) -> SliceEndpoint {
    let istio_api::Endpoint {
        addresses,
        conditions,
        hostname,
        node_name: _,
        zone,
        target_ref,
    } = wire;
    let istio_api::EndpointConditions {
        ready,
        serving,
        terminating,
    } = conditions;
    let address_at = at.field("addresses");
    let mut found = Vec::with_capacity(addresses.len());
    for (index, address) in addresses.iter().enumerate() {
        found.extend(notes.ip(&address_at.item(index), address));
    }
    let own = notes.namespace();
    let pod = target_ref.and_then(|wire| {
        let istio_api::ObjectReference {
            kind,
            namespace,
            name,
            uid: _,
        } = wire;
        let here = namespace.is_none_or(|namespace| namespace == own.as_str());
        let is_pod = kind.as_deref() == Some("Pod") && here;
        name.filter(|_| is_pod).and_then(|name| name.parse().ok())
    });
    let ready = ready.unwrap_or(true);
    SliceEndpoint {
        addresses: found.into(),
        ready,
        serving: serving.unwrap_or(ready),
        terminating: terminating.unwrap_or(false),
        pod,
        hostname: text(hostname),
        zone: text(zone),
    }
}

/// Reads a Node, from its labels alone.
pub(super) fn node(labels: &Labels) -> Node {
    let text = |key: &str| labels.get(key).unwrap_or_default().into();
    Node {
        locality: Locality {
            region: text(REGION),
            zone: text(ZONE),
            subzone: text(SUBZONE),
        },
    }
}

/// Reads a Pod.
pub(super) fn pod(wire: istio_api::Pod, notes: &mut Notes<'_>) -> Pod {
    let istio_api::Object {
        api_version: _,
        kind: _,
        metadata: _,
        spec,
        status,
    } = wire;
    let istio_api::PodSpec {
        service_account_name,
        host_network,
        node_name,
        hostname,
        subdomain,
        init_containers,
        containers,
    } = spec;
    let at = SPEC.field("serviceAccountName");
    let account: Option<ServiceAccount> = service_account_name
        .filter(|name| !name.is_empty())
        .and_then(|name| notes.name(&at, &name));
    let mut ports = Vec::new();
    let at = SPEC.field("initContainers");
    for (index, container) in init_containers.into_iter().enumerate() {
        // Only a native sidecar goes on listening.
        if container.restart_policy.as_deref() == Some("Always") {
            container_ports(container, &at.item(index), &mut ports, notes);
        }
    }
    let at = SPEC.field("containers");
    for (index, container) in containers.into_iter().enumerate() {
        container_ports(container, &at.item(index), &mut ports, notes);
    }
    let (addresses, ready) = pod_status(status, notes);
    Pod {
        service_account: account.unwrap_or_else(ServiceAccount::default_account),
        addresses,
        ports: ports.into(),
        host_network: host_network.unwrap_or(false),
        hostname: text(hostname).zip(text(subdomain)),
        node: node_name.and_then(|name| name.parse().ok()),
        ready,
    }
}

fn container_ports(
    wire: istio_api::Container,
    at: &At<'_>,
    found: &mut Vec<(Option<PortName>, Port)>,
    notes: &mut Notes<'_>,
) {
    let istio_api::Container {
        name: _,
        ports,
        restart_policy: _,
    } = wire;
    let at = at.field("ports");
    for (index, wire) in ports.into_iter().enumerate() {
        let at = at.item(index);
        let istio_api::ContainerPort {
            name,
            container_port,
            protocol,
        } = wire;
        if is_tcp(protocol.as_deref()) {
            let name = port_name(name, &at.field("name"), notes);
            let port = notes.port(&at.field("containerPort"), container_port);
            found.extend(port.map(|port| (name, port)));
        }
    }
}

/// The addresses, and whether the Pod may be called. One without status is a workload of a folder: it may.
fn pod_status(wire: istio_api::PodStatus, notes: &mut Notes<'_>) -> (Arc<[IpAddr]>, bool) {
    let istio_api::PodStatus {
        phase,
        pod_ip,
        pod_ips,
        conditions,
    } = wire;
    let at = At::root("status");
    let all: Vec<String> = if pod_ips.is_empty() {
        pod_ip.into_iter().collect()
    } else {
        pod_ips
            .into_iter()
            .filter_map(|istio_api::PodIp { ip }| ip)
            .collect()
    };
    let at = at.field("podIPs");
    let addresses: Vec<IpAddr> = all.iter().filter_map(|text| notes.ip(&at, text)).collect();
    let condition = conditions.into_iter().find_map(|wire| {
        let istio_api::PodCondition { type_, status } = wire;
        (type_.as_deref() == Some("Ready")).then(|| status.as_deref() == Some("True"))
    });
    let running = phase.is_none_or(|phase| phase == "Running");
    (addresses.into(), running && condition.unwrap_or(true))
}

/// Reads a Deployment.
pub(super) fn deployment(wire: istio_api::Deployment) -> Deployment {
    let istio_api::Object {
        api_version: _,
        kind: _,
        metadata: _,
        spec: istio_api::DeploymentSpec { template },
        status: istio_api::Ignored,
    } = wire;
    let istio_api::PodTemplate { metadata } = template;
    Deployment {
        template_labels: metadata.labels.into_iter().collect(),
    }
}
