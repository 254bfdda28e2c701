//! Reads a folder: the objects as the control plane takes them, and the documents as they were written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Diagnostic, Object};
use serde_json::Value;

use crate::folder::Folder;

/// A folder at one moment.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// What the lab makes of it.
    pub folder: Folder,
    /// Its objects, with their places; refused ones are not among them.
    pub objects: Vec<Arc<Object>>,
    /// What is wrong or doubtful in it.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a folder as it is now.
///
/// # Errors
/// It cannot be read at all.
pub fn read(path: &Path) -> io::Result<Reading> {
    Reader::open(path)?.read()
}

/// Reads a folder again and again: what a broken file said before holds until it can be read, as in the control plane.
#[derive(Debug)]
pub struct Reader {
    folder: sources::Folder,
    documents: BTreeMap<PathBuf, Vec<Value>>,
}

impl Reader {
    /// A reader of a folder.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            folder: sources::Folder::open(path)?,
            documents: BTreeMap::new(),
        })
    }

    /// The folder as it is now.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn read(&mut self) -> io::Result<Reading> {
        let now = files(self.folder.path())?;
        self.folder.read();
        self.documents.retain(|file, _| now.contains(file));
        for file in now {
            let before = self.documents.remove(&file).unwrap_or_default();
            let documents = fs::read_to_string(&file)
                .map_or_else(|_| before.clone(), |text| since(&before, &text));
            self.documents.insert(file, documents);
        }
        Ok(Reading {
            folder: Folder::new(self.documents.values().flatten().cloned()),
            objects: self.folder.objects().cloned().collect(),
            diagnostics: self.folder.diagnostics(),
        })
    }
}

/// What a file says now, and of a file with a part that is not YAML also what it said before and says no more.
fn since(before: &[Value], text: &str) -> Vec<Value> {
    let mut now = documents(text);
    let broken = text.is_empty()
        || sources::yaml::documents(text, None)
            .iter()
            .any(Result::is_err);
    if broken {
        let named = |document: &Value| {
            ["/kind", "/metadata/namespace", "/metadata/name"]
                .map(|path| document.pointer(path).cloned())
        };
        let lost = before
            .iter()
            .filter(|old| !now.iter().any(|new| named(new) == named(old)));
        let lost: Vec<Value> = lost.cloned().collect();
        now.extend(lost);
    }
    now
}

/// The documents of a text, as they were written; what is not YAML is left out.
#[must_use]
pub fn documents(text: &str) -> Vec<Value> {
    let documents = sources::yaml::documents(text, None).into_iter();
    documents
        .filter_map(|found| Some(found.ok()?.document.value))
        .collect()
}

/// The single document of a text; null when there is none.
///
/// # Errors
/// What is wrong with the text.
pub fn yaml(text: &str) -> Result<Value, String> {
    match sources::yaml::documents(text, None).into_iter().next() {
        None => Ok(Value::Null),
        Some(Ok(found)) => Ok(found.document.value),
        Some(Err(fault)) => Err(format!("line {}: {}", fault.line, fault.message)),
    }
}

/// The YAML and JSON files of a folder and of those in it, ordered; hidden ones are left out, as the control plane does.
///
/// # Errors
/// The folder cannot be listed.
pub fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut open = vec![path.to_owned()];
    while let Some(folder) = open.pop() {
        if !seen.insert(folder.canonicalize()?) {
            continue;
        }
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let hidden = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
            let extension = path.extension().and_then(|extension| extension.to_str());
            if hidden {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if matches!(extension, Some("yaml" | "yml" | "json")) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broken_file_said_before_still_holds() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yaml");
        let service =
            "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: x}\nspec: {}\n";
        fs::write(&file, service).unwrap();
        let mut reader = Reader::open(dir.path()).unwrap();
        assert_eq!(reader.read().unwrap().folder.services.len(), 1);
        fs::write(&file, format!("{service}bogus: [")).unwrap();
        let broken = reader.read().unwrap();
        assert_eq!((broken.folder.services.len(), broken.objects.len()), (1, 1));
        assert!(!broken.diagnostics.is_empty());
        fs::write(&file, "# nothing\n").unwrap();
        assert!(reader.read().unwrap().folder.services.is_empty());
    }
}
