//! `lateen dev`: a mesh on this machine.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use lab::dev::{self, End};
use lab::inside::{self, Programs};
use lab::{outside, prerequisites};

use crate::{USAGE, fail};

/// Where Envoy is.
#[derive(Debug, Args)]
pub struct EnvoyPath {
    /// Envoy [default: the pinned one in ${XDG_CACHE_HOME:-~/.cache}/lateen]
    #[arg(
        long = "envoy",
        env = "ENVOY",
        value_name = "PATH",
        hide_env_values = true
    )]
    path: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder of YAML that is run
    #[arg(long, value_name = "DIR", default_value = "samples/dev")]
    dir: PathBuf,
    /// End after this time, counted from the first success: such as 20s, 2m
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    time: Option<Duration>,
    /// How the result is printed: json is one object on standard output, with all else on standard error
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
    #[command(flatten)]
    envoy: EnvoyPath,
    /// Arguments for the control plane, for tests
    #[arg(long, hide = true, value_name = "ARGUMENT", allow_hyphen_values = true)]
    control_plane: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Reads `20s`, `10m`, `1h`, `500ms`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let unit = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let number: u64 = number
        .parse()
        .map_err(|_| "a number and a unit, such as 20s".to_owned())?;
    let seconds = |unit: u64| number.checked_mul(unit).map(Duration::from_secs);
    let time = match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        _ => return Err("the unit is ms, s, m or h, such as 20s".to_owned()),
    };
    time.ok_or_else(|| "that is too long".to_owned())
}

impl EnvoyPath {
    fn find(&self) -> PathBuf {
        self.path.clone().unwrap_or_else(|| {
            let absolute = |name| {
                std::env::var_os(name)
                    .map(PathBuf::from)
                    .filter(|path| path.is_absolute())
            };
            let home = || absolute("HOME").unwrap_or_default().join(".cache");
            absolute("XDG_CACHE_HOME")
                .unwrap_or_else(home)
                .join("lateen")
                .join("envoy-1.40.0")
        })
    }
}

/// The programs of a mesh: ours stand beside this one.
pub fn programs(envoy: &EnvoyPath) -> std::io::Result<Programs> {
    let lateen = std::env::current_exe()?;
    let beside = |name: &str| lateen.with_file_name(name);
    Ok(Programs {
        lateend: beside("lateend"),
        agent: beside("lateen-agent"),
        envoy: std::path::absolute(envoy.find())?,
        lateen,
    })
}

/// Starts the process inside, or becomes it. None: this is the process inside, and the mesh can be started.
pub fn enter(envoy: &EnvoyPath, keep: &[&Path], in_lab: Option<u64>) -> Option<ExitCode> {
    let programs = match programs(envoy) {
        Ok(programs) => programs,
        Err(error) => return Some(fail(USAGE, error)),
    };
    if in_lab.is_some() {
        return inside::enter(&programs, keep)
            .err()
            .map(|error| fail(USAGE, error));
    }
    let missing = prerequisites::missing(&programs, &std::env::var_os("PATH").unwrap_or_default());
    if !missing.is_empty() {
        return Some(fail(
            USAGE,
            format_args!("missing on this machine:\n  {}", missing.join("\n  ")),
        ));
    }
    let arguments = std::env::args_os().skip(1);
    Some(outside::start_inside(arguments).unwrap_or_else(|error| fail(USAGE, error)))
}

/// Interrupted, as shells say it: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

pub fn run(arguments: &Arguments, in_lab: Option<u64>) -> ExitCode {
    if let Err(error) = std::fs::read_dir(&arguments.dir) {
        let dir = arguments.dir.display();
        return fail(
            USAGE,
            format_args!("{dir}: {error}; name a folder of YAML with --dir"),
        );
    }
    let Some(started) = in_lab else {
        return enter(&arguments.envoy, &[], None).unwrap_or(ExitCode::SUCCESS);
    };
    if let Some(code) = enter(&arguments.envoy, &[&arguments.dir], in_lab) {
        return code;
    }
    let settings = dev::Settings {
        dir: arguments.dir.clone(),
        time: arguments.time,
        json: arguments.output == Format::Json,
        started,
        options: lab::mesh::Options {
            control_plane: arguments.control_plane.clone(),
        },
    };
    match run_async(dev::run(settings)) {
        Ok(Ok(End::Done(true))) => ExitCode::SUCCESS,
        Ok(Ok(End::Done(false))) => ExitCode::FAILURE,
        Ok(Ok(End::Interrupted)) => ExitCode::from(INTERRUPTED),
        Ok(Err(error)) => fail(1, error),
        Err(error) => fail(1, error),
    }
}

/// Runs a future on a single thread: the machine is busy enough with Envoys.
pub fn run_async<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(future))
}
