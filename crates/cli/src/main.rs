//! `lateen`, the command line: looks at a folder of Istio's YAML, runs it on this machine, lets workloads in; and
//! installs into a cluster and checks it.
//!
//! Exit codes of all commands: 0 as it should be, 1 not, 2 wrong usage or something is missing.

mod cluster;
mod crds;
mod dev;
mod hidden;
mod inject;
mod token;
mod translate;
mod validate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Lateen: a control plane for service meshes that speaks Istio's API.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    /// Set in the process that runs inside of the mesh's namespaces.
    #[arg(long, hide = true, value_name = "MILLISECONDS")]
    in_lab: Option<u64>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a small mesh on this machine, with a real Envoy for each workload, and watch it.
    Dev(dev::Arguments),
    /// Check a folder of YAML and say everything that is wrong or doubtful in it.
    Validate(validate::Arguments),
    /// Show exactly what a proxy would get from a folder of YAML.
    Translate(translate::Arguments),
    /// Give the pods of a file their proxy, as the webhook does it in a cluster.
    Inject(inject::Arguments),
    /// Make what lets workloads into the mesh without Kubernetes.
    Token(token::Arguments),
    /// Install Lateen into a Kubernetes cluster, without helm.
    Install(cluster::install::Arguments),
    /// Remove from a cluster what `lateen install` brought; CRDs, your objects and the root of trust stay.
    Uninstall(cluster::uninstall::Arguments),
    /// Compare what is in a cluster with what `lateen install` brings.
    VerifyInstall(cluster::verify::Arguments),
    /// Say what is wrong with Lateen in a cluster, and what to do.
    Check(cluster::check::Arguments),
    /// Write the CustomResourceDefinitions of Istio's kinds into a folder.
    #[command(hide = true)]
    Crds(crds::Arguments),
    /// Check what a mesh does with folders of behaviour cases.
    #[command(hide = true)]
    Cases(hidden::Cases),
    /// Run a program in the namespaces in which a mesh can be started.
    #[command(hide = true)]
    LabRun(hidden::Program),
    /// Keep the namespaces of one workload.
    #[command(hide = true)]
    LabKeeper(hidden::Spec),
    /// Be the app of one workload.
    #[command(hide = true)]
    LabApp(hidden::Spec),
    /// Do what an app of a workload would be told to do, and print what comes of it.
    #[command(hide = true)]
    LabCall(hidden::Spec),
}

fn main() -> ExitCode {
    let Arguments { in_lab, command } = Arguments::parse();
    match command {
        Command::Dev(arguments) => dev::run(&arguments, in_lab),
        Command::Validate(arguments) => validate::run(&arguments),
        Command::Translate(arguments) => translate::run(&arguments),
        Command::Inject(arguments) => inject::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::Install(arguments) => cluster::install::run(&arguments),
        Command::Uninstall(arguments) => cluster::uninstall::run(&arguments),
        Command::VerifyInstall(arguments) => cluster::verify::run(&arguments),
        Command::Check(arguments) => cluster::check::run(&arguments),
        Command::Crds(arguments) => crds::run(&arguments),
        Command::Cases(arguments) => hidden::cases(&arguments, in_lab),
        Command::LabRun(arguments) => hidden::program(&arguments, in_lab),
        Command::LabKeeper(spec) => hidden::keeper(&spec),
        Command::LabApp(spec) => hidden::app(&spec),
        Command::LabCall(spec) => hidden::call(&spec),
    }
}

/// Wrong usage, or something that is needed is missing.
const USAGE: u8 = 2;

/// Prints to standard output. A reader that hangs up (`| head`) has read enough.
fn print(text: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Says what is wrong and gives the exit code for it.
fn fail(code: u8, what: impl std::fmt::Display) -> ExitCode {
    eprintln!("lateen: {what}");
    ExitCode::from(code)
}
