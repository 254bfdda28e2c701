//! From JSON to wire structs, with the path of every field that is unknown or of a wrong type.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::nearest::Known;
use super::notes::Problem;
use super::strict::Strict;
use crate::{Code, Finding};

/// How many wrong types of one object are reported.
const MAX_WRONG: usize = 20;

/// How many unknown fields an object may have.
const MAX_UNKNOWN: usize = 100;

/// A wire struct and what was wrong with its JSON.
pub(super) struct Decoded<T> {
    /// What could be read; fields of a wrong type are as if they were absent.
    pub(super) wire: T,
    /// What could not.
    pub(super) problems: Vec<Problem>,
}

/// What becomes of fields that a wire struct does not have.
pub(super) enum Unknown {
    /// They are dropped.
    Drop,
    /// They are dropped and reported, with the fields that they may have been meant to be.
    Report(fn() -> Known),
}

/// Decodes an object. `prefix` is the path of `value` itself. A field of a wrong type is noted and taken out, and
/// decoding starts again, so that all of them are found at once.
pub(super) fn decode<T: DeserializeOwned + Default>(
    mut value: Value,
    prefix: &str,
    unknown: Unknown,
) -> Decoded<T> {
    let mut problems: Vec<Problem> = Vec::new();
    let mut tries: BTreeMap<String, usize> = BTreeMap::new();
    while tries.len() < MAX_WRONG {
        let mut dropped = Vec::new();
        match once::<T>(&value, |path| dropped.push(path)) {
            Ok(wire) => {
                if let Unknown::Report(known) = unknown {
                    problems.extend(unknown_fields(&dropped, prefix, known));
                }
                return Decoded { wire, problems };
            }
            Err((path, message)) => {
                let field = join(prefix, &path);
                let before = tries.entry(field.clone()).or_insert(0);
                if *before == 0 {
                    problems.push(wrong_type(&field, message));
                }
                if !take_out(&mut value, &path, *before) {
                    break;
                }
                *before += 1;
            }
        }
    }
    Decoded {
        wire: T::default(),
        problems,
    }
}

/// A step of a path: JSON objects by key, lists by index.
#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

fn once<T: DeserializeOwned>(
    value: &Value,
    mut unknown: impl FnMut(Vec<Step>),
) -> Result<T, (Vec<Step>, String)> {
    let mut track = serde_path_to_error::Track::new();
    let mut callback = |path: serde_ignored::Path<'_>| unknown(ignored_steps(&path));
    let outer = serde_ignored::Deserializer::new(Strict(value), &mut callback);
    let outer = serde_path_to_error::Deserializer::new(outer, &mut track);
    T::deserialize(outer).map_err(|error| (error_steps(&track.path()), error.to_string()))
}

fn ignored_steps(path: &serde_ignored::Path<'_>) -> Vec<Step> {
    use serde_ignored::Path;
    let (parent, step) = match path {
        Path::Root => return Vec::new(),
        Path::Seq { parent, index } => (*parent, Some(Step::Index(*index))),
        Path::Map { parent, key } => (*parent, Some(Step::Key(key.clone()))),
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => (*parent, None),
    };
    let mut steps = ignored_steps(parent);
    steps.extend(step);
    steps
}

fn error_steps(path: &serde_path_to_error::Path) -> Vec<Step> {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

fn join(prefix: &str, steps: &[Step]) -> String {
    let mut path = prefix.to_owned();
    for step in steps {
        match step {
            Step::Key(key) if path.is_empty() => path.push_str(key),
            Step::Key(key) => path.extend([".", key]),
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

/// Reports unknown fields. With too many of them the object is refused: it is of another kind.
fn unknown_fields(dropped: &[Vec<Step>], prefix: &str, known: fn() -> Known) -> Vec<Problem> {
    if dropped.is_empty() {
        return Vec::new();
    }
    let known = known();
    let some = dropped.iter().take(MAX_UNKNOWN);
    let mut problems: Vec<Problem> = some
        .map(|path| unknown_field(path, prefix, &known))
        .collect();
    if dropped.len() > MAX_UNKNOWN {
        problems.push(Problem {
            field: prefix.to_owned(),
            finding: Finding::error(
                Code::SchemaValidation,
                format!("{} fields are unknown", dropped.len()),
                "the object is not applied; is it of the right kind?",
            ),
            refuses: true,
        });
    }
    problems
}

fn unknown_field(steps: &[Step], prefix: &str, known: &Known) -> Problem {
    let (name, parent) = match steps.split_last() {
        Some((Step::Key(name), parent)) => (name.as_str(), join("", parent)),
        Some((Step::Index(_), _)) | None => ("", String::new()),
    };
    Problem {
        field: join(prefix, steps),
        finding: known.unknown(name, &parent),
        refuses: false,
    }
}

fn wrong_type(field: &str, message: String) -> Problem {
    let mut message = message;
    for (rust, words) in [
        ("expected i64", "expected an integer"),
        ("expected f64", "expected a number"),
        ("expected a sequence", "expected a list"),
        ("expected a map", "expected an object"),
    ] {
        message = message.replace(rust, words);
    }
    if let Some((head, _)) = message.split_once("expected struct") {
        message = format!("{head}expected an object");
    }
    Problem {
        field: field.to_owned(),
        finding: Finding::error(
            Code::SchemaValidation,
            message,
            "the object is not applied; correct the value",
        ),
        refuses: true,
    }
}

/// Takes a wrong field out of a value, so that the rest can be read. In a list something else takes its place, so that
/// the others keep their index. False when that does not help.
fn take_out(value: &mut Value, steps: &[Step], before: usize) -> bool {
    let Some((last, parents)) = steps.split_last() else {
        return false;
    };
    let mut at = value;
    for step in parents {
        let next = match step {
            Step::Key(key) => at.get_mut(key),
            Step::Index(index) => at.get_mut(index),
        };
        match next {
            Some(next) => at = next,
            None => return false,
        }
    }
    match last {
        Step::Key(key) => at.as_object_mut().and_then(|map| map.remove(key)).is_some(),
        Step::Index(index) => match at.get_mut(index) {
            Some(item) => replace(item, before),
            None => false,
        },
    }
}

/// Puts something in the place of a list's item: what our lists hold are objects, strings and numbers, and one after
/// the other is tried.
fn replace(item: &mut Value, before: usize) -> bool {
    *item = match before {
        0 => Value::Object(serde_json::Map::new()),
        1 => Value::String(String::new()),
        2 => Value::from(0),
        _ => return false,
    };
    true
}

/// Takes out fields that are `null`: as in proto JSON and in Go, they are as if they were absent.
pub(super) fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
