//! The arguments of `lateen-agent`. Where Istio's agent reads an environment variable, it is read here under its name;
//! nowhere else is the environment looked at.

mod config;
mod logging;
mod value;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use model::{Namespace, ServiceAccount, TrustDomain};

pub use config::{MeshProxyConfig, from_environment};
pub use logging::LogArguments;
pub use value::{Authority, Labels, Locality, PrometheusScrape};
use value::{duration, seconds};

use crate::capture::CaptureArguments;
use crate::probes::Probers;

/// What `lateen-agent` was asked for.
#[derive(Debug, Parser)]
#[command(
    name = "lateen-agent",
    version,
    about = "Runs beside Envoy: certificates, configuration, traffic capture, names, readiness, metrics"
)]
pub struct Arguments {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// A command of the agent.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs an Envoy and all that it needs until SIGTERM or SIGINT
    Proxy(Box<ProxyArguments>),
    /// Prints (one --family), sets (--apply) or removes (--undo) the rules that lead a pod's traffic through Envoy
    Capture(Box<CaptureArguments>),
    /// Sets the rules, as the program of this name does it in a pod of Istio's
    #[command(name = "istio-iptables")]
    IstioIptables(Box<CaptureArguments>),
    /// Waits until a proxy of this pod is ready
    Wait(WaitArguments),
    /// Asks the agent of this pod for something: `request POST drain`
    Request(RequestArguments),
    /// Becomes a program that the kernel ends together with the agent
    #[command(hide = true)]
    Exec(ExecArguments),
}

/// How a child is started: see [`crate::envoy`].
#[derive(Debug, Args)]
pub struct ExecArguments {
    /// The process that the child must not outlive
    #[arg(long)]
    pub parent: i32,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
    pub command: Vec<std::ffi::OsString>,
}

/// `lateen-agent wait`.
#[derive(Clone, Debug, Args)]
#[command(rename_all = "camelCase")]
pub struct WaitArguments {
    /// Where readiness is asked for
    #[arg(long, value_name = "URL", default_value_t = format!("http://localhost:{}/healthz/ready", from_environment().status_port.unwrap_or(STATUS_PORT)))]
    pub url: String,
    /// How long to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout_seconds: u64,
    /// How long to wait for one answer
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 500)]
    pub request_timeout_millis: u64,
    /// How long to wait between two questions
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 500)]
    pub period_millis: u64,
}

/// `lateen-agent request`.
#[derive(Clone, Debug, Args)]
pub struct RequestArguments {
    /// The agent's port
    #[arg(long, value_name = "PORT", default_value_t = from_environment().status_port.unwrap_or(STATUS_PORT))]
    pub debug_port: u16,
    /// GET or POST
    pub method: http::Method,
    /// The path, such as drain or quitquitquit
    pub path: String,
}

/// The agent's port, unless told otherwise.
const STATUS_PORT: u16 = 15020;

/// What Envoy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// It stands beside an app.
    Sidecar,
}

