//! What people read: what changed, what is wrong with the objects, what a proxy refused and whose fault that is.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use control::{Origin, Update};
use mesh::Mesh;
use model::{Diagnostic, ObjectKey, Severity};
use tracing_subscriber::EnvFilter;
use xds::{Accused, Kind};

use crate::plane::Refused;

/// More objects or resources than this are counted instead of named.
const NAMED: usize = 20;

/// Sends the log to standard error, for people or as JSON, a line an event.
///
/// # Errors
/// When `levels` is not a list of levels.
pub fn start(levels: &str, json: bool) -> Result<(), String> {
    let filter = EnvFilter::try_new(levels)
        .map_err(|error| format!("--log_output_level {levels}: {error}"))?;
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if json {
        log.json().flatten_event(true).init();
    } else {
        log.with_target(false).with_ansi(colours).init();
    }
    Ok(())
}

/// Tells what changed.
pub fn changed(update: &Update, mesh: &Mesh, took: Duration) {
    let Update {
        epoch,
        changed,
        proxies,
    } = update;
    if changed.is_empty() {
        return;
    }
    let what = if changed.len() <= NAMED && *epoch > 1 {
        changed
            .iter()
            .map(|key| now(key, mesh))
            .collect::<Vec<_>>()
            .join(", ")
    } else {
        by_kind(changed.iter())
    };
    tracing::info!(epoch, ?took, proxies = proxies.len(), "changed: {what}");
}

fn now(key: &ObjectKey, mesh: &Mesh) -> String {
    let snapshot = mesh.snapshot();
    let state = match (mesh.object(key), snapshot.refused.contains_key(key)) {
        (None, false) => "removed".to_owned(),
        (_, true) => "rejected".to_owned(),
        (Some(object), false) => match object.place.file.as_deref() {
            Some(file) => place(file, object.place.line_of("")),
            None => return key.to_string(),
        },
    };
    format!("{key} ({state})")
}

fn by_kind<'a>(keys: impl Iterator<Item = &'a ObjectKey>) -> String {
    let mut counts: BTreeMap<model::Kind, usize> = BTreeMap::new();
    for key in keys {
        *counts.entry(key.kind).or_default() += 1;
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    counts.join(", ")
}

fn place(file: &str, line: Option<u32>) -> String {
    match line {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    }
}

/// Tells which diagnostics came and which went.
pub fn diagnostics(came: &[Diagnostic], went: &[Diagnostic]) {
    for new in came {
        match new.severity {
            Severity::Error => tracing::error!("{new}"),
            Severity::Warning => tracing::warn!("{new}"),
            Severity::Info => tracing::info!("{new}"),
        }
    }
    for old in went {
        tracing::info!("no longer: {old}");
    }
}

/// Tells what a proxy refused, and which objects that came from.
pub fn refused(refused: &Refused, origins: impl Fn(Kind, &Accused) -> Vec<Origin>) {
    let Refused {
        stream,
        kind,
        message,
        accused,
    } = refused;
    let (proxy, kind_name) = (stream.node.proxy_id(), kind.short());
    if accused.is_empty() {
        tracing::warn!(proxy, "{proxy} refused {kind_name}: {message}");
    }
    for accused in accused.iter().take(NAMED) {
        let origins: Vec<String> = origins(*kind, accused).iter().map(origin).collect();
        let (name, origins) = (&accused.name, origins.join(", "));
        tracing::warn!(
            proxy,
            "{proxy} refused {kind_name} {name} (from {origins}): {message}"
        );
    }
    if let Some(more) = accused.len().checked_sub(NAMED).filter(|more| *more > 0) {
        tracing::warn!(proxy, "{proxy} refused {more} more {kind_name}: {message}");
    }
}

fn origin(origin: &Origin) -> String {
    let Origin { object, file, line } = origin;
    match file.as_deref() {
        Some(file) => format!("{object} {}", place(file, *line)),
        None => object.to_string(),
    }
}
