//! What Envoy accepts: its own field constraints, and what it demands across fields and resources.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_api::envoy::config::cluster::v3::Cluster;
use envoy_api::envoy::config::core::v3::TypedExtensionConfig;
use envoy_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_api::envoy::config::listener::v3::{Filter, FilterChain, Listener};
use envoy_api::envoy::config::route::v3::RouteConfiguration;
use envoy_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_api::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_api::Validate;
use prost::Message;
use xds::{Kind, Liveness, Resource, View};

type Checked = Result<(), String>;

/// What was found good already.
#[derive(Default)]
pub struct Known {
    /// Resources, by kind, name and version.
    resources: BTreeSet<(Kind, Arc<str>, u128)>,
    /// The addresses and route tables of listeners, by version.
    listeners: BTreeMap<u128, (Vec<String>, BTreeSet<String>)>,
}

/// Checks everything that a proxy would be sent.
pub fn check(view: &View, known: &mut Known) -> Checked {
    for kind in Kind::ALL {
        for resource in view.resources(kind) {
            let key = (kind, Arc::clone(resource.name()), resource.version().0);
            if known.resources.insert(key) {
                one(kind, resource)
                    .map_err(|why| format!("{kind:?} {}: {why}", resource.name()))?;
            }
            needs(view, kind, resource)?;
        }
    }
    assignments(view)?;
    listeners(view, known)
}

fn one(kind: Kind, resource: &Resource) -> Checked {
    let body = resource.body();
    match kind {
        Kind::Cluster => named(&constrained::<Cluster>(&body)?.name, resource),
        Kind::Endpoint => named(
            &constrained::<ClusterLoadAssignment>(&body)?.cluster_name,
            resource,
        ),
        Kind::Route => {
            let table = constrained::<RouteConfiguration>(&body)?;
            named(&table.name, resource)?;
            distinct(
                "virtual host",
                table.virtual_hosts.iter().map(|host| host.name.clone()),
            )?;
            let domains = table.virtual_hosts.iter().flat_map(|host| &host.domains);
            distinct("domain", domains.map(|domain| domain.to_ascii_lowercase()))
        }
        Kind::Listener => {
            let listener = constrained::<Listener>(&body)?;
            named(&listener.name, resource)?;
            let chains = || listener.filter_chains.iter();
            distinct(
                "filter chain match",
                chains().map(|chain| format!("{:?}", chain.filter_chain_match)),
            )
        }
        Kind::Extension => named(&constrained::<TypedExtensionConfig>(&body)?.name, resource),
        Kind::NameTable => wire::istio::networking::nds::v1::NameTable::decode(body)
            .map(|_| ())
            .map_err(|error| error.to_string()),
    }
}

fn constrained<M: Message + Validate + Default>(body: &[u8]) -> Result<M, String> {
    let message = M::decode(body).map_err(|error| error.to_string())?;
    message
        .validate()
        .map_err(|violation| violation.to_string())?;
    Ok(message)
}

fn named(name: &str, resource: &Resource) -> Checked {
    if *name == **resource.name() {
        Ok(())
    } else {
        Err(format!("the message is called {name}"))
    }
}

fn distinct(what: &str, items: impl Iterator<Item = String>) -> Checked {
    let mut seen = BTreeSet::new();
    for item in items {
        if !seen.insert(item.clone()) {
            return Err(format!("the {what} {item} is there twice"));
        }
    }
    Ok(())
}

/// Every cluster that a part refers to is there.
fn needs(view: &View, kind: Kind, resource: &Resource) -> Checked {
    let all = resource.parts().values().flat_map(|part| part.needs.iter());
    for need in all {
        if view.get(Kind::Cluster, need).is_none() {
            return Err(format!(
                "{kind:?} {} needs {need}, which is not there",
                resource.name()
            ));
        }
    }
    Ok(())
}

/// EDS clusters and assignments come in pairs.
fn assignments(view: &View) -> Checked {
    let clusters: BTreeSet<&Arc<str>> = view
        .resources(Kind::Cluster)
        .filter(|cluster| cluster.liveness() == Liveness::Eds)
        .map(|cluster| cluster.name())
        .collect();
    let assignments: BTreeSet<&Arc<str>> =
        view.resources(Kind::Endpoint).map(|a| a.name()).collect();
    match clusters.symmetric_difference(&assignments).next() {
        Some(lonely) => Err(format!(
            "{lonely} is an EDS cluster or an assignment, but not both"
        )),
        None => Ok(()),
    }
}

/// No two listeners have one address, and the route tables that they name are there.
fn listeners(view: &View, known: &mut Known) -> Checked {
    let mut addresses = Vec::new();
    for resource in view.resources(Kind::Listener) {
        let facts = known.listeners.entry(resource.version().0);
        let (own, tables) = facts.or_insert_with(|| {
            (
                addresses_of(&resource.body()),
                route_tables(&resource.body()),
            )
        });
        addresses.extend(own.iter().cloned());
        for table in tables.iter() {
            if view.get(Kind::Route, table).is_none() {
                let name = resource.name();
                return Err(format!(
                    "Listener {name} names the route table {table}, which is not there"
                ));
            }
        }
    }
    distinct("listener address", addresses.into_iter())
}

fn addresses_of(listener: &[u8]) -> Vec<String> {
    let listener = Listener::decode(listener).unwrap();
    let more = listener.additional_addresses.iter();
    let more = more.filter_map(|more| more.address.as_ref());
    let all = listener.address.iter().chain(more);
    all.map(|address| format!("{address:?}")).collect()
}

/// The route tables that a listener gets by RDS.
pub fn route_tables(listener: &[u8]) -> BTreeSet<String> {
    let Ok(listener) = Listener::decode(listener) else {
        return BTreeSet::new();
    };
    let chains = listener
        .filter_chains
        .iter()
        .chain(&listener.default_filter_chain);
    chains
        .flat_map(|chain: &FilterChain| &chain.filters)
        .filter_map(table_of)
        .collect()
}

fn table_of(filter: &Filter) -> Option<String> {
    use envoy_api::envoy::config::listener::v3::filter::ConfigType;
    let Some(ConfigType::TypedConfig(any)) = &filter.config_type else {
        return None;
    };
    let manager: HttpConnectionManager = any.unpack().ok().flatten()?;
    match manager.route_specifier {
        Some(RouteSpecifier::Rds(rds)) => Some(rds.route_config_name),
        _ => None,
    }
}
