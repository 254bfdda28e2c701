//! What a set of files says, and what has changed since it was last asked: the part of a folder that needs no disk.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use model::{Code, Diagnostic, Finding, Kind, Object, ObjectKey, Place};
use store::{Change, ChangeSet, Entry, SourceId};

use crate::objects::parse_text;

/// What a file holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// This text.
    Text(String),
    /// What it held before.
    Unchanged,
    /// It cannot be read now; why. Its objects stay.
    Unreadable(String),
}

/// What was found in one file.
#[derive(Clone, Debug, Default)]
struct File {
    /// Tells whether the content is still the same.
    digest: u64,
    /// What it says, in order.
    entries: Vec<Entry>,
    /// What it said before a part of it became unreadable.
    kept: Vec<Entry>,
    /// What is said of it beside its objects.
    diagnostics: Vec<Diagnostic>,
}

impl File {
    fn says_something(&self) -> bool {
        !(self.entries.is_empty() && self.kept.is_empty())
    }
}

/// All files of a source.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    source: SourceId,
    files: BTreeMap<Arc<str>, File>,
    shown: BTreeMap<ObjectKey, Entry>,
    duplicates: Vec<Diagnostic>,
    /// The files that have a key which another file decides.
    ignored: BTreeMap<ObjectKey, BTreeSet<Arc<str>>>,
    synced: bool,
}

impl Files {
    pub(crate) fn new(source: SourceId) -> Self {
        Self {
            source,
            files: BTreeMap::new(),
            shown: BTreeMap::new(),
            duplicates: Vec::new(),
            ignored: BTreeMap::new(),
            synced: false,
        }
    }

    /// What is said of files beside their objects.
    pub(crate) fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        let of_files = self.files.values().flat_map(|file| &file.diagnostics);
        of_files.chain(&self.duplicates)
    }

    /// Takes the files of now and says what changed: everything at first, then the differences, if there are any.
    pub(crate) fn update(&mut self, now: BTreeMap<Arc<str>, Content>) -> Vec<ChangeSet> {
        let mut before = std::mem::take(&mut self.files);
        for (name, content) in now {
            let file = read(&name, content, before.remove(&name));
            self.files.insert(name, file);
        }
        let shown = self.merge();
        let changes = if self.synced {
            differences(&self.shown, &shown)
        } else {
            everything(&shown)
        };
        self.shown = shown;
        self.synced = true;
        if changes.is_empty() {
            return Vec::new();
        }
        vec![ChangeSet {
            source: self.source.clone(),
            changes,
        }]
    }

    /// One entry for each key: the first by file and place counts, and what was only kept counts least. But a file that
    /// cannot be read for a moment does not lose a key to a duplicate that was ignored before.
    fn merge(&mut self) -> BTreeMap<ObjectKey, Entry> {
        let mut shown = self.held();
        self.ignored.clear();
        self.duplicates.clear();
        for (name, file) in &self.files {
            for entry in &file.entries {
                match shown.entry(entry.key().clone()) {
                    Slot::Vacant(slot) => {
                        slot.insert(entry.clone());
                    }
                    Slot::Occupied(first) => {
                        self.duplicates.push(duplicate(first.get(), entry));
                        let files = self.ignored.entry(entry.key().clone()).or_default();
                        files.insert(Arc::clone(name));
                    }
                }
            }
        }
        for entry in self.files.values().flat_map(|file| &file.kept) {
            shown
                .entry(entry.key().clone())
                .or_insert_with(|| entry.clone());
        }
        shown
    }

    /// What was shown of a file and is only kept of it now, unless another file has said it since.
    fn held(&self) -> BTreeMap<ObjectKey, Entry> {
        let mut held = BTreeMap::new();
        for (name, file) in &self.files {
            for entry in &file.kept {
                let shown = self.shown.get(entry.key()).map(place_of);
                if shown.is_some_and(|place| place.file.as_ref() == Some(name)) {
                    held.entry(entry.key().clone())
                        .or_insert_with(|| entry.clone());
                }
            }
        }
        for (name, file) in &self.files {
            for key in file.entries.iter().map(Entry::key) {
                let files = self.ignored.get(key);
                if !files.is_some_and(|files| files.contains(name)) {
                    held.remove(key);
                }
            }
        }
        held
    }
}

