//! From the text of a file to its objects: lists are taken apart, and the ConfigMap `istio` is the MeshConfig in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Diagnostic, Document, Object, Parsed, Place, Refusal};
use serde_json::Value;

use crate::yaml::{self, Fault, Found};

/// The namespace and name of the ConfigMap in which Istio keeps its MeshConfig, and the key in it.
const MESH_CONFIG_MAP: (&str, &str, &str) = ("istio-system", "istio", "mesh");

/// How deep lists of lists are taken apart.
const MAX_LISTS: usize = 4;

/// What stands in a text.
#[derive(Clone, Debug, Default)]
pub struct Text {
    /// Its objects, in order.
    pub objects: Vec<Object>,
    /// Objects that must not be applied.
    pub refused: Vec<Refusal>,
    /// What is said of documents that are no objects, or objects of kinds that are not read.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether there is a document of which not even the key could be read.
    pub is_broken: bool,
}

/// Reads all objects of a text. `file` is its name for diagnostics.
#[must_use]
pub fn parse_text(text: &str, file: Option<&Arc<str>>) -> Text {
    let mut read = Text::default();
    for document in yaml::documents(text, file) {
        match document {
            Ok(found) => read.take(found, 0),
            Err(fault) => {
                read.is_broken = true;
                read.diagnostics.push(syntax(&fault, file));
            }
        }
    }
    read
}

impl Text {
    fn take(&mut self, found: Found, depth: usize) {
        let file = found.document.place.file.clone();
        let line = found.document.place.line_of("").unwrap_or(0);
        match take_apart(found) {
            Ok(items) if depth < MAX_LISTS => {
                items
                    .into_iter()
                    .for_each(|item| self.take(item, depth + 1));
            }
            Ok(_) => {
                let fault = Fault {
                    line,
                    field: String::new(),
                    message: format!("lists stand in lists more than {MAX_LISTS} deep"),
                };
                self.is_broken = true;
                self.diagnostics.push(syntax(&fault, file.as_ref()));
            }
            Err(Found { document, faults }) => {
                let faults = faults
                    .iter()
                    .map(|fault| syntax(fault, file.as_ref()))
                    .collect();
                let parsed = match mesh_config_in(&document) {
                    Some(Ok(inner)) => model::parse_mesh_config(inner),
                    Some(Err(fault)) => Parsed::Unreadable(vec![syntax(&fault, file.as_ref())]),
                    None => model::parse(document),
                };
                self.add(parsed, faults);
            }
        }
    }

    /// Adds an object; one whose text has faults is refused.
    fn add(&mut self, parsed: Parsed, faults: Vec<Diagnostic>) {
        let about = |key: &model::ObjectKey| {
            let key = key.clone();
            faults.iter().cloned().map(move |fault| Diagnostic {
                object: Some(key.clone()),
                ..fault
            })
        };
        match parsed {
            Parsed::Object(object) if faults.is_empty() => self.objects.push(object),
            Parsed::Object(object) => {
                let reasons = about(&object.key).collect();
                self.refused.push(object.refuse(reasons));
            }
            Parsed::Refused(refusal) => {
                let reasons = about(&refusal.key).collect();
                self.refused.push(refusal.because(reasons));
            }
            Parsed::Ignored(diagnostic) => {
                self.diagnostics.extend(diagnostic);
                self.diagnostics.extend(faults);
            }
            Parsed::Unreadable(diagnostics) => {
                self.is_broken = true;
                self.diagnostics.extend(diagnostics);
                self.diagnostics.extend(faults);
            }
        }
    }
}

fn syntax(fault: &Fault, file: Option<&Arc<str>>) -> Diagnostic {
    let place = Place {
        file: file.cloned(),
        lines: BTreeMap::from([("".into(), fault.line)]),
    };
    Diagnostic::without_object(&place, &fault.field, fault.finding())
}

