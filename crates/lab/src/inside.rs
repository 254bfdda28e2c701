//! The inside: mount, network and pid namespaces of our own, with a bridge to which every workload is attached.
//!
//! `/run` is covered by an empty tmpfs, which holds all files of the mesh (and iptables' lock) and ends with the mount
//! namespace. Programs are bound into it, because Envoy and the apps run as users who may not be able to enter the
//! folder where the programs stand.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};

use crate::command::run;

/// Where the control plane listens: the bridge's own address.
pub const CONTROL_PLANE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// Where the cluster's name server listens.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 10);
/// The same of IPv6.
pub const CONTROL_PLANE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// The same of IPv6.
pub const NAME_SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 10);
/// The bridge.
pub const BRIDGE: &str = "mesh0";
/// The folder of all files of the mesh.
pub const HOME: &str = "/run/lateen";
/// The user of the agent and Envoy, as Istio has it; its traffic is not captured.
pub const PROXY_USER: u32 = 1337;
/// The user of the apps.
pub const APP_USER: u32 = 10001;

/// The programs that a mesh consists of.
#[derive(Clone, Debug)]
pub struct Programs {
    /// This program.
    pub lateen: PathBuf,
    /// The control plane.
    pub lateend: PathBuf,
    /// The agent.
    pub agent: PathBuf,
    /// Envoy.
    pub envoy: PathBuf,
}

/// Why the inside could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// A folder that is needed lies below `/run`, which is covered inside.
    #[error(
        "{0} lies below /run, which the mesh covers with a folder of its own: choose another place"
    )]
    BelowRun(PathBuf),
    /// The system refused a step.
    #[error("{0}: {1}")]
    Step(&'static str, io::Error),
}

fn step<T, E: Into<io::Error>>(what: &'static str, result: Result<T, E>) -> Result<T, EnterError> {
    result.map_err(|error| EnterError::Step(what, error.into()))
}

/// Makes the calling process the inside of the mesh. Must be called in the process that [`crate::outside`] started,
/// before it has a second thread. `keep` are paths of the machine that must stay visible.
///
/// # Errors
/// [`EnterError`], when a namespace, a mount or the bridge cannot be made.
pub fn enter(programs: &Programs, keep: &[&Path]) -> Result<(), EnterError> {
    let Programs {
        lateen,
        lateend,
        agent,
        envoy,
    } = programs;
    let programs: [&Path; 4] = [lateen, lateend, agent, envoy];
    if let Some(path) = keep.iter().chain(&programs).find(|p| p.starts_with("/run")) {
        return Err(EnterError::BelowRun((*path).to_owned()));
    }
    step("end with the parent", prctl::set_pdeathsig(Signal::SIGKILL))?;
    // The process outside takes its signals one by one, and handed that on.
    step("take signals", SigSet::all().thread_unblock())?;
    let resolver = fs::canonicalize("/etc/resolv.conf").ok();
    own_mounts(resolver.as_deref())?;
    for (path, name) in programs
        .iter()
        .zip(["lateen", "lateend", "lateen-agent", "envoy"])
    {
        step("bind a program", bind_program(path, name))?;
    }
    step("make the bridge", bridge())?;
    hold_life_line();
    Ok(())
}

fn own_mounts(resolver: Option<&Path>) -> Result<(), EnterError> {
    step(
        "make namespaces",
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET),
    )?;
    let nothing = None::<&str>;
    step(
        "make mounts private",
        mount(
            nothing,
            "/",
            nothing,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            nothing,
        ),
    )?;
    step(
        "mount /proc",
        mount(
            Some("proc"),
            "/proc",
            Some("proc"),
            MsFlags::MS_NOSUID,
            nothing,
        ),
    )?;
    step(
        "mount /run",
        mount(
            Some("tmpfs"),
            "/run",
            Some("tmpfs"),
            MsFlags::MS_NOSUID,
            Some("mode=755"),
        ),
    )?;
    // /etc/resolv.conf often points below /run; it must exist for a workload's own to be bound over it.
    if let Some(path) = resolver.filter(|path| path.starts_with("/run")) {
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        step("make resolv.conf", made.and_then(|()| fs::write(path, "")))?;
    }
    step("make the mesh's folder", folder(Path::new(HOME), 0o755))
}

/// Makes a folder and those around it.
///
/// # Errors
/// It cannot be made.
pub fn folder(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
}

/// The path inside of a program of the mesh.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    Path::new(HOME).join("bin").join(name)
}

fn bind_program(path: &Path, name: &str) -> io::Result<()> {
    let target = program(name);
    folder(&Path::new(HOME).join("bin"), 0o755)?;
    fs::write(&target, "")?;
    fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
    let nothing = None::<&str>;
    Ok(mount(
        Some(path),
        &target,
        nothing,
        MsFlags::MS_BIND,
        nothing,
    )?)
}

fn bridge() -> io::Result<()> {
    // A fixed hardware address: a bridge otherwise takes the lowest of its ports', and neighbours would lose it.
    let script = format!(
        "link set lo up\n\
         link add {BRIDGE} address 02:c6:12:00:00:01 type bridge forward_delay 0 mcast_snooping 0\n\
         addr add {CONTROL_PLANE}/16 dev {BRIDGE}\n\
         addr add {NAME_SERVER}/32 dev {BRIDGE}\n\
         link set {BRIDGE} up\n\
         route add default dev {BRIDGE}\n"
    );
    run("ip", &["-batch", "-"], &script)?;
    if !has_ipv6() {
        return Ok(());
    }
    let script = format!(
        "addr add {CONTROL_PLANE_V6}/64 dev {BRIDGE} nodad\n\
         addr add {NAME_SERVER_V6}/128 dev {BRIDGE} nodad\n\
         route add ::/0 dev {BRIDGE}\n"
    );
    run("ip", &["-batch", "-"], &script).map(drop)
}

/// Whether the kernel knows IPv6.
#[must_use]
pub fn has_ipv6() -> bool {
    Path::new("/proc/net/if_inet6").exists()
}

/// Ends this process, and with it the namespace, when the process outside has died.
fn hold_life_line() {
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(137);
    });
}
