//! Reading JSON schemas as schemars writes them: their leaves, and names spelled in snake_case.

use std::collections::BTreeSet;

use istio_api::{
    AuthorizationPolicySpec, DestinationRuleSpec, Object, PeerAuthenticationSpec, ServiceEntrySpec,
    VirtualServiceSpec, WorkloadEntrySpec,
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// One of the six kinds, as functions over JSON.
pub struct Kind {
    pub name: &'static str,
    pub schema: Value,
    /// Reads an object and writes it back.
    pub rewrite: fn(Value) -> Result<Value, serde_json::Error>,
}

pub fn kinds() -> Vec<Kind> {
    vec![
        kind::<VirtualServiceSpec>("VirtualService"),
        kind::<DestinationRuleSpec>("DestinationRule"),
        kind::<PeerAuthenticationSpec>("PeerAuthentication"),
        kind::<AuthorizationPolicySpec>("AuthorizationPolicy"),
        kind::<ServiceEntrySpec>("ServiceEntry"),
        kind::<WorkloadEntrySpec>("WorkloadEntry"),
    ]
}

fn kind<S>(name: &'static str) -> Kind
where
    S: JsonSchema + Serialize + DeserializeOwned + Default + PartialEq,
{
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let schema = settings
        .into_generator()
        .into_root_schema_for::<Object<S>>();
    Kind {
        name,
        schema: schema.into(),
        rewrite: |value| serde_json::to_value(serde_json::from_value::<Object<S>>(value)?),
    }
}

/// A leaf of a schema: `path,type,enum`, as in `fields.csv`.
pub type Row = (String, String, String);

/// The leaves under `spec`.
pub fn rows(schema: &Value) -> BTreeSet<Row> {
    let mut rows = BTreeSet::new();
    walk(&schema["properties"]["spec"], "spec", &mut rows);
    rows
}

fn walk(schema: &Value, path: &str, rows: &mut BTreeSet<Row>) {
    let schema = present(schema);
    assert!(schema.get("default").is_none(), "{path} has a default");
    for keyword in ["oneOf", "anyOf", "allOf", "$ref", "const"] {
        assert!(schema.get(keyword).is_none(), "{path} has {keyword}");
    }
    if let Some(properties) = schema.get("properties") {
        for (name, property) in properties.as_object().unwrap() {
            walk(property, &format!("{path}.{name}"), rows);
        }
    } else if let Some(values) = schema.get("additionalProperties") {
        walk(values, &format!("{path}{{}}"), rows);
    } else if let Some(items) = schema.get("items") {
        walk(items, &format!("{path}[]"), rows);
    } else {
        let names = schema.get("enum").and_then(Value::as_array);
        let names = names.into_iter().flatten().filter_map(Value::as_str);
        let names = names.collect::<Vec<_>>().join(",");
        rows.insert((path.to_owned(), type_of(schema).to_owned(), names));
    }
}

/// What `Option<T>` says of `T`.
fn present(schema: &Value) -> &Value {
    let Some(choices) = schema.get("anyOf").and_then(Value::as_array) else {
        return schema;
    };
    let mut choices = choices.iter().filter(|choice| type_of(choice) != "null");
    choices.next().unwrap()
}

fn type_of(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) => {
            let mut names = names.iter().filter_map(Value::as_str);
            names.find(|name| *name != "null").unwrap()
        }
        _ => "",
    }
}

/// The value with the names of fields, not the keys of maps, in snake_case.
pub fn snake(value: &Value, schema: &Value) -> Value {
    let schema = present(schema);
    match value {
        Value::Object(fields) => {
            let mut renamed = Map::new();
            for (name, field) in fields {
                let property = schema.get("properties").and_then(|known| known.get(name));
                let (name, inner) = match property {
                    Some(inner) => (snake_name(name), inner),
                    None => (name.clone(), &schema["additionalProperties"]),
                };
                assert!(renamed.insert(name, snake(field, inner)).is_none());
            }
            Value::Object(renamed)
        }
        Value::Array(items) => {
            let items = items.iter().map(|item| snake(item, &schema["items"]));
            Value::Array(items.collect())
        }
        scalar => scalar.clone(),
    }
}

fn snake_name(name: &str) -> String {
    // The API has this name in both spellings, as two fields.
    if name == "mirrorPercent" {
        return name.to_owned();
    }
    // Proto's word begins with the digit, not with the next capital.
    if name == "consecutive5xxErrors" {
        return "consecutive_5xx_errors".to_owned();
    }
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
