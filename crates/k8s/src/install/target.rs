//! Which cluster is meant, and the words for it: a command that writes says them first.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::CallError;
use crate::webhooks::{FailurePolicy, Proof, Webhooks};

/// Requests that set up a connection wait no longer than this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the user said of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// A kubeconfig; none: `KUBECONFIG`, else `~/.kube/config`, else the cluster around this Pod.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it; none: the current one.
    pub context: Option<String>,
}

/// Why no cluster is meant. The user's to mend.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The kubeconfig is not readable, or has not what it should.
    #[error("the kubeconfig: {0}")]
    Kubeconfig(KubeconfigError),
    /// There is neither a kubeconfig nor a Pod around this.
    #[error(
        "there is no kubeconfig ({0}), and this is no Pod of a cluster: give --kubeconfig FILE"
    )]
    None(InClusterError),
    /// The settings make no client.
    #[error("the Kubernetes client cannot be set up: {0}")]
    Client(Box<kube::Error>),
}

/// A cluster, reached as somebody.
pub struct Target {
    pub(super) client: Client,
    context: Option<String>,
    server: String,
}

impl Target {
    /// The cluster of a choice. Whether it answers is found out later.
    ///
    /// # Errors
    /// [`TargetError`].
    pub async fn open(choice: &Choice) -> Result<Self, TargetError> {
        let Choice {
            kubeconfig,
            context,
        } = choice;
        let read = match kubeconfig {
            Some(path) => Kubeconfig::read_from(path).map(Some),
            None => match Kubeconfig::read() {
                Err(KubeconfigError::FindPath | KubeconfigError::ReadConfig(..))
                    if context.is_none() =>
                {
                    Ok(None)
                }
                read => read.map(Some),
            },
        };
        let (mut config, context) = match read.map_err(TargetError::Kubeconfig)? {
            None => (Config::incluster().map_err(TargetError::None)?, None),
            Some(read) => {
                let name = context.clone().or_else(|| read.current_context.clone());
                let options = KubeConfigOptions {
                    context: context.clone(),
                    ..KubeConfigOptions::default()
                };
                let config = Config::from_custom_kubeconfig(read, &options).await;
                (config.map_err(TargetError::Kubeconfig)?, name)
            }
        };
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let server = config.cluster_url.to_string();
        let client =
            Client::try_from(config).map_err(|error| TargetError::Client(Box::new(error)))?;
        Ok(Self {
            client,
            context,
            server,
        })
    }

    /// Sets the failure policy of a control plane's webhooks, as far as they exist.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set_failure_policy(
        &self,
        webhooks: &Webhooks,
        policy: FailurePolicy,
    ) -> Result<(), CallError> {
        let done = webhooks.set_failure_policy(&self.client, policy).await;
        done.map_err(|error| CallError::new("write", "the webhook configurations", error))
    }

    /// Whether the API server asks a control plane's webhooks.
    pub async fn prove(&self, webhooks: &Webhooks) -> Proof {
        webhooks.prove(&self.client).await
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.context {
            Some(context) => write!(f, "context {context} ({})", self.server),
            None => write!(f, "the cluster of this Pod ({})", self.server),
        }
    }
}