/// The items of a list (`kind: List`, `VirtualServiceList` ...), each with its own lines and faults; anything else as
/// it is.
fn take_apart(found: Found) -> Result<Vec<Found>, Found> {
    let text = |field: &str| found.document.value.get(field).and_then(Value::as_str);
    let Some(of) = text("kind").and_then(|kind| kind.strip_suffix("List")) else {
        return Err(found);
    };
    let (of, api_version) = (of.to_owned(), text("apiVersion").map(str::to_owned));
    let Found {
        mut document,
        faults,
    } = found;
    let Some(Value::Array(items)) = document.value.get_mut("items").map(Value::take) else {
        return Err(Found { document, faults });
    };
    let mut lines = split_lines(document.place.lines);
    let items = items.into_iter().enumerate().map(|(index, mut value)| {
        if let Some(map) = value.as_object_mut().filter(|_| !of.is_empty()) {
            map.entry("kind").or_insert_with(|| of.clone().into());
            if let Some(version) = &api_version {
                map.entry("apiVersion")
                    .or_insert_with(|| version.clone().into());
            }
        }
        let place = Place {
            file: document.place.file.clone(),
            lines: lines.remove(&index).unwrap_or_default(),
        };
        Found {
            document: Document { value, place },
            faults: faults
                .iter()
                .filter_map(|fault| of_item(fault, index))
                .collect(),
        }
    });
    Ok(items.collect())
}

/// The index and the rest of a path such as `items[3].spec`.
fn item_path(path: &str) -> Option<(usize, &str)> {
    let (index, rest) = path.strip_prefix("items[")?.split_once(']')?;
    Some((index.parse().ok()?, rest.strip_prefix('.').unwrap_or(rest)))
}

fn split_lines(lines: BTreeMap<Arc<str>, u32>) -> BTreeMap<usize, BTreeMap<Arc<str>, u32>> {
    let mut split: BTreeMap<usize, BTreeMap<Arc<str>, u32>> = BTreeMap::new();
    for (path, line) in lines {
        if let Some((index, rest)) = item_path(&path) {
            split.entry(index).or_default().insert(rest.into(), line);
        }
    }
    split
}

/// A fault of a list as one of its items has it: those of other items do not concern it, those of the list itself do.
fn of_item(fault: &Fault, index: usize) -> Option<Fault> {
    let field = match item_path(&fault.field) {
        Some((of, rest)) if of == index => rest.to_owned(),
        Some(_) => return None,
        None => String::new(),
    };
    Some(Fault {
        field,
        ..fault.clone()
    })
}

/// The MeshConfig in Istio's ConfigMap, with the lines of the file around it.
fn mesh_config_in(document: &Document) -> Option<Result<Document, Fault>> {
    let (namespace, name, key) = MESH_CONFIG_MAP;
    let value = &document.value;
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let is_it = text("/kind") == Some("ConfigMap")
        && text("/apiVersion") == Some("v1")
        && text("/metadata/name") == Some(name)
        && text("/metadata/namespace") == Some(namespace);
    let inner = value.get("data")?.get(key)?.as_str().filter(|_| is_it)?;
    let before = document.place.line_of("data.mesh").unwrap_or(0);
    let shift = |line: u32| line.saturating_add(before);
    let found = yaml::only_document(inner, document.place.file.as_ref());
    let empty = || {
        let value = Value::Object(serde_json::Map::new());
        let place = document.place.clone();
        Document { value, place }
    };
    Some(match found {
        None => Ok(empty()),
        Some(Err(fault)) => Err(Fault {
            line: shift(fault.line),
            ..fault
        }),
        Some(Ok(found)) => match found.faults.into_iter().next() {
            Some(fault) => Err(Fault {
                line: shift(fault.line),
                ..fault
            }),
            None => Ok(Document {
                value: found.document.value,
                place: Place {
                    file: found.document.place.file,
                    lines: found
                        .document
                        .place
                        .lines
                        .into_iter()
                        .map(|(path, line)| (path, shift(line)))
                        .collect(),
                },
            }),
        },
    })
}
