//! The MeshConfig file of `--meshConfig`: a source with one object.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Code, Diagnostic, Document, Finding, Kind, Parsed, Place};
use serde_json::Value;
use store::{Change, ChangeSet, Entry, SourceId};

use crate::directory::content;
use crate::files::Content;
use crate::yaml::{self, Fault, Found};

/// A file that holds a MeshConfig and nothing else.
#[derive(Debug)]
pub struct MeshConfigFile {
    path: PathBuf,
    name: Arc<str>,
    source: SourceId,
    last: Option<String>,
    diagnostics: Vec<Diagnostic>,
}

impl MeshConfigFile {
    /// A file as one source. Nothing is kept of it yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: impl Into<PathBuf>, source: SourceId) -> io::Result<Self> {
        let path = path.into();
        fs::File::open(&path)?;
        Ok(Self {
            name: path.to_string_lossy().into(),
            path,
            source,
            last: None,
            diagnostics: Vec::new(),
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file and says what changed. A file that is gone or cannot be read changes nothing.
    pub fn read(&mut self) -> Vec<ChangeSet> {
        self.diagnostics.clear();
        let length = fs::metadata(&self.path).map(|meta| meta.len());
        let text = match length.map(|length| content(&self.path, length)) {
            Ok(Some(Content::Text(text))) => text,
            Ok(Some(Content::Unchanged)) => return Vec::new(),
            Ok(Some(Content::Unreadable(why))) => return self.unreadable(&why),
            Ok(None) => return self.unreadable("it is gone"),
            Err(error) => return self.unreadable(&error.to_string()),
        };
        if self.last.as_ref() == Some(&text) {
            return Vec::new();
        }
        // Most writers empty a file before they fill it.
        if text.trim().is_empty() && self.last.is_some() {
            return self.unreadable("it is empty");
        }
        let entry = self.entry(&text);
        self.last = Some(text);
        let entries = entry.into_iter().collect();
        vec![ChangeSet {
            source: self.source.clone(),
            changes: vec![Change::Resync(Kind::MeshConfig, entries)],
        }]
    }

    /// What is to be said of the file, beside what the MeshConfig carries.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        self.diagnostics.clone()
    }

    fn unreadable(&mut self, why: &str) -> Vec<ChangeSet> {
        let finding = Finding::error(
            Code::Unreadable,
            format!("the file cannot be read: {why}"),
            "the MeshConfig stays as it is",
        );
        self.diagnostics
            .push(Diagnostic::without_object(&self.place(), "", finding));
        Vec::new()
    }

    fn place(&self) -> Place {
        Place {
            file: Some(self.name.clone()),
            ..Place::default()
        }
    }

    fn entry(&self, text: &str) -> Option<Entry> {
        match parse_mesh_config(text, Some(&self.name)) {
            Parsed::Object(object) => Some(Entry::Object(Arc::new(object))),
            Parsed::Refused(refusal) => Some(Entry::Reject(Arc::new(refusal))),
            Parsed::Ignored(_) | Parsed::Unreadable(_) => None,
        }
    }
}

/// The MeshConfig of a text; `file` is its name for diagnostics. An empty text says nothing, and so every field has its
/// default. One whose text has faults is refused.
#[must_use]
pub fn parse_mesh_config(text: &str, file: Option<&Arc<str>>) -> Parsed {
    let place = || Place {
        file: file.cloned(),
        ..Place::default()
    };
    let empty = || Document {
        value: Value::Object(serde_json::Map::new()),
        place: place(),
    };
    let (document, faults) = match yaml::only_document(text, file) {
        None => (empty(), Vec::new()),
        Some(Ok(Found { document, faults })) => (document, faults),
        Some(Err(fault)) => (empty(), vec![fault]),
    };
    match model::parse_mesh_config(document) {
        Parsed::Object(object) if !faults.is_empty() => {
            let reason = |fault: &Fault| {
                let mut place = place();
                place.lines.insert("".into(), fault.line);
                Diagnostic::at(&object.key, &place, &fault.field, fault.finding())
            };
            let reasons = faults.iter().map(reason).collect();
            Parsed::Refused(object.refuse(reasons))
        }
        parsed => parsed,
    }
}
