//! Turns the rules of one value (`validate.FieldRules`) into Rust statements that check a reference `v`.
//!
//! The rules mean what protoc-gen-validate's C++ output makes of them, because that is what Envoy runs. A rule that is
//! not known here is an error: the build fails, rather than let something pass that Envoy refuses.

use std::fmt::Write as _;

use prost_reflect::{DynamicMessage, Kind, Value};

use crate::names;

/// What generating answers; an error stops the build.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Writes the statements for `rules` (a `validate.FieldRules`) on a value of this kind.
pub fn value(kind: &Kind, rules: &DynamicMessage, out: &mut String) -> Result<()> {
    for (field, rules) in rules.fields() {
        let rules = message(rules)?;
        match field.name() {
            "message" => only(rules, &["required", "skip"])?,
            "string" => text(rules, out)?,
            "bytes" => bytes(rules, out)?,
            "bool" => constant(rules, out)?,
            "enum" => enumeration(kind, rules, out)?,
            "duration" => duration(rules, out)?,
            "any" => any(rules, out)?,
            "float" | "double" | "int32" | "int64" | "uint32" | "uint64" | "sint32" | "sint64"
            | "fixed32" | "fixed64" | "sfixed32" | "sfixed64" => number(rules, out)?,
            other => return Err(format!("unknown kind of rules: {other}").into()),
        }
    }
    Ok(())
}

/// The message inside a reflected value.
pub fn message(value: &Value) -> Result<&DynamicMessage> {
    value
        .as_message()
        .ok_or_else(|| "a rule is not a message".into())
}

/// Fails on a rule that is not in the list; for rules whose handling is elsewhere.
fn only(rules: &DynamicMessage, known: &[&str]) -> Result<()> {
    match rules
        .fields()
        .find(|(rule, _)| !known.contains(&rule.name()))
    {
        Some((rule, _)) => Err(format!("unknown rule: {}", rule.full_name()).into()),
        None => Ok(()),
    }
}

fn unknown(rule: &prost_reflect::FieldDescriptor) -> Box<dyn std::error::Error> {
    format!("unknown rule: {}", rule.full_name()).into()
}

/// One check: fails with the text unless the condition holds.
fn check(out: &mut String, condition: &str, text: &str) -> Result<()> {
    writeln!(out, "if !({condition}) {{ return check::fail({text:?}); }}")?;
    Ok(())
}

/// Whether a rule set says that an empty value is exempt.
pub fn ignores_empty(rules: &DynamicMessage) -> bool {
    rules
        .get_field_by_name("ignore_empty")
        .is_some_and(|value| value.as_bool() == Some(true))
}

/// A number as a Rust literal without a type, so that inference picks the field's.
fn literal(value: &Value) -> Result<String> {
    Ok(match value {
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F32(value) => format!("{value:?}"),
        Value::F64(value) => format!("{value:?}"),
        Value::EnumNumber(value) => value.to_string(),
        Value::String(value) => format!("{value:?}"),
        Value::Message(message) => duration_literal(message)?,
        other => return Err(format!("no literal for {other:?}").into()),
    })
}

fn duration_literal(message: &DynamicMessage) -> Result<String> {
    let number = |name| {
        message
            .get_field_by_name(name)
            .map(|value| value.into_owned())
    };
    match (number("seconds"), number("nanos")) {
        (Some(Value::I64(seconds)), Some(Value::I32(nanos))) => Ok(format!("({seconds}, {nanos})")),
        _ => Err("not a duration".into()),
    }
}

/// `matches!` on the elements of `in` and `not_in`.
fn one_of(value: &Value) -> Result<String> {
    let list = value.as_list().ok_or("not a list")?;
    let items = list.iter().map(literal).collect::<Result<Vec<_>>>()?;
    Ok(items.join(" | "))
}

fn constant(rules: &DynamicMessage, out: &mut String) -> Result<()> {
    for (rule, value) in rules.fields() {
        match rule.name() {
            "const" => {
                let literal = literal(value)?;
                check(
                    out,
                    &format!("*v == {literal}"),
                    &format!("must be {literal}"),
                )?;
            }
            _ => return Err(unknown(&rule)),
        }
    }
    Ok(())
}

