//! What a CRD says of a field beyond its JSON type: which fields are required, ranges, lengths, and rules in CEL.
//!
//! The types themselves stay lenient: files are read with them too, and the parser knows the line. What stands here
//! is what an API server refuses by itself, also while Lateen is down. It is never stricter than the parser, and an
//! object that Istio's own CRDs accept is accepted. The API server bounds what a rule may cost by the longest list
//! that it can stand in: hence the bounds of lists, far above anything in use.

use schemars::Schema;
use serde_json::{Value, json};

/// The largest number of 32 bits without a sign.
pub(crate) const UNSIGNED: (i64, i64) = (0, u32::MAX as i64);
/// The largest number of 32 bits with a sign that may not be negative.
pub(crate) const COUNT: (i64, i64) = (0, i32::MAX as i64);
/// A port.
pub(crate) const PORT: (i64, i64) = (1, u16::MAX as i64);
/// A percentage.
pub(crate) const PERCENT: (i64, i64) = (0, 100);
/// The status codes of a redirect.
pub(crate) const REDIRECT_CODE: (i64, i64) = (300, 399);
/// The status codes with which Envoy can answer.
pub(crate) const HTTP_STATUS: (i64, i64) = (200, 599);

const IS_PORT: &str = "port must be between 1-65535";

fn set(schema: &mut Schema, name: &str, value: impl Into<Value>) {
    schema.insert(name.to_owned(), value.into());
}

/// These fields must be written. Names stand in one text with `, ` between them: attributes take no lists.
pub(crate) fn require(fields: &'static str) -> impl FnMut(&mut Schema) {
    move |schema| set(schema, "required", fields.split(", ").collect::<Vec<_>>())
}

/// A number between two others, both included.
pub(crate) fn within((least, most): (i64, i64)) -> impl FnMut(&mut Schema) {
    move |schema| {
        set(schema, "minimum", least);
        set(schema, "maximum", most);
    }
}

/// A number that is not smaller.
pub(crate) fn at_least(least: i64) -> impl FnMut(&mut Schema) {
    move |schema| set(schema, "minimum", least)
}

/// The values of a map are ports.
pub(crate) fn values_are_ports(schema: &mut Schema) {
    in_values(schema, within(PORT));
}

/// The values of a map are numbers of 32 bits without a sign.
pub(crate) fn values_are_unsigned(schema: &mut Schema) {
    in_values(schema, within(UNSIGNED));
}

/// A list, a map or a text of at least `least` and at most `most` items, entries or characters.
pub(crate) fn size(least: usize, most: usize) -> impl FnMut(&mut Schema) {
    move |schema| {
        let what = match type_of(schema) {
            "array" => "Items",
            "object" => "Properties",
            _ => "Length",
        };
        if least > 0 {
            set(schema, &format!("min{what}"), least);
        }
        set(schema, &format!("max{what}"), most);
    }
}

/// The texts in a list or a map are not longer.
pub(crate) fn values_up_to(most: usize) -> impl FnMut(&mut Schema) {
    move |schema| in_values(schema, |values| set(values, "maxLength", most))
}

/// `null` may be written for it: Istio's is a proto wrapper type.
pub(crate) fn nullable(schema: &mut Schema) {
    set(schema, "nullable", true);
}

/// A list whose items are told apart by `name`.
pub(crate) fn by_name(schema: &mut Schema) {
    set(schema, "x-kubernetes-list-type", "map");
    set(schema, "x-kubernetes-list-map-keys", json!(["name"]));
}

/// A rule in CEL, and what is said when it does not hold.
pub(crate) fn rule(
    message: impl Into<String>,
    expression: impl Into<String>,
) -> impl FnMut(&mut Schema) {
    let rule = json!({ "message": message.into(), "rule": expression.into() });
    move |schema| add_rule(schema, rule.clone())
}

/// A rule in CEL for each value of a list or a map.
pub(crate) fn rule_of_values(
    message: &'static str,
    expression: &'static str,
) -> impl FnMut(&mut Schema) {
    move |schema| {
        in_values(schema, |values| {
            add_rule(values, json!({ "message": message, "rule": expression }));
        });
    }
}

/// At most one of these fields may be written.
pub(crate) fn exclusive(fields: &str) -> impl FnMut(&mut Schema) + use<> {
    rule(
        format!("only one of {fields} may be set"),
        at_most_one(&fields.split(", ").collect::<Vec<_>>()),
    )
}

/// Cheap on purpose, so that it can stand in lists without bounds: each field is asked for once or twice.
fn at_most_one(fields: &[&str]) -> String {
    match fields {
        [] | [_] => "true".to_owned(),
        [one, other] => format!("!has(self.{one}) || !has(self.{other})"),
        [one, others @ ..] => {
            let none = others.iter().map(|other| format!("!has(self.{other})"));
            let none = none.collect::<Vec<_>>().join(" && ");
            let rest = at_most_one(others);
            format!("has(self.{one}) ? {none} : ({rest})")
        }
    }
}

/// A duration that may be zero, which switches off.
pub(crate) fn duration(schema: &mut Schema) {
    rule(
        "must be a duration such as 1.5s",
        "duration(self) >= duration('0s')",
    )(schema);
}

/// A duration that a timer can tell from none.
pub(crate) fn positive_duration(schema: &mut Schema) {
    rule(
        "must be a duration of at least 1ms, such as 1.5s",
        "duration(self) >= duration('1ms')",
    )(schema);
}

/// The keys of a map are ports.
pub(crate) fn keys_are_ports(schema: &mut Schema) {
    rule(IS_PORT, "self.all(key, 0 < int(key) && int(key) <= 65535)")(schema);
}

/// Labels that a workload must have: no wildcards, which would match nothing.
pub(crate) fn labels(schema: &mut Schema) {
    values_up_to(63)(schema);
    rule(
        "a label's name must not be empty or have a wildcard",
        "self.all(key, key.size() > 0 && !key.contains('*'))",
    )(schema);
    rule_of_values(
        "wildcards do not work in a label's value",
        "!self.contains('*')",
    )(schema);
}

fn add_rule(schema: &mut Schema, rule: Value) {
    const RULES: &str = "x-kubernetes-validations";
    match schema.get_mut(RULES).and_then(Value::as_array_mut) {
        Some(rules) => rules.push(rule),
        None => set(schema, RULES, vec![rule]),
    }
}

/// Changes the schema of the items of a list or of the values of a map.
fn in_values(schema: &mut Schema, change: impl FnOnce(&mut Schema)) {
    for name in ["items", "additionalProperties"] {
        let values = schema.get_mut(name);
        if let Some(Ok(values)) = values.map(<&mut Schema>::try_from) {
            return change(values);
        }
    }
}

fn type_of(schema: &Schema) -> &str {
    let kind = schema.get("type");
    match kind {
        Some(Value::Array(names)) => names.first().and_then(Value::as_str).unwrap_or_default(),
        Some(kind) => kind.as_str().unwrap_or_default(),
        None => "",
    }
}
