//! `from[].source`: who calls.

use super::super::notes::{At, Notes};
use super::pattern::{Both, accounts, addresses, of_tokens, patterns, principals};
use crate::Source;

/// Reads a source; `unknown` is whether a field beside it does not exist.
pub(super) fn read(
    wire: Option<istio_api::Source>,
    unknown: bool,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Source {
    let empty = wire
        .as_ref()
        .is_none_or(|source| *source == istio_api::Source::default());
    if empty {
        notes.missing(
            at,
            "a source needs at least one field; leave `from` out to mean everyone",
        );
    }
    let wire = wire.unwrap_or_default();
    accounts_stand_alone(&wire, at, notes);
    let istio_api::Source {
        principals: names,
        not_principals: not_names,
        request_principals,
        not_request_principals,
        namespaces,
        not_namespaces,
        service_accounts,
        not_service_accounts,
        trust_domains,
        not_trust_domains,
        ip_blocks,
        not_ip_blocks,
        remote_ip_blocks,
        not_remote_ip_blocks,
    } = &wire;
    let both = |any, yes, none, no| Both {
        any: (any, yes),
        none: (none, no),
    };
    Source {
        principals: both("principals", names, "notPrincipals", not_names)
            .read(at, notes, principals),
        request_principals: both(
            "requestPrincipals",
            request_principals,
            "notRequestPrincipals",
            not_request_principals,
        )
        .read(at, notes, of_tokens),
        namespaces: both("namespaces", namespaces, "notNamespaces", not_namespaces)
            .read(at, notes, patterns),
        service_accounts: both(
            "serviceAccounts",
            service_accounts,
            "notServiceAccounts",
            not_service_accounts,
        )
        .read(at, notes, accounts),
        trust_domains: both(
            "trustDomains",
            trust_domains,
            "notTrustDomains",
            not_trust_domains,
        )
        .read(at, notes, patterns),
        ip_blocks: both("ipBlocks", ip_blocks, "notIpBlocks", not_ip_blocks)
            .read(at, notes, addresses),
        remote_ip_blocks: both(
            "remoteIpBlocks",
            remote_ip_blocks,
            "notRemoteIpBlocks",
            not_remote_ip_blocks,
        )
        .read(at, notes, addresses),
        unknown: unknown || empty,
    }
}

/// Accounts name a namespace already.
fn accounts_stand_alone(wire: &istio_api::Source, at: &At<'_>, notes: &mut Notes<'_>) {
    let others = [
        &wire.principals,
        &wire.not_principals,
        &wire.namespaces,
        &wire.not_namespaces,
    ];
    if others.iter().all(|list| list.is_empty()) {
        return;
    }
    let message = "service accounts exclude principals and namespaces";
    for (name, list) in [
        ("serviceAccounts", &wire.service_accounts),
        ("notServiceAccounts", &wire.not_service_accounts),
    ] {
        if !list.is_empty() {
            notes.refuse(&at.field(name), message, "keep one of them");
        }
    }
}
