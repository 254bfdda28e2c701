//! Commands that `lateen` runs by itself, and the tests: the parts of a mesh on this machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Args;
use lab::mesh::Options;
use lab::{app, keeper};
use serde::de::DeserializeOwned;

use crate::dev::{EnvoyPath, enter, run_async};
use crate::{USAGE, fail};

/// What the process is to be, as JSON.
#[derive(Debug, Args)]
pub struct Spec {
    spec: String,
}

#[derive(Debug, Args)]
pub struct Cases {
    /// The folder of the world in which the cases are played
    #[arg(long, value_name = "DIR")]
    world: PathBuf,
    /// The folders of the cases
    #[arg(required = true, value_name = "DIR")]
    cases: Vec<PathBuf>,
    #[command(flatten)]
    envoy: EnvoyPath,
    /// An argument for the control plane
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    control_plane: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Program {
    #[command(flatten)]
    envoy: EnvoyPath,
    /// The program and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PROGRAM"
    )]
    words: Vec<OsString>,
}

/// Runs a program inside, where it can start a mesh of its own making. It must not ask anything.
pub fn program(arguments: &Program, in_lab: Option<u64>) -> ExitCode {
    let Some((program, words)) = arguments.words.split_first() else {
        return fail(USAGE, "say which program");
    };
    if let Some(code) = enter(&arguments.envoy, &[Path::new(program)], in_lab) {
        return code;
    }
    match Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .status()
    {
        Ok(status) => ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        Err(error) => fail(1, error),
    }
}

pub fn keeper(spec: &Spec) -> ExitCode {
    with(spec, |spec: keeper::Workload| keeper::keep(&spec))
}

pub fn app(spec: &Spec) -> ExitCode {
    with(spec, app::run)
}

pub fn call(spec: &Spec) -> ExitCode {
    with(spec, app::call)
}

fn with<T: DeserializeOwned>(spec: &Spec, run: impl FnOnce(T) -> std::io::Result<()>) -> ExitCode {
    let done = serde_json::from_str(&spec.spec)
        .map_err(Into::into)
        .and_then(run);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, error),
    }
}

/// Plays cases; standard output is one JSON array of how they went.
pub fn cases(arguments: &Cases, in_lab: Option<u64>) -> ExitCode {
    let keep: Vec<&Path> = arguments
        .cases
        .iter()
        .chain([&arguments.world])
        .map(PathBuf::as_path)
        .collect();
    if let Some(code) = enter(&arguments.envoy, &keep, in_lab) {
        return code;
    }
    let options = Options {
        control_plane: arguments.control_plane.clone(),
    };
    let verdicts = match run_async(lab::cases::run(
        &arguments.world,
        &arguments.cases,
        &options,
    )) {
        Ok(Ok(verdicts)) => verdicts,
        Ok(Err(error)) => return fail(1, error),
        Err(error) => return fail(1, error),
    };
    match serde_json::to_string(&verdicts) {
        Ok(text) => println!("{text}"),
        Err(error) => return fail(1, error),
    }
    ExitCode::from(u8::from(
        verdicts.iter().any(|verdict| !verdict.problems.is_empty()),
    ))
}
