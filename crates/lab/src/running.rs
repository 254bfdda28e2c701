//! One workload that runs: how its keeper is started, and how its app is told what to do.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::app::{self, App, Call, Outcome};
use crate::folder::Workload;
use crate::inside::{
    CONTROL_PLANE, CONTROL_PLANE_V6, HOME, NAME_SERVER, NAME_SERVER_V6, PROXY_USER, folder, program,
};
use crate::keeper;
use crate::mesh::MeshError;

/// How long a keeper may take to start its workload.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is needed to start a workload.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    /// What it is.
    pub workload: &'a Workload,
    /// A number that no other has.
    pub number: u32,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its join token; none: it has no proxy.
    pub token: Option<String>,
    /// The mesh's trust domain.
    pub trust_domain: &'a str,
    /// What the cluster's nodes do for workloads without a proxy.
    pub rules: &'a str,
}

/// A workload that runs.
#[derive(Debug)]
pub(crate) struct Running {
    /// What it is.
    pub workload: Workload,
    home: PathBuf,
    loopback: &'static str,
    keeper: Child,
    orders: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Start<'_> {
    /// Starts the keeper.
    ///
    /// # Errors
    /// Its files cannot be written, or it cannot be started.
    pub fn start(self) -> io::Result<Running> {
        let workload = self.workload;
        let home = Path::new(HOME)
            .join("w")
            .join(&workload.namespace)
            .join(&workload.name);
        folder(&home, 0o755)?;
        let loopback = match has_v4(&self.addresses) {
            true => "127.0.0.1",
            false => "[::1]",
        };
        let spec = serde_json::to_string(&self.spec(&home)?)?;
        let mut keeper = Command::new(program("lateen"))
            .args(["lab-keeper", &spec])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(home.join("keeper.log"))?)
            .spawn()?;
        let orders = keeper.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let said = keeper.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Running {
            workload: workload.clone(),
            home,
            loopback,
            keeper,
            orders,
            said: BufReader::new(said).lines(),
        })
    }

    fn spec(&self, home: &Path) -> io::Result<keeper::Workload> {
        let workload = self.workload;
        let proxy = match &self.token {
            None => None,
            Some(token) => {
                own_file(&home.join("token"), token, 0o400)?;
                own_file(&home.join("agent.log"), "", 0o644)?;
                let arguments = proxy_arguments(workload, home, &self.addresses, self.trust_domain);
                Some(keeper::Proxy { arguments })
            }
        };
        let app = App {
            namespace: workload.namespace.clone(),
            name: workload.name.clone(),
            version: workload.version().map(str::to_owned),
            ports: workload.ports.iter().map(|(_, number)| *number).collect(),
            socket: home.join("app").join("socket"),
            lingers: 0,
        };
        let rules = if proxy.is_none() { self.rules } else { "" };
        Ok(keeper::Workload {
            number: self.number,
            resolver: resolver(&workload.namespace, &self.addresses),
            addresses: self.addresses.clone(),
            app,
            rules: rules.to_owned(),
            proxy,
            home: home.to_owned(),
        })
    }
}

/// What came of the calls of one command.
#[derive(Debug)]
pub struct Outcomes(Lines<BufReader<UnixStream>>);

impl Outcomes {
    /// The next outcome; none: all calls are made.
    ///
    /// # Errors
    /// The app has died.
    pub async fn next(&mut self) -> io::Result<Option<Outcome>> {
        let line = self.0.next_line().await?;
        Ok(line.map(|line| serde_json::from_str(&line)).transpose()?)
    }
}

impl Running {
    /// Tells its app what to do.
    pub async fn tell(&self, command: &app::Command) -> io::Result<Outcomes> {
        let mut stream = UnixStream::connect(self.home.join("app").join("socket")).await?;
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        Ok(Outcomes(BufReader::new(stream).lines()))
    }

    /// What its agent and Envoy write.
    pub fn log(&self) -> PathBuf {
        self.home.join("agent.log")
    }

