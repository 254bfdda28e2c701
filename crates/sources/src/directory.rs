//! Objects from a folder: every `*.yaml`, `*.yml` and `*.json` in it and below, ordered by path.
//!
//! Symbolic links are followed, each folder is read once. Names that begin with a dot are left out; so a Kubernetes
//! ConfigMap volume (`..data`) is read through its links only. A file of which the file system says that it did not change
//! is not opened again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::{Code, Diagnostic, Finding, Place};
use store::{ChangeSet, SourceId};

use crate::files::{Content, Files};

/// The largest file that is read, in bytes.
pub(crate) const MAX_FILE: u64 = 64 << 20;

/// A file that changed so shortly before it was read may change once more without being given another time.
const SETTLED: Duration = Duration::from_secs(2);

/// A folder of YAML.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    files: Files,
    last: BTreeSet<Arc<str>>,
    stamps: BTreeMap<Arc<str>, Stamp>,
    unreadable: Vec<Diagnostic>,
}

impl Directory {
    /// A folder as one source. Nothing is read yet.
    ///
    /// # Errors
    /// When it is not a folder that can be listed.
    pub fn open(path: impl Into<PathBuf>, source: SourceId) -> io::Result<Self> {
        let root = path.into();
        fs::read_dir(&root)?;
        Ok(Self {
            root,
            files: Files::new(source),
            last: BTreeSet::new(),
            stamps: BTreeMap::new(),
            unreadable: Vec::new(),
        })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Reads the folder and says what changed: everything at first, then the differences, if there are any. A folder
    /// that is not there (it is being replaced, say) changes nothing.
    pub fn read(&mut self) -> Vec<ChangeSet> {
        self.read_at(SystemTime::now())
    }

    pub(crate) fn read_at(&mut self, now: SystemTime) -> Vec<ChangeSet> {
        let mut walk = Walk::new(now, std::mem::take(&mut self.stamps));
        walk.folder(&self.root, "");
        self.unreadable = walk.problems.iter().map(problem).collect();
        if walk.problems.iter().any(|(folder, _)| folder.is_empty()) {
            self.stamps = walk.known;
            return Vec::new();
        }
        self.stamps = walk.stamps;
        let mut now = walk.files;
        // What stood in a folder that cannot be listed now is still there for all we know.
        for name in &self.last {
            let lost = |(folder, _): &(String, String)| name.starts_with(&format!("{folder}/"));
            if walk.problems.iter().any(lost) {
                now.entry(name.clone()).or_insert_with(|| {
                    Content::Unreadable("its folder cannot be listed".to_owned())
                });
            }
        }
        self.last = now.keys().cloned().collect();
        self.files.update(now)
    }

    /// What is to be said of the files, beside what their objects carry.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        let files = self.files.diagnostics().cloned();
        files.chain(self.unreadable.iter().cloned()).collect()
    }
}

fn problem((folder, why): &(String, String)) -> Diagnostic {
    let place = Place {
        file: Some(if folder.is_empty() { "." } else { folder }.into()),
        lines: BTreeMap::new(),
    };
    let finding = Finding::error(
        Code::Unreadable,
        format!("the folder cannot be read: {why}"),
        "objects that were read from it before stay as they are",
    );
    Diagnostic::without_object(&place, "", finding)
}

/// A walk through a folder. Names are relative to it, with `/`.
struct Walk {
    began: SystemTime,
    /// The files of which the content is known.
    known: BTreeMap<Arc<str>, Stamp>,
    /// The same for next time.
    stamps: BTreeMap<Arc<str>, Stamp>,
    seen: BTreeSet<PathBuf>,
    files: BTreeMap<Arc<str>, Content>,
    problems: Vec<(String, String)>,
}

impl Walk {
    fn new(began: SystemTime, known: BTreeMap<Arc<str>, Stamp>) -> Self {
        Self {
            began,
            known,
            stamps: BTreeMap::new(),
            seen: BTreeSet::new(),
            files: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    fn folder(&mut self, root: &Path, name: &str) {
        let mut open = vec![(root.to_owned(), name.to_owned())];
        while let Some((path, name)) = open.pop() {
            match self.list(&path) {
                Ok(entries) => {
                    // From the end of the stack comes the first: of two links to one folder the first by name counts.
                    for (file, below) in entries.into_iter().rev() {
                        let name = join(&name, &file);
                        self.entry(below, name, &mut open);
                    }
                }
                Err(error) => self.problems.push((name, error.to_string())),
            }
        }
    }

    /// The visible entries of a folder, ordered by name; none when it was listed before.
    fn list(&mut self, path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
        if !self.seen.insert(path.canonicalize()?) {
            return Ok(Vec::new());
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                entries.push((name, entry.path()));
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn file(&mut self, path: &Path, name: Arc<str>, meta: &fs::Metadata) {
        let stamp = Stamp::of(meta);
        let content = if self.known.get(&name) == Some(&stamp) {
            Content::Unchanged
        } else if let Some(content) = content(path, meta.len()) {
            content
        } else {
            return;
        };
        let is_known = match content {
            Content::Unchanged => true,
            Content::Text(_) => stamp.is_settled(self.began),
            Content::Unreadable(_) => false,
        };
        if is_known {
            self.stamps.insert(Arc::clone(&name), stamp);
        }
        self.files.insert(name, content);
    }

    fn entry(&mut self, path: PathBuf, name: String, open: &mut Vec<(PathBuf, String)>) {
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => open.push((path, name)),
            Ok(meta) if meta.is_file() && is_config(&path) => {
                self.file(&path, name.into(), &meta);
            }
            // A pipe or a socket is no config, and reading it might never end.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if is_config(&path) => {
                let content = Content::Unreadable(error.to_string());
                self.files.insert(name.into(), content);
            }
            Err(_) => {}
        }
    }
}

/// What the file system says of a file, before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    /// When the file or what is said of it was changed last: unlike the time of modification nobody can set it.
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            length: meta.len(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    fn is_settled(self, now: SystemTime) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let changed = u64::try_from(seconds)
            .ok()
            .zip(u32::try_from(nanoseconds).ok());
        let changed = changed.map(|(seconds, rest)| UNIX_EPOCH + Duration::new(seconds, rest));
        changed.is_some_and(|changed| now.duration_since(changed).is_ok_and(|age| age >= SETTLED))
    }
}

/// What a file holds; none when it is gone.
pub(crate) fn content(path: &Path, length: u64) -> Option<Content> {
    if length > MAX_FILE {
        return Some(Content::Unreadable(format!(
            "it has {length} bytes, more than {MAX_FILE}"
        )));
    }
    Some(match fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => Content::Text(text),
        Ok(Err(_)) => Content::Unreadable("it is not UTF-8".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => Content::Unreadable(error.to_string()),
    })
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

fn is_config(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}
