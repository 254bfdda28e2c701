//! Objects from texts in memory: for tests, and for commands that ask what would be.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Diagnostic;
use store::{ChangeSet, SourceId};

use crate::files::{Content, Files};

/// Named texts that behave like the files of a folder.
#[derive(Clone, Debug)]
pub struct Memory {
    texts: BTreeMap<Arc<str>, String>,
    files: Files,
}

impl Memory {
    /// A source without texts.
    #[must_use]
    pub fn new(source: SourceId) -> Self {
        Self {
            texts: BTreeMap::new(),
            files: Files::new(source),
        }
    }

    /// Adds or replaces a text; it counts from the next [`read`](Self::read).
    pub fn put(&mut self, name: &str, text: &str) {
        self.texts.insert(name.into(), text.to_owned());
    }

    /// Removes a text; it counts until the next [`read`](Self::read).
    pub fn remove(&mut self, name: &str) {
        self.texts.remove(name);
    }

    /// What changed since it was last asked: everything at first, then the differences.
    pub fn read(&mut self) -> Vec<ChangeSet> {
        let texts = self.texts.iter();
        let now = texts.map(|(name, text)| (name.clone(), Content::Text(text.clone())));
        self.files.update(now.collect())
    }

    /// What is to be said of the texts, beside what their objects carry.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        self.files.diagnostics().cloned().collect()
    }
}
