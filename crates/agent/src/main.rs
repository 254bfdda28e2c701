//! `lateen-agent`: see `agent::run`.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    agent::run(agent::args::Arguments::parse())
}
