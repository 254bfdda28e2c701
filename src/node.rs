//! Who a proxy says it is: Envoy's node, taken apart without trusting any of it (SEC 01).
//!
//! Names follow Istio's agent: the id is `sidecar~ADDRESS~POD.NAMESPACE~DOMAIN`, the rest is metadata.

use std::net::IpAddr;

use ca::Caller;
use control::ProxyInfo;
use envoy_api::envoy::config::core::v3 as envoy;
use model::{EnvoyMinor, Labels, Name, Namespace, ServiceAccount, TooOld};
use prost::Message as _;
use prost_types::Struct;
use prost_types::value::Kind;

/// The largest node that is read, in bytes. An agent sends its pod's annotations, which Kubernetes bounds at 256 KiB.
const MAX_NODE: usize = 1 << 20;
/// The most labels, and the longest label (key or value) in bytes: more than Kubernetes lets a pod have.
const MAX_LABELS: usize = 1024;
const MAX_LABEL: usize = 512;
/// The most addresses of one proxy.
const MAX_ADDRESSES: usize = 64;
/// The longest version of a proxy, in bytes: it becomes the label of a metric.
const MAX_VERSION: usize = 64;

/// Why a node is no proxy of ours. The stream is answered `INVALID_ARGUMENT`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNode {
    /// There is none on the first request, or it has no id.
    #[error("the first request names no node")]
    Missing,
    /// It is larger than any agent's.
    #[error("the node has {0} bytes, more than {MAX_NODE}")]
    TooLarge(usize),
    /// The id is not Istio's.
    #[error("node id {0:?} is not sidecar~ADDRESS~POD.NAMESPACE~DOMAIN")]
    Id(String),
    /// Another kind of proxy.
    #[error("nodes of type {0:?} are not served, only sidecars")]
    Type(String),
    /// Its Envoy would not understand what it is sent.
    #[error(transparent)]
    Envoy(#[from] TooOld),
    /// A field of the metadata is no name, or not of the right type.
    #[error("metadata {field}: {reason}")]
    Metadata {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why a node may not be served to who asks. The stream is answered `PERMISSION_DENIED`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotYours {
    /// The node names another namespace than the credentials.
    #[error("the node is of namespace {stated}, the credentials are of namespace {proved}")]
    Namespace {
        /// By the node.
        stated: Namespace,
        /// By the credentials.
        proved: Namespace,
    },
    /// The node names another Pod than its token is bound to.
    #[error("the node is Pod {stated}, the token is bound to Pod {proved}")]
    Pod {
        /// By the node.
        stated: Name,
        /// By the token.
        proved: Name,
    },
    /// The node names another service account than the credentials.
    #[error("the node runs as service account {stated}, the credentials are of {proved}")]
    ServiceAccount {
        /// By the node.
        stated: ServiceAccount,
        /// By the credentials.
        proved: ServiceAccount,
    },
}

/// What a node says of its proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The name of its pod or WorkloadEntry.
    pub name: Name,
    /// Its namespace, by the id.
    pub namespace: Namespace,
    /// Its namespace, by the metadata.
    pub stated_namespace: Option<Namespace>,
    /// Its service account, by the metadata.
    pub service_account: Option<ServiceAccount>,
    /// Its labels.
    pub labels: Labels,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its cluster; empty if it does not say.
    pub cluster_id: String,
    /// The Envoy that it runs; the newest if it does not say, as clients that are no Envoy do not.
    pub envoy: EnvoyMinor,
    /// The version of its agent; `unknown` if it does not say.
    pub version: String,
}

impl Node {
    /// Takes the node of a first request apart.
    ///
    /// # Errors
    /// [`InvalidNode`] says what is wrong with it.
    pub fn parse(node: &envoy::Node) -> Result<Self, InvalidNode> {
        if node.id.is_empty() {
            return Err(InvalidNode::Missing);
        }
        let length = node.encoded_len();
        if length > MAX_NODE {
            return Err(InvalidNode::TooLarge(length));
        }
        let bad_id = || InvalidNode::Id(node.id.chars().take(256).collect());
        let parts: Vec<&str> = node.id.split('~').collect();
        let [kind, address, name, _domain] = *parts.as_slice() else {
            return Err(bad_id());
        };
        if kind != "sidecar" {
            return Err(InvalidNode::Type(kind.chars().take(64).collect()));
        }
        let (name, namespace) = name.rsplit_once('.').ok_or_else(bad_id)?;
        let address: IpAddr = address.parse().map_err(|_| bad_id())?;
        let none = Struct::default();
        let metadata = node.metadata.as_ref().unwrap_or(&none);
        let version = text(metadata, "ISTIO_VERSION").filter(|version| is_version(version));
        Ok(Self {
            name: name.parse().map_err(|_| bad_id())?,
            namespace: namespace.parse().map_err(|_| bad_id())?,
            stated_namespace: parsed(metadata, "NAMESPACE")?,
            service_account: parsed(metadata, "SERVICE_ACCOUNT")?,
            labels: labels(metadata)?,
            addresses: addresses(metadata, address)?,
            cluster_id: text(metadata, "CLUSTER_ID")
                .unwrap_or_default()
                .chars()
                .take(MAX_LABEL)
                .collect(),
            envoy: envoy_minor(node)?,
            version: version.unwrap_or("unknown").to_owned(),
        })
    }

    /// How people and Istio's tools call the proxy: `POD.NAMESPACE`.
    #[must_use]
    pub fn proxy_id(&self) -> String {
        format!("{}.{}", self.name, self.namespace)
    }

    /// The proxy, if it is whom its credentials prove (SEC 37).
    ///
    /// # Errors
    /// [`NotYours`] when the node says otherwise than the credentials.
    pub fn of_caller(&self, caller: &Caller) -> Result<ProxyInfo, NotYours> {
        for stated in std::iter::once(&self.namespace).chain(&self.stated_namespace) {
            if *stated != caller.namespace {
                return Err(NotYours::Namespace {
                    stated: stated.clone(),
                    proved: caller.namespace.clone(),
                });
            }
        }
        if let Some(pod) = caller.pod.as_ref().filter(|pod| **pod != self.name) {
            return Err(NotYours::Pod {
                stated: self.name.clone(),
                proved: pod.clone(),
            });
        }
        let proved = &caller.service_account;
        match &self.service_account {
            Some(stated) if stated != proved => Err(NotYours::ServiceAccount {
                stated: stated.clone(),
                proved: proved.clone(),
            }),
            Some(_) | None => Ok(self.info(proved.clone())),
        }
    }

    /// The proxy as it says it is, for the plaintext port, where nothing is proved.
    #[must_use]
    pub fn unchecked(&self) -> ProxyInfo {
        self.info(
            self.service_account
                .clone()
                .unwrap_or_else(ServiceAccount::default_account),
        )
    }

    fn info(&self, service_account: ServiceAccount) -> ProxyInfo {
        ProxyInfo {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            labels: self.labels.clone(),
            service_account,
            addresses: self.addresses.as_slice().into(),
            envoy: self.envoy,
        }
    }
}

/// What Envoy says of its own build.
fn envoy_minor(node: &envoy::Node) -> Result<EnvoyMinor, TooOld> {
    use envoy::node::UserAgentVersionType::{UserAgentBuildVersion, UserAgentVersion};
    match &node.user_agent_version_type {
        Some(UserAgentBuildVersion(build)) => match &build.version {
            Some(version) => EnvoyMinor::of(version.major_number, version.minor_number),
            None => Ok(EnvoyMinor::NEWEST),
        },
        Some(UserAgentVersion(_)) | None => Ok(EnvoyMinor::NEWEST),
    }
}

fn field<'a>(metadata: &'a Struct, name: &str) -> Option<&'a Kind> {
    metadata.fields.get(name)?.kind.as_ref()
}

