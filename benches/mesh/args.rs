//! What the benchmark is told on the command line: `make bench ARGS="--quick"`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// How the figures are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// One object, for programs.
    Json,
}

/// The command line.
#[derive(Clone, Debug, Parser)]
#[command(name = "mesh", about = "What Lateen costs, beside its floor")]
pub struct Arguments {
    /// Services, ten in a namespace
    #[arg(long, default_value_t = 1000)]
    pub services: usize,
    /// Sidecars, spread over the services
    #[arg(long, default_value_t = 2000)]
    pub sidecars: usize,
    /// Services with a VirtualService, a DestinationRule and an AuthorizationPolicy of their own, at most every second
    #[arg(long, default_value_t = 100)]
    pub configured: usize,
    /// Rounds, each Lateen and then the floor; figures are medians over them
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// How often each edit is made in a round; figures are per edit
    #[arg(long, default_value_t = 3)]
    pub edits: usize,
    /// 100 services, 100 sidecars, one round
    #[arg(long)]
    pub quick: bool,
    /// What is printed on stdout; progress goes to stderr
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    /// The server to measure
    #[arg(long, default_value = env!("CARGO_BIN_EXE_lateend"))]
    pub lateend: PathBuf,
    /// Be the floor: replay this recording
    #[arg(long, hide = true)]
    pub floor: Option<PathBuf>,
    /// Cargo says so to every benchmark
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Arguments {
    /// The arguments with what `--quick` implies, and none of them zero.
    #[must_use]
    pub fn settled(mut self) -> Self {
        if self.quick {
            (self.services, self.sidecars, self.rounds) = (100, 100, 1);
            self.configured = 10;
        }
        // Two services are edited.
        self.services = self.services.max(2);
        for count in [
            &mut self.sidecars,
            &mut self.configured,
            &mut self.rounds,
            &mut self.edits,
        ] {
            *count = (*count).max(1);
        }
        self
    }
}
