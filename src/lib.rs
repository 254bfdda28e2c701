//! `lateend`, the control plane: arguments, listeners, tasks and adapters. What it decides is decided in the crates;
//! here they meet sockets, threads, signals and the log.

mod accept;
mod admission;
mod args;
mod backend;
mod cluster;
mod debug;
mod diagnostics;
mod dump;
mod grpc;
mod http;
mod identity;
mod injector;
mod listen;
mod log;
mod metrics;
mod node;
mod origin;
mod plane;
mod rotation;
mod server;
mod sources;
mod streams;
mod tls;

use std::process::ExitCode;

use clap::Parser as _;

/// The version of Lateen.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs `lateend` on the command line that the process was given. 0: it was told to end; 1: it could not run; 2: the
/// command line is wrong.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    if let Err(error) = log::start(&arguments.log_output_level, arguments.log_as_json) {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("the system refuses threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(server::run(arguments));
    // Reading may be stuck in the file system; nobody waits for that.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("{failure}");
            ExitCode::FAILURE
        }
    }
}