/// `lateen-agent proxy`.
#[derive(Clone, Debug, Args)]
#[command(rename_all = "camelCase")]
pub struct ProxyArguments {
    /// What Envoy is for
    #[arg(value_enum, default_value = "sidecar")]
    pub role: Role,
    /// How the agent logs.
    #[command(flatten)]
    pub log: LogArguments,
    /// The proxy's configuration from the environment, whose fields stand for arguments that are not given.
    #[arg(long, value_name = "JSON", env = "PROXY_CONFIG", hide = true)]
    pub proxy_config: Option<MeshProxyConfig>,
    /// Who the workload is.
    #[command(flatten)]
    pub node: NodeArguments,
    /// Where the control plane is.
    #[command(flatten)]
    pub control_plane: ControlPlaneArguments,
    /// The ports of the pod that the agent and its Envoy take.
    #[command(flatten)]
    pub ports: PortArguments,
    /// How the proxy ends.
    #[command(flatten)]
    pub lifecycle: LifecycleArguments,
    /// Envoy
    #[arg(
        long,
        value_name = "PATH",
        env = "ENVOY",
        default_value = "/usr/local/bin/envoy"
    )]
    pub envoy: PathBuf,
    /// Envoy's worker threads; 0: one for each processor
    #[arg(long, value_name = "N", default_value_t = from_environment().concurrency.unwrap_or(2))]
    pub concurrency: u32,
    /// Envoy's log level
    #[arg(long, value_name = "LEVEL", default_value = "warning")]
    pub proxy_log_level: String,
    /// Log levels of Envoy's components: `http:debug,misc:error`
    #[arg(
        long,
        value_name = "COMPONENT:LEVEL,...",
        default_value = "",
        hide_default_value = true
    )]
    pub proxy_component_log_level: String,
    /// A bootstrap that Envoy lays over its own
    #[arg(long, value_name = "FILE", env = "ISTIO_BOOTSTRAP_OVERRIDE")]
    pub bootstrap_override: Option<PathBuf>,
    /// Where the app's probes lead that the kubelet sends to the agent, by path
    #[arg(
        long,
        value_name = "JSON",
        env = "ISTIO_KUBE_APP_PROBERS",
        hide_env_values = true
    )]
    pub app_probers: Option<Probers>,
    /// Where certificate, bootstrap and sockets are kept; made with mode 0700
    #[arg(long, value_name = "DIR", default_value = "./etc/istio/proxy")]
    pub work_dir: PathBuf,
    /// Answer DNS on this address, to which `capture` leads port 53
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15053")]
    pub dns_address: SocketAddr,
    /// Where unknown names are asked for, instead of the servers of /etc/resolv.conf
    #[arg(long, value_name = "ADDR:PORT")]
    pub dns_upstream: Vec<SocketAddr>,
    /// The app's own metrics, to be served with Envoy's: `{"scrape":"true","path":"/metrics","port":"8080"}`
    #[arg(long, value_name = "JSON", env = "ISTIO_PROMETHEUS_ANNOTATIONS")]
    pub prometheus_annotations: Option<PrometheusScrape>,
    /// Run as this user (needs root); rules of `capture` let its traffic pass
    #[arg(long, value_name = "UID")]
    pub uid: Option<u32>,
    /// Run as this group (needs root); the number of --uid by default
    #[arg(long, value_name = "GID")]
    pub gid: Option<u32>,
}

impl ProxyArguments {
    /// How long Envoy lets connections of changed listeners finish.
    #[must_use]
    pub fn drain_duration(&self) -> Duration {
        let of_config = self
            .proxy_config
            .as_ref()
            .and_then(|config| config.drain_duration);
        let given = self.lifecycle.drain_duration.or(of_config);
        given.unwrap_or(Duration::from_secs(45))
    }

    /// How long connections may finish after SIGTERM.
    #[must_use]
    pub fn termination_drain_duration(&self) -> Duration {
        let config = self.proxy_config.as_ref();
        let of_config = config.and_then(|config| config.termination_drain_duration);
        let given = self.lifecycle.termination_drain_duration.or(of_config);
        given.unwrap_or(Duration::from_secs(5))
    }
}

/// Who the workload is.
#[derive(Clone, Debug, Args)]
#[command(rename_all = "camelCase")]
pub struct NodeArguments {
    /// Its namespace
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    pub namespace: Namespace,
    /// The name of its pod
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub pod: String,
    /// Its service account
    #[arg(
        long,
        value_name = "NAME",
        env = "SERVICE_ACCOUNT",
        default_value = "default"
    )]
    pub service_account: ServiceAccount,
    /// The name of its Deployment or the like; the pod's by default
    #[arg(long, value_name = "NAME", env = "ISTIO_META_WORKLOAD_NAME")]
    pub workload: Option<String>,
    /// Its labels
    #[arg(
        long,
        value_name = "K=V,...",
        default_value = "",
        hide_default_value = true
    )]
    pub labels: Labels,
    /// A file with its labels, one `key="value"` a line, as Kubernetes writes it; ./etc/istio/pod/labels where that is
    #[arg(long, value_name = "FILE")]
    pub labels_file: Option<PathBuf>,
    /// Its addresses, the main one first; by default those of the machine's interfaces
    #[arg(long, value_name = "ADDR", env = "INSTANCE_IPS", value_delimiter = ',')]
    pub ip: Vec<IpAddr>,
    /// Where it runs; the label `istio-locality` by default
    #[arg(long, value_name = "REGION/ZONE/SUBZONE")]
    pub locality: Option<Locality>,
    /// The domain of its services; `NAMESPACE.svc.cluster.local` by default
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// The trust domain of the mesh
    #[arg(
        long,
        value_name = "NAME",
        env = "TRUST_DOMAIN",
        default_value = "cluster.local"
    )]
    pub trust_domain: TrustDomain,
    /// The name of its cluster
    #[arg(
        long,
        value_name = "ID",
        env = "ISTIO_META_CLUSTER_ID",
        default_value = "Kubernetes"
    )]
    pub cluster_id: String,
    /// The name of the mesh
    #[arg(
        long,
        value_name = "ID",
        env = "ISTIO_META_MESH_ID",
        default_value = "cluster.local"
    )]
    pub mesh_id: String,
    /// Further `ISTIO_META_*` metadata, which only the environment gives.
    #[arg(skip = value::environment_metadata())]
    pub metadata: BTreeMap<String, serde_json::Value>,
}