fn read(name: &Arc<str>, content: Content, before: Option<File>) -> File {
    let before = before.unwrap_or_default();
    let text = match content {
        // Most writers empty a file before they fill it.
        Content::Text(text) if text.is_empty() && before.says_something() => {
            return unreadable(name, "it is empty", before);
        }
        Content::Text(text) => text,
        Content::Unchanged => return before,
        Content::Unreadable(why) => return unreadable(name, &why, before),
    };
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    // Zero is the digest of a file that could not be read.
    let digest = hasher.finish().max(1);
    if digest == before.digest {
        return before;
    }
    let read = parse_text(&text, Some(name));
    let objects = read
        .objects
        .into_iter()
        .map(|object| Entry::Object(Arc::new(object)));
    let refused = read
        .refused
        .into_iter()
        .map(|refusal| Entry::Reject(Arc::new(refusal)));
    let mut entries: Vec<Entry> = objects.chain(refused).collect();
    entries.sort_by_key(line_of);
    let mut file = File {
        digest,
        entries,
        kept: Vec::new(),
        diagnostics: read.diagnostics,
    };
    if read.is_broken {
        let found: BTreeSet<ObjectKey> = file.entries.iter().map(|e| e.key().clone()).collect();
        let all = before.entries.into_iter().chain(before.kept);
        file.kept = all
            .filter(|entry| !found.contains(entry.key()))
            .map(|entry| keep(entry, "a document of its file cannot be read"))
            .collect();
    }
    file
}

fn unreadable(name: &Arc<str>, why: &str, before: File) -> File {
    let place = Place {
        file: Some(name.clone()),
        lines: BTreeMap::new(),
    };
    let finding = Finding::error(
        Code::Unreadable,
        format!("the file cannot be read: {why}"),
        "objects that were read from it before stay as they are",
    );
    let all = before.entries.into_iter().chain(before.kept);
    File {
        digest: 0,
        entries: Vec::new(),
        kept: all
            .map(|entry| keep(entry, "its file cannot be read"))
            .collect(),
        diagnostics: vec![Diagnostic::without_object(&place, "", finding)],
    }
}

/// An entry of which nothing is known any more but that it was there.
fn keep(entry: Entry, why: &str) -> Entry {
    match entry {
        Entry::Object(object) => Entry::Reject(Arc::new(object.refuse(vec![stale(&object, why)]))),
        Entry::Reject(refusal) => Entry::Reject(refusal),
    }
}

fn stale(object: &Object, why: &str) -> Diagnostic {
    let finding = Finding::warning(
        Code::Stale,
        format!("the last good version of this object still holds, since {why}"),
        "correct the file; to remove the object, remove it from a file that can be read",
    );
    Diagnostic::at(&object.key, &object.place, "", finding)
}

/// The line at which an entry begins.
fn line_of(entry: &Entry) -> Option<u32> {
    place_of(entry).line_of("")
}

/// Where an entry stands.
fn place_of(entry: &Entry) -> &Place {
    match entry {
        Entry::Object(object) => &object.place,
        Entry::Reject(refusal) => &refusal.place,
    }
}

fn duplicate(first: &Entry, second: &Entry) -> Diagnostic {
    let words = |entry: &Entry| {
        let file = place_of(entry).file.as_deref().unwrap_or("the same source");
        line_of(entry).map_or(file.to_owned(), |line| format!("{file}:{line}"))
    };
    let finding = Finding::error(
        Code::DuplicateObject,
        format!(
            "{} stands in {} already; this one, in {}, is ignored",
            second.key(),
            words(first),
            words(second),
        ),
        "keep one of them, or rename one",
    );
    Diagnostic::at(second.key(), place_of(second), "", finding)
}

fn everything(shown: &BTreeMap<ObjectKey, Entry>) -> Vec<Change> {
    let of_kind = |kind: Kind| {
        let entries = shown.iter().filter(|(key, _)| key.kind == kind);
        Change::Resync(kind, entries.map(|(_, entry)| entry.clone()).collect())
    };
    Kind::ALL.into_iter().map(of_kind).collect()
}

fn differences(
    before: &BTreeMap<ObjectKey, Entry>,
    now: &BTreeMap<ObjectKey, Entry>,
) -> Vec<Change> {
    let gone = before.keys().filter(|key| !now.contains_key(key));
    let mut changes: Vec<Change> = gone.cloned().map(Change::Remove).collect();
    for (key, entry) in now {
        match (before.get(key), entry) {
            (Some(Entry::Object(old)), Entry::Object(new)) if Arc::ptr_eq(old, new) => {}
            (Some(Entry::Reject(old)), Entry::Reject(new)) if Arc::ptr_eq(old, new) => {}
            (_, Entry::Object(new)) => changes.push(Change::Upsert(new.clone())),
            (_, Entry::Reject(new)) => changes.push(Change::Reject(new.clone())),
        }
    }
    changes
}
