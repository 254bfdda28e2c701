//! When to read again: the kernel's file events, coalesced.
//!
//! Watched are every folder that is read, the folders that hold what symbolic links point to, and the folders in which
//! the given paths themselves stand, so that replacing a whole folder is seen too. After each burst of events the set
//! of watches is made anew before the wake-up is sent: what changes after it is either read or reported.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Config, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// How long a burst of events may last before it is reported: an editor's write, rename and chmod come together.
const BURST: Duration = Duration::from_millis(20);

/// How long to wait before watches that could not be set are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Links are followed at most so often, like the kernel does.
const MAX_LINKS: usize = 40;

/// The kernel does not watch (it has run out of watches, say). Reading on demand still works.
#[derive(Debug, thiserror::Error)]
#[error("file events cannot be had")]
pub struct WatchError(#[from] notify::Error);

/// Watches files and folders. The receiver yields once for any number of changes; read then. It goes on until the
/// receiver is dropped. Call it inside of a tokio runtime, and before the first read.
///
/// # Errors
/// When the kernel refuses the watches.
pub fn watch(paths: Vec<PathBuf>) -> Result<mpsc::Receiver<()>, WatchError> {
    let (event, events) = mpsc::channel(1);
    let (wake, wakes) = mpsc::channel(1);
    let armed = Armed::new(&paths, &event)?;
    tokio::spawn(run(paths, armed, event, events, wake));
    Ok(wakes)
}

async fn run(
    paths: Vec<PathBuf>,
    mut armed: Armed,
    event: mpsc::Sender<()>,
    mut events: mpsc::Receiver<()>,
    wake: mpsc::Sender<()>,
) {
    loop {
        tokio::select! {
            () = wake.closed() => return,
            _ = events.recv() => {}
        }
        tokio::time::sleep(BURST).await;
        let _ = events.try_recv();
        if places(&paths) != armed.places {
            match Armed::new(&paths, &event) {
                Ok(new) => armed = new,
                Err(_) => {
                    let retry = event.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(RETRY).await;
                        let _ = retry.try_send(());
                    });
                }
            }
        }
        // A wake-up that still waits to be taken stands for this one too.
        let _ = wake.try_send(());
    }
}

/// What must be watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Places {
    /// The folders, each with device and inode: a new folder under an old name is another one.
    folders: BTreeSet<(PathBuf, u64, u64)>,
    /// The folders of which every entry counts.
    whole: BTreeSet<PathBuf>,
    /// The entries that count in the others.
    names: BTreeSet<PathBuf>,
}

impl Places {
    /// Whether something that happened at these paths counts. An event without paths says that others were lost.
    fn concern(&self, paths: &[PathBuf]) -> bool {
        let counts = |path: &PathBuf| {
            let parent = path.parent();
            self.names.contains(path)
                || self.whole.contains(path)
                || parent.is_some_and(|parent| self.whole.contains(parent))
        };
        paths.is_empty() || paths.iter().any(counts)
    }
}

/// Watches that are set.
struct Armed {
    places: Places,
    _watcher: RecommendedWatcher,
}

impl Armed {
    fn new(paths: &[PathBuf], event: &mpsc::Sender<()>) -> notify::Result<Self> {
        let places = places(paths);
        let (event, concerned) = (event.clone(), places.clone());
        let handler = move |result: notify::Result<notify::Event>| {
            let counts =
                |event: &notify::Event| changes(event.kind) && concerned.concern(&event.paths);
            if result.as_ref().is_ok_and(|event| !counts(event)) {
                return;
            }
            let _ = event.try_send(());
        };
        let mut watcher = RecommendedWatcher::new(handler, Config::default())?;
        for (path, ..) in &places.folders {
            match watcher.watch(path, RecursiveMode::NonRecursive) {
                Err(error) if !is_gone(&error) => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(Self {
            places,
            _watcher: watcher,
        })
    }
}

/// Whether a watch failed because its folder vanished meanwhile; its own parent's watch reports that.
fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Whether an event says that something else would be read now. Opening and reading are events too: our own. What is
/// written counts when its writer closes the file, so that a file is not read while it is half written.
fn changes(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Data(_)) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

/// Every folder that must be watched for these paths.
fn places(paths: &[PathBuf]) -> Places {
    let mut found = Places::default();
    for path in paths {
        found.above(path);
        found.below(path);
    }
    found
}

impl Places {
    fn add(&mut self, folder: &Path) -> bool {
        match fs::metadata(folder) {
            Ok(meta) if meta.is_dir() => {
                self.folders
                    .insert((folder.to_owned(), meta.dev(), meta.ino()));
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// The folders in which a path and the links that it leads through stand, or the nearest ones that exist.
    fn above(&mut self, path: &Path) {
        let mut at = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        for _ in 0..MAX_LINKS {
            let mut name = at.as_path();
            while let Some(parent) = name.parent() {
                self.names.insert(name.to_owned());
                if self.add(parent) {
                    break;
                }
                name = parent;
            }
            match (fs::read_link(&at), at.parent()) {
                (Ok(target), Some(parent)) => at = parent.join(target),
                (Ok(_) | Err(_), _) => return,
            }
        }
    }

    /// The folders at and below a path, with those that links lead to.
    fn below(&mut self, path: &Path) {
        let mut seen = BTreeSet::new();
        let mut open = vec![std::path::absolute(path).unwrap_or_else(|_| path.to_owned())];
        while let Some(folder) = open.pop() {
            let real = folder.canonicalize().ok();
            let Ok(entries) = fs::read_dir(&folder) else {
                continue;
            };
            if !real.is_some_and(|real| seen.insert(real)) {
                continue;
            }
            self.add(&folder);
            self.whole.insert(folder);
            for entry in entries.flatten() {
                let hidden = entry.file_name().to_string_lossy().starts_with('.');
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                    self.above(&path);
                }
                if !hidden && fs::metadata(&path).is_ok_and(|meta| meta.is_dir()) {
                    open.push(path);
                }
            }
        }
    }
}