/// The order relations, which numbers and durations share. Lower above upper would mean "outside": it does not occur.
fn relation(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match name {
        "const" => ("==", "must be"),
        "gt" => (">", "must be greater than"),
        "gte" => (">=", "must be at least"),
        "lt" => ("<", "must be less than"),
        "lte" => ("<=", "must be at most"),
        _ => return None,
    })
}

fn refuse_inverted(rules: &DynamicMessage) -> Result<()> {
    let bound = |names: [&str; 2]| {
        names
            .into_iter()
            .find(|name| rules.has_field_by_name(name))
            .and_then(|name| {
                match rules
                    .get_field_by_name(name)
                    .map(|value| value.into_owned())
                {
                    Some(Value::I32(value)) => Some(f64::from(value)),
                    Some(Value::U32(value)) => Some(f64::from(value)),
                    Some(Value::F32(value)) => Some(f64::from(value)),
                    Some(Value::F64(value)) => Some(value),
                    Some(Value::I64(value)) => Some(value as f64),
                    Some(Value::U64(value)) => Some(value as f64),
                    _ => None,
                }
            })
    };
    match (bound(["gt", "gte"]), bound(["lt", "lte"])) {
        (Some(low), Some(high)) if low > high => {
            Err("a range with its ends reversed is not known".into())
        }
        _ => Ok(()),
    }
}

fn number(rules: &DynamicMessage, out: &mut String) -> Result<()> {
    refuse_inverted(rules)?;
    let ignore = ignores_empty(rules);
    if ignore {
        writeln!(out, "if check::is_set(v) {{")?;
    }
    for (rule, value) in rules.fields() {
        match (rule.name(), relation(rule.name())) {
            ("ignore_empty", _) => {}
            ("in", _) => {
                let list = one_of(value)?;
                check(
                    out,
                    &format!("matches!(*v, {list})"),
                    &format!("must be one of {list}"),
                )?;
            }
            ("not_in", _) => {
                let list = one_of(value)?;
                check(
                    out,
                    &format!("!matches!(*v, {list})"),
                    &format!("must not be one of {list}"),
                )?;
            }
            (_, Some((operator, text))) => {
                let literal = literal(value)?;
                check(
                    out,
                    &format!("*v {operator} {literal}"),
                    &format!("{text} {literal}"),
                )?;
            }
            _ => return Err(unknown(&rule)),
        }
    }
    if ignore {
        out.push_str("}\n");
    }
    Ok(())
}

fn duration(rules: &DynamicMessage, out: &mut String) -> Result<()> {
    for (rule, value) in rules.fields() {
        match (rule.name(), relation(rule.name())) {
            ("required", _) => {}
            (_, Some((operator, text))) => {
                let literal = literal(value)?;
                let text = format!("{text} {} as (seconds, nanoseconds)", literal);
                check(
                    out,
                    &format!("(v.seconds, v.nanos) {operator} {literal}"),
                    &text,
                )?;
            }
            _ => return Err(unknown(&rule)),
        }
    }
    Ok(())
}

fn any(rules: &DynamicMessage, out: &mut String) -> Result<()> {
    for (rule, value) in rules.fields() {
        match rule.name() {
            "required" => {}
            "in" => {
                let list = one_of(value)?;
                check(
                    out,
                    &format!("matches!(v.type_url.as_str(), {list})"),
                    &format!("type must be {list}"),
                )?;
            }
            _ => return Err(unknown(&rule)),
        }
    }
    Ok(())
}

fn enumeration(kind: &Kind, rules: &DynamicMessage, out: &mut String) -> Result<()> {
    let path = kind
        .as_enum()
        .map(names::enum_path)
        .ok_or("enum rules on something else")?;
    for (rule, value) in rules.fields() {
        match rule.name() {
            "defined_only" if value.as_bool() == Some(true) => {
                check(
                    out,
                    &format!("{path}::is_valid(*v)"),
                    "must be a defined value",
                )?;
            }
            "defined_only" => {}
            "const" => check(
                out,
                &format!("*v == {}", literal(value)?),
                "must be another value",
            )?,
            "in" => check(
                out,
                &format!("matches!(*v, {})", one_of(value)?),
                "must be another value",
            )?,
            "not_in" => check(
                out,
                &format!("!matches!(*v, {})", one_of(value)?),
                "must not be this value",
            )?,
            _ => return Err(unknown(&rule)),
        }
    }
    Ok(())
}

