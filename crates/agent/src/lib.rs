//! Beside Envoy: bootstrap, certificates, relay, capture, names, readiness, metrics.
//!
//! One agent and one Envoy make a sidecar. The agent gets the workload's certificate ([`rotation`]) and serves it to
//! Envoy ([`sds`]), carries Envoy's discovery to the control plane ([`relay`]), answers DNS from the mesh's name table
//! ([`dns`]), starts and ends Envoy ([`envoy`]), and tells how all of it is ([`status`]). [`capture`] makes the rules
//! that lead a pod's traffic through Envoy.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use nix::unistd::{Gid, Uid, chown, setgid, setgroups, setuid};
use tracing_subscriber::EnvFilter;

pub mod admin;
pub mod args;
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
pub mod proxy;
pub mod relay;
pub mod rotation;
pub mod sds;
pub mod status;

use args::{Arguments, Command, ProxyArguments};

/// Runs what the arguments ask for: exit code 0, or 1 with the reason on standard error, or 2 for arguments that cannot
/// be used.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    let done = match arguments.command {
        Command::Proxy(arguments) => run_proxy(&arguments),
        Command::Capture(arguments) => {
            capture::run(&arguments).map_err(|error| (1, error.to_string()))
        }
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
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    change_user(arguments).map_err(|error| (2, format!("--uid, --gid: {error}")))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| (1, error.to_string()))?;
    runtime
        .block_on(proxy::run(arguments))
        .map_err(|error| match &error {
            proxy::ProxyError::Argument(_) | proxy::ProxyError::Node(_) => (2, error.to_string()),
            proxy::ProxyError::Step(..) => (1, error.to_string()),
        })
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
