//! Rules of the tree that no compiler checks: the arrows between crates, the size of files and functions, the line that
//! says what a file is for, and what must not be written anywhere. ARCHITECTURE.md and CONTRIBUTING.md explain them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use syn::visit::{self, Visit};

/// Which crates of the workspace a crate may depend on.
enum May {
    /// These and no others.
    Use(&'static [&'static str]),
    /// Everything except these.
    UseAllBut(&'static [&'static str]),
}

use May::{Use, UseAllBut};

/// The arrows: the table in ARCHITECTURE.md. A new arrow is a change here and there, with its reason in the commit.
const ARROWS: &[(&str, May)] = &[
    ("istio-api", Use(&[])),
    ("envoy-api", Use(&[])),
    ("wire", Use(&[])),
    ("model", Use(&["istio-api"])),
    ("ir", Use(&["model"])),
    ("store", Use(&["model"])),
    ("mesh", Use(&["model", "store", "ir"])),
    ("translate", Use(&["ir", "envoy-api", "wire"])),
    ("xds", Use(&["envoy-api"])),
    (
        "control",
        Use(&[
            "model",
            "store",
            "mesh",
            "ir",
            "translate",
            "xds",
            "envoy-api",
        ]),
    ),
    ("sources", Use(&["istio-api", "model", "store"])),
    ("k8s", Use(&["istio-api", "model", "store"])),
    ("ca", Use(&["model", "istio-api", "wire"])),
    ("webhook", Use(&["model", "istio-api"])),
    (
        "agent",
        Use(&["model", "istio-api", "envoy-api", "xds", "wire"]),
    ),
    (
        "lab",
        Use(&["model", "istio-api", "sources", "control", "envoy-api"]),
    ),
    ("testkit", UseAllBut(&[])),
    ("cli", UseAllBut(&["testkit", "agent"])),
    ("lateend", UseAllBut(&["testkit", "lab", "cli"])),
];

/// Their tests would see two copies of `model`: `testkit` depends on all of them.
const WITHOUT_TESTKIT: &[&str] = &["istio-api", "envoy-api", "model", "store"];

const LONGEST_FILE: usize = 500;
const LONG_FUNCTION: usize = 60;
/// Of 100 functions, as many may be longer than [`LONG_FUNCTION`].
const LONG_FUNCTIONS_OF_100: usize = 5;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn output(command: &mut Command) -> Vec<u8> {
    let done = command.current_dir(top()).output().unwrap();
    assert!(
        done.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    done.stdout
}

/// Every text file of the repository, tracked or about to be, by its path from the top.
fn files() -> BTreeMap<String, String> {
    // The tests may run by sudo in a user's checkout, which git refuses unless told.
    let mut git = Command::new("git");
    git.args([
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let names = String::from_utf8(output(&mut git)).unwrap();
    let read = |name: &str| {
        Some((
            name.to_owned(),
            String::from_utf8(std::fs::read(top().join(name)).ok()?).ok()?,
        ))
    };
    names.split_terminator('\0').filter_map(read).collect()
}

/// The Rust files that somebody wrote.
fn sources() -> BTreeMap<String, String> {
    let mut files = files();
    files.retain(|name, text| {
        name.ends_with(".rs") && !text.lines().take(3).any(|line| line.contains("@generated"))
    });
    assert!(files.len() > 10, "git lists the files");
    files
}

fn assert_none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

/// One crate's dependencies in the workspace: (name, only for tests).
fn workspace() -> BTreeMap<String, Vec<(String, bool)>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--offline",
    ]);
    let metadata: serde_json::Value = serde_json::from_slice(&output(&mut cargo)).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let dependencies = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        all.filter(|dependency| dependency["path"].is_string())
            .map(|dependency| (text(&dependency["name"]), dependency["kind"] == "dev"))
            .collect()
    };
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (text(&package["name"]), dependencies(package)))
        .collect()
}

#[test]
fn crates_depend_only_along_the_arrows() {
    let mut wrong = Vec::new();
    for (name, dependencies) in workspace() {
        let Some((_, may)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            wrong.push(format!("{name} has no row in the table"));
            continue;
        };
        for (dependency, for_tests) in dependencies {
            let allowed = match (dependency.as_str(), for_tests, may) {
                ("testkit", true, _) => !WITHOUT_TESTKIT.contains(&name.as_str()),
                ("testkit", false, _) => false,
                (_, true, _) => true,
                (other, false, Use(these)) => these.contains(&other),
                (other, false, UseAllBut(these)) => !these.contains(&other),
            };
            if !allowed {
                wrong.push(format!(
                    "{name} -> {dependency}{}",
                    if for_tests { " (in tests)" } else { "" }
                ));
            }
        }
    }
    assert_none(
        "crates depend on each other only along the arrows of ARCHITECTURE.md",
        &wrong,
    );
}

