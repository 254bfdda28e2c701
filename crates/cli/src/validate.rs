//! `lateen validate`: every diagnostic of a folder, for people or as one JSON array.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use control::Control;
use model::{Diagnostic, Severity};
use sources::Directory;
use store::SourceId;

use crate::{USAGE, fail, print};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder of YAML
    dir: PathBuf,
    /// How it is said
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each
    Text,
    /// One JSON array
    Json,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let diagnostics = match diagnostics(&arguments.dir) {
        Ok(diagnostics) => diagnostics,
        Err(error) => {
            let dir = arguments.dir.display();
            return fail(USAGE, format_args!("{dir}: {error}; name a folder of YAML"));
        }
    };
    match arguments.output {
        Format::Text => for_people(&diagnostics),
        Format::Json => match serde_json::to_string_pretty(&diagnostics) {
            Ok(text) => print(text),
            Err(error) => return fail(1, error),
        },
    }
    let has_errors = diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error);
    ExitCode::from(u8::from(has_errors))
}

/// What the files, each object, and the objects together have to say, ordered by place.
fn diagnostics(dir: &Path) -> io::Result<Vec<Diagnostic>> {
    let mut directory = Directory::open(dir, SourceId(0))?;
    let mut control = Control::new([]);
    control.apply(directory.read());
    let mut found = directory.diagnostics();
    found.extend(control.diagnostics());
    found.sort();
    found.dedup();
    Ok(found)
}

fn for_people(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        print(diagnostic);
    }
    let count = |severity| {
        diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    };
    eprintln!(
        "{} errors, {} warnings",
        count(Severity::Error),
        count(Severity::Warning)
    );
}
