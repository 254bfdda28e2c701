//! `lateen token`: join tokens, signed with the key in the control plane's state directory.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use ca::{StateDir, TokenIssuer};
use clap::{Args, Subcommand};
use model::{Namespace, ServiceAccount};

use crate::{USAGE, fail, print};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a join token: with it, an agent gets its first certificate. No server is needed to make one.
    Create(Create),
}

#[derive(Debug, Args)]
struct Create {
    /// The control plane's state directory
    #[arg(long = "stateDir", value_name = "DIR")]
    state_dir: PathBuf,
    /// The workload's namespace
    #[arg(long, value_name = "NS")]
    namespace: Namespace,
    /// The workload's service account
    #[arg(long, value_name = "SA")]
    service_account: ServiceAccount,
    /// How long it can be used: such as 90s, 10m, 1h (at most)
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = crate::dev::duration)]
    ttl: Duration,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let Command::Create(create) = &arguments.command;
    match make(create) {
        Ok(token) => {
            print(token);
            ExitCode::SUCCESS
        }
        Err(why) => fail(USAGE, why),
    }
}

fn make(create: &Create) -> Result<String, String> {
    // It would be made, with a key that no control plane knows.
    if !create.state_dir.is_dir() {
        let dir = create.state_dir.display();
        return Err(format!(
            "{dir} is no folder: name the --stateDir of lateend"
        ));
    }
    let state = StateDir::open(&create.state_dir).map_err(|error| error.to_string())?;
    let issuer = TokenIssuer::open(&state).map_err(|error| error.to_string())?;
    issuer
        .mint(
            &create.namespace,
            &create.service_account,
            create.ttl,
            SystemTime::now(),
        )
        .map_err(|error| error.to_string())
}
