//! From documents to objects, stores and snapshots.

use std::sync::Arc;

use model::{Object, Parsed, Place, parse, parse_mesh_config};
use serde_json::Value;
use store::{Change, ChangeSet, SourceId, Store};

use crate::builder::Document;

/// Parses a document. One without kind is a MeshConfig.
#[must_use]
pub fn read(value: &Value) -> Parsed {
    let document = model::Document {
        value: value.clone(),
        place: Place::default(),
    };
    if value.is_object() && value.get("kind").is_none() && value.get("apiVersion").is_none() {
        parse_mesh_config(document)
    } else {
        parse(document)
    }
}

/// What a source would say of a document; nothing of one that is no object.
#[must_use]
pub fn change(value: &Value) -> Option<Change> {
    match read(value) {
        Parsed::Object(object) => Some(Change::Upsert(Arc::new(object))),
        Parsed::Refused(refusal) => Some(Change::Reject(Arc::new(refusal))),
        Parsed::Ignored(_) | Parsed::Unreadable(_) => None,
    }
}

/// A document that must be a good object.
#[must_use]
pub fn object(document: impl Into<Document>) -> Arc<Object> {
    let document = document.into();
    match read(&document.0) {
        Parsed::Object(object) => Arc::new(object),
        other => panic!("not a good object: {}\n{other:#?}", document.text()),
    }
}

/// Documents as one change set of the first source, good or refused.
#[must_use]
pub fn load<D: Into<Document>>(documents: impl IntoIterator<Item = D>) -> ChangeSet {
    let changes = documents.into_iter().map(|document| {
        let document = document.into();
        change(&document.0).unwrap_or_else(|| panic!("not an object: {}", document.text()))
    });
    ChangeSet {
        source: SourceId::default(),
        changes: changes.collect(),
    }
}

/// A store that holds these documents.
#[must_use]
pub fn store<D: Into<Document>>(documents: impl IntoIterator<Item = D>) -> Store {
    let mut store = Store::default();
    store.apply(load(documents));
    store
}
