//! A field constraint without a check fails the build: every rule that the descriptors could bring is put on a field,
//! one at a time, and the generator either writes a check for it or stops.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken expectation fails the test"
)]

#[path = "../build/constraints.rs"]
mod constraints;
#[path = "../build/names.rs"]
mod names;
#[path = "../build/rules.rs"]
mod rules;

use prost::Message as _;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value,
};

const DESCRIPTORS: &[u8] = include_bytes!("../../../proto/envoy.binpb");

/// The files that rules and what they are put on are made of.
const BASE: [&str; 5] = [
    "google/protobuf/any.proto",
    "google/protobuf/descriptor.proto",
    "google/protobuf/duration.proto",
    "google/protobuf/timestamp.proto",
    "validate/validate.proto",
];

/// Rules that only say how others are meant.
const MODIFIERS: [&str; 1] = ["strict"];

fn base() -> DescriptorPool {
    let whole = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let mut pool = DescriptorPool::new();
    for name in BASE {
        let file = whole.get_file_by_name(name).unwrap();
        pool.decode_file_descriptor_proto(file.encode_to_vec().as_slice())
            .unwrap();
    }
    pool
}

/// A field of the type that a kind of rules is for.
fn field_for(kind: &str) -> serde_json::Value {
    let label = if matches!(kind, "repeated" | "map") {
        "LABEL_REPEATED"
    } else {
        "LABEL_OPTIONAL"
    };
    let (kind, of) = match kind {
        "enum" => ("enum", ".test.Choice"),
        "message" => ("message", ".test.Inner"),
        "map" => ("message", ".test.Outer.FieldEntry"),
        "any" => ("message", ".google.protobuf.Any"),
        "duration" => ("message", ".google.protobuf.Duration"),
        "timestamp" => ("message", ".google.protobuf.Timestamp"),
        "repeated" => ("string", ""),
        scalar => (scalar, ""),
    };
    let kind = format!("TYPE_{}", kind.to_uppercase());
    let mut field = serde_json::json!({"name": "field", "number": 1, "label": label, "type": kind});
    if !of.is_empty() {
        field["typeName"] = of.into();
    }
    field
}

/// What is generated for a message `test.Outer` whose only field has these rules.
fn generated(
    base: &DescriptorPool,
    kind: &str,
    rules: Option<&DynamicMessage>,
) -> rules::Result<String> {
    let string = |name: &str, number: u8| serde_json::json!({"name": name, "number": number, "label": "LABEL_OPTIONAL", "type": "TYPE_STRING"});
    let entry = serde_json::json!({
        "name": "FieldEntry", "field": [string("key", 1), string("value", 2)], "options": {"mapEntry": true},
    });
    let file = serde_json::json!({
        "name": "envoy/config/test.proto", "package": "test", "syntax": "proto3", "dependency": BASE,
        "messageType": [
            {"name": "Outer", "field": [field_for(kind)], "nestedType": [entry]},
            {"name": "Inner", "field": [string("text", 1)]},
        ],
        "enumType": [{"name": "Choice", "value": [{"name": "NONE", "number": 0}, {"name": "ONE", "number": 1}]}],
    });
    let of_file = base
        .get_message_by_name("google.protobuf.FileDescriptorProto")
        .unwrap();
    let mut file = DynamicMessage::deserialize(of_file, file).unwrap();
    let short = part(base, "string", "min_len", Value::U64(1));
    put(base, &mut file, 1, &short);
    if let Some(rules) = rules {
        put(base, &mut file, 0, rules);
    }
    let mut pool = base.clone();
    pool.decode_file_descriptor_proto(file.encode_to_vec().as_slice())?;
    constraints::generate(&pool)
}

/// Puts rules on the only field of a message of the file.
fn put(base: &DescriptorPool, file: &mut DynamicMessage, message: usize, rules: &DynamicMessage) {
    let of_options = base
        .get_message_by_name("google.protobuf.FieldOptions")
        .unwrap();
    let mut options = DynamicMessage::new(of_options);
    let extension = base.get_extension_by_name("validate.rules").unwrap();
    options.set_extension(&extension, Value::Message(rules.clone()));
    let messages = file.get_field_by_name_mut("message_type").unwrap();
    let Some(Value::Message(message)) = messages.as_list_mut().unwrap().get_mut(message) else {
        panic!("no such message");
    };
    let fields = message.get_field_by_name_mut("field").unwrap();
    let Some(Value::Message(field)) = fields.as_list_mut().unwrap().first_mut() else {
        panic!("no such field");
    };
    field.set_field_by_name("options", Value::Message(options));
}

/// `FieldRules` of one kind with one rule.
fn part(base: &DescriptorPool, kind: &str, rule: &str, value: Value) -> DynamicMessage {
    let mut all = DynamicMessage::new(base.get_message_by_name("validate.FieldRules").unwrap());
    let field = all.descriptor().get_field_by_name(kind).unwrap();
    let mut rules = DynamicMessage::new(field.kind().as_message().unwrap().clone());
    rules.set_field_by_name(rule, value);
    all.set_field(&field, Value::Message(rules));
    all
}

/// Some value of a rule that says something.
fn some(base: &DescriptorPool, rule: &FieldDescriptor) -> Value {
    let one = match rule.kind() {
        Kind::Double => Value::F64(1.0),
        Kind::Float => Value::F32(1.0),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(1),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(1),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(1),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(1),
        Kind::Bool => Value::Bool(true),
        Kind::String => Value::String("a".to_owned()),
        Kind::Bytes => Value::Bytes(b"a".as_slice().into()),
        Kind::Enum(_) => Value::EnumNumber(1),
        Kind::Message(of) if of.full_name() == "validate.FieldRules" => {
            Value::Message(part(base, "string", "min_len", Value::U64(1)))
        }
        Kind::Message(of) => {
            let mut second = DynamicMessage::new(of);
            second.set_field_by_name("seconds", Value::I64(1));
            Value::Message(second)
        }
    };
    match rule.cardinality() {
        Cardinality::Repeated => Value::List(vec![one]),
        Cardinality::Optional | Cardinality::Required => one,
    }
}

#[test]
fn every_rule_is_checked_or_stops_the_build() {
    let base = base();
    let of_rules = base.get_message_by_name("validate.FieldRules").unwrap();
    let (mut checked, mut refused) = (0, 0);
    for kind in of_rules.fields() {
        let nothing = generated(&base, kind.name(), None).unwrap();
        for rule in kind.kind().as_message().unwrap().fields() {
            if MODIFIERS.contains(&rule.name()) {
                continue;
            }
            let rules = part(&base, kind.name(), rule.name(), some(&base, &rule));
            match generated(&base, kind.name(), Some(&rules)) {
                Ok(text) => {
                    assert_ne!(text, nothing, "nothing checks {}", rule.full_name());
                    checked += 1;
                }
                Err(why) => {
                    let why = why.to_string();
                    assert!(why.starts_with("test.Outer: field: "), "{why}");
                    refused += 1;
                }
            }
        }
    }
    println!("{checked} rules are checked, {refused} would stop the build");
    assert!(checked > 100, "{checked}");
}

#[test]
fn a_rule_of_no_known_kind_stops_the_build() {
    let base = base();
    let second = Value::Bool(true);
    let rules = part(&base, "timestamp", "lt_now", second);
    let error = generated(&base, "timestamp", Some(&rules)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "test.Outer: field: unknown kind of rules: timestamp"
    );
}
