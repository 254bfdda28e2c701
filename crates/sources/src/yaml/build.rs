//! From parser events to one JSON value and the lines of its fields, with a stack of its own instead of recursion.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Document, Place};
use saphyr_parser::{Event, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};

use super::{Fault, Found, MAX_DEPTH, scalar};

/// How many values a document may have.
const MAX_VALUES: usize = 2_000_000;
/// How many bytes all anchored and all aliased values of a document may take together (SEC 02).
const MAX_ALIASED: usize = 16 << 20;
/// Longer field paths have no line of their own, but their parent's.
const MAX_PATH: usize = 512;

/// A collection that is not complete yet.
struct Open {
    path: String,
    anchor: usize,
    line: u32,
    items: Items,
}

enum Items {
    Map {
        map: Map<String, Value>,
        key: Option<(String, u32)>,
        merged: Vec<Value>,
    },
    Seq(Vec<Value>),
}

/// Builds one document.
pub(super) struct Builder {
    first_line: u32,
    stack: Vec<Open>,
    root: Option<Value>,
    lines: BTreeMap<Arc<str>, u32>,
    anchors: BTreeMap<usize, Value>,
    aliased: usize,
    values: usize,
    faults: Vec<Fault>,
}

impl Builder {
    /// A builder of a text whose first line is this one of its file.
    pub(super) fn new(first_line: u32) -> Self {
        Self {
            first_line,
            stack: Vec::new(),
            root: None,
            lines: BTreeMap::new(),
            anchors: BTreeMap::new(),
            aliased: 0,
            values: 0,
            faults: Vec::new(),
        }
    }

    /// The line of the file for a line of the text, both from 1.
    pub(super) fn line(&self, in_text: usize) -> u32 {
        let offset = u32::try_from(in_text.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first_line.saturating_add(offset)
    }

    /// The document, unless it is empty.
    pub(super) fn finish(self, file: Option<&Arc<str>>) -> Option<Found> {
        let value = self.root.filter(|value| !value.is_null())?;
        let place = Place {
            file: file.cloned(),
            lines: self.lines,
        };
        Some(Found {
            document: Document { value, place },
            faults: self.faults,
        })
    }

    /// Takes the next event of the document.
    pub(super) fn on_event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Fault> {
        let line = self.line(span.start.line());
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = is_plain(style, tag.as_deref());
                if self.takes_key() {
                    return self.key(&text, plain, line);
                }
                let value = if plain {
                    scalar::resolve(&text)
                } else {
                    Value::String(text.into_owned())
                };
                self.begin(line)?;
                self.anchor(anchor, &value, line)?;
                self.put(value, line)
            }
            Event::MappingStart(anchor, tag) => self.open(anchor, tag, line, || Items::Map {
                map: Map::new(),
                key: None,
                merged: Vec::new(),
            }),
            Event::SequenceStart(anchor, tag) => {
                self.open(anchor, tag, line, || Items::Seq(Vec::new()))
            }
            Event::MappingEnd | Event::SequenceEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, line),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    /// Whether the next value is the key of a mapping.
    fn takes_key(&self) -> bool {
        matches!(
            self.stack.last(),
            Some(Open {
                items: Items::Map { key: None, .. },
                ..
            })
        )
    }

    fn key(&mut self, text: &str, plain: bool, line: u32) -> Result<(), Fault> {
        let name = if plain {
            scalar::key(text)
        } else {
            text.to_owned()
        };
        let Some(Open {
            path,
            items: Items::Map { map, key, .. },
            ..
        }) = self.stack.last_mut()
        else {
            return Ok(());
        };
        if map.contains_key(&name) {
            self.faults.push(Fault {
                line,
                field: join_key(path, &name),
                message: format!("the key {name:?} stands here twice"),
            });
        }
        *key = Some((name, line));
        Ok(())
    }

