//! `metadata`: the key of an object, its labels, annotations and age.

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::decode::{Decoded, Unknown, decode};
use super::nearest::Known;
use super::notes::{At, Notes, Problem};
use crate::{Code, Finding, Kind, Meta, Name, Namespace, ObjectKey, Place};

/// Fields of Kubernetes' own that concern no mesh.
const KUBERNETES_OWN: &[&str] = &[
    "managedFields",
    "finalizers",
    "ownerReferences",
    "selfLink",
    "deletionGracePeriodSeconds",
    "clusterName",
];

/// The fields that users write, to choose a misspelt one's meaning from.
const USUAL: &[&str] = &["name", "generateName", "namespace", "labels", "annotations"];

const METADATA: At<'static> = At::root("metadata");

/// A field and why there is no object without it.
pub(super) type NoKey = (String, Finding);

/// Reads `metadata`. An error when the object has no key: no name, or names that are none.
pub(super) fn read(
    kind: Kind,
    mut value: Value,
    place: &Place,
) -> Result<(ObjectKey, Meta, Notes<'_>), NoKey> {
    if let Some(map) = value.as_object_mut() {
        map.retain(|field, _| !KUBERNETES_OWN.contains(&field.as_str()));
    }
    let Decoded { wire, problems } =
        decode::<istio_api::ObjectMeta>(value, "metadata", Unknown::Report(|| Known::list(USUAL)));
    let istio_api::ObjectMeta {
        name,
        generate_name,
        namespace,
        labels,
        annotations,
        creation_timestamp,
        deletion_timestamp: _,
        resource_version: _,
        uid: _,
        generation: _,
    } = wire;
    let key = key(kind, name, generate_name, namespace).map_err(|(field, finding)| {
        let wrong = problems.iter().find(|problem| problem.field == field);
        let finding = wrong.map_or(finding, |problem| problem.finding.clone());
        (field, finding)
    })?;
    // With a namespace that cannot be read it is nobody's, and nothing may close in a namespace that it does not name.
    let at = METADATA.field("namespace").to_string();
    if let Some(Problem { field, finding, .. }) = problems.iter().find(|p| p.field == at) {
        return Err((field.clone(), finding.clone()));
    }
    let mut notes = Notes::new(key.clone(), place);
    notes.take(problems);
    let created = creation_timestamp.and_then(|text| created(&text, &mut notes));
    let meta = Meta {
        labels: labels.into_iter().collect(),
        annotations: annotations.into_iter().collect(),
        created,
    };
    Ok((key, meta, notes))
}

fn key(
    kind: Kind,
    name: Option<String>,
    generate_name: Option<String>,
    namespace: Option<String>,
) -> Result<ObjectKey, NoKey> {
    let no_key = |field: &At<'_>, message: String| {
        let hint = "every object needs a name, and one that Kubernetes would accept";
        (
            field.to_string(),
            Finding::error(Code::SchemaValidation, message, hint),
        )
    };
    let at = METADATA.field("name");
    let name = name.ok_or_else(|| {
        no_key(
            &at,
            if generate_name.is_some() {
                "`generateName` is no name: only an API server can make one of it".to_owned()
            } else {
                "`metadata.name` is required".to_owned()
            },
        )
    })?;
    let name: Name = name
        .parse()
        .map_err(|e: crate::InvalidName| no_key(&at, e.to_string()))?;
    let at = METADATA.field("namespace");
    let namespace: Namespace = match namespace {
        _ if kind == Kind::Namespace => {
            let own = name.as_str().parse();
            own.map_err(|e: crate::InvalidName| no_key(&METADATA.field("name"), e.to_string()))?
        }
        _ if !kind.is_namespaced() => Namespace::istio_system(),
        Some(text) if !text.is_empty() => text
            .parse()
            .map_err(|e: crate::InvalidName| no_key(&at, e.to_string()))?,
        Some(_) | None => Namespace::default_namespace(),
    };
    Ok(ObjectKey {
        kind,
        namespace,
        name,
    })
}

fn created(text: &str, notes: &mut Notes<'_>) -> Option<i64> {
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(time) => Some(time.unix_timestamp()),
        Err(_) => {
            notes.error(
                &METADATA.field("creationTimestamp"),
                format!("{text:?} is not a time"),
                "write it as RFC 3339 does, such as 2006-01-02T15:04:05Z, or leave it out",
            );
            None
        }
    }
}
