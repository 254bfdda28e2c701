//! The keeper of one workload: it makes the workload's namespaces, attaches them to the bridge, sets the capture rules
//! and starts the app and the agent in there. It has no other thread and no other work.

use std::fs;
use std::io::{self, BufRead, Write};
use std::net::IpAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::app;
use crate::command::run;
use crate::inside::{APP_USER, BRIDGE, PROXY_USER, folder, program};

/// All that a keeper needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Workload {
    /// A number of its own: the name of its end of the cable.
    pub number: u32,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its folder, for the app's socket, the agent's files and what they write.
    pub home: PathBuf,
    /// The text of its `/etc/resolv.conf`.
    pub resolver: String,
    /// Its app.
    pub app: app::App,
    /// Its proxy; none: neither Envoy nor capture.
    pub proxy: Option<Proxy>,
    /// `iptables-restore` text, for what the cluster's nodes would do for a workload without a proxy.
    pub rules: String,
}

/// How the agent is started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proxy {
    /// The arguments of `lateen-agent`.
    pub arguments: Vec<String>,
}

/// What the keeper says on its standard output when all is started, so that the process inside can enter and watch.
pub const STARTED: &str = "started";

/// A command to the keeper, one a line on its standard input.
pub const RESTART_PROXY: &str = "restart-proxy";

/// Runs a keeper to the end of its workload. Must be called before this process has a second thread.
///
/// # Errors
/// A step of the set-up failed, or the app or the agent ended by itself.
pub fn keep(workload: &Workload) -> io::Result<()> {
    // What a killed agent leaves behind becomes our child, and ends with the rest.
    prctl::set_child_subreaper(true)?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
    attach(workload)?;
    own_files(workload)?;
    if workload.proxy.is_some() {
        run(
            &program("lateen-agent").to_string_lossy(),
            &["capture", "--apply"],
            "",
        )?;
    } else if !workload.rules.is_empty() {
        run("iptables-restore", &["--noflush"], &workload.rules)?;
    }
    let app = start_app(workload)?;
    start_proxy(workload)?;
    let mut out = io::stdout();
    writeln!(out, "{STARTED}")?;
    out.flush()?;
    for line in io::stdin().lock().lines() {
        if line? == RESTART_PROXY {
            end_all_but(Some(app))?;
            start_proxy(workload)?;
            writeln!(out, "{STARTED}")?;
            out.flush()?;
        }
    }
    end_all_but(None)
}

/// Kills all children, with all that they leave to us.
fn end_all_but(spared: Option<u32>) -> io::Result<()> {
    let me = std::process::id();
    loop {
        let children = fs::read_to_string(format!("/proc/{me}/task/{me}/children"))?;
        let children = children
            .split_whitespace()
            .filter_map(|pid| pid.parse::<u32>().ok());
        let Some(child) = children.into_iter().find(|child| Some(*child) != spared) else {
            return Ok(());
        };
        let child = Pid::from_raw(i32::try_from(child).map_err(io::Error::other)?);
        kill(child, Signal::SIGKILL)?;
        waitpid(child, None)?;
    }
}

/// A cable between this network namespace and the bridge. Every address is a neighbour: no routes to care for.
fn attach(workload: &Workload) -> io::Result<()> {
    let Workload {
        number, addresses, ..
    } = workload;
    let (me, port) = (std::process::id(), format!("v{number}"));
    let outside = format!(
        "link add {port} type veth peer name eth0 netns {me}\n\
         link set {port} master {BRIDGE} up\n"
    );
    run(
        "nsenter",
        &["--net=/proc/1/ns/net", "ip", "-batch", "-"],
        &outside,
    )?;
    let mut inside = "link set lo up\nlink set eth0 up\n".to_owned();
    for address in addresses {
        // Nobody else has it: no detection need be waited for.
        inside.push_str(&match address {
            IpAddr::V4(own) => format!("addr add {own}/16 dev eth0\nroute add default dev eth0\n"),
            IpAddr::V6(own) => {
                format!("addr add {own}/64 dev eth0 nodad\nroute add ::/0 dev eth0\n")
            }
        });
    }
    run("ip", &["-batch", "-"], &inside)?;
    // As Kubernetes' container runtimes do: an app may listen on port 80 without being root.
    fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
}

/// Its own resolv.conf, and no other way to look names up than that.
fn own_files(workload: &Workload) -> io::Result<()> {
    let nothing = None::<&str>;
    mount(
        nothing,
        "/",
        nothing,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        nothing,
    )?;
    let home = &workload.home;
    for (user, name) in [(APP_USER, "app"), (PROXY_USER, "agent")] {
        folder(&home.join(name), 0o755)?;
        chown(home.join(name), Some(user), Some(user))?;
    }
    let files = [
        ("resolv.conf", workload.resolver.as_str()),
        ("nsswitch.conf", "hosts: files dns\n"),
        ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ];
    for (name, text) in files {
        let (own, target) = (home.join(name), Path::new("/etc").join(name));
        fs::write(&own, text)?;
        if target.exists() {
            mount(Some(&own), &target, nothing, MsFlags::MS_BIND, nothing)?;
        }
    }
    Ok(())
}

fn log(path: &Path) -> io::Result<Stdio> {
    let file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?;
    Ok(file.into())
}

/// Starts the app; its process id.
fn start_app(workload: &Workload) -> io::Result<u32> {
    let log_file = workload.home.join("app.log");
    Command::new(program("lateen"))
        .args(["lab-app", &serde_json::to_string(&workload.app)?])
        .current_dir(workload.home.join("app"))
        .uid(APP_USER)
        .gid(APP_USER)
        .stdin(Stdio::null())
        .stdout(log(&log_file)?)
        .stderr(log(&log_file)?)
        .spawn()
        .map(|child| child.id())
}

fn start_proxy(workload: &Workload) -> io::Result<()> {
    let Some(proxy) = &workload.proxy else {
        return Ok(());
    };
    let log_file = workload.home.join("agent.log");
    Command::new(program("lateen-agent"))
        .args(&proxy.arguments)
        .current_dir(workload.home.join("agent"))
        .uid(PROXY_USER)
        .gid(PROXY_USER)
        .stdin(Stdio::null())
        .stdout(log(&log_file)?)
        .stderr(log(&log_file)?)
        .spawn()
        .map(drop)
}
