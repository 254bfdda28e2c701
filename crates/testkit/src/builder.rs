//! What all builders have in common: an object as JSON, its metadata, and fields set by path.

use serde_json::{Map, Value, json};

/// An object as a user writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Document(pub Value);

impl Document {
    /// An object of a kind, without anything but its name.
    #[must_use]
    pub fn new(api_version: &str, kind: &str, name: &str) -> Self {
        Self(json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}))
    }

    /// Sets a field: `spec.http[0].timeout`. What is missing on the way is made.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) {
        *self.at(path) = value.into();
    }

    /// Adds an item to a list.
    pub fn push(&mut self, path: &str, value: impl Into<Value>) {
        let list = self.at(path);
        if !list.is_array() {
            *list = Value::Array(Vec::new());
        }
        list.as_array_mut().unwrap().push(value.into());
    }

    /// The field at a path, made if it is missing.
    pub fn at(&mut self, path: &str) -> &mut Value {
        let mut at = &mut self.0;
        for step in path.split('.') {
            let (name, indices) = step.split_once('[').unwrap_or((step, ""));
            at = field(at, name);
            for index in indices.split(['[', ']']).filter(|text| !text.is_empty()) {
                at = item(at, index.parse().unwrap());
            }
        }
        at
    }

    /// The object as text, which is JSON and so YAML.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(&self.0).unwrap()
    }
}

fn field<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value
        .as_object_mut()
        .unwrap()
        .entry(name)
        .or_insert(Value::Null)
}

fn item(value: &mut Value, index: usize) -> &mut Value {
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    let list = value.as_array_mut().unwrap();
    while list.len() <= index {
        list.push(Value::Null);
    }
    &mut list[index]
}

/// A builder: a document with the methods of its kind, besides those that every kind has.
macro_rules! builder {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        #[must_use]
        pub struct $type($crate::builder::Document);

        #[allow(dead_code, reason = "every kind has the same")]
        impl $type {
            /// In this namespace instead of `default`.
            pub fn in_namespace(self, namespace: &str) -> Self {
                self.with("metadata.namespace", namespace)
            }

            /// With a label on the object itself.
            pub fn labelled(mut self, key: &str, value: &str) -> Self {
                self.0.at("metadata.labels")[key] = value.into();
                self
            }

            /// With an annotation.
            pub fn annotated(mut self, key: &str, value: &str) -> Self {
                self.0.at("metadata.annotations")[key] = value.into();
                self
            }

            /// Created in this second of the first minute of 2024; younger ones lose conflicts.
            pub fn created(self, second: u32) -> Self {
                self.with("metadata.creationTimestamp", format!("2024-01-01T00:00:{second:02}Z"))
            }

            /// With any field, by path.
            pub fn with(mut self, path: &str, value: impl Into<serde_json::Value>) -> Self {
                self.0.set(path, value);
                self
            }

            fn pushing(mut self, path: &str, value: impl Into<serde_json::Value>) -> Self {
                self.0.push(path, value);
                self
            }
        }

        impl From<$type> for $crate::builder::Document {
            fn from(builder: $type) -> Self {
                builder.0
            }
        }
    };
}
pub(crate) use builder;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_set_by_path() {
        let mut document = Document::new("v1", "Service", "cart");
        document.set("spec.ports[1].port", 80);
        document.push("spec.ports", json!({"port": 81}));
        assert_eq!(
            document.0["spec"],
            json!({"ports": [null, {"port": 80}, {"port": 81}]})
        );
    }
}
