//! How the API server is reached: from inside of a Pod, or by a kubeconfig.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt as _};
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

/// Requests that set up a connection wait no longer than this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection on which nothing has come for so long is probed, so often, so many times: one whose other end has
/// vanished without a word is given up after 14 s, not when TCP has lost patience with what it cannot send.
const IDLE: Duration = Duration::from_secs(5);
const PROBE_EVERY: Duration = Duration::from_secs(3);
const PROBES: u32 = 3;
/// The same for what was sent and is not acknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(14);

/// Why there is no client. The operator's to mend: the text says which file or right.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig is not readable, or names nothing that exists.
    #[error("kubeconfig {0}: {1}")]
    Kubeconfig(PathBuf, KubeconfigError),
    /// This is no Pod, or its service-account token is not mounted.
    #[error(
        "this is no Pod of a cluster ({0}): give --kubeconfig FILE, or a folder of YAML by --configDir"
    )]
    InCluster(InClusterError),
    /// The settings make no client.
    #[error("the Kubernetes client cannot be set up: {0}")]
    Client(Box<kube::Error>),
}

/// A client of the cluster that `kubeconfig` names, else of the one that this Pod runs in.
///
/// # Errors
/// [`ConnectError`]; whether the API server answers is found out later.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    let mut config = match kubeconfig {
        None => Config::incluster().map_err(ConnectError::InCluster)?,
        Some(path) => {
            let unusable = |error| ConnectError::Kubeconfig(path.to_owned(), error);
            let read = Kubeconfig::read_from(path).map_err(unusable)?;
            Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
                .await
                .map_err(unusable)?
        }
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    client(config).map_err(|error| ConnectError::Client(Box::new(error)))
}

/// `kube` probes no connection. What only people at a terminal need, proxies and plugins that log in, it alone knows.
fn client(config: Config) -> kube::Result<Client> {
    if config.proxy_url.is_some() || config.auth_info.exec.is_some() {
        return Client::try_from(config);
    }
    let tls = config.rustls_https_connector_with_connector(probing())?;
    let mut connector = TimeoutConnector::new(tls);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    let http = HttpClient::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace))
}

fn probing() -> HttpConnector {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_keepalive(Some(IDLE));
    http.set_keepalive_interval(Some(PROBE_EVERY));
    http.set_keepalive_retries(Some(PROBES));
    #[cfg(target_os = "linux")]
    http.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    http
}
