//! Wake-ups: each change of what would be read is followed by one, and reading causes none.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use store::SourceId;
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;

use super::*;
use crate::{Directory, watch};

/// A watched folder `in/` of a temporary one, and its accounts as of the last wake-up.
struct Watched {
    folder: TempDir,
    wakes: Receiver<()>,
    directory: Directory,
    store: Store,
}

impl Watched {
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let path = folder.path().join("in");
        let wakes = watch(vec![path.clone()]).unwrap();
        let directory = Directory::open(path, SourceId(0)).unwrap();
        let mut watched = Self {
            folder,
            wakes,
            directory,
            store: Store::default(),
        };
        watched.read();
        watched
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&mut self) {
        for set in self.directory.read() {
            self.store.apply(set);
        }
    }

    /// Waits until the accounts are these, reading once for each wake-up.
    async fn until(&mut self, expected: &[&str]) {
        let waiting = async {
            while accounts(&self.store) != expected {
                self.wakes.recv().await.unwrap();
                for set in self.directory.read() {
                    self.store.apply(set);
                }
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(
            done.is_ok(),
            "{:?} instead of {expected:?}",
            accounts(&self.store)
        );
    }
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[tokio::test]
async fn edits_new_folders_and_removals_wake() {
    let mut watched = Watched::new(|f| put(&f.join("in/a.yaml"), &account("a", "v1")));
    put(&watched.path("in/a.yaml"), &account("a", "v2"));
    watched.until(&["a:v2"]).await;
    put(&watched.path("in/new/deep/b.yaml"), &account("b", "v1"));
    watched.until(&["a:v2", "b:v1"]).await;
    put(&watched.path("in/new/deep/b.yaml"), &account("b", "v2"));
    watched.until(&["a:v2", "b:v2"]).await;
    put(&watched.path("aside.yaml"), &account("a", "v3"));
    fs::rename(watched.path("aside.yaml"), watched.path("in/a.yaml")).unwrap();
    watched.until(&["a:v3", "b:v2"]).await;
    fs::remove_dir_all(watched.path("in/new")).unwrap();
    watched.until(&["a:v3"]).await;
}

#[tokio::test]
async fn a_half_written_file_is_read_again() {
    use std::io::Write;
    let mut watched = Watched::new(|f| put(&f.join("in/a.yaml"), &account("a", "v1")));
    let text = account("a", "v2");
    let (head, tail) = text.split_at(text.len() - 4);
    let mut file = fs::File::create(watched.path("in/a.yaml")).unwrap();
    file.write_all(head.as_bytes()).unwrap();
    file.sync_all().unwrap();
    put(&watched.path("in/b.yaml"), &account("b", "v1"));
    watched.until(&["a:v1", "b:v1"]).await;
    file.write_all(tail.as_bytes()).unwrap();
    drop(file);
    watched.until(&["a:v2", "b:v1"]).await;
    let file = fs::File::create(watched.path("in/a.yaml")).unwrap();
    put(&watched.path("in/b.yaml"), &account("b", "v2"));
    watched.until(&["a:v2", "b:v2"]).await;
    drop(file);
}

#[tokio::test]
async fn the_folder_itself_may_be_replaced() {
    let mut watched = Watched::new(|f| put(&f.join("in/a.yaml"), &account("a", "v1")));
    put(&watched.path("next/a.yaml"), &account("a", "v2"));
    fs::rename(watched.path("in"), watched.path("old")).unwrap();
    fs::rename(watched.path("next"), watched.path("in")).unwrap();
    watched.until(&["a:v2"]).await;
    put(&watched.path("in/a.yaml"), &account("a", "v3"));
    watched.until(&["a:v3"]).await;
}

#[tokio::test]
async fn links_may_be_swapped_and_what_they_lead_to_may_change() {
    let mut watched = Watched::new(|f| {
        put(&f.join("one/a.yaml"), &account("a", "v1"));
        put(&f.join("two/a.yaml"), &account("a", "v2"));
        put(&f.join("far/b.yaml"), &account("b", "v1"));
        symlink("../far/b.yaml", f.join("one/b.yaml")).unwrap();
        symlink("one", f.join("in")).unwrap();
    });
    put(&watched.path("far/b.yaml"), &account("b", "v2"));
    watched.until(&["a:v1", "b:v2"]).await;
    put(&watched.path("far/b.new"), &account("b", "v3"));
    fs::rename(watched.path("far/b.new"), watched.path("far/b.yaml")).unwrap();
    watched.until(&["a:v1", "b:v3"]).await;
    symlink("two", watched.path("tmp")).unwrap();
    fs::rename(watched.path("tmp"), watched.path("in")).unwrap();
    watched.until(&["a:v2"]).await;
    put(&watched.path("two/a.yaml"), &account("a", "v3"));
    watched.until(&["a:v3"]).await;
}

#[tokio::test]
async fn a_config_map_volume_wakes() {
    let version = |f: &Path, version: &str| {
        put(
            &f.join(format!("in/..{version}/a.yaml")),
            &account("a", version),
        );
        symlink(format!("..{version}"), f.join("in/..tmp")).unwrap();
        fs::rename(f.join("in/..tmp"), f.join("in/..data")).unwrap();
    };
    let mut watched = Watched::new(|f| {
        version(f, "v1");
        symlink("..data/a.yaml", f.join("in/a.yaml")).unwrap();
    });
    version(watched.folder.path(), "v2");
    watched.until(&["a:v2"]).await;
    fs::remove_dir_all(watched.path("in/..v1")).unwrap();
    version(watched.folder.path(), "v3");
    watched.until(&["a:v3"]).await;
}

#[tokio::test]
async fn reading_and_strangers_do_not_wake() {
    let mut watched = Watched::new(|f| put(&f.join("in/a.yaml"), &account("a", "v1")));
    watched.read();
    put(&watched.path("stranger.yaml"), &account("b", "v1"));
    // Events come in order: had one of the above counted, its burst would have ended long before the second wake-up.
    for version in ["v2", "v3"] {
        put(&watched.path("in/a.yaml"), &account("a", version));
        watched.until(&[format!("a:{version}").as_str()]).await;
    }
    let more = tokio::time::timeout(Duration::from_millis(300), watched.wakes.recv()).await;
    assert!(more.is_err(), "a wake-up without a change");
}
