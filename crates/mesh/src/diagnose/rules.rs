//! DestinationRules that meet nothing: no host, port, endpoint or caller, and those that contradict others.

mod security;

use model::{
    Code, DestinationRule, Finding, HashKey, HostPattern, Labels, Layer, LoadBalancer, Object,
    ObjectKey, PortPolicy, Subset, TrafficPolicy,
};

use super::destination::{ports_of, unseen};
use super::{Found, unmatched};
use crate::instance::instances;
use crate::mesh::Mesh;
use crate::scope::Scope;
use crate::service::MeshService;

/// What Envoy leaves out at most where nothing is said, in percent.
const MAX_EJECTION: u32 = 10;

/// What is to be said of a rule.
pub(super) fn of_rule(mesh: &Mesh, object: &Object, rule: &DestinationRule) -> Found {
    let namespace = &object.key.namespace;
    let mut found = rivals(mesh, &object.key, rule);
    if let Some(selector) = &rule.workload_selector {
        let field = "spec.workloadSelector.matchLabels";
        found.extend(unmatched(mesh, namespace, selector, field));
    }
    let HostPattern::Exact(host) = &rule.host else {
        return found;
    };
    let scope = Scope::of(namespace.clone());
    let Some(service) = mesh.services().visible(&scope, host) else {
        let (message, hint) = match mesh.reached(&scope, host) {
            Some(target) => (
                format!("{host} is another name of {}", target.host),
                "write the rule for that host: it holds under each of its names",
            ),
            None => unseen(mesh, namespace, host),
        };
        let finding = Finding::warning(Code::UnknownDestinationRuleHost, message, hint);
        found.push(("spec.host".to_owned(), finding));
        return found;
    };
    let labels: Vec<Labels> = instances(mesh, service)
        .into_iter()
        .map(|instance| instance.labels)
        .collect();
    let whole = "spec.trafficPolicy";
    of_policy(service, labels.len(), &rule.policy, whole, &mut found);
    for (index, subset) in rule.subsets.iter().enumerate() {
        let at = format!("spec.subsets[{index}]");
        let own = labels.iter().filter(|own| own.contain(&subset.labels));
        let count = own.count();
        if count == 0 && !labels.is_empty() {
            let finding = without_endpoints(service, subset);
            found.push((format!("{at}.labels"), finding));
        }
        let at = format!("{at}.trafficPolicy");
        of_policy(service, count, &subset.policy, &at, &mut found);
    }
    found.extend(security::of_rule(mesh, service, rule));
    found
}

fn without_endpoints(service: &MeshService, subset: &Subset) -> Finding {
    let message = format!(
        "no endpoint of {} bears the labels of subset {}",
        service.host, subset.name
    );
    let hint = "label the pods, or correct the subset; until then requests to it get 503";
    Finding::warning(Code::SubsetSelectsNothing, message, hint)
}

/// What of a policy has no effect on the endpoints to which it applies.
fn of_policy(
    service: &MeshService,
    endpoints: usize,
    policy: &TrafficPolicy,
    at: &str,
    found: &mut Found,
) {
    let in_ports = format!("{at}.portLevelSettings");
    let speaks_http = service.ports.iter().any(|port| port.layer() != Layer::Tcp);
    let mut warn = |at: String, (message, hint): (String, String)| {
        found.push((at, Finding::warning(Code::NoEffect, message, hint)));
    };
    if hashes_requests(&policy.default) && !speaks_http {
        warn(format!("{at}.loadBalancer.consistentHash"), no_requests());
    }
    let ejection = ejects_nobody(service, endpoints, &policy.default);
    if let Some(said) = ejection {
        warn(format!("{at}.outlierDetection"), said);
    }
    for (number, own) in &policy.ports {
        let Some(port) = service.port(*number) else {
            let message = format!("{} has no port {number}", service.host);
            let hint = format!("ports are those of the service: {}", ports_of(service));
            warn(in_ports.clone(), (message, hint));
            continue;
        };
        if hashes_requests(own) && port.layer() == Layer::Tcp {
            warn(in_ports.clone(), no_requests());
        }
        if let Some(said) = ejects_nobody(service, endpoints, own) {
            warn(in_ports.clone(), said);
        }
    }
}

fn hashes_requests(policy: &PortPolicy) -> bool {
    let balancer = policy.load_balancer.as_ref().map(|lb| &lb.policy);
    let Some(LoadBalancer::ConsistentHash(hash)) = balancer else {
        return false;
    };
    match hash.key {
        Some(HashKey::Header(_) | HashKey::Cookie(_) | HashKey::QueryParameter(_)) => true,
        Some(HashKey::SourceIp) | None => false,
    }
}

fn no_requests() -> (String, String) {
    let message = "what is hashed stands in HTTP requests, and this is TCP: any endpoint is chosen";
    let hint = "write `useSourceIp: true`, or declare the port's protocol";
    (message.to_owned(), hint.to_owned())
}

/// Envoy leaves out whole endpoints, and no more than a share of them.
fn ejects_nobody(
    service: &MeshService,
    endpoints: usize,
    policy: &PortPolicy,
) -> Option<(String, String)> {
    let ejection = policy.outlier_detection.as_ref()?;
    let percent = ejection.max_ejection_percent.unwrap_or(MAX_EJECTION);
    let count = u32::try_from(endpoints).ok().filter(|count| *count > 0)?;
    let is_known = !service.resolves_by_dns() && !service.is_open();
    let enough = 100_u32.div_ceil(count);
    (is_known && percent < enough).then(|| {
        let message =
            format!("{percent} % of the {count} there are is less than one endpoint, so none is ever left out");
        let hint = format!("set `maxEjectionPercent` to {enough} or more");
        (message, hint)
    })
}

/// What older rules of the namespace for the same host and the same callers say already.
fn rivals(mesh: &Mesh, key: &ObjectKey, rule: &DestinationRule) -> Found {
    let under = mesh.destination_rules().under(&rule.host);
    let older = under.take_while(|other| *other != key);
    let older = older.filter(|other| other.namespace == key.namespace);
    let older = older.filter_map(|other| Some((other, mesh.destination_rule(other)?)));
    let older: Vec<_> = older
        .filter(|(_, other)| other.workload_selector == rule.workload_selector)
        .collect();
    let says = |policy: &TrafficPolicy| *policy != TrafficPolicy::default();
    let mut found = Vec::new();
    let mut warn = |field: String, message: String| {
        let hint = "put what holds for one host into one DestinationRule";
        let finding = Finding::warning(Code::Conflict, message, hint);
        found.push((field, finding));
    };
    let rival = older.iter().find(|(_, other)| says(&other.policy));
    if let Some((rival, _)) = rival.filter(|_| says(&rule.policy)) {
        let message = format!("{rival} has a policy for this host already; this one is ignored");
        warn("spec.trafficPolicy".to_owned(), message);
    }
    for (index, subset) in rule.subsets.iter().enumerate() {
        let makes =
            |other: &DestinationRule| other.subsets.iter().any(|own| own.name == subset.name);
        if let Some((rival, _)) = older.iter().find(|(_, other)| makes(other)) {
            let name = &subset.name;
            let message =
                format!("{rival} makes a subset {name} of this host already; this one is ignored");
            warn(format!("spec.subsets[{index}].name"), message);
        }
    }
    found
}
