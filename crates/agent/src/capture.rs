//! `lateen-agent capture`: the rules that lead a pod's connections through Envoy, with Istio's chains and flags.
//!
//! Without `--apply` the rules of one address family are only printed, as `iptables-restore` reads them. Everything
//! stands in chains of our own, so that applying twice changes nothing and `--undo` leaves what was there before.

mod rules;
mod source;
mod tables;

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::str::FromStr;

use clap::Args;
use ipnet::IpNet;

use crate::args::LogArguments;
use crate::dns::pod_nameservers;
use crate::node::interface_addresses;
pub use rules::Family;
use rules::rules;
use tables::Rules;

/// `lateen-agent capture`, with the flags of `istio-iptables`.
#[derive(Clone, Debug, Args)]
pub struct CaptureArguments {
    /// Set the rules in this network namespace; twice is harmless
    #[arg(long, conflicts_with = "undo")]
    pub apply: bool,
    /// Remove them, and nothing else
    #[arg(long)]
    pub undo: bool,
    /// The address family whose rules are printed, 4 or 6; --apply and --undo are for both
    #[arg(long, value_name = "4|6", default_value = "4", conflicts_with_all = ["apply", "undo"])]
    pub family: Family,
    /// Envoy's port for outbound connections
    #[arg(short = 'p', long, value_name = "PORT", default_value_t = 15001)]
    pub envoy_port: u16,
    /// Envoy's port for inbound connections
    #[arg(short = 'z', long, value_name = "PORT", default_value_t = 15006)]
    pub inbound_capture_port: u16,
    /// The port of tunnels, never captured
    #[arg(short = 'e', long, value_name = "PORT", default_value_t = 15008)]
    pub inbound_tunnel_port: u16,
    /// The users whose traffic is Envoy's own
    #[arg(
        short = 'u',
        long,
        value_name = "UID,...",
        value_delimiter = ',',
        default_value = "1337"
    )]
    pub proxy_uid: Vec<u32>,
    /// The groups whose traffic is Envoy's own
    #[arg(
        short = 'g',
        long,
        value_name = "GID,...",
        value_delimiter = ',',
        default_value = "1337"
    )]
    pub proxy_gid: Vec<u32>,
    /// How inbound connections reach Envoy
    #[arg(short = 'm', long, value_name = "MODE", default_value = "REDIRECT")]
    pub istio_inbound_interception_mode: InterceptionMode,
    /// The inbound ports to capture; '*' for all, nothing for none
    #[arg(short = 'b', long, value_name = "PORT,...", default_value = "*")]
    pub istio_inbound_ports: Selection<u16>,
    /// The inbound ports not to capture
    #[arg(
        short = 'd',
        long,
        value_name = "PORT,...",
        default_value = "15090,15021,15020"
    )]
    pub istio_local_exclude_ports: Listed<u16>,
    /// The outbound address ranges to capture; '*' for all, nothing for none
    #[arg(short = 'i', long, value_name = "CIDR,...", default_value = "*")]
    pub istio_service_cidr: Selection<IpNet>,
    /// The outbound address ranges not to capture
    #[arg(
        short = 'x',
        long,
        value_name = "CIDR,...",
        default_value = "",
        hide_default_value = true
    )]
    pub istio_service_exclude_cidr: Listed<IpNet>,
    /// Outbound ports to capture whatever their address
    #[arg(
        short = 'q',
        long,
        value_name = "PORT,...",
        default_value = "",
        hide_default_value = true
    )]
    pub istio_outbound_ports: Listed<u16>,
    /// Outbound ports not to capture
    #[arg(
        short = 'o',
        long,
        value_name = "PORT,...",
        default_value = "",
        hide_default_value = true
    )]
    pub istio_local_outbound_ports_exclude: Listed<u16>,
    /// Interfaces whose traffic is not captured
    #[arg(short = 'c', long, value_name = "NAME,...", value_delimiter = ',')]
    pub istio_exclude_interfaces: Vec<Interface>,
    /// Interfaces of virtual machines in the pod, whose connections are outbound ones
    #[arg(short = 'k', long, value_name = "NAME,...", value_delimiter = ',')]
    pub reroute_virtual_interfaces: Vec<Interface>,
    /// Taken as injection gives it; setting rules says nothing that has a level.
    #[command(flatten)]
    pub log: LogArguments,
    /// Whether names are looked up through the agent
    #[arg(long, value_name = "BOOL", env = "ISTIO_META_DNS_CAPTURE", action = clap::ArgAction::Set, num_args = 0..=1, default_value_t = true,
        default_missing_value = "true")]
    pub redirect_dns: bool,
    /// Capture lookups at all servers, not only at those of /etc/resolv.conf
    #[arg(long)]
    pub capture_all_dns: bool,
    /// The agent's port for DNS
    #[arg(long, value_name = "PORT", default_value_t = 15053)]
    pub dns_port: u16,
}

