//! The leaves of the kinds' schemas, and those of an object.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

/// The schema of `spec` of each kind.
pub struct Schemas(BTreeMap<String, Value>);

/// A leaf of an object.
pub struct Leaf {
    /// Its field: `VirtualService spec.http[].match[].headers{}.exact`.
    pub field: String,
    /// Where it stands in this object.
    pub pointer: Vec<Step>,
    /// What may stand there.
    pub schema: Value,
}

/// A step from a value into it.
#[derive(Clone)]
pub enum Step {
    /// A field or the key of a map.
    Key(String),
    /// An item.
    Item(usize),
}

impl Schemas {
    /// Those of the CRDs of a folder, in their newest version.
    pub fn read(folder: &Path) -> Self {
        let files = std::fs::read_dir(folder).unwrap();
        let schema = |entry: std::io::Result<std::fs::DirEntry>| {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let crd: Value = serde_saphyr::from_str(&text).unwrap();
            let versions = crd["spec"]["versions"].as_array().unwrap();
            let newest = versions.iter().find(|version| version["name"] == "v1");
            let schema = &newest.unwrap()["schema"]["openAPIV3Schema"]["properties"]["spec"];
            let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
            (kind.to_owned(), schema.clone())
        };
        Self(files.map(schema).collect())
    }

    /// Every leaf.
    pub fn all(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (kind, schema) in &self.0 {
            collect(schema, format!("{kind} spec"), &mut all);
        }
        all
    }

    /// The leaves that an object sets.
    pub fn leaves_of(&self, object: &Value) -> Vec<Leaf> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let mut found = Vec::new();
        if let Some(schema) = self.0.get(kind) {
            let root = Leaf {
                field: format!("{kind} spec"),
                pointer: vec![Step::Key("spec".to_owned())],
                schema: schema.clone(),
            };
            walk(schema, &object["spec"], root, &mut found);
        }
        found
    }
}

fn collect(schema: &Value, path: String, all: &mut BTreeSet<String>) {
    if let Some(fields) = schema["properties"].as_object() {
        for (name, schema) in fields {
            collect(schema, format!("{path}.{name}"), all);
        }
    } else if schema["items"].is_object() {
        collect(&schema["items"], format!("{path}[]"), all);
    } else if schema["additionalProperties"].is_object() {
        collect(&schema["additionalProperties"], format!("{path}{{}}"), all);
    } else {
        all.insert(path);
    }
}

fn walk(schema: &Value, value: &Value, here: Leaf, found: &mut Vec<Leaf>) {
    let into = |step: Step, more: String, schema: &Value| {
        let mut pointer = here.pointer.clone();
        pointer.push(step);
        Leaf {
            field: format!("{}{more}", here.field),
            pointer,
            schema: schema.clone(),
        }
    };
    match value {
        Value::Object(fields) if schema["properties"].is_object() => {
            for (name, value) in fields {
                let schema = &schema["properties"][name];
                if !schema.is_null() {
                    let next = into(Step::Key(name.clone()), format!(".{name}"), schema);
                    walk(schema, value, next, found);
                }
            }
        }
        Value::Object(entries) if schema["additionalProperties"].is_object() => {
            let schema = &schema["additionalProperties"];
            for (name, value) in entries {
                let next = into(Step::Key(name.clone()), "{}".to_owned(), schema);
                walk(schema, value, next, found);
            }
        }
        Value::Array(items) => {
            let schema = &schema["items"];
            for (index, value) in items.iter().enumerate() {
                let next = into(Step::Item(index), "[]".to_owned(), schema);
                walk(schema, value, next, found);
            }
        }
        _ => found.push(here),
    }
}

/// What stands in a place.
pub fn place<'a>(object: &'a mut Value, pointer: &[Step]) -> &'a mut Value {
    pointer.iter().fold(object, |value, step| match step {
        Step::Key(name) => &mut value[name],
        Step::Item(index) => &mut value[index],
    })
}

/// Takes a leaf out of an object.
pub fn remove(object: &mut Value, pointer: &[Step]) {
    let Some((last, before)) = pointer.split_last() else {
        return;
    };
    match (place(object, before), last) {
        (Value::Object(fields), Step::Key(name)) => drop(fields.remove(name)),
        (Value::Array(items), Step::Item(index)) => drop(items.remove(*index)),
        (place, _) => panic!("{place} has no such place"),
    }
}
