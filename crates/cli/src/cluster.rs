//! What the commands for a Kubernetes cluster share: which cluster, which control plane in it, and how one waits.

pub mod check;
pub mod install;
mod manifest;
mod pods;
pub mod uninstall;
pub mod verify;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use k8s::install::{CallError, Choice, Named, Target, TargetError};
use serde_json::Value;

use crate::dev::run_async;
use crate::{USAGE, fail};

/// The wait between two looks.
const EVERY: Duration = Duration::from_millis(500);

/// Which cluster.
#[derive(Debug, Args)]
pub struct Cluster {
    /// The kubeconfig; KUBECONFIG or ~/.kube/config unless given, in a Pod its own cluster
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<std::path::PathBuf>,
    /// The context of the kubeconfig; the current one unless given
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// Which control plane.
#[derive(Debug, Args)]
pub struct Plane {
    /// The namespace of the control plane
    #[arg(short, long, value_name = "NS", default_value = "istio-system")]
    namespace: String,
    /// The revision of the control plane
    #[arg(long, value_name = "NAME", default_value = "default")]
    revision: String,
}

/// Why a command did not do what it should. The text says what to do where that is known.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No cluster is meant.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// What is built in cannot be read.
    #[error("the built-in manifests: {0}")]
    Manifest(String),
    /// The cluster is not as it must be, and what to do.
    #[error("{0}\n        {1}")]
    Refused(String, &'static str),
    /// There is no runtime.
    #[error("{0}")]
    Runtime(#[from] std::io::Error),
}

impl Cluster {
    async fn open(&self) -> Result<Target, Failure> {
        let choice = Choice {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
        };
        Ok(Target::open(&choice).await?)
    }
}

impl Plane {
    /// The one that `lateen install` brings.
    fn usual() -> Self {
        Self {
            namespace: "istio-system".to_owned(),
            revision: "default".to_owned(),
        }
    }

    fn is_usual(&self) -> bool {
        self.namespace == "istio-system" && matches!(self.revision.as_str(), "" | "default")
    }

    /// A name that every revision has of its own.
    fn revised(&self, name: &str) -> String {
        match self.revision.as_str() {
            "" | "default" => name.to_owned(),
            revision => format!("{name}-{revision}"),
        }
    }

    fn webhooks(&self) -> k8s::Webhooks {
        k8s::Webhooks {
            mutating: self.revised("istio-sidecar-injector"),
            validating: format!("{}-{}", self.revised("istio-validator"), self.namespace),
            namespace: self.namespace.clone(),
        }
    }

    fn named(&self, kind: &str, name: &str) -> Result<Named, Failure> {
        named(kind, Some(&self.namespace), &self.revised(name))
    }

    /// The labels of its Pods.
    fn labels(&self) -> String {
        let revision = match self.revision.as_str() {
            "" => "default",
            revision => revision,
        };
        format!("app=istiod,istio.io/rev={revision}")
    }
}

fn named(kind: &str, namespace: Option<&str>, name: &str) -> Result<Named, Failure> {
    Named::new(kind, namespace, name)
        .ok_or_else(|| Failure::Manifest(format!("{kind} is not a known kind")))
}

/// The control planes that are there: Deployments that Istio's tools take for istiod.
async fn control_planes(target: &Target) -> Result<Vec<Value>, Failure> {
    Ok(target.list("Deployment", None, "app=istiod").await?)
}

/// A text in an object, empty where there is none.
fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The Helm release that an object belongs to.
fn release(object: &Value) -> Option<String> {
    let annotation = |name: &str| {
        text(
            object,
            &format!("/metadata/annotations/meta.helm.sh~1release-{name}"),
        )
    };
    let name = annotation("name");
    (!name.is_empty()).then(|| format!("{}/{name}", annotation("namespace")))
}

/// Runs a command that answers whether all is well.
fn run(command: impl Future<Output = Result<bool, Failure>>) -> ExitCode {
    // A second one is a mistake of ours that nobody would notice.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run_async(command).map_err(Failure::Runtime).flatten() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error @ Failure::Target(_)) => fail(USAGE, error),
        Err(error) => fail(1, error),
    }
}
