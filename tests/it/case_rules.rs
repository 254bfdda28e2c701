//! What every case must be, without playing any: none is like another but for names and numbers, each belongs to a
//! theme, and every theme has enough of them. Whether it expects different outcomes, its reader sees.

use std::collections::{BTreeMap, BTreeSet};

use lab::cases::{Case, Check, Theme};
use serde_json::{Map, Value, json};

use crate::mesh::top;

/// The kinds that cases are to be about.
const KINDS: &[&str] = &[
    "VirtualService",
    "DestinationRule",
    "PeerAuthentication",
    "AuthorizationPolicy",
    "ServiceEntry",
    "WorkloadEntry",
];
/// The fewest cases, and the fewest of each theme.
const ALL: usize = 160;
const EACH: usize = 12;

/// Fields under which any name may stand.
const NAMED: &[&str] = &[
    "add",
    "answer",
    "data",
    "headers",
    "labels",
    "matchLabels",
    "portLevelMtls",
    "ports",
    "queryParams",
    "received",
    "selector",
    "set",
    "sourceLabels",
    "statuses",
    "versions",
    "withoutHeaders",
    "workloads",
];
/// Fields whose texts are words of Istio's or of the format, not names.
const WORDS: &[&str] = &["kind", "key", "failure", "protocol", "retryOn"];
/// Words that mean something wherever they stand.
const MEANT: &[&str] = &["http", "https", "tcp", "none", "mesh"];

fn cases() -> Vec<Case> {
    let folders = std::fs::read_dir(top().join("tests/cases")).unwrap();
    let mut folders: Vec<_> = folders.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    let read = folders.iter().map(|path| Case::read(path));
    read.map(|case| case.unwrap_or_else(|error| panic!("{error}")))
        .collect()
}

/// The text with each name and number in it as `n`; Istio's words are in capitals.
fn masked_text(text: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || "._-".contains(c);
    let mut masked = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end.max(first.len_utf8()));
        let is_word = word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        let is_kept = !is_part(first) || is_word || MEANT.contains(&word);
        masked.push_str(if is_kept { word } else { "n" });
        rest = after;
    }
    masked
}

/// The value without its names and numbers; `field` is where it stands.
fn masked(value: &Value, field: &str) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value.clone(),
        Value::Number(_) => json!(0),
        Value::String(_) if WORDS.contains(&field) => value.clone(),
        Value::String(text) => json!(masked_text(text)),
        Value::Array(items) => items.iter().map(|item| masked(item, field)).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, _)| *name != "apiVersion");
            let mut pairs: Vec<Value> = fields
                .map(|(name, value)| {
                    let is_name = NAMED.contains(&field);
                    let shown = if is_name {
                        masked_text(name)
                    } else {
                        name.clone()
                    };
                    json!([shown, masked(value, name)])
                })
                .collect();
            pairs.sort_by_key(Value::to_string);
            pairs.into()
        }
    }
}

/// What is left of a case.
fn shape(case: &Case) -> String {
    let objects = case.istio.iter().chain(&case.others);
    let mut objects: Vec<String> = objects
        .map(|object| masked(object, "").to_string())
        .collect();
    objects.sort();
    let calls = masked(&json!(case.calls), "");
    format!("{objects:?} {calls}")
}

#[test]
fn no_case_is_like_another_but_for_names_and_numbers() {
    let cases = cases();
    let mut shapes = BTreeMap::<String, Vec<&str>>::new();
    for case in &cases {
        shapes.entry(shape(case)).or_default().push(&case.name);
    }
    let twins: Vec<_> = shapes.values().filter(|names| names.len() > 1).collect();
    assert!(twins.is_empty(), "alike: {twins:?}");
}

#[test]
fn every_theme_has_enough_cases() {
    let cases = cases();
    let is_ours = |object: &Value| KINDS.iter().any(|kind| object["kind"] == *kind);
    let counting = cases.iter().filter(|case| case.istio.iter().any(is_ours));
    let mut themes = BTreeMap::<Theme, usize>::new();
    for case in counting {
        *themes.entry(case.theme).or_default() += 1;
    }
    let sum: usize = themes.values().sum();
    println!("{sum} of {} cases count: {themes:?}", cases.len());
    for theme in Theme::ALL {
        let count = themes.get(&theme).copied().unwrap_or_default();
        assert!(count >= EACH, "{theme:?} has {count} cases");
    }
    assert!(sum >= ALL, "{sum} cases");
}

#[test]
fn the_format_is_documented_whole() {
    let documented = std::fs::read_to_string(top().join("docs/cases.md")).unwrap();
    let fields = |value: Value| -> Map<String, Value> { value.as_object().unwrap().clone() };
    let call = fields(json!(Check::default()));
    let expect = fields(call["expect"].clone());
    let themes: BTreeSet<String> = Theme::ALL
        .iter()
        .map(|theme| json!(theme).as_str().unwrap().to_owned())
        .collect();
    let words = call.keys().chain(expect.keys()).chain(&themes);
    let silent: Vec<&String> = words
        .filter(|word| !documented.contains(&format!("`{word}`")))
        .collect();
    assert!(silent.is_empty(), "docs/cases.md does not say {silent:?}");
}
