//! Beside Envoy: bootstrap, certificates, relay, capture, names, readiness, metrics.
//!
//! One agent and one Envoy make a sidecar. The agent gets the workload's certificate ([`rotation`]) and serves it to
//! Envoy ([`sds`]), carries Envoy's discovery to the control plane ([`relay`]), answers DNS from the mesh's name table
//! ([`dns`]), starts and ends Envoy ([`envoy`]), and tells how all of it is ([`status`]). [`capture`] makes the rules
//! that lead a pod's traffic through Envoy.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use nix::unistd::{Gid, Uid, chown, setgid, setgroups, setuid};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;

pub mod admin;
pub mod args;
pub mod ask;
pub mod bootstrap;
pub mod capture;
pub mod certificate;
pub mod control_plane;
pub mod dns;
pub mod envoy;
mod file;
pub mod metrics;
pub mod names;
pub mod node;
pub mod probes;
pub mod proxy;
pub mod relay;
pub mod rotation;
pub mod sds;
pub mod status;

use args::{Arguments, Command, LogArguments, ProxyArguments};

/// Runs what the arguments ask for: exit code 0, or 1 with the reason on standard error, or 2 for arguments that cannot
/// be used.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    let done = match arguments.command {
        Command::Proxy(arguments) => run_proxy(&arguments),
        Command::Capture(arguments) => {
            capture::run(&arguments).map_err(|error| (1, error.to_string()))
        }
        Command::IstioIptables(mut arguments) => {
            arguments.apply = true;
            capture::run(&arguments).map_err(|error| (1, error.to_string()))
        }
        Command::Wait(arguments) => runtime(1).and_then(|runtime| {
            let done = runtime.block_on(ask::wait(&arguments));
            done.map_err(|error| (1, error.to_string()))
        }),
        Command::Request(arguments) => runtime(1).and_then(|runtime| {
            let answer = runtime.block_on(ask::request(&arguments));
            answer
                .map(|answer| print!("{answer}"))
                .map_err(|error| (1, error.to_string()))
        }),
        Command::Exec(arguments) => match envoy::exec(&arguments) {
            Ok(never) => match never {},
            Err(error) => Err((
                1,
                format!("cannot start {:?}: {error}", arguments.command.first()),
            )),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, reason)) => {
            // The one place besides `capture` that writes to the terminal.
            eprintln!("lateen-agent: {reason}");
            ExitCode::from(code)
        }
    }
}

fn run_proxy(arguments: &ProxyArguments) -> Result<(), (u8, String)> {
    log(&arguments.log);
    change_user(arguments).map_err(|error| (2, format!("--uid, --gid: {error}")))?;
    runtime(2)?
        .block_on(proxy::run(arguments))
        .map_err(|error| match &error {
            proxy::ProxyError::Argument(_) | proxy::ProxyError::Node(_) => (2, error.to_string()),
            proxy::ProxyError::Step(..) => (1, error.to_string()),
        })
}

fn log(arguments: &LogArguments) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(arguments.filter()));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if arguments.as_json {
        log.json().init();
    } else {
        log.init();
    }
}

fn runtime(threads: usize) -> Result<Runtime, (u8, String)> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build();
    runtime.map_err(|error| (1, error.to_string()))
}

/// Becomes the user whose traffic the rules of [`capture`] let pass, with a folder of its own.
fn change_user(arguments: &ProxyArguments) -> std::io::Result<()> {
    let uid = arguments.uid.map(Uid::from_raw);
    // Root's group is not for whom root's user is not.
    let gid = arguments.gid.or(arguments.uid).map(Gid::from_raw);
    if uid.is_none() && gid.is_none() {
        return Ok(());
    }
    file::private_folder(&arguments.work_dir)?;
    chown(&arguments.work_dir, uid, gid)?;
    setgroups(&[])?;
    if let Some(gid) = gid {
        setgid(gid)?;
    }
    if let Some(uid) = uid {
        setuid(uid)?;
    }
    Ok(())
}
