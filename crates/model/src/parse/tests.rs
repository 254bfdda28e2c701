//! Tables: an object in, whether it is applied and its diagnostics out.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test is about one variant"
)]

mod connections;
mod destination_rule;
mod http_actions;
mod kubernetes;
mod mutation;
mod older_envoys;
mod security;
mod service_entry;
mod shape;
mod virtual_service;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

/// The object of a kind with a spec, named `shop/a`.
fn object(kind: &str, spec: &Value) -> Value {
    let info = KINDS.iter().find(|info| info.kind == kind).unwrap();
    let version = match info.group {
        "" => info.versions[0].to_owned(),
        group => format!("{group}/{}", info.versions[0]),
    };
    let metadata = json!({"name": "a", "namespace": "shop"});
    json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
}

/// Where every field of a value stands: one line after the other.
fn place(value: &Value) -> Place {
    let mut lines: BTreeMap<Arc<str>, u32> = BTreeMap::new();
    let mut open = vec![(String::new(), value)];
    while let Some((path, value)) = open.pop() {
        lines.insert(
            path.as_str().into(),
            u32::try_from(lines.len()).unwrap() + 1,
        );
        match value {
            Value::Object(map) => open.extend(map.iter().map(|(key, value)| {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                (path, value)
            })),
            Value::Array(items) => {
                let items = items.iter().enumerate();
                open.extend(items.map(|(i, item)| (format!("{path}[{i}]"), item)));
            }
            _ => {}
        }
    }
    Place {
        file: Some("a.yaml".into()),
        lines,
    }
}

fn read(value: &Value) -> Parsed {
    let place = place(value);
    parse(Document {
        value: value.clone(),
        place,
    })
}

/// The outcome, and `severity code field` of each diagnostic.
fn said(parsed: &Parsed) -> (&'static str, Vec<String>) {
    let outcome = match parsed {
        Parsed::Object(_) => "applied",
        Parsed::Refused(_) => "refused",
        Parsed::Ignored(_) => "ignored",
        Parsed::Unreadable(_) => "unreadable",
    };
    let words = parsed.diagnostics().iter();
    let mut words: Vec<String> = words
        .map(|d| format!("{} {} {}", d.severity, d.code, d.field))
        .collect();
    words.sort();
    (outcome, words)
}

#[track_caller]
fn check_object(value: &Value, outcome: &str, expected: &[&str]) -> Parsed {
    let parsed = read(value);
    let mut expected: Vec<&str> = expected.to_vec();
    expected.sort_unstable();
    let (was, words) = said(&parsed);
    assert_eq!(
        (was, words),
        (outcome, expected.iter().map(|&e| e.to_owned()).collect()),
        "{value}\n{parsed:#?}"
    );
    parsed
}

#[track_caller]
fn check(kind: &str, spec: Value, outcome: &str, expected: &[&str]) -> Parsed {
    check_object(&object(kind, &spec), outcome, expected)
}

/// The good object of a kind with a spec.
#[track_caller]
fn good(kind: &str, spec: Value) -> Object {
    match check(kind, spec, "applied", &[]) {
        Parsed::Object(object) => object,
        other => panic!("{other:?}"),
    }
}

fn scope(parsed: Parsed) -> Option<RefusedScope> {
    match parsed {
        Parsed::Refused(refusal) => refusal.scope,
        other => panic!("{other:?}"),
    }
}
