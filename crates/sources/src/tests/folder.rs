//! Real folders.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use store::SourceId;
use tempfile::TempDir;

use super::*;
use crate::{Directory, MeshConfigFile, load};

/// A folder, its source and the store that it feeds.
struct World {
    folder: TempDir,
    directory: Directory,
    store: Store,
}

impl World {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            write(folder.path(), name, text);
        }
        let directory = Directory::open(folder.path(), SourceId(0)).unwrap();
        let mut world = Self {
            folder,
            directory,
            store: Store::default(),
        };
        world.read();
        world
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        write(self.path(), name, text);
    }

    fn read(&mut self) -> Vec<String> {
        let sets = self.directory.read();
        let words = words(&sets);
        for set in sets {
            self.store.apply(set);
        }
        words
    }

    fn codes(&self) -> Vec<String> {
        codes(&self.directory.diagnostics())
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn files_are_read_at_any_depth_and_only_differences_are_said() {
    let one = account("a", "v1");
    let mut world = World::new(&[
        ("z.yaml", &one),
        ("d/e/b.yml", &account("b", "v1")),
        (
            "c.json",
            "{\"apiVersion\": \"v1\",\n\"kind\": \"ServiceAccount\", \"metadata\": {\"name\": \"c\"}}",
        ),
        ("README.md", "x: ["),
        (".hidden.yaml", "x: ["),
    ]);
    assert_eq!(accounts(&world.store), ["a:v1", "b:v1", "c:"]);
    assert!(world.codes().is_empty());
    assert!(world.read().is_empty());
    world.write("z.yaml", &account("a", "v2"));
    assert_eq!(world.read(), ["+a"]);
    fs::remove_dir_all(world.path().join("d")).unwrap();
    assert_eq!(world.read(), ["-b"]);
    fs::rename(world.path().join("z.yaml"), world.path().join("y.yaml")).unwrap();
    assert_eq!(world.read(), ["+a"], "its place has changed");
    assert_eq!(accounts(&world.store), ["a:v2", "c:"]);
}

#[test]
fn changes_of_files_that_are_known_are_seen() {
    let mut world = World::new(&[
        ("a.yaml", &account("a", "v1")),
        ("b.yaml", &account("b", "v1")),
        ("c.yaml", &account("c", "v1")),
    ]);
    let later = SystemTime::now() + Duration::from_secs(3600);
    let mut read = || words(&world.directory.read_at(later));
    assert!(read().is_empty());
    assert!(read().is_empty(), "by now they are known");
    let path = |name: &str| world.folder.path().join(name);
    fs::write(path("a.yaml"), account("a", "v1.1")).unwrap();
    assert_eq!(read(), ["+a"], "another length");
    fs::write(path("new"), account("b", "v2")).unwrap();
    fs::rename(path("new"), path("b.yaml")).unwrap();
    assert_eq!(read(), ["+b"], "another file of the same length");
    fs::rename(path("c.yaml"), path("b.yaml")).unwrap();
    assert_eq!(read(), ["-b", "+c"], "an old file under a known name");
    assert!(read().is_empty());
}

#[test]
fn a_broken_document_keeps_what_its_file_said() {
    let both = format!("{}---\n{}", account("a", "v1"), account("b", "v1"));
    let mut world = World::new(&[("f.yaml", &both), ("g.yaml", &account("g", "v1"))]);
    world.write(
        "f.yaml",
        &format!("{}---\n{}", account("a", "v2"), "apiVersion: v1\nkind: [\n"),
    );
    assert_eq!(world.read(), ["+a", "!b"]);
    assert_eq!(accounts(&world.store), ["a:v2", "b:v1", "g:v1"]);
    assert_eq!(world.codes().len(), 1);
    assert!(world.codes()[0].starts_with("LAT0001 f.yaml:"));
    let stale: Vec<_> = world.store.diagnostics().map(|d| d.code.as_str()).collect();
    assert_eq!(stale, ["LAT0008"]);
    world.write(
        "f.yaml",
        "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name:\n",
    );
    assert_eq!(
        world.read(),
        ["!a"],
        "no key, so nothing is known to be gone"
    );
    world.write(
        "g.yaml",
        &format!("{}---\n{}", account("g", "v1"), account("b", "v3")),
    );
    assert_eq!(world.read(), ["+b", "+g"], "another file has it now");
    world.write("f.yaml", &account("a", "v3"));
    assert_eq!(world.read(), ["+a"]);
    assert_eq!(accounts(&world.store), ["a:v3", "b:v3", "g:v1"]);
    assert!(world.codes().is_empty());
}

#[test]
fn a_duplicate_does_not_take_over_from_a_file_that_cannot_be_read() {
    let mut world = World::new(&[
        ("a.yaml", &account("x", "v1")),
        ("b.yaml", &account("x", "v2")),
        ("c.yaml", &account("c", "v1")),
    ]);
    let was = ["c:v1", "x:v1"];
    for text in ["", "kind: [\n", "x: {}\n"] {
        world.write("a.yaml", text);
        assert_eq!(world.read(), ["!x"]);
        world.write("c.yaml", "");
        assert_eq!(world.read(), ["!c"], "nor at the next change");
        assert_eq!(accounts(&world.store), was);
        world.write("a.yaml", &account("x", "v1"));
        world.write("c.yaml", &account("c", "v1"));
        assert_eq!(world.read(), ["+c", "+x"]);
        assert_eq!(accounts(&world.store), was);
    }
    world.write("a.yaml", "");
    world.write("c.yaml", &account("x", "v3"));
    assert_eq!(world.read(), ["-c", "+x"], "a new one takes over");
    assert_eq!(
        accounts(&world.store),
        ["x:v2"],
        "and all that are left count by their place"
    );
    fs::remove_file(world.path().join("a.yaml")).unwrap();
    assert!(world.read().is_empty());
}

#[test]
fn a_refused_object_keeps_its_last_good_version() {
    let good = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: bad\nspec:\n  hosts: [a]\n  http: [{route: [{destination: {host: a}}]}]\n";
    let mut world = World::new(&[("a.yaml", good)]);
    world.write("a.yaml", REFUSED);
    assert_eq!(world.read(), ["!bad"]);
    assert_eq!(
        world.store.snapshot().of_kind(Kind::VirtualService).count(),
        1
    );
    assert_eq!(world.store.diagnostics().next().unwrap().line, Some(6));
    fs::remove_file(world.path().join("a.yaml")).unwrap();
    assert_eq!(world.read(), ["-bad"]);
    assert_eq!(
        world.store.snapshot().of_kind(Kind::VirtualService).count(),
        0
    );
}

#[test]
fn what_is_no_text_keeps_what_it_was() {
    let mut world = World::new(&[("a.yaml", &account("a", "v1"))]);
    fs::write(world.path().join("a.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    assert_eq!(world.read(), ["!a"]);
    assert_eq!(world.codes(), ["LAT0010 a.yaml:0"]);
    world.write("a.yaml", &account("a", "v1"));
    assert_eq!(world.read(), ["+a"]);
    nix_fifo(&world.path().join("pipe.yaml"));
    assert!(world.read().is_empty());
}

/// A pipe that nobody writes to.
fn nix_fifo(path: &Path) {
    let status = std::process::Command::new("mkfifo")
        .arg(path)
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn links_are_followed_but_not_for_ever() {
    let mut world = World::new(&[("a/a.yaml", &account("a", "v1"))]);
    let elsewhere = tempfile::tempdir().unwrap();
    write(elsewhere.path(), "b.yaml", &account("b", "v1"));
    symlink(elsewhere.path(), world.path().join("out")).unwrap();
    symlink("..", world.path().join("a/up")).unwrap();
    symlink(".", world.path().join("self")).unwrap();
    symlink("nowhere", world.path().join("dangling.yaml")).unwrap();
    assert_eq!(world.read(), ["+b"]);
    assert!(world.codes().is_empty());
}

#[test]
fn a_config_map_volume_is_swapped_at_once() {
    let world_of = |version: &str, folder: &Path| {
        let inner = format!("..2026_{version}");
        write(folder, &format!("{inner}/a.yaml"), &account("a", version));
        write(folder, &format!("{inner}/b.yaml"), &account("b", version));
        symlink(&inner, folder.join("..tmp")).unwrap();
        fs::rename(folder.join("..tmp"), folder.join("..data")).unwrap();
    };
    let mut world = World::new(&[]);
    world_of("v1", world.path());
    symlink("..data/a.yaml", world.path().join("a.yaml")).unwrap();
    symlink("..data/b.yaml", world.path().join("b.yaml")).unwrap();
    assert_eq!(world.read(), ["+a", "+b"]);
    world_of("v2", world.path());
    fs::remove_dir_all(world.path().join("..2026_v1")).unwrap();
    assert_eq!(world.read(), ["+a", "+b"]);
    assert_eq!(accounts(&world.store), ["a:v2", "b:v2"]);
    assert!(world.codes().is_empty());
}

#[test]
fn a_folder_that_is_gone_changes_nothing() {
    let mut world = World::new(&[("d/a.yaml", &account("a", "v1"))]);
    let aside = world.path().with_extension("aside");
    fs::rename(world.path(), &aside).unwrap();
    assert!(world.read().is_empty());
    assert_eq!(world.codes(), ["LAT0010 .:0"]);
    fs::rename(&aside, world.path()).unwrap();
    assert!(world.read().is_empty());
    assert!(world.codes().is_empty());
    assert!(Directory::open(world.path().join("no"), SourceId(0)).is_err());
}

#[test]
fn the_mesh_config_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mesh");
    fs::write(&path, "trustDomain: a.org\n").unwrap();
    let mut file = MeshConfigFile::open(&path, SourceId(1)).unwrap();
    assert_eq!(words(&file.read()), ["=istio"]);
    assert!(file.read().is_empty());
    let mut store = Store::new([(SourceId(1), Kind::MeshConfig)]);
    fs::write(&path, "trustDomain: b.org\ntrustDomain: c.org\n").unwrap();
    for set in file.read() {
        store.apply(set);
    }
    assert!(store.has_synced());
    assert_eq!(store.diagnostics().next().unwrap().line, Some(2));
    fs::write(
        &path,
        "trustDomain: b.org\n---\naccessLogFile: /dev/stdout\n",
    )
    .unwrap();
    for set in file.read() {
        store.apply(set);
    }
    let said = store.diagnostics().next().unwrap();
    assert_eq!((said.code.as_str(), said.line), ("LAT0001", Some(3)));
    for empty in ["", "\n"] {
        fs::write(&path, empty).unwrap();
        assert!(file.read().is_empty());
        assert_eq!(codes(&file.diagnostics()).len(), 1);
        assert!(file.diagnostics()[0].message.contains("it is empty"));
    }
    fs::remove_file(&path).unwrap();
    assert!(file.read().is_empty());
    assert_eq!(file.diagnostics().len(), 1);
}

#[test]
fn a_folder_is_loaded_with_all_that_is_to_be_said() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", &account("a", "v1"));
    write(
        folder.path(),
        "b.yaml",
        &format!("{REFUSED}---\n{}---\nx: [\n", account("a", "v2")),
    );
    let (store, diagnostics) = load(folder.path()).unwrap();
    assert_eq!(accounts(&store), ["a:v1"]);
    let found = codes(&diagnostics);
    assert_eq!(found[0], "IST0106 b.yaml:6");
    assert_eq!(found[1], "LAT0005 b.yaml:8");
    assert!(found[2].starts_with("LAT0001 b.yaml:1"), "{found:?}");
    assert!(load(Path::new("/nonexistent")).is_err());
}
