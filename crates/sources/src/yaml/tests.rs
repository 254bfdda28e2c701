//! Tables of texts and what they say.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn values(text: &str) -> Vec<Value> {
    let found = documents(text, None);
    found
        .into_iter()
        .map(|f| f.unwrap().document.value)
        .collect()
}

fn only(text: &str) -> Found {
    let mut found = documents(text, None);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0).unwrap()
}

fn fault(text: &str) -> Fault {
    documents(text, None)
        .into_iter()
        .find_map(Result::err)
        .unwrap()
}

#[test]
fn scalars_mean_what_kubectl_takes_them_for() {
    for (text, value) in [
        ("y", json!(true)),
        ("Yes", json!(true)),
        ("on", json!(true)),
        ("n", json!(false)),
        ("OFF", json!(false)),
        ("yEs", json!("yEs")),
        ("'yes'", json!("yes")),
        ("\"1\"", json!("1")),
        ("!!str 1", json!("1")),
        ("!!int '1'", json!(1)),
        ("~", Value::Null),
        ("", Value::Null),
        ("null", Value::Null),
        ("1", json!(1)),
        ("-1", json!(-1)),
        ("+1", json!(1)),
        ("0x1F", json!(31)),
        ("010", json!(8)),
        ("0o10", json!(8)),
        ("0b11", json!(3)),
        ("1_000", json!(1000)),
        ("1.5", json!(1.5)),
        ("5.0", json!(5)),
        ("1e3", json!(1000)),
        (".5", json!(0.5)),
        ("1.2.3", json!("1.2.3")),
        ("1h", json!("1h")),
        ("2006-01-02", json!("2006-01-02")),
        ("18446744073709551615", json!(u64::MAX)),
        (".inf", json!(".inf")),
        ("089", json!(89)),
        ("10.0.0.1", json!("10.0.0.1")),
    ] {
        assert_eq!(
            values(&format!("a: {text}")),
            [json!({"a": value})],
            "{text}"
        );
    }
    let keys = values("{y: 1, 2: 2, 'no': 3, 0x10: 4}");
    assert_eq!(keys, [json!({"true": 1, "2": 2, "no": 3, "16": 4})]);
}

#[test]
fn every_field_has_its_line_in_the_file() {
    let text = "# one\n---\na:\n- b: 1\n  c:\n    d: |\n      ---x\n      y\n- [x,\n   z]\n---\n{\"e\":\n {\"f\": 1}}\n";
    let found: Vec<Found> = documents(text, None)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let lines = |i: usize| {
        let lines = found[i].document.place.lines.iter();
        lines
            .map(|(path, line)| format!("{path}={line}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        lines(0),
        [
            "=3",
            "a=3",
            "a[0]=4",
            "a[0].b=4",
            "a[0].c=5",
            "a[0].c.d=6",
            "a[1]=9",
            "a[1][0]=9",
            "a[1][1]=10"
        ]
    );
    assert_eq!(lines(1), ["=12", "e=12", "e.f=13"]);
}

#[test]
fn documents_do_not_spoil_each_other() {
    let text =
        "a: 1\n---\nb: [1\n---\nc: 3\n...\nd: 4\n---\n# nothing\n---\n%YAML 1.1\n---\ne: {\n";
    let found = documents(text, None);
    let said: Vec<String> = found
        .iter()
        .map(|found| match found {
            Ok(found) => found.document.value.to_string(),
            Err(fault) => format!("line {}", fault.line),
        })
        .collect();
    assert_eq!(said[0], "{\"a\":1}");
    assert!(said[1].starts_with("line "), "{said:?}");
    assert_eq!(said[2..4], ["{\"c\":3}", "{\"d\":4}"]);
    assert!(said[4].starts_with("line 1"), "{said:?}");
}

#[test]
fn a_key_twice_is_a_fault_at_the_second() {
    let found = only("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n");
    let fault = &found.faults[0];
    assert_eq!((fault.line, fault.field.as_str()), (5, "b.c"));
}

#[test]
fn anchors_aliases_and_merges() {
    let text = "x: &x {a: 1, b: 2}\nw: *x\nz:\n  <<: *x\n  b: 3\n";
    let both = json!({"a": 1, "b": 2});
    assert_eq!(
        values(text),
        [json!({"x": both, "w": both, "z": {"a": 1, "b": 3}})]
    );
    assert!(fault("a: *b").message.contains("unknown anchor"));
    assert_eq!(fault("a: &a [*a]").line, 1);
}

#[test]
fn json_may_have_tabs_and_surrogates() {
    let value = json!({"a": {"b": "\u{1f600}"}});
    assert_eq!(
        values("{\n\t\"a\": {\n\t\t\"b\": \"\\ud83d\\ude00\"\n\t}\n}\n"),
        [value]
    );
    let found = only("{\n\t\"a\": {\n\t\t\"b\": 1\n\t}\n}\n");
    assert_eq!(found.document.place.line_of("a.b"), Some(3));
}

#[test]
fn sec_02_and_36_aliases_and_nesting_are_bounded() {
    let start = Instant::now();
    let many = format!("a: &a x\nb: [{}]", "*a,".repeat(1_000_000));
    assert!(fault(&many).message.contains("aliases"));
    let mut laughs = "l0: &l0 [ha, ha]\n".to_owned();
    for i in 1..40 {
        laughs.push_str(&format!(
            "l{i}: &l{i} [{}]\n",
            format!("*l{},", i - 1).repeat(9)
        ));
    }
    assert!(fault(&laughs).message.contains("aliases"));
    fault(&"[".repeat(1_000_000));
    fault(&"{a: ".repeat(1_000_000));
    fault(&"- ".repeat(1_000_000));
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(documents(&nested(MAX_DEPTH), None).len(), 1);
    assert!(documents(&nested(MAX_DEPTH), None)[0].is_ok());
    assert!(documents(&nested(MAX_DEPTH + 1), None)[0].is_err());
    let deep_alias = "a: &a [[[[1]]]]\nb: ".to_owned() + &"[".repeat(125) + "*a" + &"]".repeat(125);
    assert!(fault(&deep_alias).message.contains("deep"));
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

const GOOD: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: &l {x: \"y\"}}\n\
spec:\n  selector: *l\n  ports:\n  - port: 80\n    name: 'http'\n  text: |\n    a\n    b\n---\n? a\n: !!str 1\n...\n";

proptest! {
    #[test]
    fn no_text_panics(text in "[\\PC\\n\\t]{0,200}") {
        let _ = documents(&text, None);
    }

    #[test]
    fn no_mutation_panics(cuts in prop::collection::vec((any::<prop::sample::Index>(), "[-:\\[\\]{}&*!|>'\"%#@,?~ \\n\\t\\PC]{0,3}"), 1..6)) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, insert) in cuts {
            let at = at.index(text.len());
            text.splice(at..(at + 1).min(text.len()), insert.chars());
            if text.is_empty() {
                text.push('a');
            }
        }
        let _ = documents(&text.into_iter().collect::<String>(), None);
    }
}
