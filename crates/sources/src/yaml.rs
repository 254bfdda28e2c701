//! Text to documents: every YAML document or JSON object of a file as a JSON value, with the line of each field.
//!
//! Scalars mean what Kubernetes takes them for (`sigs.k8s.io/yaml`, hence YAML 1.1: `y`, `no` and `on` are booleans).
//! A document that is not YAML is a [`Fault`] and leaves the others of the file alone. Depth, aliases and size are
//! bounded (SEC 02, SEC 36).

mod build;
mod scalar;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use model::{Code, Document, Finding, Place};
use saphyr_parser::{Event, Parser};
use serde_json::Value;

use build::Builder;

/// The deepest nesting that a document may have (SEC 36).
pub const MAX_DEPTH: usize = 128;

/// What is wrong with the text of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line in the file, from 1.
    pub line: u32,
    /// The field that stands there, if that is known.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl Fault {
    /// The fault as a diagnostic says it.
    #[must_use]
    pub fn finding(&self) -> Finding {
        Finding::error(
            Code::Syntax,
            self.message.clone(),
            "the document is not applied; correct the text",
        )
    }
}

/// One document of a file.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it says and where.
    pub document: Document,
    /// Keys that stand there twice: the document can be read, but must not be applied.
    pub faults: Vec<Fault>,
}

/// Reads all documents of a text. Empty documents are left out.
#[must_use]
pub fn documents(text: &str, file: Option<&Arc<str>>) -> Vec<Result<Found, Fault>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    split(text)
        .into_iter()
        .flat_map(|(first_line, chunk)| read(chunk, first_line, file))
        .collect()
}

/// Reads the document of a text that has one at most.
#[must_use]
pub fn only_document(text: &str, file: Option<&Arc<str>>) -> Option<Result<Found, Fault>> {
    let mut found = documents(text, file).into_iter();
    let first = found.next()?;
    let Some(second) = found.next() else {
        return Some(first);
    };
    let another = |second: Found| Fault {
        line: second.document.place.line_of("").unwrap_or(0),
        field: String::new(),
        message: "another document begins here, where there may be one only".to_owned(),
    };
    Some(first.and_then(|_| Err(second.map_or_else(|fault| fault, another))))
}

/// The value of a text that has one document at most; of an empty text, the empty object.
///
/// # Errors
/// [`Fault`] says what is wrong, and in which line.
pub fn only_value(text: &str) -> Result<Value, Fault> {
    let Some(found) = only_document(text, None) else {
        return Ok(Value::Object(serde_json::Map::new()));
    };
    let Found { document, faults } = found?;
    match faults.into_iter().next() {
        Some(fault) => Err(fault),
        None => Ok(document.value),
    }
}

/// Cuts a text at the lines that begin or end a document, so that a broken document cannot spoil the next one.
/// `---` and `...` in the first column are markers wherever they stand, even inside of block scalars.
fn split(text: &str) -> Vec<(u32, &str)> {
    let mut chunks = Vec::new();
    let (mut start, mut first_line, mut at) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let number = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
        let ends = is_marker(line, "...");
        if ends || is_marker(line, "---") {
            chunks.push((first_line, text.get(start..at).unwrap_or_default()));
            (start, first_line) = if ends {
                (at + line.len(), number.saturating_add(1))
            } else {
                (at, number)
            };
        }
        at += line.len();
    }
    chunks.push((first_line, text.get(start..).unwrap_or_default()));
    chunks.retain(|(_, chunk)| chunk.lines().any(says_something));
    chunks
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Whether a line is more than a comment, a directive or nothing.
fn says_something(line: &str) -> bool {
    let line = line.strip_prefix("---").unwrap_or(line).trim_start();
    !(line.is_empty() || line.starts_with(['#', '%']))
}

fn read(chunk: &str, first_line: u32, file: Option<&Arc<str>>) -> Vec<Result<Found, Fault>> {
    // JSON may be indented by tabs, which YAML refuses; inside of JSON's strings there are none.
    if chunk.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str::<serde_json::Value>(chunk)
    {
        let found = parse(&chunk.replace('\t', " "), first_line, file);
        if found.iter().all(Result::is_ok) {
            return found;
        }
        let lines = BTreeMap::from([("".into(), first_line)]);
        let place = Place {
            file: file.cloned(),
            lines,
        };
        let document = Document { value, place };
        return vec![Ok(Found {
            document,
            faults: Vec::new(),
        })];
    }
    parse(chunk, first_line, file)
}

fn parse(text: &str, first_line: u32, file: Option<&Arc<str>>) -> Vec<Result<Found, Fault>> {
    let mut parser = Parser::new_from_str(text);
    let mut found = Vec::new();
    let mut builder = Builder::new(first_line);
    while let Some(next) = parser.next_event() {
        let step = match next {
            Ok((Event::DocumentEnd, _)) => {
                let done = std::mem::replace(&mut builder, Builder::new(first_line));
                found.extend(done.finish(file).map(Ok));
                Ok(())
            }
            Ok((event, span)) => builder.on_event(event, &span),
            Err(error) => Err(Fault {
                line: builder.line(error.marker().line()),
                field: String::new(),
                message: format!("this is not YAML: {}", error.info()),
            }),
        };
        if let Err(fault) = step {
            found.push(Err(fault));
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests;
