//! `to[].operation`: what is asked for.

use super::super::notes::{At, Notes};
use super::pattern::{Both, paths as read_paths, patterns, ports as read_ports};
use crate::Operation;

/// Reads an operation; `unknown` is whether a field beside it does not exist.
pub(super) fn read(
    wire: Option<istio_api::Operation>,
    unknown: bool,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Operation {
    let empty = wire
        .as_ref()
        .is_none_or(|operation| *operation == istio_api::Operation::default());
    if empty {
        notes.missing(
            at,
            "an operation needs at least one field; leave `to` out to mean all",
        );
    }
    let istio_api::Operation {
        hosts,
        not_hosts,
        ports,
        not_ports,
        methods,
        not_methods,
        paths,
        not_paths,
    } = &wire.unwrap_or_default();
    let both = |any, yes, none, no| Both {
        any: (any, yes),
        none: (none, no),
    };
    Operation {
        hosts: both("hosts", hosts, "notHosts", not_hosts).read(at, notes, patterns),
        ports: both("ports", ports, "notPorts", not_ports).read(at, notes, read_ports),
        methods: both("methods", methods, "notMethods", not_methods).read(at, notes, patterns),
        paths: both("paths", paths, "notPaths", not_paths).read(at, notes, read_paths),
        unknown: unknown || empty,
    }
}
