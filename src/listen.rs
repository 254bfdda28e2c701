//! The sockets: bound first of all, so that a port in use ends the start before anything else happened.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde_json::{Map, Value};
use tokio::net::{TcpListener, TcpSocket};

use crate::args::{Address, Arguments};

/// Connections that the system keeps until they are accepted. After a restart all proxies come at once; whoever finds no
/// room is put off or reset. The system's own limit (`net.core.somaxconn`, 4096 by default) holds beside it.
const BACKLOG: u32 = 4096;

/// Why nothing is listened on, or nobody is told where.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The system refuses the address.
    #[error("--{0} {1}: {2}")]
    Bind(&'static str, SocketAddr, io::Error),
    /// The file of `--printAddrs` cannot be written.
    #[error("--printAddrs {0}: {1}")]
    Print(std::path::PathBuf, io::Error),
}

/// All listeners.
#[derive(Debug)]
pub struct Listeners {
    /// xDS and CA over TLS.
    pub secure: TcpListener,
    /// xDS and CA in plaintext.
    pub plaintext: Option<TcpListener>,
    /// The webhooks, in a cluster.
    pub https: Option<TcpListener>,
    /// Readiness and debugging.
    pub http: TcpListener,
    /// Metrics.
    pub monitoring: TcpListener,
    /// Flag to bound address.
    pub addresses: Map<String, Value>,
}

impl Listeners {
    /// Binds them all.
    ///
    /// # Errors
    /// [`ListenError::Bind`] names the flag.
    pub fn bind(arguments: &Arguments) -> Result<Self, ListenError> {
        let mut addresses = Map::new();
        let secure = bind("secureGRPCAddr", arguments.secure_grpc_addr, &mut addresses)?;
        let plaintext = match arguments.grpc_addr {
            Some(address) => Some(bind("grpcAddr", address, &mut addresses)?),
            None => None,
        };
        let https = match arguments.state_dir {
            Some(_) => None,
            None => Some(bind("httpsAddr", arguments.https_addr, &mut addresses)?),
        };
        let http = bind("httpAddr", arguments.http_addr, &mut addresses)?;
        let monitoring = bind("monitoringAddr", arguments.monitoring_addr, &mut addresses)?;
        Ok(Self {
            secure,
            plaintext,
            https,
            http,
            monitoring,
            addresses,
        })
    }

    /// Writes the bound addresses as JSON, in one step.
    ///
    /// # Errors
    /// [`ListenError::Print`].
    pub fn print(&self, file: &Path) -> Result<(), ListenError> {
        let text = format!("{}\n", Value::Object(self.addresses.clone()));
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let written = std::fs::write(&name, text).and_then(|()| std::fs::rename(&name, file));
        written.map_err(|error| ListenError::Print(file.to_owned(), error))
    }

    /// The address at which others reach the secure port, as a name for its certificate; none if it is any.
    #[must_use]
    pub fn secure_name(&self) -> Option<String> {
        let ip = self.secure.local_addr().ok()?.ip();
        let is_any = match ip {
            IpAddr::V4(ip) => ip.is_unspecified(),
            IpAddr::V6(ip) => ip.is_unspecified(),
        };
        (!is_any).then(|| ip.to_string())
    }
}

fn bind(
    flag: &'static str,
    address: Address,
    addresses: &mut Map<String, Value>,
) -> Result<TcpListener, ListenError> {
    let failed = |error| ListenError::Bind(flag, address.0, error);
    let listener = listen(address.0).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tracing::info!("--{flag} {bound}");
    addresses.insert(flag.to_owned(), bound.to_string().into());
    Ok(listener)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // a port of the process before this one may still be winding down
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
