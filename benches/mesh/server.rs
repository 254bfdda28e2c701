//! The servers under measurement: `lateend` and the floor, each a child process that dies with this one.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::Result;
use crate::machine::{self, Cores};

/// A server that has not started by then is not going to.
const START: Duration = Duration::from_secs(120);
/// How often it is looked at while it starts.
const LOOK: Duration = Duration::from_millis(10);

/// A running server.
pub struct Server {
    child: Child,
    process: u32,
    /// Where it serves plaintext gRPC.
    pub address: SocketAddr,
    /// How long it took until it was ready, and what that cost in CPU time.
    pub start: (Duration, Duration),
    orders: Option<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Server {
    /// Starts `lateend` on a folder; `beside` is where its own files go.
    pub async fn lateend(
        program: &Path,
        cores: Cores,
        folder: &Path,
        beside: &Path,
    ) -> Result<Self> {
        let began = Instant::now();
        let (addresses, log) = (beside.join("addresses.json"), beside.join("lateend.log"));
        let mesh_config = beside.join("mesh.yaml");
        fs::write(&mesh_config, "trustDomain: cluster.local\n")?;
        let mut command = Command::new(program);
        command
            .arg("--configDir")
            .arg(folder)
            .arg("--meshConfig")
            .arg(&mesh_config);
        command
            .arg("--stateDir")
            .arg(beside.join("state"))
            .arg("--printAddrs")
            .arg(&addresses);
        for flag in [
            "--grpcAddr",
            "--secureGRPCAddr",
            "--httpAddr",
            "--monitoringAddr",
        ] {
            command.arg(flag).arg("127.0.0.1:0");
        }
        command
            .args(["--log_output_level", "warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command.stderr(fs::File::create(&log)?).kill_on_drop(true);
        let mut child = cores.on_server(|| Ok(command.spawn()?))?;
        let process = child.id().ok_or("lateend has ended")?;
        let ready = async {
            loop {
                if let Some(status) = child.try_wait()? {
                    return Err(format!("lateend: {status}\n{}", fs::read_to_string(&log)?).into());
                }
                // Until the file is there, and whole, nothing is bound.
                if let Ok(http) = bound(&addresses, "httpAddr")
                    && is_ready(http).await
                {
                    return bound(&addresses, "grpcAddr");
                }
                sleep(LOOK).await;
            }
        };
        let address = timeout(START, ready)
            .await
            .map_err(|_| "lateend is not ready")??;
        let start = (began.elapsed(), machine::cpu(process)?);
        Ok(Self {
            child,
            process,
            address,
            start,
            orders: None,
        })
    }

    /// Starts the floor on a recording.
    pub async fn floor(cores: Cores, recording: &Path) -> Result<Self> {
        let began = Instant::now();
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("--floor")
            .arg(recording)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = cores.on_server(|| Ok(command.spawn()?))?;
        let process = child.id().ok_or("the floor has ended")?;
        let stdin = child.stdin.take().ok_or("the floor has no stdin")?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("the floor has no stdout")?);
        let mut line = String::new();
        timeout(START, stdout.read_line(&mut line)).await??;
        let address = line.trim().parse()?;
        let start = (began.elapsed(), machine::cpu(process)?);
        Ok(Self {
            child,
            process,
            address,
            start,
            orders: Some((stdin, stdout)),
        })
    }

    /// Lets the floor begin its next phase.
    pub async fn advance(&mut self) -> Result<()> {
        let (stdin, stdout) = self.orders.as_mut().ok_or("only the floor takes orders")?;
        stdin.write_all(b"next\n").await?;
        stdin.flush().await?;
        let mut line = String::new();
        timeout(START, stdout.read_line(&mut line)).await??;
        if line.is_empty() {
            Err("the floor has ended".into())
        } else {
            Ok(())
        }
    }

    /// The CPU time that it has used so far.
    pub fn cpu(&self) -> Result<Duration> {
        machine::cpu(self.process)
    }

    /// Its peak of resident memory in bytes since [`Self::forget_peak`].
    pub fn peak(&self) -> Result<u64> {
        machine::peak(self.process)
    }

    /// Measures the peak from now on.
    pub fn forget_peak(&self) {
        machine::forget_peak(self.process);
    }

    /// Ends it.
    pub async fn stop(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// The address bound for a flag, by the file that `--printAddrs` wrote.
fn bound(addresses: &Path, flag: &str) -> Result<SocketAddr> {
    let addresses: serde_json::Value = serde_json::from_slice(&fs::read(addresses)?)?;
    let address = addresses.get(flag).and_then(serde_json::Value::as_str);
    Ok(address
        .ok_or_else(|| format!("lateend printed no {flag}"))?
        .parse()?)
}

/// Whether `/ready` says 200.
async fn is_ready(address: SocketAddr) -> bool {
    let ask = async {
        let mut socket = TcpStream::connect(address).await?;
        socket
            .write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    ask.await
        .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
