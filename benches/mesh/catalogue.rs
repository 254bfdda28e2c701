//! Every distinct resource that came by, taken apart once. Sidecars hold numbers instead of names and bytes.

use std::collections::HashMap;

use bytes::Bytes;
use envoy_api::envoy::config::cluster::v3::Cluster;
use envoy_api::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_api::envoy::config::listener::v3::Listener;
use envoy_api::envoy::config::listener::v3::filter::ConfigType;
use envoy_api::envoy::extensions::filters::network::http_connection_manager::v3::{HttpConnectionManager, http_filter};
use envoy_api::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_api::envoy::service::discovery::v3::Resource;
use prost::Message as _;
use xds::Kind;
use xxhash_rust::xxh3::xxh3_128;

use crate::Result;

/// A resource by kind and name, whatever it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(u32);

/// A resource with what it says: one version of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry(u32);

/// What a sidecar must know of an entry.
#[derive(Debug)]
pub struct Facts {
    /// Whose version this is.
    pub name: Name,
    /// The version, as the server called it.
    pub version: String,
    /// What it refers to and has to be asked for: a cluster's endpoints, a listener's route tables.
    pub refers_to: Vec<Name>,
    hash: u128,
}

/// All that was ever received.
#[derive(Debug, Default)]
pub struct Catalogue {
    names: Vec<(Kind, String)>,
    by_name: HashMap<(Kind, String), Name>,
    entries: Vec<Facts>,
    by_hash: HashMap<u128, Entry>,
}

impl Catalogue {
    /// The number of a name.
    pub fn name(&mut self, kind: Kind, name: &str) -> Name {
        let key = (kind, name.to_owned());
        if let Some(known) = self.by_name.get(&key) {
            return *known;
        }
        let number = Name(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.names.push(key.clone());
        self.by_name.insert(key, number);
        number
    }

    /// What a name stands for.
    pub fn spelled(&self, name: Name) -> Option<&(Kind, String)> {
        self.names.get(usize::try_from(name.0).ok()?)
    }

    /// The number of a resource as it stands in a response.
    pub fn entry(&mut self, kind: Kind, encoded: &Bytes) -> Result<Entry> {
        let hash = xxh3_128(encoded);
        if let Some(known) = self.by_hash.get(&hash) {
            return Ok(*known);
        }
        let resource = Resource::decode(encoded.clone())?;
        let body = resource.resource.map(|any| any.value).unwrap_or_default();
        let refers_to = references(kind, body)?;
        let facts = Facts {
            name: self.name(kind, &resource.name),
            version: resource.version,
            refers_to: refers_to
                .iter()
                .map(|(kind, name)| self.name(*kind, name))
                .collect(),
            hash,
        };
        let number = Entry(u32::try_from(self.entries.len())?);
        self.entries.push(facts);
        self.by_hash.insert(hash, number);
        Ok(number)
    }

    /// Whether an entry's hash is divisible by `run`.
    pub fn ends_run(&self, entry: Entry, run: u128) -> bool {
        self.facts(entry)
            .is_some_and(|facts| facts.hash.is_multiple_of(run))
    }

    /// The number of the next resource that never came before.
    pub fn next(&self) -> Entry {
        Entry(u32::try_from(self.entries.len()).unwrap_or(u32::MAX))
    }

    /// What is known of an entry.
    pub fn facts(&self, entry: Entry) -> Option<&Facts> {
        self.entries.get(usize::try_from(entry.0).ok()?)
    }
}

/// What Envoy asks for because of a resource.
fn references(kind: Kind, body: Bytes) -> Result<Vec<(Kind, String)>> {
    match kind {
        Kind::Cluster => Ok(endpoints(Cluster::decode(body)?)
            .into_iter()
            .map(|name| (Kind::Endpoint, name))
            .collect()),
        Kind::Listener => discovered(Listener::decode(body)?),
        Kind::Endpoint | Kind::Extension | Kind::Route | Kind::NameTable => Ok(Vec::new()),
    }
}

/// The name under which a cluster's endpoints are asked for, if they come by EDS.
fn endpoints(cluster: Cluster) -> Option<String> {
    let eds = ClusterDiscoveryType::Type(DiscoveryType::Eds.into());
    let name = cluster
        .eds_cluster_config
        .map(|config| config.service_name)
        .unwrap_or_default();
    let name = if name.is_empty() { cluster.name } else { name };
    (cluster.cluster_discovery_type == Some(eds)).then_some(name)
}

/// The route tables and the filters that a listener names.
fn discovered(listener: Listener) -> Result<Vec<(Kind, String)>> {
    let mut found = Vec::new();
    let chains = listener
        .filter_chains
        .into_iter()
        .chain(listener.default_filter_chain);
    for filter in chains.flat_map(|chain| chain.filters) {
        let config = match filter.config_type {
            Some(ConfigType::TypedConfig(config)) => config,
            Some(ConfigType::ConfigDiscovery(_)) => {
                found.push((Kind::Extension, filter.name));
                continue;
            }
            None => continue,
        };
        let Some(manager) = config.unpack::<HttpConnectionManager>()? else {
            continue;
        };
        if let Some(RouteSpecifier::Rds(rds)) = manager.route_specifier {
            found.push((Kind::Route, rds.route_config_name));
        }
        for filter in manager.http_filters {
            if let Some(http_filter::ConfigType::ConfigDiscovery(_)) = filter.config_type {
                found.push((Kind::Extension, filter.name));
            }
        }
    }
    Ok(found)
}
