//! What the parts of a cluster wrote, kept and shown when a test fails.

use std::fs;
use std::path::{Path, PathBuf};

/// How many lines of each log are printed.
const SHOWN: usize = 15;

/// Copies all logs of a cluster, those of pods too, beside the build, and prints the end of each.
pub fn keep(name: &str, folder: &Path) {
    let kept = super::build_folder().join("cluster-logs").join(name);
    for file in files(&folder.join("log")) {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let short = file.strip_prefix(folder.join("log")).unwrap_or(&file);
        let copy = kept.join(short);
        let made = copy.parent().map_or(Ok(()), fs::create_dir_all);
        if let Err(error) = made.and_then(|()| fs::write(&copy, &text)) {
            eprintln!("{}: {error}", copy.display());
        }
        let lines: Vec<_> = text.lines().collect();
        eprintln!("--- {}", short.display());
        for line in lines.iter().skip(lines.len().saturating_sub(SHOWN)) {
            eprintln!("{line}");
        }
    }
    eprintln!("all logs of the cluster are kept in {}", kept.display());
}

/// The files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        // kubelet's links lead to what is found anyway.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&path)),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
    found.sort();
    found
}
