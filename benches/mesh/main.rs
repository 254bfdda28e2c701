//! What Lateen costs: a mesh of services and sidecars against the real `lateend`, and beside each figure its floor.
//!
//! Each round starts `lateend` on a generated folder, connects all sidecars, edits YAML and reconnects; then it starts
//! the floor, a server that only replays the bytes that `lateend` sent, and does the same with the same sidecars. The
//! server runs on one core and the sidecars on another. Nothing here passes or fails by a time.

mod args;
mod catalogue;
mod floor;
mod grpc;
mod ledger;
mod machine;
mod recording;
mod report;
mod rounds;
mod server;
mod sidecar;
mod world;

use std::process::ExitCode;

use clap::Parser as _;

use args::Arguments;

/// The allocator of `lateend`, so that the floor has no other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What can go wrong is told to whoever runs the benchmark, and ends it.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn run(arguments: &Arguments) -> Result<()> {
    if let Some(recording) = &arguments.floor {
        return floor::serve(recording);
    }
    let cores = machine::Cores::choose()?;
    machine::raise_file_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let rounds = runtime.block_on(rounds::run(arguments, &cores))?;
    report::print(arguments, &cores, &rounds);
    Ok(())
}

fn main() -> ExitCode {
    match run(&Arguments::parse().settled()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes = std::iter::successors(error.source(), |cause| cause.source());
            let causes: String = causes.map(|cause| format!(": {cause}")).collect();
            eprintln!("mesh: {error}{causes}");
            ExitCode::FAILURE
        }
    }
}
