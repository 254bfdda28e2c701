//! Which known field a misspelt one was probably meant to be.

use schemars::JsonSchema;
use serde_json::Value;

use crate::{Code, Finding};

/// The fields that there are.
pub(super) enum Known {
    /// These, wherever one looks.
    List(Vec<String>),
    /// Those of this JSON schema.
    Schema(Value),
}

impl Known {
    /// These fields.
    pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a &'a str>) -> Self {
        Self::List(names.into_iter().map(|&name| name.to_owned()).collect())
    }

    /// The fields of a type.
    pub(super) fn of<T: JsonSchema>() -> Self {
        Self::Schema(schemars::schema_for!(T).to_value())
    }

    /// What to say of a field that does not exist in what stands at a path (`spec.http[0]`).
    pub(super) fn unknown(&self, name: &str, parent: &str) -> Finding {
        let siblings = match self {
            Self::List(names) => names.clone(),
            Self::Schema(schema) => siblings(schema, parent),
        };
        let hint = match nearest(name, &siblings) {
            Some(known) => format!("did you mean `{known}`? The field is dropped"),
            None => "the field is dropped".to_owned(),
        };
        let message = format!("there is no field `{name}` here");
        Finding::error(Code::UnknownField, message, hint)
    }
}

/// The fields that may stand at a path.
fn siblings(schema: &Value, path: &str) -> Vec<String> {
    let mut at = schema;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let name = part.split('[').next().unwrap_or(part);
        let Some(next) = member(resolve(at, schema), name) else {
            return Vec::new();
        };
        at = resolve(next, schema);
        if part.contains('[') {
            match at.get("items") {
                Some(items) => at = items,
                None => return Vec::new(),
            }
        }
    }
    let properties = resolve(at, schema).get("properties");
    let names = properties.and_then(Value::as_object).into_iter().flatten();
    names.map(|(name, _)| name.clone()).collect()
}

fn member<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let property = schema.get("properties").and_then(|p| p.get(name));
    property.or_else(|| schema.get("additionalProperties"))
}

/// Follows `$ref`, and the object among the alternatives of an optional field.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let mut at = schema;
    // References of the schemas that we derive are not nested deeper than this.
    for _ in 0..8 {
        let target = at.get("$ref").and_then(Value::as_str);
        let alternative = || {
            let all = at.get("anyOf").or_else(|| at.get("allOf"))?.as_array()?;
            all.iter().find(|one| one.get("$ref").is_some())
        };
        at = match target.and_then(|target| root.pointer(target.strip_prefix('#')?)) {
            Some(found) => found,
            None => match alternative() {
                Some(found) => found,
                None => return at,
            },
        };
    }
    at
}

/// The name that is most like `wrong`, if one is like it at all.
fn nearest<'a>(wrong: &str, known: &'a [String]) -> Option<&'a str> {
    if wrong.len() > 64 {
        return None;
    }
    // Two swapped letters count two.
    let length = wrong.chars().count();
    let allowed = (length / 3).max(if length > 3 { 2 } else { 1 });
    known
        .iter()
        .map(|name| {
            (
                distance(&wrong.to_lowercase(), &name.to_lowercase()),
                name.as_str(),
            )
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance: how many letters differ.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut above_left = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let above = *cell;
            *cell = (above + 1)
                .min(left + 1)
                .min(above_left + usize::from(from != to));
            (above_left, left) = (above, *cell);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Whether a name is probably a misspelling of a known one.
pub(super) fn is_like(wrong: &str, known: &str) -> bool {
    nearest(wrong, &[known.to_owned()]).is_some()
}
