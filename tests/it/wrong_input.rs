//! Wrong input by machine: for every field of the six kinds a value of another type, a sibling that does not exist and,
//! where it is bounded, a value outside. Each is an error at exactly that field and line.

use std::collections::BTreeSet;

use control::Control;
use model::Severity;
use serde_json::{Value, json};
use sources::Memory;
use store::SourceId;

use crate::fields::leaves::{Leaf, Schemas, Step, place};
use crate::fields::{chart_schemas, scenes};

/// What no field may be called, and no value be.
const STRANGE: &str = "strange4711";

/// Something that is wrong with an object.
struct Wrong {
    /// The object with it.
    object: Value,
    /// Where: `spec.http[0].timeout`.
    field: String,
    /// What stands in the line in which it is.
    line: String,
}

/// The path of a pointer as diagnostics write it.
fn path(pointer: &[Step]) -> String {
    let mut text = String::new();
    for step in pointer {
        match step {
            Step::Key(name) if text.is_empty() => text.push_str(name),
            Step::Key(name) => text.extend([".", name]),
            Step::Item(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// The object with another value in a place.
fn with(object: &Value, pointer: &[Step], value: Value) -> Wrong {
    let mut object = object.clone();
    let text = serde_json::to_string(&value).unwrap();
    *place(&mut object, pointer) = value;
    Wrong {
        object,
        field: path(pointer),
        line: text,
    }
}

/// A value of another type than the schema's.
fn of_another_type(schema: &Value) -> Value {
    match schema["type"].as_str() {
        Some("string") => json!(47_114_711),
        _ => json!([STRANGE]),
    }
}

/// Values just outside of what the schema allows.
fn outside(schema: &Value) -> Vec<Value> {
    let below = schema["minimum"].as_i64().map(|least| json!(least - 1));
    let above = schema["maximum"].as_i64().map(|most| json!(most + 1));
    below.into_iter().chain(above).collect()
}

/// The object with a sibling that does not exist; none where any name may stand.
fn with_sibling(object: &Value, leaf: &Leaf) -> Option<Wrong> {
    let (_, parent) = leaf.pointer.split_last()?;
    if leaf.field.ends_with("[]") || leaf.field.ends_with("{}") {
        return None;
    }
    let mut pointer = parent.to_vec();
    pointer.push(Step::Key(STRANGE.to_owned()));
    let mut object = object.clone();
    place(&mut object, parent)[STRANGE] = json!(1);
    Some(Wrong {
        object,
        field: path(&pointer),
        line: STRANGE.to_owned(),
    })
}

/// What is said of it, if not what should be.
fn complaint(wrong: &Wrong) -> Option<String> {
    let text = serde_json::to_string_pretty(&wrong.object).unwrap();
    let lines = text.lines().zip(1..);
    let expected: Vec<u32> = lines
        .filter(|(line, _)| line.contains(wrong.line.trim_matches(['[', ']'])))
        .map(|(_, number)| number)
        .collect();
    let mut memory = Memory::new(SourceId(0));
    memory.put("object.json", &text);
    let mut control = Control::new([]);
    control.apply(memory.read());
    let errors = control.diagnostics().into_iter();
    let errors: Vec<_> = errors
        .filter(|said| said.severity == Severity::Error)
        .collect();
    let here = errors.iter().filter(|said| *said.field == *wrong.field);
    let near = |line: u32| expected.iter().any(|own| own.abs_diff(line) <= 1);
    let lines: Vec<Option<u32>> = here.map(|said| said.line).collect();
    if lines.iter().any(|line| line.is_some_and(near)) {
        return None;
    }
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Some(format!(
        "{} (line {expected:?}, said at {lines:?}): {said:#?}",
        wrong.field
    ))
}

#[test]
fn every_wrong_value_is_an_error_where_it_stands() {
    let schemas: Schemas = chart_schemas();
    let mut tried = BTreeSet::new();
    let mut complaints = Vec::new();
    let mut count = 0;
    for scene in scenes() {
        for object in &scene {
            for leaf in schemas.leaves_of(object) {
                if !tried.insert(leaf.field.clone()) {
                    continue;
                }
                let mut wrongs = vec![with(object, &leaf.pointer, of_another_type(&leaf.schema))];
                wrongs.extend(with_sibling(object, &leaf));
                let outside = outside(&leaf.schema).into_iter();
                wrongs.extend(outside.map(|value| with(object, &leaf.pointer, value)));
                count += wrongs.len();
                complaints.extend(wrongs.iter().filter_map(complaint));
            }
        }
    }
    println!("{count} wrong values in {} fields", tried.len());
    assert!(
        complaints.is_empty(),
        "{}: {}",
        complaints.len(),
        complaints.join("\n")
    );
}
