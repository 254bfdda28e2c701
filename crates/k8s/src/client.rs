//! How the API server is reached: from inside of a Pod, or by a kubeconfig.

use std::path::{Path, PathBuf};

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

/// Requests that set up a connection wait no longer than this.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

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
    Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))
}
