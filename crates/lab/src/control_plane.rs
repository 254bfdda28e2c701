//! The control plane of the mesh: `lateend` as a child, and what it tells about itself.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::app::{Call, Outcome, call};
use crate::inside::{CONTROL_PLANE, HOME, has_ipv6, program};
use crate::progress::{Wanted, refused};
use crate::running::tail;

/// How long the control plane may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);
const HTTP: &str = "127.0.0.1:8080";

/// Why there is no control plane.
#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneError {
    /// The system refused something.
    #[error("{0}: {1}")]
    Io(&'static str, io::Error),
    /// It ended or did not become ready; the text is the end of its log.
    #[error("lateend did not become ready:\n{0}")]
    NotReady(String),
    /// A change did not reach every proxy; the text is what they refused, or `/debug/syncz`.
    #[error("a change did not reach every proxy:\n{0}")]
    NotApplied(String),
    /// No join token was made; the text is what the command said.
    #[error("no join token: {0}")]
    Token(String),
}

/// A control plane that runs.
#[derive(Debug)]
pub struct ControlPlane {
    child: Child,
    arguments: Vec<String>,
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> ControlPlaneError {
    move |error| ControlPlaneError::Io(what, error)
}

fn any_address() -> String {
    match has_ipv6() {
        true => "[::]:15012".to_owned(),
        false => format!("{CONTROL_PLANE}:15012"),
    }
}

fn home(name: &str) -> PathBuf {
    Path::new(HOME).join(name)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl ControlPlane {
    /// Starts it on these folders and waits until it is ready.
    ///
    /// # Errors
    /// [`ControlPlaneError`], when it does not become ready.
    pub async fn start(folders: &[PathBuf], more: &[String]) -> Result<Self, ControlPlaneError> {
        let mut arguments = Vec::new();
        for folder in folders {
            arguments.extend(["--configDir".to_owned(), text(folder)]);
        }
        let rest = [
            ("--secureGRPCAddr", any_address()),
            ("--httpAddr", HTTP.to_owned()),
            ("--monitoringAddr", "127.0.0.1:15014".to_owned()),
            ("--stateDir", text(&home("state"))),
        ];
        arguments.extend(
            rest.into_iter()
                .flat_map(|(flag, value)| [flag.to_owned(), value]),
        );
        arguments.extend_from_slice(more);
        let child = spawn(&arguments).map_err(io_error("lateend"))?;
        let mut control_plane = Self { child, arguments };
        control_plane.wait_ready().await?;
        let root = fs::read(home("state").join("root-cert.pem"))
            .map_err(io_error("the root certificate"))?;
        let public = home("root-cert.pem");
        fs::write(&public, root).map_err(io_error("the root certificate"))?;
        let everyone = fs::Permissions::from_mode(0o644);
        fs::set_permissions(public, everyone).map_err(io_error("the root certificate"))?;
        Ok(control_plane)
    }

    async fn wait_ready(&mut self) -> Result<(), ControlPlaneError> {
        let until = Instant::now() + PATIENCE;
        loop {
            if self.get("/ready").await.status == Some(200) {
                return Ok(());
            }
            let ended = self
                .child
                .try_wait()
                .map_err(io_error("lateend"))?
                .is_some();
            if ended || Instant::now() > until {
                return Err(ControlPlaneError::NotReady(tail(&home("lateend.log"))));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks it over HTTP.
    pub async fn get(&self, path: &str) -> Outcome {
        let mut once = call::times(Call::get(&format!("http://{HTTP}{path}")), 1, 1);
        once.recv()
            .await
            .unwrap_or_else(|| Outcome::failed(call::Failure::Closed))
    }

    /// Asks for its metrics, on the monitoring port.
    pub async fn metrics(&self) -> String {
        let mut once = call::times(Call::get("http://127.0.0.1:15014/metrics"), 1, 1);
        once.recv()
            .await
            .map(|outcome| outcome.body)
            .unwrap_or_default()
    }

    /// What it wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(home("lateend.log")).unwrap_or_default()
    }

    /// Waits until the control plane has read what is wanted and every proxy has accepted what follows from it; the
    /// number of proxies and of the state.
    ///
    /// # Errors
    /// Not all have in time.
    pub async fn applied(&self, wanted: &Wanted) -> Result<(usize, u64), ControlPlaneError> {
        let until = Instant::now() + PATIENCE;
        let mut is_read = wanted.markers.is_empty();
        loop {
            is_read = is_read || wanted.is_read(&self.json("/debug/configz").await);
            let streams = self.json("/debug/syncz").await;
            if is_read && let Some(synced) = wanted.are_synced(&streams) {
                return Ok(synced);
            }
            let refused = refused(&streams);
            if is_read && !refused.is_empty() {
                return Err(ControlPlaneError::NotApplied(refused.join("\n")));
            }
            if Instant::now() > until {
                return Err(ControlPlaneError::NotApplied(
                    self.get("/debug/syncz").await.body,
                ));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).await.body).unwrap_or_default()
    }

    /// A join token for a service account.
    ///
    /// # Errors
    /// The command failed.
    pub async fn token(&self, namespace: &str, account: &str) -> Result<String, ControlPlaneError> {
        let made = Command::new(program("lateen"))
            .args([
                "token",
                "create",
                "--namespace",
                namespace,
                "--service-account",
                account,
            ])
            .arg("--stateDir")
            .arg(home("state"))
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(io_error("lateen token create"))?;
        if !made.status.success() {
            return Err(ControlPlaneError::Token(
                String::from_utf8_lossy(&made.stderr).into_owned(),
            ));
        }
        Ok(String::from_utf8_lossy(&made.stdout).trim().to_owned())
    }

    /// Kills it, without a chance to say goodbye, and starts it again.
    ///
    /// # Errors
    /// It does not become ready again.
    pub async fn crash(&mut self) -> Result<(), ControlPlaneError> {
        self.kill().await?;
        self.restart().await
    }

    /// Kills it, without a chance to say goodbye.
    ///
    /// # Errors
    /// The system refused.
    pub async fn kill(&mut self) -> Result<(), ControlPlaneError> {
        self.child.kill().await.map_err(io_error("kill lateend"))
    }

    /// Starts it again after [`ControlPlane::kill`].
    ///
    /// # Errors
    /// It does not become ready again.
    pub async fn restart(&mut self) -> Result<(), ControlPlaneError> {
        self.child = spawn(&self.arguments).map_err(io_error("lateend"))?;
        self.wait_ready().await
    }
}

fn spawn(arguments: &[String]) -> io::Result<Child> {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(home("lateend.log"))?;
    Command::new(program("lateend"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}