fn bytes(rules: &DynamicMessage, out: &mut String) -> Result<()> {
    for (rule, value) in rules.fields() {
        let value = literal(value)?;
        match rule.name() {
            "len" => check(
                out,
                &format!("v.len() == {value}"),
                &format!("must be {value} bytes long"),
            )?,
            "min_len" => check(
                out,
                &format!("v.len() >= {value}"),
                &format!("must be at least {value} bytes long"),
            )?,
            "max_len" => check(
                out,
                &format!("v.len() <= {value}"),
                &format!("must be at most {value} bytes long"),
            )?,
            _ => return Err(unknown(&rule)),
        }
    }
    Ok(())
}

fn text(rules: &DynamicMessage, out: &mut String) -> Result<()> {
    let ignore = ignores_empty(rules);
    if ignore {
        writeln!(out, "if !v.is_empty() {{")?;
    }
    let strict = !rules.has_field_by_name("strict")
        || rules
            .get_field_by_name("strict")
            .is_some_and(|value| value.as_bool() == Some(true));
    for (rule, value) in rules.fields() {
        let limit =
            |unit| literal(value).map(|number| (number.clone(), format!("{number} {unit} long")));
        match rule.name() {
            "ignore_empty" | "strict" => {}
            "min_len" => {
                let (number, text) = limit("characters")?;
                check(
                    out,
                    &format!("check::chars(v) >= {number}"),
                    &format!("must be at least {text}"),
                )?;
            }
            "max_len" => {
                let (number, text) = limit("characters")?;
                check(
                    out,
                    &format!("check::chars(v) <= {number}"),
                    &format!("must be at most {text}"),
                )?;
            }
            "min_bytes" => {
                let (number, text) = limit("bytes")?;
                check(
                    out,
                    &format!("v.len() >= {number}"),
                    &format!("must be at least {text}"),
                )?;
            }
            "max_bytes" => {
                let (number, text) = limit("bytes")?;
                check(
                    out,
                    &format!("v.len() <= {number}"),
                    &format!("must be at most {text}"),
                )?;
            }
            _ => text_content(&rule, value, strict, out)?,
        }
    }
    if ignore {
        out.push_str("}\n");
    }
    Ok(())
}

fn text_content(
    rule: &prost_reflect::FieldDescriptor,
    value: &Value,
    strict: bool,
    out: &mut String,
) -> Result<()> {
    match rule.name() {
        "const" => check(
            out,
            &format!("v == {}", literal(value)?),
            &format!("must be {}", literal(value)?),
        ),
        "in" => check(
            out,
            &format!("matches!(v.as_str(), {})", one_of(value)?),
            "must be another value",
        ),
        "not_in" => check(
            out,
            &format!("!matches!(v.as_str(), {})", one_of(value)?),
            "must not be this value",
        ),
        "prefix" => check(
            out,
            &format!("v.starts_with({})", literal(value)?),
            &format!("must start with {}", literal(value)?),
        ),
        "suffix" => check(
            out,
            &format!("v.ends_with({})", literal(value)?),
            &format!("must end with {}", literal(value)?),
        ),
        "contains" => check(
            out,
            &format!("v.contains({})", literal(value)?),
            &format!("must contain {}", literal(value)?),
        ),
        "not_contains" => check(
            out,
            &format!("!v.contains({})", literal(value)?),
            &format!("must not contain {}", literal(value)?),
        ),
        "pattern" => {
            let pattern = value.as_str().ok_or("a pattern is no string")?;
            regex::Regex::new(pattern)?;
            // C++ asks for a full match
            let full = format!("^(?:{pattern})$");
            check(
                out,
                &format!("check::pattern!(v, {full:?})"),
                &format!("must match {pattern}"),
            )
        }
        "well_known_regex" => header(value, strict, out),
        _ => Err(unknown(rule)),
    }
}

/// HTTP_HEADER_NAME is 1, HTTP_HEADER_VALUE is 2; not strict means only no NUL, CR or LF.
fn header(value: &Value, strict: bool, out: &mut String) -> Result<()> {
    match (value.as_enum_number(), strict) {
        (Some(1 | 2), false) => check(
            out,
            "check::no_line_breaks(v)",
            "must not contain NUL, CR or LF",
        ),
        (Some(1), true) => check(out, "check::header_name(v)", "must be a header name"),
        (Some(2), true) => check(out, "check::header_value(v)", "must be a header value"),
        _ => Err("unknown well-known regex".into()),
    }
}
