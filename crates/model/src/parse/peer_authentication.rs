//! PeerAuthentication: whether workloads ask for mutual TLS.

use std::collections::BTreeMap;

use istio_api::MutualTlsMode;

use super::RefusedScope;
use super::notes::{At, Notes, SPEC};
use crate::{MtlsMode, PeerAuthentication, Port};

/// Reads `spec`, and for whom it was meant.
pub(super) fn read(
    wire: istio_api::PeerAuthenticationSpec,
    notes: &mut Notes<'_>,
) -> (Option<PeerAuthentication>, Option<RefusedScope>) {
    let istio_api::PeerAuthenticationSpec {
        selector,
        mtls,
        port_level_mtls,
    } = wire;
    notes.not_misspelt(&SPEC.field("selector"), &selector);
    notes.not_misspelt(&SPEC.field("mtls"), &mtls);
    notes.not_misspelt(&SPEC.field("portLevelMtls"), &port_level_mtls);
    let at = SPEC.field("selector");
    let selector = notes.match_labels(&at, selector);
    let readable = !(notes.has_error_under(&at) || notes.has_wrong(&SPEC));
    let scope = readable.then(|| match &selector {
        Some(selector) => RefusedScope::Workloads(selector.clone()),
        None => RefusedScope::Namespace,
    });
    let at = SPEC.field("portLevelMtls");
    if !port_level_mtls.is_empty() && selector.is_none() {
        let message = "`portLevelMtls` needs a `selector`";
        notes.refuse(
            &at,
            message,
            "ports are those of the workloads that are selected",
        );
    }
    let policy = PeerAuthentication {
        selector,
        mode: mtls.and_then(|wire| read_mode(&wire, &SPEC.field("mtls"), notes)),
        ports: ports(port_level_mtls, &at, notes),
    };
    (Some(policy), scope)
}

fn ports(
    wire: BTreeMap<String, istio_api::MutualTls>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> BTreeMap<Port, Option<MtlsMode>> {
    let mut found = BTreeMap::new();
    for (port, wire) in wire {
        let at = at.field(&port);
        let mode = read_mode(&wire, &at, notes);
        match port.parse().ok().and_then(Port::new) {
            Some(port) => {
                found.insert(port, mode);
            }
            None => notes.refuse(
                &at,
                format!("{port:?} is not a port"),
                "it must be 1 to 65535",
            ),
        }
    }
    found
}

/// The mode; none is inherited. A misspelt `mode` must not open what its author wanted closed.
fn read_mode(wire: &istio_api::MutualTls, at: &At<'_>, notes: &mut Notes<'_>) -> Option<MtlsMode> {
    let istio_api::MutualTls { mode } = wire;
    if mode.is_none() && notes.has_unknown_under(at) {
        notes.missing(&at.field("mode"), "an unknown field stands in its place");
    }
    match mode.unwrap_or(MutualTlsMode::Unset) {
        MutualTlsMode::Unset => None,
        MutualTlsMode::Disable => Some(MtlsMode::Disable),
        MutualTlsMode::Permissive => Some(MtlsMode::Permissive),
        MutualTlsMode::Strict => Some(MtlsMode::Strict),
    }
}
