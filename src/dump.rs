//! A view as Envoy's `/config_dump` shows it.

use envoy_api::Any;
use envoy_api::json::to_json;
use prost::Message as _;
use serde_json::{Map, Value, json};
use wire::istio::networking::nds::v1::NameTable;
use xds::{Kind, Resource, View};

/// Everything that a proxy is to hold. Costs memory and time: the descriptors are loaded at the first call.
#[must_use]
pub fn config_dump(view: &View) -> Value {
    let configs: Vec<Value> = Kind::ALL
        .into_iter()
        .map(|kind| of_kind(view, kind))
        .collect();
    json!({ "configs": configs })
}

fn of_kind(view: &View, kind: Kind) -> Value {
    let (dump, list) = match kind {
        Kind::Cluster => (
            "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
            "dynamic_active_clusters",
        ),
        Kind::Endpoint => (
            "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump",
            "dynamic_endpoint_configs",
        ),
        Kind::Listener => (
            "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
            "dynamic_listeners",
        ),
        Kind::Extension => (
            "type.googleapis.com/envoy.admin.v3.EcdsConfigDump",
            "ecds_filters",
        ),
        Kind::Route => (
            "type.googleapis.com/envoy.admin.v3.RoutesConfigDump",
            "dynamic_route_configs",
        ),
        Kind::NameTable => (Kind::NameTable.type_url(), "tables"),
    };
    let resources: Vec<Value> = view
        .resources(kind)
        .map(|resource| entry(kind, resource))
        .collect();
    json!({ "@type": dump, list: resources })
}

fn entry(kind: Kind, resource: &Resource) -> Value {
    let (version, body) = (resource.version().to_string(), body(kind, resource));
    match kind {
        Kind::Cluster => json!({ "version_info": version, "cluster": body }),
        Kind::Endpoint => json!({ "version_info": version, "endpoint_config": body }),
        Kind::Listener => {
            json!({ "name": &**resource.name(), "active_state": { "version_info": version, "listener": body } })
        }
        Kind::Extension => json!({ "version_info": version, "ecds_filter": body }),
        Kind::Route => json!({ "version_info": version, "route_config": body }),
        Kind::NameTable => json!({ "version_info": version, "table": body }),
    }
}

fn body(kind: Kind, resource: &Resource) -> Value {
    let value = resource.body();
    if kind == Kind::NameTable {
        return NameTable::decode(value)
            .map(|table| names(&table))
            .unwrap_or_default();
    }
    let any = Any {
        type_url: kind.type_url().to_owned(),
        value,
    };
    to_json(&any)
        .unwrap_or_else(|error| json!({ "name": &**resource.name(), "error": error.to_string() }))
}

fn names(table: &NameTable) -> Value {
    let host = |(name, info): (
        &String,
        &wire::istio::networking::nds::v1::name_table::NameInfo,
    )| {
        let info = json!({
            "ips": info.ips,
            "registry": info.registry,
            "shortname": info.shortname,
            "namespace": info.namespace,
        });
        (name.clone(), info)
    };
    Value::Object(table.table.iter().map(host).collect::<Map<String, Value>>())
}
