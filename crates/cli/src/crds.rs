//! `lateen crds`: writes the CustomResourceDefinitions of Istio's kinds, made from the types, into a folder.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::{USAGE, fail, print};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder into which they are written, a file for each
    dir: PathBuf,
}

/// First line of each file.
const HEAD: &str = "# Made by hack/crds from the types of crates/istio-api. Change those.\n";

pub fn run(arguments: &Arguments) -> ExitCode {
    let files = match files() {
        Ok(files) => files,
        Err(error) => return fail(1, error),
    };
    for (name, text) in files {
        let path = arguments.dir.join(name);
        if let Err(error) = std::fs::write(&path, text) {
            return fail(USAGE, format_args!("{}: {error}", path.display()));
        }
        print(path.display());
    }
    ExitCode::SUCCESS
}

/// The files by name.
fn files() -> Result<Vec<(String, String)>, serde_saphyr::ser::Error> {
    let manifests = istio_api::crd::manifests().into_iter();
    manifests
        .map(|(name, manifest)| {
            let text = serde_saphyr::to_string(&manifest)?;
            Ok((name, format!("{HEAD}{text}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_committed_crds_are_those_of_the_types() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
        let mut committed: Vec<String> = std::fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        committed.sort();
        let mut made = super::files().unwrap();
        made.sort();
        let names: Vec<&str> = made.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(committed, names);
        for (name, text) in &made {
            let committed = std::fs::read_to_string(dir.join(name)).unwrap();
            assert!(committed == *text, "crds/{name} is old: run hack/crds");
        }
    }
}