    /// Kills its agent and Envoy and starts them again; then [`Running::wait_started`].
    pub async fn restart_proxy(&mut self) -> io::Result<()> {
        let order = format!("{}\n", keeper::RESTART_PROXY);
        self.orders.write_all(order.as_bytes()).await
    }

    /// Whether its proxy is ready.
    pub async fn is_ready(&self) -> bool {
        let call = Call::get(&format!("http://{}:15021/healthz/ready", self.loopback));
        let Ok(mut outcomes) = self
            .tell(&app::Command::Calls {
                call,
                count: 1,
                parallel: 1,
            })
            .await
        else {
            return false;
        };
        outcomes
            .next()
            .await
            .ok()
            .flatten()
            .is_some_and(|outcome| outcome.status == Some(200))
    }

    /// Waits until its processes are started.
    pub async fn wait_started(&mut self) -> Result<(), MeshError> {
        let line = timeout(PATIENCE, self.said.next_line()).await;
        if matches!(line, Ok(Ok(Some(line))) if line == keeper::STARTED) {
            return Ok(());
        }
        Err(MeshError::Workload(
            self.workload.key(),
            tail(&self.home.join("keeper.log")),
        ))
    }

    /// `nsenter`'s word for its network namespace.
    pub fn net(&self) -> io::Result<String> {
        let pid = self.keeper.id().ok_or(io::ErrorKind::NotFound)?;
        Ok(format!("--net=/proc/{pid}/ns/net"))
    }

    /// Ends it.
    pub async fn stop(mut self) -> io::Result<()> {
        // The keeper ends its workload when nobody can give it orders any more.
        drop(self.orders);
        self.keeper.wait().await?;
        fs::remove_dir_all(&self.home)
    }
}

/// Whether a workload need not be started again for an edit: what its processes were told is the same.
pub(crate) fn same(a: &Workload, b: &Workload) -> bool {
    let told = |w: &Workload| {
        (
            w.labels.clone(),
            w.service_account.clone(),
            w.ports.clone(),
            (w.address, w.families()),
        )
    };
    told(a) == told(b)
}

fn has_v4(addresses: &[IpAddr]) -> bool {
    addresses.iter().any(IpAddr::is_ipv4)
}

fn resolver(namespace: &str, addresses: &[IpAddr]) -> String {
    let server: IpAddr = match has_v4(addresses) {
        true => NAME_SERVER.into(),
        false => NAME_SERVER_V6.into(),
    };
    format!(
        "nameserver {server}\n\
         search {namespace}.svc.cluster.local svc.cluster.local cluster.local\n\
         options ndots:5\n"
    )
}

fn proxy_arguments(
    workload: &Workload,
    home: &Path,
    addresses: &[IpAddr],
    trust_domain: &str,
) -> Vec<String> {
    let mut labels = workload.labels.clone();
    labels.insert("security.istio.io/tlsMode".to_owned(), "istio".to_owned());
    let labels: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let control_plane = match has_v4(addresses) {
        true => format!("{CONTROL_PLANE}:15012"),
        false => format!("[{CONTROL_PLANE_V6}]:15012"),
    };
    let own: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let arguments = [
        ("--discoveryAddress", control_plane),
        ("--serverName", "istiod.istio-system.svc".to_owned()),
        ("--rootCert", path(Path::new(HOME).join("root-cert.pem"))),
        ("--tokenFile", path(home.join("token"))),
        ("--namespace", workload.namespace.clone()),
        ("--pod", workload.name.clone()),
        ("--serviceAccount", workload.service_account.clone()),
        ("--workload", workload.name.clone()),
        ("--labels", labels.join(",")),
        ("--ip", own.join(",")),
        ("--trustDomain", trust_domain.to_owned()),
        ("--envoy", path(program("envoy"))),
        ("--workDir", path(home.join("agent"))),
    ];
    let arguments = arguments
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value]);
    std::iter::once("proxy".to_owned())
        .chain(arguments)
        .collect()
}

/// A file of the proxy's user.
fn own_file(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    chown(path, Some(PROXY_USER), Some(PROXY_USER))
}

/// The end of a log.
pub(crate) fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(20)..)
        .unwrap_or_default()
        .join("\n")
}
