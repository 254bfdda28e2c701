//! What users write besides what is translated: fields that are not translated yet, fields that do not exist, and
//! values that are plainly wrong.

use serde_json::{Map, Value, json};

use crate::dice::Dice;

/// Adds a field of Istio's that is not translated, or one that nobody knows. The object stays as good as it was,
/// unless the field stands where an unknown condition counts.
pub fn clutter(dice: &mut Dice, document: &mut Value) {
    match dice.below(3) {
        0 => {
            let (path, field, value) = dice.one(UNTRANSLATED);
            let parent = document.pointer_mut(path);
            if let Some(parent) = parent.and_then(Value::as_object_mut) {
                let value = serde_json::from_str(value).unwrap_or(Value::Null);
                parent.insert(field.to_owned(), value);
            }
        }
        1 => {
            document["metadata"]["annotations"]["note"] = json!(dice.below(9).to_string());
        }
        _ => {
            let field = dice.one(&["subsetz", "hots", "x", "kind2"]);
            let value = any_json(dice, 2);
            in_some_object(dice, document, |map| {
                map.insert(field.to_owned(), value);
            });
        }
    }
}

/// Makes a document say something wrong somewhere, or nothing readable at all.
pub fn smash(dice: &mut Dice, document: &mut Value) {
    match dice.below(12) {
        0 => *document = any_json(dice, 3),
        1 => document["metadata"] = any_json(dice, 2),
        2 => {
            // Only the key is kept, so that it is a refusal of that object.
            document["spec"] = any_json(dice, 3);
        }
        3 => in_some_object(dice, document, Map::clear),
        _ => {
            let wrong = any_json(dice, 2);
            let pick = dice.roll();
            in_some_object(dice, document, |map| {
                let count = map.len().max(1) as u64;
                let field = map.keys().nth((pick % count) as usize).cloned();
                match field {
                    Some(field) if pick.is_multiple_of(7) => drop(map.remove(&field)),
                    Some(field) => drop(map.insert(field, wrong)),
                    None => {}
                }
            });
        }
    }
}

/// A path to an object, a field of it that is not translated yet, and a value.
const UNTRANSLATED: &[(&str, &str, &str)] = &[
    (
        "/spec/http/0",
        "rewrite",
        r#"{"uri": "/v2", "uriRegexRewrite": {"match": "a", "rewrite": "b"}}"#,
    ),
    (
        "/spec/http/0",
        "fault",
        r#"{"abort": {"httpStatus": 500}, "delay": {"fixedDelay": "5s"}}"#,
    ),
    (
        "/spec/http/0",
        "mirror",
        r#"{"host": "pay", "subset": "v1"}"#,
    ),
    (
        "/spec/http/0",
        "mirrors",
        r#"[{"destination": {"host": "pay"}, "percentage": {"value": 1}}]"#,
    ),
    ("/spec/http/0", "mirrorPercentage", r#"{"value": 10}"#),
    (
        "/spec/http/0",
        "corsPolicy",
        r#"{"allowOrigins": [{"exact": "*"}], "maxAge": "24h"}"#,
    ),
    (
        "/spec/http/0",
        "headers",
        r#"{"request": {"set": {"x": "y"}, "remove": ["z"]}}"#,
    ),
    (
        "/spec/http/0",
        "redirect",
        r#"{"uri": "/new", "redirectCode": 301}"#,
    ),
    (
        "/spec/http/0",
        "directResponse",
        r#"{"status": 200, "body": {"string": "hello"}}"#,
    ),
    (
        "/spec/http/0",
        "delegate",
        r#"{"name": "other", "namespace": "shop"}"#,
    ),
    (
        "/spec/http/0/match/0",
        "queryParams",
        r#"{"q": {"exact": "1"}}"#,
    ),
    ("/spec/http/0/match/0", "sourceLabels", r#"{"app": "cart"}"#),
    ("/spec/http/0/match/0", "withoutHeaders", r#"{"x": {}}"#),
    ("/spec/http/0/match/0", "ignoreUriCase", "true"),
    ("/spec/http/0/match/0", "authority", r#"{"prefix": "a"}"#),
    ("/spec/http/0/match/0", "sourceNamespace", r#""web""#),
    ("/spec/http/0/match/0", "statPrefix", r#""s""#),
    (
        "/spec/http/0/route/0",
        "headers",
        r#"{"response": {"add": {"a": "b"}}}"#,
    ),
    ("/spec/http/0/retries", "retryRemoteLocalities", "true"),
    (
        "/spec",
        "tcp",
        r#"[{"route": [{"destination": {"host": "pay"}}]}]"#,
    ),
    (
        "/spec",
        "tls",
        r#"[{"match": [{"sniHosts": ["a.b"]}], "route": [{"destination": {"host": "pay"}}]}]"#,
    ),
    (
        "/spec/trafficPolicy/outlierDetection",
        "consecutiveErrors",
        "5",
    ),
    ("/spec/trafficPolicy/tls", "credentialName", r#""secret""#),
    ("/spec", "externalIPs", r#"["192.0.2.1"]"#),
];

/// Random JSON: all types, nested a little.
fn any_json(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(if depth == 0 { 8 } else { 10 }) {
        0 => Value::Null,
        1 => json!(dice.once_in(2)),
        2 => json!(-1),
        3 => json!(1.5),
        4 => json!(99_999_999_999_i64),
        5 => json!(""),
        6 => json!(dice.one(&[
            "STRICT",
            "80",
            "*",
            "a|b",
            "\u{0}\n",
            "ä.example",
            "10.0.0.0/8",
            "1s"
        ])),
        7 => json!("x".repeat(dice.one(&[70, 300, 2000]))),
        8 => dice.many(0, 3, |dice| any_json(dice, depth - 1)).into(),
        _ => {
            let fields = dice.many(0, 3, |dice| {
                let field = dice.one(&[
                    "host", "name", "exact", "simple", "match", "labels", "0", "",
                ]);
                (field.to_owned(), any_json(dice, depth - 1))
            });
            Value::Object(fields.into_iter().collect())
        }
    }
}

/// Calls `then` with some object of a document, other than the document itself.
fn in_some_object(
    dice: &mut Dice,
    document: &mut Value,
    then: impl FnOnce(&mut Map<String, Value>),
) {
    let mut paths = Vec::new();
    collect(document, &mut String::new(), &mut paths);
    paths.retain(|path| {
        path.starts_with("/spec")
            || path.starts_with("/metadata/labels")
            || path.starts_with("/endpoints")
            || path.starts_with("/status")
    });
    if paths.is_empty() {
        return;
    }
    let path = dice.one(&paths);
    if let Some(map) = document.pointer_mut(&path).and_then(Value::as_object_mut) {
        then(map);
    }
}

fn collect(value: &Value, path: &mut String, found: &mut Vec<String>) {
    let mut into = |step: &str, inner: &Value| {
        let length = path.len();
        path.push('/');
        path.push_str(&step.replace('~', "~0").replace('/', "~1"));
        collect(inner, path, found);
        path.truncate(length);
    };
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(field, inner)| into(field, inner));
            found.push(path.clone());
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, inner)| into(&index.to_string(), inner)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
