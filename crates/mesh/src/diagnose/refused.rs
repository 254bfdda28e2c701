//! What a refused object means for traffic: its last good version holds, or something closes, or nothing does.

use model::{Code, Diagnostic, Finding, HostPattern, HttpAction, Kind, Severity, VirtualService};
use store::{Refusal, RefusedScope};

use super::Found;
use super::hosts::conflicts;
use crate::mesh::Mesh;

/// The most hosts that one message names.
const MAX_HOSTS: usize = 5;

const CORRECT: &str = "correct the object, or delete it";

/// What is to be said of a refused object, beside why it was refused.
#[must_use]
pub fn diagnose_refused(mesh: &Mesh, refusal: &Refusal) -> Vec<Diagnostic> {
    let findings = match mesh.object(&refusal.key) {
        Some(_) => stale(refusal),
        None => without_good_version(mesh, refusal),
    };
    let at = |(field, finding): (String, Finding)| {
        Diagnostic::at(&refusal.key, &refusal.place, &field, finding)
    };
    findings.into_iter().map(at).collect()
}

fn stale(refusal: &Refusal) -> Found {
    let mut own = refusal.diagnostics.iter();
    if own.any(|diagnostic| diagnostic.code == Code::Stale) {
        return Vec::new();
    }
    let message = "this version is rejected, so the last good version of the object still holds";
    vec![(
        String::new(),
        Finding::warning(Code::Stale, message, CORRECT),
    )]
}

fn without_good_version(mesh: &Mesh, refusal: &Refusal) -> Found {
    match refusal.key.kind {
        Kind::VirtualService => of_routes(mesh, refusal),
        Kind::AuthorizationPolicy | Kind::PeerAuthentication => {
            vec![rejected("spec.selector", &of_policy(mesh, refusal))]
        }
        Kind::DestinationRule => vec![rejected(
            "spec.host",
            "its host is served as if there were no such rule, and it makes no subset",
        )],
        Kind::ServiceEntry
        | Kind::WorkloadEntry
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Pod
        | Kind::Node
        | Kind::Namespace
        | Kind::ServiceAccount
        | Kind::Deployment
        | Kind::MeshConfig => vec![rejected("", "everything is as if it did not exist")],
    }
}

fn rejected(field: &str, consequence: &str) -> (String, Finding) {
    let message = format!("no good version of the object is known: {consequence}");
    let finding = Finding {
        severity: Severity::Error,
        code: Code::Rejected,
        message,
        hint: CORRECT.to_owned(),
    };
    (field.to_owned(), finding)
}

fn of_routes(mesh: &Mesh, refusal: &Refusal) -> Found {
    let at = "spec.hosts";
    let Some(RefusedScope::Hosts(service)) = &refusal.scope else {
        if let Some(root) = mesh.delegating_to(&refusal.key).next() {
            let consequence = format!("requests that {root} delegates to it are answered with 503");
            return vec![rejected(at, &consequence)];
        }
        let consequence = "it cannot be read for which hosts and proxies it is, so it claims none, \
             and requests are routed as if it did not exist";
        return vec![rejected(at, consequence)];
    };
    let nothing = |why: &str| vec![rejected(at, &format!("{why}, so it changes nothing"))];
    if !service.in_mesh {
        return nothing("it is for gateways, which are not translated yet");
    }
    let Some(reason) = reason_of(service) else {
        return nothing("it routes TCP and TLS only, which go where they would without it");
    };
    let conflicts = conflicts(mesh, &refusal.key, service);
    let is_lost = |index: usize| conflicts.iter().any(|(lost, _)| *lost == index);
    let hosts = service.hosts.iter().enumerate();
    let claimed: Vec<&HostPattern> = hosts
        .filter(|(index, _)| !is_lost(*index))
        .map(|(_, host)| host)
        .collect();
    let mut found: Found = conflicts
        .iter()
        .map(|(_, finding)| (at.to_owned(), finding.clone()))
        .collect();
    if !claimed.is_empty() {
        let consequence = format!(
            "HTTP requests of sidecars to {} are answered with 503, other connections are as before: {reason}",
            listed(&claimed)
        );
        found.push(rejected(at, &consequence));
    }
    found
}

fn reason_of(service: &VirtualService) -> Option<&str> {
    service.http.iter().find_map(|route| match &route.action {
        HttpAction::Unavailable(reason) => Some(&**reason),
        HttpAction::Route(_)
        | HttpAction::Redirect(_)
        | HttpAction::DirectResponse { .. }
        | HttpAction::Delegate(_) => None,
    })
}

fn listed(hosts: &[&HostPattern]) -> String {
    let named: Vec<String> = hosts
        .iter()
        .take(MAX_HOSTS)
        .map(ToString::to_string)
        .collect();
    let named = named.join(", ");
    match hosts.len().saturating_sub(MAX_HOSTS) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn of_policy(mesh: &Mesh, refusal: &Refusal) -> String {
    let namespace = &refusal.key.namespace;
    if *namespace == mesh.config().root_namespace {
        return "in the root namespace it would close the whole mesh, so it denies nothing".into();
    }
    let workloads = match &refusal.scope {
        Some(RefusedScope::Namespace) => format!("the workloads of namespace {namespace}"),
        Some(RefusedScope::Workloads(_)) => {
            format!("the workloads of namespace {namespace} that it selects")
        }
        Some(RefusedScope::Hosts(_)) | None => {
            return "it cannot be read which sidecars it is for, so it denies nothing".into();
        }
    };
    match refusal.key.kind {
        Kind::PeerAuthentication => format!("{workloads} accept mutual TLS only"),
        _ => format!("{workloads} refuse every request"),
    }
}