/// How inbound connections reach Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterceptionMode {
    /// By changing their destination.
    Redirect,
}

impl FromStr for InterceptionMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "REDIRECT" => Ok(Self::Redirect),
            _ => Err("only REDIRECT is supported"),
        }
    }
}

/// Everything, or what is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection<T> {
    /// `*`
    All,
    /// Only these.
    Only(Vec<T>),
}

impl<T: FromStr<Err: fmt::Display>> FromStr for Selection<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "*" => Ok(Self::All),
            list => list.parse().map(|Listed(items)| Self::Only(items)),
        }
    }
}

/// Items between commas; none is a list, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T>(pub Vec<T>);

impl<T: FromStr<Err: fmt::Display>> FromStr for Listed<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let items = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        let items = items.map(|item| item.parse().map_err(|error| format!("{item:?}: {error}")));
        items.collect::<Result<_, _>>().map(Self)
    }
}

/// The name of a network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface(String);

impl FromStr for Interface {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
        if (1..=15).contains(&text.len()) && !text.starts_with('-') && text.chars().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err("not the name of an interface")
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why the rules are not as asked.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A program cannot be run.
    #[error("cannot run {0}: {1}; it is in Debian's package iptables")]
    Run(&'static str, io::Error),
    /// A program refused; usually because this is not root.
    #[error("{0} failed: {1}")]
    Refused(&'static str, String),
    /// The address is not given that Envoy calls the app from.
    #[error("cannot give the pod the address ::6, from which Envoy calls an app by IPv6: {0}")]
    Source(io::Error),
    /// The rules cannot be printed.
    #[error("cannot print the rules: {0}")]
    Print(io::Error),
}

/// Prints, sets or removes the rules.
///
/// # Errors
/// [`CaptureError`]. Each address family is set as a whole or not at all.
pub fn run(arguments: &CaptureArguments) -> Result<(), CaptureError> {
    if arguments.undo {
        undo()
    } else if arguments.apply {
        apply(arguments)
    } else {
        print(arguments)
    }
}

fn apply(arguments: &CaptureArguments) -> Result<(), CaptureError> {
    for family in families() {
        let apply = tables::apply(&rules_of(arguments, family), &save(family)?);
        restore(family, &apply)?;
        source::add(family).map_err(CaptureError::Source)?;
    }
    Ok(())
}

fn print(arguments: &CaptureArguments) -> Result<(), CaptureError> {
    let family = arguments.family;
    let text = tables::print(&rules_of(arguments, family));
    let program = restore_program(family);
    write!(io::stdout().lock(), "# {program} --noflush\n{text}").map_err(CaptureError::Print)?;
    if family == Family::V4 && families().contains(&Family::V6) {
        // Not into the rules, which are for one program.
        eprintln!("lateen-agent: these are the rules of IPv4; --family 6 prints those of IPv6");
    }
    Ok(())
}

fn rules_of(arguments: &CaptureArguments, family: Family) -> Rules {
    let servers: BTreeSet<_> = pod_nameservers().into_iter().collect();
    rules(arguments, family, &servers)
}

/// In both families: the pod may have had an IPv6 address when the rules were set.
fn undo() -> Result<(), CaptureError> {
    source::remove();
    restore(Family::V4, &tables::undo(&save(Family::V4)?))?;
    match save(Family::V6) {
        Ok(saved) => restore(Family::V6, &tables::undo(&saved)),
        // Where nothing can read rules of IPv6, nothing can have set them.
        Err(CaptureError::Run(..)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// IPv6 only where the pod has it: its kernel may not even know it.
fn families() -> Vec<Family> {
    let has_v6 = interface_addresses().iter().any(std::net::IpAddr::is_ipv6);
    if has_v6 {
        vec![Family::V4, Family::V6]
    } else {
        vec![Family::V4]
    }
}

const fn restore_program(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables-restore",
        Family::V6 => "ip6tables-restore",
    }
}

fn save(family: Family) -> Result<String, CaptureError> {
    let program = match family {
        Family::V4 => "iptables-save",
        Family::V6 => "ip6tables-save",
    };
    call(program, Command::new(program), "")
}

fn restore(family: Family, text: &str) -> Result<(), CaptureError> {
    if text.is_empty() {
        return Ok(());
    }
    let program = restore_program(family);
    let mut command = Command::new(program);
    command.args(["--noflush", "--wait"]);
    call(program, command, text).map(drop)
}

fn call(program: &'static str, mut command: Command, input: &str) -> Result<String, CaptureError> {
    let run = |error| CaptureError::Run(program, error);
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(run)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that refuses may not read to the end; its exit code says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(run)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(CaptureError::Refused(program, text))
    }
}
