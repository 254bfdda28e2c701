//! Every field of the six kinds, with its type and enum, exactly as `fields.csv` lists them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::schema::{Kind, Row, kinds, rows, snake};

/// The rows of Istio's CRDs for one kind.
pub fn expected(kind: &str) -> BTreeSet<Row> {
    let lines = include_str!("../fields.csv").lines().skip(1);
    let rows = lines.filter_map(|line| {
        let rest = line.strip_prefix(kind)?.strip_prefix(',')?;
        let (path, rest) = rest.split_once(',').unwrap();
        let (leaf, names) = rest.split_once(',').unwrap();
        Some((path.into(), leaf.into(), names.trim_matches('"').into()))
    });
    rows.collect()
}

/// Sets the leaf at `path`, such as `spec.http[].match[].headers{}.exact`, making what is above it.
fn set(object: &mut Value, path: &str, leaf: Value) {
    let mut at = object;
    for step in path.split('.') {
        let name = step.trim_end_matches(['[', ']', '{', '}']);
        at = entry(at, name);
        for container in step.as_bytes()[name.len()..].chunks(2) {
            at = match container {
                b"[]" => first(at),
                _ => entry(at, "someKey/x"),
            };
        }
    }
    *at = leaf;
}

fn entry<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    let fields = value.as_object_mut().unwrap();
    fields.entry(name).or_insert(Value::Null)
}

fn first(value: &mut Value) -> &mut Value {
    if value.is_null() {
        *value = json!([null]);
    }
    value.get_mut(0).unwrap()
}

fn sample(leaf: &str, names: &str) -> Value {
    match leaf {
        "string" if names.is_empty() => json!("text"),
        "string" => json!(names.split(',').next_back().unwrap()),
        "integer" => json!(7),
        "number" => json!(1.5),
        "boolean" => json!(true),
        other => panic!("no sample of {other}"),
    }
}

/// An object in which every field is set.
fn full(kind: &str) -> Value {
    let mut object = Value::Null;
    for (path, leaf, names) in expected(kind) {
        set(&mut object, &path, sample(&leaf, &names));
    }
    object
}

/// An object in which one field is set.
fn only(path: &str, leaf: Value) -> Value {
    let mut object = Value::Null;
    set(&mut object, path, leaf);
    object
}

#[test]
fn the_schemas_have_exactly_the_listed_fields() {
    let mut count = 0;
    for kind in kinds() {
        let (have, want) = (rows(&kind.schema), expected(kind.name));
        count += want.len();
        let missing: Vec<_> = want.difference(&have).collect();
        let extra: Vec<_> = have.difference(&want).collect();
        assert_eq!((missing, extra), (vec![], vec![]), "{}", kind.name);
    }
    assert_eq!(count, 456);
}

#[test]
fn every_field_is_read_and_written_under_its_name() {
    for Kind { name, rewrite, .. } in kinds() {
        assert_eq!(rewrite(full(name)).unwrap(), full(name));
    }
}

#[test]
fn every_field_is_read_in_snake_case() {
    for Kind {
        name,
        rewrite,
        schema,
    } in kinds()
    {
        let written = snake(&full(name), &schema);
        assert_eq!(rewrite(written).unwrap(), full(name));
    }
}

#[test]
fn enums_are_names_or_proto_numbers_and_nothing_else() {
    for kind in kinds() {
        for (path, _, names) in expected(kind.name) {
            if names.is_empty() {
                continue;
            }
            // The lists are in the order of the proto numbers, which have no gaps here.
            for (number, name) in names.split(',').enumerate() {
                let by_name = only(&path, json!(name));
                assert_eq!((kind.rewrite)(by_name.clone()).unwrap(), by_name);
                let by_number = only(&path, json!(number));
                assert_eq!((kind.rewrite)(by_number).unwrap(), by_name);
            }
            let count = names.split(',').count();
            for wrong in [json!("NONSENSE"), json!("strict"), json!(count), json!(-1)] {
                let error = (kind.rewrite)(only(&path, wrong)).unwrap_err().to_string();
                let first = names.split(',').next().unwrap();
                assert!(error.contains(first), "{path}: {error}");
            }
        }
    }
}

#[test]
fn a_value_of_another_json_type_is_an_error() {
    for kind in kinds() {
        for (path, leaf, _) in expected(kind.name) {
            let wrong = match leaf.as_str() {
                "string" => json!(true),
                _ => json!("1"),
            };
            assert!((kind.rewrite)(only(&path, wrong)).is_err(), "{path}");
        }
    }
}
