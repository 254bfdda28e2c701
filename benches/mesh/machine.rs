//! The machine: which cores to use, how many files may be open, and what a process has used.

use std::fs;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::Result;

/// This process, as the kernel's calls name it.
const SELF: Pid = Pid::from_raw(0);

/// The core of the server and that of the sidecars; the same where there is only one.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    server: usize,
    sidecars: usize,
}

impl Cores {
    /// Takes the first two cores that this process may use, and the second for itself.
    pub fn choose() -> Result<Self> {
        let allowed = sched_getaffinity(SELF)?;
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
        let server = cores.next().ok_or("this process may use no core")?;
        let cores = Self {
            server,
            sidecars: cores.next().unwrap_or(server),
        };
        pin(cores.sidecars)?;
        Ok(cores)
    }

    /// Whether the server has a core of its own.
    pub fn are_apart(self) -> bool {
        self.server != self.sidecars
    }

    /// Runs something that starts the server: a child inherits the core on which it was started.
    pub fn on_server<T>(self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        pin(self.server)?;
        let started = start();
        pin(self.sidecars)?;
        started
    }
}

fn pin(core: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(core)?;
    Ok(sched_setaffinity(SELF, &only)?)
}

/// Lets this process and its children open as many files as they may: each sidecar is a connection.
pub fn raise_file_limit() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

/// The CPU time that a process has used in all its threads: utime + stime of `/proc/PID/stat`, but in nanoseconds
/// instead of ticks of 10 ms.
pub fn cpu(process: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(process)?))?;
    Ok(clock_gettime(clock)?.into())
}

/// Forgets the peak of a process's memory so far. Where the kernel does not let us, the peak is that since its start.
pub fn forget_peak(process: u32) {
    let _ = fs::write(format!("/proc/{process}/clear_refs"), "5");
}

/// The peak of a process's resident memory in bytes.
pub fn peak(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line
        .and_then(|line| line.split_whitespace().next())
        .ok_or("no VmHWM")?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}
