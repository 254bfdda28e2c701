//! From what a user wrote to what it means: one document in, one object (or the reason why not) out.
//!
//! Parsing is total. It takes every wire struct apart field by field, and all that it finds is a [`Diagnostic`] with
//! field path and line. An object is refused when it has a wrong JSON type, an unknown enum value, a value out of
//! range, exclusive fields together, or lacks a required field; all else is applied with diagnostics. Unknown fields
//! are errors, dropped, and the rest is applied (invariant 2).

mod authorization_policy;
mod client_tls;
mod connection_pool;
mod connection_route;
mod cors;
mod decode;
mod destination_rule;
mod extension_provider;
mod fault;
mod header_operations;
mod http_answer;
mod http_match;
mod http_retry;
mod http_route;
mod kubernetes;
mod labels;
mod load_balancer;
mod locality;
mod mesh_config;
mod metadata;
mod mirror;
mod nearest;
mod notes;
mod outlier_detection;
mod peer_authentication;
mod refusal;
mod rewrite;
mod service_entry;
mod strict;
mod traffic_policy;
mod unreachable;
mod value;
mod virtual_service;
mod workload_entry;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use istio_api::{KINDS, KindInfo};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    Code, Diagnostic, Finding, Kind, Meta, Name, Namespace, Object, ObjectKey, Place, Spec,
};
use decode::{Decoded, Unknown, decode};
use nearest::Known;
use notes::Notes;

pub use refusal::{Refusal, RefusedScope};

/// The deepest nesting that an object may have (SEC 36).
pub const MAX_DEPTH: usize = 128;

/// One YAML document or JSON object, and where it stands.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// Its file and the lines of its fields.
    pub place: Place,
}

/// What a document turned out to be.
#[derive(Clone, Debug)]
pub enum Parsed {
    /// A good object, perhaps with diagnostics.
    Object(Object),
    /// An object that must not be applied.
    Refused(Refusal),
    /// An object of a kind that Lateen does not read.
    Ignored(Option<Diagnostic>),
    /// Something that has no key, and so is no object.
    Unreadable(Vec<Diagnostic>),
}

impl Parsed {
    /// Every diagnostic of the document.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Self::Object(object) => &object.diagnostics,
            Self::Refused(refusal) => &refusal.diagnostics,
            Self::Ignored(diagnostic) => diagnostic.as_slice(),
            Self::Unreadable(diagnostics) => diagnostics,
        }
    }
}

/// Reads one object of any kind. Lists are not objects: sources take them apart.
#[must_use]
pub fn parse(document: Document) -> Parsed {
    let Document { mut value, place } = document;
    let kind = match kind_of(&value) {
        Ok(Some(kind)) => kind,
        Ok(None) => return Parsed::Ignored(ignored(&value, &place)),
        Err((field, finding)) => return unreadable(&place, field, finding),
    };
    if is_too_deep(&value) {
        let finding = Finding::error(
            Code::SchemaValidation,
            format!("the object is nested more than {MAX_DEPTH} deep"),
            "no object of this kind needs that",
        );
        return unreadable(&place, "", finding);
    }
    decode::strip_nulls(&mut value);
    let metadata = value
        .as_object_mut()
        .and_then(|map| map.remove("metadata"))
        .unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let (key, meta, mut notes) = match metadata::read(kind, metadata, &place) {
        Ok(read) => read,
        Err((field, finding)) => return unreadable(&place, &field, finding),
    };
    let spec = read_spec(kind, value, &meta, &mut notes);
    finish(key, meta, spec, notes.finish(), place)
}

/// Reads a MeshConfig: the file of `--meshConfig`, or what stands in the ConfigMap `istio` under `mesh`.
#[must_use]
pub fn parse_mesh_config(document: Document) -> Parsed {
    let Document { mut value, place } = document;
    let key = ObjectKey {
        kind: Kind::MeshConfig,
        namespace: Namespace::istio_system(),
        name: Name::istio(),
    };
    let mut notes = Notes::new(key.clone(), &place);
    decode::strip_nulls(&mut value);
    let spec = mesh_config::read(value, &mut notes);
    let spec = Read {
        spec: spec.map(|config| Spec::MeshConfig(Arc::new(config))),
        scope: None,
    };
    finish(key, Meta::default(), spec, notes.finish(), place)
}

/// What came of an object's `spec`.
struct Read {
    spec: Option<Spec>,
    scope: Option<RefusedScope>,
}

impl From<Option<Spec>> for Read {
    fn from(spec: Option<Spec>) -> Self {
        Self { spec, scope: None }
    }
}

fn finish(
    key: ObjectKey,
    meta: Meta,
    read: Read,
    (refused, diagnostics): (bool, Arc<[Diagnostic]>),
    place: Place,
) -> Parsed {
    match read.spec.filter(|_| !refused) {
        Some(spec) => Parsed::Object(Object {
            key,
            meta: Arc::new(meta),
            spec,
            place: Arc::new(place),
            diagnostics,
        }),
        None => Parsed::Refused(Refusal {
            key,
            meta,
            scope: read.scope,
            place: Arc::new(place),
            diagnostics,
        }),
    }
}