/// Where the control plane is, and how this agent proves itself to it.
#[derive(Clone, Debug, Args)]
#[command(rename_all = "camelCase")]
pub struct ControlPlaneArguments {
    /// Its port for TLS
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "CA_ADDR",
        default_value = "istiod.istio-system.svc:15012"
    )]
    pub discovery_address: Authority,
    /// The name that its certificate must have; that of its Service in the cluster by default, or else
    /// istiod.istio-system.svc
    #[arg(long, value_name = "NAME", env = "PILOT_SAN")]
    pub server_name: Option<String>,
    /// The roots that its certificate must chain to, in PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "XDS_ROOT_CA",
        default_value = "./var/run/secrets/istio/root-cert.pem"
    )]
    pub root_cert: PathBuf,
    /// The token that proves who the workload is until it has a certificate
    #[arg(
        long,
        value_name = "FILE",
        default_value = "./var/run/secrets/tokens/istio-token"
    )]
    pub token_file: PathBuf,
    /// The lifetime to ask for; the control plane may give less
    #[arg(long, value_name = "DURATION", env = "SECRET_TTL", default_value = "24h", value_parser = duration)]
    pub secret_ttl: Duration,
}

/// Ports of the pod. Those that Envoy's configuration names (15001, 15006) are the control plane's matter.
#[derive(Clone, Copy, Debug, Args)]
#[command(rename_all = "camelCase")]
pub struct PortArguments {
    /// Envoy's admin interface, on loopback
    #[arg(long, value_name = "PORT", default_value_t = from_environment().admin_port.unwrap_or(15000))]
    pub admin_port: u16,
    /// The agent's own: readiness, merged metrics, draining
    #[arg(long, value_name = "PORT", default_value_t = from_environment().status_port.unwrap_or(STATUS_PORT))]
    pub status_port: u16,
    /// Readiness, by Envoy
    #[arg(
        long,
        value_name = "PORT",
        env = "ENVOY_STATUS_PORT",
        default_value_t = 15021
    )]
    pub envoy_status_port: u16,
    /// Metrics, by Envoy
    #[arg(
        long,
        value_name = "PORT",
        env = "ENVOY_PROMETHEUS_PORT",
        default_value_t = 15090
    )]
    pub envoy_prometheus_port: u16,
}

/// How the proxy ends.
#[derive(Clone, Copy, Debug, Args)]
#[command(rename_all = "camelCase")]
pub struct LifecycleArguments {
    /// How long Envoy lets connections of changed listeners finish [default: 45s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub drain_duration: Option<Duration>,
    /// How long connections may finish after SIGTERM, in seconds or with a unit [default: 5s]
    #[arg(
        long,
        value_name = "DURATION",
        env = "TERMINATION_DRAIN_DURATION_SECONDS",
        value_parser = seconds
    )]
    pub termination_drain_duration: Option<Duration>,
    /// After SIGTERM, wait for the end of all connections instead
    #[arg(
        long,
        env = "EXIT_ON_ZERO_ACTIVE_CONNECTIONS",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_value_t = false,
        default_missing_value = "true",
        hide_default_value = true
    )]
    pub exit_on_zero_active_connections: bool,
    /// How long to wait at least before connections are counted
    #[arg(
        long,
        value_name = "DURATION",
        env = "MINIMUM_DRAIN_DURATION",
        default_value = "5s",
        value_parser = duration
    )]
    pub minimum_drain_duration: Duration,
}