#[test]
fn the_architecture_shows_the_same_arrows() {
    let text = &files()["ARCHITECTURE.md"];
    let list = |names: &[&str]| {
        names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let row = |(name, may): &(&str, May)| {
        let arrows = match may {
            Use([]) => "-".to_owned(),
            Use(these) => list(these),
            UseAllBut([]) => "all".to_owned(),
            UseAllBut(these) => format!("all but {}", list(these)),
        };
        (format!("| `{name}` |"), format!("| {arrows} |"))
    };
    let shown = |(start, end): &(String, String)| {
        text.lines()
            .any(|line| line.starts_with(start) && line.ends_with(end))
    };
    let missing: Vec<_> = ARROWS
        .iter()
        .map(row)
        .filter(|row| !shown(row))
        .map(|(start, end)| format!("{start} ... {end}"))
        .collect();
    assert_none(
        "ARCHITECTURE.md has a row for every crate with its arrows",
        &missing,
    );
}

#[test]
fn every_file_is_short_and_says_what_it_is_for() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        if !text.starts_with("//! ") {
            wrong.push(format!("{name} does not start with //!"));
        }
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{name} has {lines} lines"));
        }
    }
    assert_none(
        "a file starts with `//!` and what it is for, and ends after 500 lines",
        &wrong,
    );
}

/// Collects (lines, line, name) of functions; `fn` to closing brace, without comments and attributes above.
#[derive(Default)]
struct Functions(Vec<(usize, usize, String)>);

impl Functions {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let start = signature.fn_token.span.start().line;
        let end = block.brace_token.span.close().end().line;
        self.0
            .push((end - start + 1, start, signature.ident.to_string()));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.add(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[test]
fn functions_are_short() {
    let mut all = 0;
    let mut long = Vec::new();
    for (name, text) in sources() {
        let mut functions = Functions::default();
        functions
            .visit_file(&syn::parse_file(&text).unwrap_or_else(|error| panic!("{name}: {error}")));
        all += functions.0.len();
        long.extend(
            functions
                .0
                .into_iter()
                .filter(|f| f.0 > LONG_FUNCTION)
                .map(|f| (f.0, name.clone(), f.1, f.2)),
        );
    }
    long.sort_unstable();
    let list: Vec<_> = long
        .iter()
        .rev()
        .map(|(n, file, line, f)| format!("{n} lines: {file}:{line} {f}"))
        .collect();
    assert!(
        long.len() * 100 <= all * LONG_FUNCTIONS_OF_100,
        "95 of 100 functions have at most {LONG_FUNCTION} lines; of {all} these are longer:\n  {}",
        list.join("\n  ")
    );
}

/// Whether `text` has `word` where no part of a longer word stands around it.
fn has_word(text: &str, word: &str) -> bool {
    let part =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '}' | ')' | '~');
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(part);
        let after = text[at + word.len()..]
            .chars()
            .next()
            .is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        !before && !after
    })
}

#[test]
fn nothing_names_a_machine() {
    // Put together here, or this file would be the first to break the rule.
    let paths = ["work", "root"].map(|name| format!("/{name}"));
    let hosts = [
        "pypi.o",
        "pythonhosted.o",
        "proxy.golang.o",
        "deb.debian.o",
        "npmjs.o",
    ]
    .map(|host| format!("{host}rg"));
    let mut wrong = Vec::new();
    for (name, text) in files() {
        if matches!(name.as_str(), "Cargo.lock" | "LICENSE") {
            continue;
        }
        for (number, line) in (1..).zip(text.lines()) {
            if paths.iter().any(|path| has_word(line, path))
                || hosts.iter().any(|host| line.contains(host))
            {
                wrong.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert_none(
        "no file names a path of one machine or the host of a package registry",
        &wrong,
    );
}

/// The lines of a file that are test code, without comments.
fn test_lines(name: &str, text: &str) -> Vec<(usize, String)> {
    let all = ["tests/", "crates/testkit/"]
        .iter()
        .any(|folder| name.starts_with(folder))
        || name.contains("/tests/")
        || Path::new(name)
            .file_stem()
            .is_some_and(|stem| stem == "tests");
    let start = text
        .lines()
        .position(|line| line.trim() == "#[cfg(test)]")
        .filter(|_| text.contains("\nmod tests {"));
    let skip = if all { 0 } else { start.unwrap_or(usize::MAX) };
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    (1..)
        .zip(text.lines())
        .skip(skip)
        .map(|(number, line)| (number, code(line)))
        .collect()
}

#[test]
fn tests_neither_sleep_nor_are_ignored() {
    let (sleep, ignore) = (concat!("sleep", "("), concat!("#[", "ignore"));
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        for (number, line) in test_lines(&name, &text) {
            if line.contains(sleep) || line.contains(ignore) {
                wrong.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert_none("a test waits for what it needs, and is run", &wrong);
}

#[test]
fn scripts_can_be_run() {
    use std::os::unix::fs::PermissionsExt;
    let runnable =
        |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o111 != 0;
    let broken: Vec<_> = files()
        .into_iter()
        .filter(|(name, text)| text.starts_with("#!/") && !runnable(top().join(name)))
        .map(|f| f.0)
        .collect();
    assert_none("what starts with #! is executable", &broken);
}