    /// Counts a value and notes the line of the field that it is the value of.
    fn begin(&mut self, line: u32) -> Result<(), Fault> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(fault(line, format!("more than {MAX_VALUES} values")));
        }
        let (path, line) = self.next_path(line);
        if path.len() <= MAX_PATH {
            self.lines.insert(path.into(), line);
        }
        Ok(())
    }

    /// The path of the value that comes next, and the line of its key (or its own, in a sequence).
    fn next_path(&self, line: u32) -> (String, u32) {
        match self.stack.last() {
            None => (String::new(), line),
            Some(Open { path, items, .. }) => match items {
                Items::Map { key, .. } => match key {
                    Some((name, key_line)) => (join_key(path, name), *key_line),
                    None => (path.clone(), line),
                },
                Items::Seq(items) => (format!("{path}[{}]", items.len()), line),
            },
        }
    }

    fn open(
        &mut self,
        anchor: usize,
        _tag: Option<Cow<'_, Tag>>,
        line: u32,
        items: impl FnOnce() -> Items,
    ) -> Result<(), Fault> {
        if self.takes_key() {
            return Err(fault(line, "a key must be a plain value"));
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(fault(line, format!("nested more than {MAX_DEPTH} deep")));
        }
        self.begin(line)?;
        let mut path = self.next_path(line).0;
        if path.len() > MAX_PATH {
            path.truncate(floor_char_boundary(&path, MAX_PATH));
            // What is below is longer still and gets no line either.
            path.push('~');
        }
        self.stack.push(Open {
            path,
            anchor,
            line,
            items: items(),
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(open) = self.stack.pop() else {
            return Ok(());
        };
        let value = match open.items {
            Items::Seq(items) => Value::Array(items),
            Items::Map {
                mut map, merged, ..
            } => {
                for value in merged {
                    merge(&mut map, value, open.line)?;
                }
                Value::Object(map)
            }
        };
        self.anchor(open.anchor, &value, open.line)?;
        self.put(value, open.line)
    }

    /// Remembers an anchored value.
    fn anchor(&mut self, anchor: usize, value: &Value, line: u32) -> Result<(), Fault> {
        if anchor != 0 {
            self.charge(value, line)?;
            self.anchors.insert(anchor, value.clone());
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, line: u32) -> Result<(), Fault> {
        let Some(value) = self.anchors.get(&anchor).cloned() else {
            return Err(fault(line, "an alias inside of what it names"));
        };
        self.charge(&value, line)?;
        if self.takes_key() {
            return match value {
                Value::String(name) => self.key(&name, false, line),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => Err(fault(line, "a key must be a string")),
            };
        }
        if self.stack.len() + depth(&value) > MAX_DEPTH {
            return Err(fault(line, format!("nested more than {MAX_DEPTH} deep")));
        }
        self.begin(line)?;
        self.put(value, line)
    }

    fn charge(&mut self, value: &Value, line: u32) -> Result<(), Fault> {
        self.aliased = self.aliased.saturating_add(size(value));
        if self.aliased > MAX_ALIASED {
            return Err(fault(line, "the aliases stand for too much"));
        }
        Ok(())
    }

    /// Gives a complete value to the collection that it stands in.
    fn put(&mut self, value: Value, line: u32) -> Result<(), Fault> {
        match self.stack.last_mut().map(|open| &mut open.items) {
            None => self.root = Some(value),
            Some(Items::Seq(items)) => items.push(value),
            Some(Items::Map { map, key, merged }) => match key.take() {
                Some((name, _)) if name == "<<" => merged.push(value),
                Some((name, _)) => {
                    map.insert(name, value);
                }
                None => return Err(fault(line, "a value without a key")),
            },
        }
        Ok(())
    }
}

fn fault(line: u32, message: impl Into<String>) -> Fault {
    Fault {
        line,
        field: String::new(),
        message: message.into(),
    }
}

fn join_key(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at)
        .rev()
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or(0)
}

/// YAML 1.1's merge key: what the mapping says itself wins, then the earlier of several.
fn merge(map: &mut Map<String, Value>, value: Value, line: u32) -> Result<(), Fault> {
    match value {
        Value::Object(from) => {
            for (key, value) in from {
                map.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(items) => items
            .into_iter()
            .filter(Value::is_object)
            .try_for_each(|item| merge(map, item, line)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(fault(line, "`<<` needs a mapping"))
        }
    }
}

/// Whether a scalar's type follows from its text.
fn is_plain(style: ScalarStyle, tag: Option<&Tag>) -> bool {
    match tag.filter(|tag| tag.is_yaml_core_schema()) {
        Some(tag) => matches!(tag.suffix.as_str(), "int" | "float" | "bool" | "null"),
        None => style == ScalarStyle::Plain,
    }
}

/// Roughly how many bytes a value takes. Recursion is bounded by the depth of documents.
fn size(value: &Value) -> usize {
    let inner: usize = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + size(value)).sum(),
    };
    inner + 32
}

/// How deep a value is nested; a scalar is 0.
fn depth(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
    }
}
