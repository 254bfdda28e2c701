//! What `lateend` is told on the command line: istiod's flags under istiod's names. The environment is read here and
//! nowhere else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;

/// Where Istio's charts mount an operator's own CA.
const CA_CERTS: &str = "/etc/cacerts";

/// The command line.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "lateend",
    version,
    about = "Lateen's control plane: Istio's API in, Envoy's xDS out"
)]
pub struct Arguments {
    /// A folder of YAML with Istio's and Kubernetes' objects, watched; may be repeated. Where two folders have the same
    /// object, the first one's counts. Without any, objects come from a Kubernetes cluster
    #[arg(long = "configDir", value_name = "DIR", requires = "state_dir")]
    pub config_dirs: Vec<PathBuf>,
    /// A file with the MeshConfig, watched; in a cluster it stands in the ConfigMap `istio`
    #[arg(long = "meshConfig", value_name = "FILE", requires = "config_dirs")]
    pub mesh_config: Option<PathBuf>,
    /// Where the certificate authority and the key of join tokens live; created with mode 0700. In a cluster the Secret
    /// `istio-ca-secret` takes its place
    #[arg(long = "stateDir", value_name = "DIR", requires = "config_dirs")]
    pub state_dir: Option<PathBuf>,
    /// The cluster to read from; the one that this Pod runs in unless given
    #[arg(
        long = "kubeconfig",
        value_name = "FILE",
        conflicts_with = "config_dirs"
    )]
    pub kubeconfig: Option<PathBuf>,
    /// Where in the cluster this control plane stands
    #[command(flatten)]
    pub pod: Pod,
    /// A folder with a CA of your own (ca-cert.pem, ca-key.pem, cert-chain.pem, root-cert.pem); /etc/cacerts if it holds
    /// one, else a self-signed root is made once in the state directory
    #[arg(long = "caCertsDir", value_name = "DIR")]
    pub ca_certs_dir: Option<PathBuf>,
    /// xDS and CA over TLS, for proxies
    #[arg(
        long = "secureGRPCAddr",
        value_name = "ADDR",
        default_value = "127.0.0.1:15012"
    )]
    pub secure_grpc_addr: Address,
    /// xDS and CA in plaintext, with no check of who streams; off unless given (istiod's is :15010)
    #[arg(long = "grpcAddr", value_name = "ADDR")]
    pub grpc_addr: Option<Address>,
    /// The webhooks of a cluster, injection and validation, over TLS
    #[arg(
        long = "httpsAddr",
        value_name = "ADDR",
        default_value = "127.0.0.1:15017"
    )]
    pub https_addr: Address,
    /// Readiness and debugging over HTTP
    #[arg(
        long = "httpAddr",
        value_name = "ADDR",
        default_value = "127.0.0.1:8080"
    )]
    pub http_addr: Address,
    /// Metrics and version over HTTP
    #[arg(
        long = "monitoringAddr",
        value_name = "ADDR",
        default_value = "127.0.0.1:15014"
    )]
    pub monitoring_addr: Address,
    /// Write the bound addresses to this file, as JSON from flag to address, once all are bound
    #[arg(long = "printAddrs", value_name = "FILE")]
    pub print_addrs: Option<PathBuf>,
    /// What to log: a level, or levels by module such as `info,ca=debug`
    #[arg(
        long = "log_output_level",
        value_name = "LEVELS",
        default_value = "info",
        env = "RUST_LOG"
    )]
    pub log_output_level: String,
    /// Log JSON, a line an event
    #[arg(long = "log_as_json")]
    pub log_as_json: bool,
    /// Break a promise, to see a test of it fail
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "NAME")]
    pub mutant: Option<control::Mutant>,
}

/// What a Pod is told of itself.
#[derive(Clone, Debug, clap::Args)]
pub struct Pod {
    /// The name of this Pod, by which replicas tell each other apart
    #[arg(
        long = "podName",
        value_name = "NAME",
        env = "POD_NAME",
        default_value = "lateend"
    )]
    pub name: String,
    /// The namespace of the control plane
    #[arg(
        long = "podNamespace",
        value_name = "NAMESPACE",
        env = "POD_NAMESPACE",
        default_value = "istio-system"
    )]
    pub namespace: String,
    /// The revision of the control plane
    #[arg(long, value_name = "NAME", env = "REVISION", default_value = "default")]
    pub revision: String,
}

impl Pod {
    /// A name with the revision behind it, unless that is the default one: as Istio names what every revision has of
    /// its own.
    #[must_use]
    pub fn revised(&self, name: &str) -> String {
        match self.revision.as_str() {
            "" | "default" => name.to_owned(),
            revision => format!("{name}-{revision}"),
        }
    }
}

impl Arguments {
    /// Whether objects come from a Kubernetes cluster.
    #[must_use]
    pub fn is_in_cluster(&self) -> bool {
        self.config_dirs.is_empty()
    }

    /// The folder of the operator's own CA, if there is one.
    #[must_use]
    pub fn plugged_in_ca(&self) -> Option<PathBuf> {
        let mounted =
            || Some(PathBuf::from(CA_CERTS)).filter(|dir| dir.join("ca-key.pem").exists());
        self.ca_certs_dir.clone().or_else(mounted)
    }
}

/// An address to listen on. Without a host it is loopback: nothing is open to others unless the host says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || {
            format!("{text:?} is not HOST:PORT or :PORT with an IP address or `localhost` as host")
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let port = port.parse().map_err(|_| invalid())?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = match host {
            "" | "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => bare.unwrap_or(host).parse().map_err(|_| invalid())?,
        };
        Ok(Self(SocketAddr::new(host, port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[&str]) -> Result<Arguments, clap::Error> {
        let required = ["lateend", "--configDir", "a", "--stateDir", "s"];
        Arguments::try_parse_from(required.iter().chain(more))
    }

    #[test]
    fn everything_is_loopback_and_plaintext_is_off() {
        let arguments = parse(&[]).unwrap();
        let Arguments {
            secure_grpc_addr,
            http_addr,
            monitoring_addr,
            ..
        } = arguments;
        assert!(
            [secure_grpc_addr, http_addr, monitoring_addr]
                .iter()
                .all(|address| address.0.ip().is_loopback())
        );
        assert_eq!(arguments.grpc_addr, None);
    }

    #[test]
    fn an_address_without_host_is_loopback() {
        let shown = |text: &str| text.parse::<Address>().map(|address| address.0.to_string());
        assert_eq!(shown(":15010").unwrap(), "127.0.0.1:15010");
        assert_eq!(shown("0.0.0.0:0").unwrap(), "0.0.0.0:0");
        assert_eq!(shown("[::1]:80").unwrap(), "[::1]:80");
        assert_eq!(shown("localhost:80").unwrap(), "127.0.0.1:80");
        for bad in ["", "80", "host:80", "1.2.3.4", ":http", ":70000"] {
            assert!(shown(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_misspelt_flag_is_answered_with_the_right_one() {
        let told = parse(&["--secureGrpcAddr", ":0"]).unwrap_err().to_string();
        assert!(told.contains("--secureGRPCAddr"), "{told}");
    }
}