/// Decodes an object of an Istio kind, and notes its unknown fields.
fn istio<S>(value: Value, notes: &mut Notes<'_>) -> S
where
    S: DeserializeOwned + Default + JsonSchema + serde::Serialize + PartialEq,
{
    let Decoded { wire, problems } = decode::<istio_api::Object<S>>(
        value,
        "",
        Unknown::Report(Known::of::<istio_api::Object<S>>),
    );
    notes.take_body(problems);
    let istio_api::Object {
        api_version: _,
        kind: _,
        metadata: _,
        spec,
        status: istio_api::Ignored,
    } = wire;
    spec
}

/// Decodes an object of a Kubernetes kind, whose other fields Kubernetes knows.
fn plain<T: DeserializeOwned + Default>(value: Value, notes: &mut Notes<'_>) -> T {
    let Decoded { wire, problems } = decode::<T>(value, "", Unknown::Drop);
    notes.take_body(problems);
    wire
}

fn read_spec(kind: Kind, value: Value, meta: &Meta, notes: &mut Notes<'_>) -> Read {
    match kind {
        Kind::VirtualService => {
            let (spec, scope) = virtual_service::read(istio(value, notes), notes);
            Read {
                spec: Some(Spec::VirtualService(Arc::new(spec))),
                scope,
            }
        }
        Kind::DestinationRule => destination_rule::read(istio(value, notes), notes)
            .map(|spec| Spec::DestinationRule(Arc::new(spec)))
            .into(),
        Kind::PeerAuthentication => {
            let (spec, scope) = peer_authentication::read(istio(value, notes), notes);
            Read {
                spec: spec.map(|spec| Spec::PeerAuthentication(Arc::new(spec))),
                scope,
            }
        }
        Kind::AuthorizationPolicy => {
            let (spec, scope) = authorization_policy::read(istio(value, notes), meta, notes);
            Read {
                spec: spec.map(|spec| Spec::AuthorizationPolicy(Arc::new(spec))),
                scope,
            }
        }
        Kind::ServiceEntry => service_entry::read(istio(value, notes), notes)
            .map(|spec| Spec::ServiceEntry(Arc::new(spec)))
            .into(),
        Kind::WorkloadEntry => {
            workload_entry::read(istio(value, notes), &notes::SPEC, Some(&meta.labels), notes)
                .map(|spec| Spec::WorkloadEntry(Arc::new(spec)))
                .into()
        }
        Kind::Service => Some(Spec::Service(Arc::new(kubernetes::service(
            plain(value, notes),
            meta,
            notes,
        ))))
        .into(),
        Kind::EndpointSlice => Some(Spec::EndpointSlice(Arc::new(kubernetes::endpoint_slice(
            plain(value, notes),
            meta,
            notes,
        ))))
        .into(),
        Kind::Pod => Some(Spec::Pod(Arc::new(kubernetes::pod(
            plain(value, notes),
            notes,
        ))))
        .into(),
        Kind::Node => Some(Spec::Node(Arc::new(kubernetes::node(&meta.labels)))).into(),
        Kind::Namespace => Some(Spec::Namespace).into(),
        Kind::ServiceAccount => Some(Spec::ServiceAccount).into(),
        Kind::Deployment => Some(Spec::Deployment(Arc::new(kubernetes::deployment(plain(
            value, notes,
        )))))
        .into(),
        Kind::MeshConfig => mesh_config::read(value, notes)
            .map(|spec| Spec::MeshConfig(Arc::new(spec)))
            .into(),
    }
}

/// The kind of an object; none when it is one that Lateen does not read.
fn kind_of(value: &Value) -> Result<Option<Kind>, (&'static str, Finding)> {
    let text = |field: &'static str| {
        let missing = || {
            let finding = Finding::error(
                Code::SchemaValidation,
                format!("`{field}` is missing"),
                "every object needs `apiVersion`, `kind` and `metadata.name`",
            );
            (field, finding)
        };
        value.get(field).and_then(Value::as_str).ok_or_else(missing)
    };
    if !value.is_object() {
        let finding = Finding::error(
            Code::SchemaValidation,
            "the document is not an object",
            "every object needs `apiVersion`, `kind` and `metadata.name`",
        );
        return Err(("", finding));
    }
    let (kind, api_version) = (text("kind")?, text("apiVersion")?);
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let served = |info: &&KindInfo| {
        info.group == group && info.kind == kind && info.versions.contains(&version)
    };
    let info = KINDS.iter().find(served);
    Ok(info.and_then(|info| {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == info.kind)
    }))
}

/// What to say of a kind that is not read: Istio's own deserve a warning, since they seem to work.
fn ignored(value: &Value, place: &Place) -> Option<Diagnostic> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let (kind, api_version) = (text("kind"), text("apiVersion"));
    let message = format!("Lateen does not read {kind} of {api_version}");
    let hint = "the object has no effect";
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let finding = if group.ends_with("istio.io") || group == "gateway.networking.k8s.io" {
        Finding::warning(Code::UnknownKind, message, hint)
    } else {
        Finding::info(Code::UnknownKind, message, hint)
    };
    Some(Diagnostic::without_object(place, "kind", finding))
}

fn unreadable(place: &Place, field: &str, finding: Finding) -> Parsed {
    Parsed::Unreadable(vec![Diagnostic::without_object(place, field, finding)])
}

/// Whether a value is nested too deep for what follows, found out without recursion.
fn is_too_deep(value: &Value) -> bool {
    let mut open = vec![(value, 1)];
    while let Some((value, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return true;
        }
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(map) => open.extend(map.values().map(|item| (item, depth + 1))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    false
}
