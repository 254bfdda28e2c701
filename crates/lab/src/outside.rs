//! The process that the user started: it puts the whole mesh into a pid namespace below itself and waits for its end.
//!
//! The child's standard input is the life line: when this process dies, even by `kill -9`, the pipe closes, the child
//! (pid 1 of the namespace) exits, and the kernel kills all that is left in there.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, alarm};

/// The hidden first argument of the process inside; its value is when the process outside was started, in
/// milliseconds since 1970.
pub const INSIDE: &str = "--in-lab";

/// How long the mesh may take to end after a signal, in seconds, before it is killed.
const PATIENCE: u32 = 5;

/// Starts this program again, with the same arguments, in a pid namespace of its own, and answers with its exit code.
/// Must be called before this process has a second thread.
///
/// # Errors
/// The namespace or the process cannot be made; usually because this is not root.
pub fn start_inside(arguments: impl IntoIterator<Item = OsString>) -> io::Result<ExitCode> {
    let signals = signals();
    signals.thread_block()?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    let started = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    let mut child = Command::new(std::env::current_exe()?)
        .arg(format!("{INSIDE}={started}"))
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()?;
    wait(&mut child, &signals)
}

fn signals() -> SigSet {
    [
        Signal::SIGCHLD,
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGALRM,
    ]
    .into_iter()
    .collect()
}

fn wait(child: &mut Child, signals: &SigSet) -> io::Result<ExitCode> {
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    loop {
        match signals.wait()? {
            Signal::SIGCHLD => {
                if let Some(status) = child.try_wait()? {
                    let code = status
                        .code()
                        .or_else(|| status.signal().map(|signal| 128 + signal));
                    return Ok(ExitCode::from(u8::try_from(code.unwrap_or(1)).unwrap_or(1)));
                }
            }
            Signal::SIGALRM => kill(pid, Signal::SIGKILL)?,
            signal => {
                kill(pid, signal)?;
                alarm::set(PATIENCE);
            }
        }
    }
}
