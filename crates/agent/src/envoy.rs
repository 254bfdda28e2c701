//! Envoy as a child: it is started again when it crashes, and it never outlives the agent.
//!
//! The kernel's promise to kill a child with its parent (`PR_SET_PDEATHSIG`) must be asked for by the child itself. So
//! the agent starts itself (`lateen-agent exec`), which asks and then becomes Envoy.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::args::ExecArguments;

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// After so long, a crash is a new one.
const STEADY: Duration = Duration::from_secs(30);
/// How long Envoy may take to end when asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// This very program, even when an update has replaced its file.
const OURSELVES: &str = "/proc/self/exe";

/// How to start Envoy.
#[derive(Clone, Debug)]
pub struct Envoy {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What stands in its environment besides the agent's own.
    pub environment: Vec<(&'static str, String)>,
}

/// Becomes the command, which the kernel then ends with `parent`.
///
/// # Errors
/// The command cannot be started, or the parent is gone already.
pub fn exec(arguments: &ExecArguments) -> io::Result<std::convert::Infallible> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != Pid::from_raw(arguments.parent) {
        return Err(io::Error::other("the agent ended"));
    }
    let (program, rest) = arguments
        .command
        .split_first()
        .ok_or(io::ErrorKind::InvalidInput)?;
    Err(std::process::Command::new(program).args(rest).exec())
}

impl Envoy {
    /// Runs Envoy until `stop` is done, starting it again when it ends by itself.
    ///
    /// Must be awaited on a thread that lives as long as Envoy shall: the kernel ends it with the thread.
    ///
    /// # Errors
    /// The agent's own program cannot be found again.
    pub async fn run(&self, stop: impl Future<Output = ()>) -> io::Result<()> {
        tokio::pin!(stop);
        let mut retry = FIRST_RETRY;
        loop {
            let started = Instant::now();
            let mut child = self.start()?;
            let ended = tokio::select! {
                ended = child.wait() => ended?,
                () = &mut stop => return end(child).await,
            };
            retry = if started.elapsed() > STEADY {
                FIRST_RETRY
            } else {
                retry
            };
            tracing::error!(%ended, ?retry, "Envoy ended, starting it again");
            tokio::select! {
                () = tokio::time::sleep(retry) => {}
                () = &mut stop => return Ok(()),
            }
            retry = LAST_RETRY.min(retry * 2);
        }
    }

    fn start(&self) -> io::Result<Child> {
        let pipe = needs_pipe();
        let stdio = || {
            if pipe {
                Stdio::piped()
            } else {
                Stdio::inherit()
            }
        };
        let mut child = Command::new(OURSELVES)
            .args(["exec", "--parent", &std::process::id().to_string(), "--"])
            .arg(&self.program)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(stdio())
            .stderr(stdio())
            // A terminal's Ctrl-C is for the agent, which drains first.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        carry(child.stdout.take(), tokio::io::stdout());
        carry(child.stderr.take(), tokio::io::stderr());
        Ok(child)
    }
}

/// Access logs open `/dev/stdout` anew. Where that is another user's file, or a socket, only a pipe of our own works.
fn needs_pipe() -> bool {
    OpenOptions::new().append(true).open("/dev/stdout").is_err()
}

fn carry<R, W>(from: Option<R>, mut to: W)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    if let Some(mut from) = from {
        tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
    }
}

async fn end(mut child: Child) -> io::Result<()> {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It may have ended just now.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    let ended: Result<io::Result<ExitStatus>, _> =
        tokio::time::timeout(PATIENCE, child.wait()).await;
    match ended {
        Ok(ended) => ended.map(drop),
        Err(_) => child.kill().await,
    }
}
