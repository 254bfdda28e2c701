//! The agent's name table: one host a part.

use ir::{NameEntry, Registry};
use wire::istio::networking::nds::v1::{NameTable, name_table::NameInfo};

/// The table that holds this host and nothing else; tables are merged by joining their bytes.
#[must_use]
pub fn name_table(entry: &NameEntry) -> NameTable {
    let NameEntry {
        host,
        addresses,
        registry,
        short_name,
        namespace,
    } = entry;
    let registry = match registry {
        Registry::Kubernetes => "Kubernetes",
        Registry::External => "External",
    };
    let info = NameInfo {
        ips: addresses.iter().map(ToString::to_string).collect(),
        registry: registry.to_owned(),
        shortname: short_name.as_deref().unwrap_or_default().to_owned(),
        namespace: namespace
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        ..Default::default()
    };
    NameTable {
        table: [(host.to_string(), info)].into(),
    }
}
