//! Objects that are wrong, by hand, and objects that are right: what is said of them is what comments in them expect
//! (`tests/wrong/README.md`), and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use control::Control;
use model::{Diagnostic, Kind, Severity};
use sources::Directory;
use store::SourceId;

use crate::mesh::top;

/// The fewest wrong ones, and the fewest that are right.
const WRONG: usize = 60;
const SAMPLES: usize = 40;
/// What stands beside each of the wrong ones.
const WORLD: &str = "world.yaml";
/// What begins a comment about the line above it.
const MARK: &str = "#^ ";

/// What is to be said: everything but the hint, and a part of the hint.
type Expected = (String, String);

/// The files of a folder, ordered.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    files.sort();
    files
}

fn name(file: &Path) -> &str {
    file.file_name().and_then(|name| name.to_str()).unwrap()
}

/// What the comments of a file expect.
fn expected(file: &Path) -> Vec<Expected> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut line = 0;
    let mut found = Vec::new();
    for (number, text) in (1..).zip(text.lines()) {
        let Some(said) = text.trim_start().strip_prefix(MARK) else {
            line = number;
            continue;
        };
        let (said, hint) = said.split_once(": ").unwrap();
        assert!(
            !hint.is_empty(),
            "{}:{number} names no hint",
            file.display()
        );
        found.push((format!("{}:{line} {said}", name(file)), hint.to_owned()));
    }
    found
}

/// What is said of files in one folder, as by `lateen validate`.
fn said(files: &[&Path]) -> Vec<Diagnostic> {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        std::fs::copy(file, folder.path().join(name(file))).unwrap();
    }
    let mut directory = Directory::open(folder.path(), SourceId(0)).unwrap();
    let mut control = Control::new([]);
    control.apply(directory.read());
    let mut found = directory.diagnostics();
    found.extend(control.diagnostics());
    found.sort();
    found.dedup();
    found
}

fn shown(diagnostic: &Diagnostic) -> String {
    let file = diagnostic.file.as_deref().unwrap_or("-");
    let line = diagnostic.line.unwrap_or(0);
    let object = diagnostic.object.as_ref();
    let object = object.map_or("-".to_owned(), ToString::to_string);
    let field = match &*diagnostic.field {
        "" => "-",
        field => field,
    };
    let (severity, code) = (diagnostic.severity, diagnostic.code);
    format!("{file}:{line} {severity} {code} {object} {field}")
}

/// What is said and not expected, and what is expected and not said; below `least` nothing counts that nobody expects.
fn complaints(file: &Path, beside: &[PathBuf], least: Severity) -> Vec<String> {
    let mut files: Vec<&Path> = beside.iter().map(AsRef::as_ref).collect();
    files.push(file);
    let mut open = expected(file);
    let mut found = Vec::new();
    for diagnostic in said(&files) {
        let said = shown(&diagnostic);
        let is_it =
            |(wanted, hint): &Expected| *wanted == said && diagnostic.hint.contains(hint.as_str());
        match open.iter().position(is_it) {
            Some(index) => drop(open.remove(index)),
            None if diagnostic.severity < least => {}
            None => found.push(format!("said: {said}: {}", diagnostic.hint)),
        }
    }
    let unsaid = open.into_iter();
    found.extend(unsaid.map(|(said, hint)| format!("not said: {said}: {hint}")));
    found
}

#[test]
fn every_wrong_object_is_told_what_is_wrong_and_nothing_else() {
    let folder = top().join("tests/wrong");
    let world = folder.join(WORLD);
    let mut wrong = files(&folder);
    wrong.retain(|file| *file != world);
    let mut found = complaints(&world, &[], Severity::Info);
    let mut codes = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for file in &wrong {
        let wanted = expected(file);
        assert!(!wanted.is_empty(), "{} expects nothing", file.display());
        for (said, _) in &wanted {
            let words: Vec<&str> = said.split(' ').collect();
            codes.insert(words[2].to_owned());
            kinds.insert(words[3].to_owned());
        }
        found.extend(complaints(
            file,
            std::slice::from_ref(&world),
            Severity::Info,
        ));
    }
    println!("{} wrong ones: {codes:?} of {kinds:?}", wrong.len());
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(wrong.len() >= WRONG, "{}", wrong.len());
    for kind in [
        Kind::VirtualService,
        Kind::DestinationRule,
        Kind::PeerAuthentication,
        Kind::AuthorizationPolicy,
        Kind::ServiceEntry,
        Kind::WorkloadEntry,
    ] {
        assert!(kinds.contains(kind.as_str()), "no {kind} is wrong");
    }
}

#[test]
fn samples_are_right() {
    let samples = files(&top().join("tests/samples"));
    let found: Vec<String> = samples
        .iter()
        .flat_map(|file| complaints(file, &[], Severity::Warning))
        .collect();
    let text: String = samples
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    println!("{} samples", samples.len());
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(samples.len() >= SAMPLES, "{}", samples.len());
    for version in ["v1alpha3", "v1beta1", "v1"] {
        let written = format!("apiVersion: networking.istio.io/{version}\n");
        assert!(text.contains(&written), "no sample is written in {version}");
    }
    assert!(text.contains("traffic_policy:"), "none is in snake_case");
}