fn text<'a>(metadata: &'a Struct, name: &str) -> Option<&'a str> {
    match field(metadata, name) {
        Some(Kind::StringValue(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// A field that must be a name if it is there.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    metadata: &Struct,
    name: &'static str,
) -> Result<Option<T>, InvalidNode> {
    let invalid = |reason: String| InvalidNode::Metadata {
        field: name,
        reason,
    };
    match field(metadata, name) {
        None | Some(Kind::NullValue(_)) => Ok(None),
        Some(Kind::StringValue(text)) if text.is_empty() => Ok(None),
        Some(Kind::StringValue(text)) if text.len() > MAX_LABEL => {
            Err(invalid("it is too long".to_owned()))
        }
        Some(Kind::StringValue(text)) => text
            .parse()
            .map(Some)
            .map_err(|error: T::Err| invalid(error.to_string())),
        Some(_) => Err(invalid("it is not a string".to_owned())),
    }
}

/// `LABELS`: an object of strings. What is no string is no label.
fn labels(metadata: &Struct) -> Result<Labels, InvalidNode> {
    let invalid = |reason: &str| InvalidNode::Metadata {
        field: "LABELS",
        reason: reason.to_owned(),
    };
    let Some(Kind::StructValue(labels)) = field(metadata, "LABELS") else {
        return Ok(Labels::default());
    };
    if labels.fields.len() > MAX_LABELS {
        return Err(invalid("there are too many"));
    }
    let pairs = labels
        .fields
        .iter()
        .filter_map(|(key, value)| match &value.kind {
            Some(Kind::StringValue(value)) => Some((key.as_str(), value.as_str())),
            _ => None,
        });
    if pairs
        .clone()
        .any(|(key, value)| key.len() > MAX_LABEL || value.len() > MAX_LABEL)
    {
        return Err(invalid("one is too long"));
    }
    Ok(pairs.collect())
}

/// `INSTANCE_IPS`, separated by commas; without it the address of the id.
fn addresses(metadata: &Struct, own: IpAddr) -> Result<Vec<IpAddr>, InvalidNode> {
    let invalid = |reason: &str| InvalidNode::Metadata {
        field: "INSTANCE_IPS",
        reason: reason.to_owned(),
    };
    let Some(list) = text(metadata, "INSTANCE_IPS") else {
        return Ok(vec![own]);
    };
    let addresses: Result<Vec<IpAddr>, _> = list
        .split(',')
        .take(MAX_ADDRESSES + 1)
        .map(|ip| ip.trim().parse())
        .collect();
    match addresses {
        Ok(addresses) if addresses.len() <= MAX_ADDRESSES => Ok(addresses),
        Ok(_) => Err(invalid("there are too many")),
        Err(_) => Err(invalid("it is not a list of IP addresses")),
    }
}

/// A version becomes the label of a metric.
fn is_version(text: &str) -> bool {
    let may = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    text.len() <= MAX_VERSION && text.chars().all(may)
}

#[cfg(test)]
mod tests;
