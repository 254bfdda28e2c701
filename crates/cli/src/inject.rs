//! `lateen inject -f FILE`: what the webhook does to pods, done to the YAML of pods and workloads. Everything else in the
//! file comes out as it went in.

mod objects;
#[cfg(test)]
mod tests;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use sources::yaml::{self, Fault};
use webhook::inject::Settings;

use crate::{USAGE, fail, print};
use objects::Injector;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The file of YAML or JSON; - is standard input
    #[arg(short, long, value_name = "FILE")]
    filename: PathBuf,
    /// The MeshConfig
    #[arg(long = "meshConfigFile", value_name = "FILE")]
    mesh_config: Option<PathBuf>,
    /// The chart's values, as key `values` of ConfigMap istio-sidecar-injector has them
    #[arg(long = "valuesFile", value_name = "FILE")]
    values: Option<PathBuf>,
    /// How it is written
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Documents of YAML
    Yaml,
    /// One object of JSON; several are a List
    Json,
}

/// Why nothing is written.
#[derive(Debug, thiserror::Error)]
enum InjectError {
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(String, io::Error),
    /// A file is not YAML.
    #[error("{file}:{line}: {message}", line = fault.line, message = fault.message)]
    NotYaml { file: String, fault: Fault },
    /// Pods that must not be created as they are.
    #[error("{0}")]
    Refused(String),
    /// The result would not be read as what it is.
    #[error("cannot write {0}; -o json can")]
    Unwritable(String),
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let done = inject(arguments, |said| eprintln!("lateen: {said}"));
    match done {
        Ok(text) => {
            print(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error @ InjectError::Unreadable(..)) => fail(USAGE, error),
        Err(error) => fail(1, error),
    }
}

fn inject(arguments: &Arguments, mut say: impl FnMut(String)) -> Result<String, InjectError> {
    let values = settings_file(arguments.values.as_deref())?;
    let mesh = settings_file(arguments.mesh_config.as_deref())?;
    let (settings, problems) = Settings::parse(&values, &mesh, read_yaml);
    for problem in problems {
        say(problem.to_string());
    }
    let text = read(&arguments.filename)?;
    let file = arguments.filename.display().to_string();
    let (objects, said) = inject_text(&text, &file, &settings)?;
    said.into_iter().for_each(say);
    match arguments.output {
        Format::Yaml => to_yaml(&objects),
        Format::Json => to_json(objects),
    }
}

/// All objects of a text, injected, and what is to be said of them.
fn inject_text(
    text: &str,
    file: &str,
    settings: &Settings,
) -> Result<(Vec<Value>, Vec<String>), InjectError> {
    let mut injector = Injector::new(settings, file);
    let mut objects = Vec::new();
    for document in yaml::documents(text, None) {
        let not_yaml = |fault| InjectError::NotYaml {
            file: file.to_owned(),
            fault,
        };
        let found = document.map_err(not_yaml)?;
        if let Some(fault) = found.faults.into_iter().next() {
            return Err(not_yaml(fault));
        }
        let mut value = found.document.value;
        injector.inject(&mut value, &found.document.place);
        objects.push(value);
    }
    if injector.refused.is_empty() {
        Ok((objects, injector.said))
    } else {
        Err(InjectError::Refused(injector.refused.join("\nlateen: ")))
    }
}

fn read(path: &Path) -> Result<String, InjectError> {
    let unreadable = |error| InjectError::Unreadable(path.display().to_string(), error);
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map_err(unreadable)?;
        return Ok(text);
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

fn settings_file(path: Option<&Path>) -> Result<Value, InjectError> {
    let Some(path) = path else {
        return Ok(Value::Null);
    };
    let not_yaml = |fault| InjectError::NotYaml {
        file: path.display().to_string(),
        fault,
    };
    yaml::only_value(&read(path)?).map_err(not_yaml)
}

/// As injection reads the YAML that stands in an annotation.
fn read_yaml(text: &str) -> Result<Value, String> {
    yaml::only_value(text).map_err(|fault| fault.message)
}

/// Writes documents, and reads them again: a text that Kubernetes would take for something else is not written.
fn to_yaml(objects: &[Value]) -> Result<String, InjectError> {
    let mut text = String::new();
    for object in objects {
        let unwritable = |error: &dyn std::fmt::Display| {
            let name = object.pointer("/metadata/name").and_then(Value::as_str);
            InjectError::Unwritable(format!("{} as YAML ({error})", name.unwrap_or("an object")))
        };
        let document = serde_saphyr::to_string(object).map_err(|error| unwritable(&error))?;
        match yaml::only_value(&document) {
            Ok(read) if read == *object => {}
            Ok(_) => return Err(unwritable(&"it would be read as something else")),
            Err(fault) => return Err(unwritable(&fault.message)),
        }
        if !text.is_empty() {
            text.push_str("---\n");
        }
        text.push_str(&document);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text)
}

fn to_json(objects: Vec<Value>) -> Result<String, InjectError> {
    let whole = match <[Value; 1]>::try_from(objects) {
        Ok([one]) => one,
        Err(several) => json!({ "apiVersion": "v1", "kind": "List", "items": several }),
    };
    serde_json::to_string_pretty(&whole).map_err(|error| InjectError::Unwritable(error.to_string()))
}
