//! Destinations that are not there, or not to be seen: hosts, ports and subsets.

use model::{Code, Destination, ExportTo, Finding, Hostname, Namespace};

use super::Found;
use crate::mesh::Mesh;
use crate::scope::Scope;
use crate::service::MeshService;

/// A destination, where it stands, and what it is for.
pub(super) struct Asked<'a> {
    /// The destination.
    pub(super) destination: &'a Destination,
    /// Its field.
    pub(super) at: String,
    /// What comes of it while it is not there.
    pub(super) effect: &'static str,
    /// Whether the port must be named where there are several: connections go on to the port that they came for.
    pub(super) needs_port: bool,
}

/// What is to be said of a destination of a namespace.
pub(super) fn of(mesh: &Mesh, namespace: &Namespace, asked: &Asked<'_>, found: &mut Found) {
    let missing = Code::ReferencedResourceNotFound;
    let effect = asked.effect;
    let mut warn = |field: &str, code, message, hint| {
        let finding = Finding::warning(code, message, hint);
        found.push((format!("{}.{field}", asked.at), finding));
    };
    let scope = Scope::of(namespace.clone());
    let Destination { host, subset, port } = asked.destination;
    let Some(target) = mesh.reached(&scope, host) else {
        let (message, hint) = unseen(mesh, namespace, host);
        return warn("host", missing, message, format!("{hint}; {effect}"));
    };
    if port.is_some_and(|port| target.port(port).is_none()) {
        let hint = format!("it has: {}; {effect}", ports_of(target));
        let message = format!("{host} has no such port");
        warn("port.number", missing, message, hint);
    }
    if port.is_none() && asked.needs_port && target.ports.len() > 1 {
        let message = format!("{host} has several ports and the route names none");
        let ports = ports_of(target);
        let hint = format!("set destination.port.number to one of: {ports}");
        warn("host", Code::DestinationPortSelectorRequired, message, hint);
    }
    let rules = mesh.rules(&scope, &target.host, target.namespace());
    let unmade = subset.as_ref().filter(|name| rules.subset(name).is_none());
    if let Some(subset) = unmade {
        let message = format!(
            "no DestinationRule that {namespace} sees makes a subset {subset} of {}",
            target.host
        );
        let hint = format!("add the subset to the host's DestinationRule; {effect}");
        warn("subset", missing, message, hint);
    }
}

/// Why a namespace does not see a service, and what to do.
pub(super) fn unseen(
    mesh: &Mesh,
    namespace: &Namespace,
    host: &Hostname,
) -> (String, &'static str) {
    let hidden = |export_to: &ExportTo| !export_to.shows_to(namespace);
    let services = mesh.services().all(host);
    let alias = mesh.aliases().get(host);
    let all_hidden = services.iter().all(|service| hidden(&service.export_to));
    if (!services.is_empty() && all_hidden) || alias.is_some_and(|alias| hidden(&alias.export_to)) {
        let message = format!("{host} is not exported to namespace {namespace}");
        return (message, "add the namespace to its `exportTo`");
    }
    if let Some(alias) = alias {
        let message = format!("{host} stands for {}, which does not exist", alias.target);
        return (message, "correct its `externalName`");
    }
    let message = format!("no service {host} exists");
    (
        message,
        "create the Service or ServiceEntry, or correct the host",
    )
}

/// The ports of a service, for people.
pub(super) fn ports_of(service: &MeshService) -> String {
    let numbers: Vec<String> = service
        .ports
        .iter()
        .map(|port| port.number.to_string())
        .collect();
    numbers.join(", ")
}
