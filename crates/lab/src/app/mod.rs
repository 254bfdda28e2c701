//! The app of a workload: an echo server on each of its ports and on a Unix socket, and a caller that does what it is told.
//!
//! It runs inside the workload's namespaces as an ordinary user. The mesh talks to it by a Unix socket in its folder:
//! one JSON [`Command`] in, one JSON [`Outcome`] a line out, until the connection ends.

mod authorizer;
pub mod call;
mod connection;
pub mod echo;
mod serve;
mod tls;
mod websocket;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::Receiver;

pub use call::{Call, Failure, Outcome, Protocol};
pub use echo::Answer;

/// What an app is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct App {
    /// The workload's namespace.
    pub namespace: String,
    /// The workload's name.
    pub name: String,
    /// Its label `version`.
    pub version: Option<String>,
    /// The ports of its echo server.
    pub ports: Vec<u16>,
    /// Where it listens for commands. Its echo server listens beside it, on the socket `echo`.
    pub socket: PathBuf,
    /// For how many seconds it goes on serving once it is told to end (SIGTERM).
    #[serde(default)]
    pub lingers: u64,
}

/// What an app is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Command {
    /// These calls, `parallel` at a time; answers in the order in which they end.
    Calls {
        /// What is called.
        call: Call,
        /// How often.
        count: u32,
        /// How many at a time.
        parallel: u32,
    },
    /// The call again and again, one each `every_ms` milliseconds, until the connection is closed.
    Load {
        /// What is called.
        call: Call,
        /// The pace.
        every_ms: u64,
    },
}

/// Runs the app until it is killed.
///
/// # Errors
/// A port or the socket cannot be bound.
pub fn run(app: App) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve_all(app))
}

async fn serve_all(app: App) -> io::Result<()> {
    let commands = UnixListener::bind(&app.socket)?;
    let app = Arc::new(app);
    let echo = Arc::new(echo::Echo::new(app.clone()));
    for port in &app.ports {
        serve::listen(*port, echo.clone()).await?;
    }
    serve::listen_at(&app.socket.with_file_name("echo"), echo)?;
    let mut end = signal(SignalKind::terminate())?;
    let ended = async {
        end.recv().await;
        tokio::time::sleep(Duration::from_secs(app.lingers)).await;
    };
    tokio::pin!(ended);
    loop {
        let (stream, _) = tokio::select! {
            accepted = commands.accept() => accepted?,
            () = &mut ended => return Ok(()),
        };
        tokio::spawn(async move {
            // The mesh hangs up when it has heard enough.
            let _ = obey(stream).await;
        });
    }
}

/// Does what a command says without an echo server, and prints what comes of it, one JSON [`Outcome`] a line.
///
/// # Errors
/// Nobody reads any more.
pub fn call(command: Command) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let mut outcomes = begin(command);
            while let Some(outcome) = outcomes.recv().await {
                let mut out = io::stdout().lock();
                serde_json::to_writer(&mut out, &outcome)?;
                writeln!(out)?;
            }
            Ok(())
        })
}

fn begin(command: Command) -> Receiver<Outcome> {
    match command {
        Command::Calls {
            call,
            count,
            parallel,
        } => call::times(call, count, parallel),
        Command::Load { call, every_ms } => call::load(call, every_ms),
    }
}

async fn obey(stream: UnixStream) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let Some(line) = lines.next_line().await? else {
        return Ok(());
    };
    let mut outcomes = begin(serde_json::from_str(&line)?);
    while let Some(outcome) = outcomes.recv().await {
        let mut line = serde_json::to_vec(&outcome)?;
        line.push(b'\n');
        write.write_all(&line).await?;
    }
    Ok(())
}
