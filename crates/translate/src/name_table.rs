//! The agent's name table: one host a part, with the pods under it.

use std::net::IpAddr;

use ir::{NameEntry, PodName, Registry};
use wire::istio::networking::nds::v1::{NameTable, name_table::NameInfo};

/// The table that holds this host and its pods, and nothing else; tables are merged by joining their bytes.
#[must_use]
pub fn name_table(entry: &NameEntry) -> NameTable {
    let NameEntry {
        host,
        addresses,
        registry,
        short_name,
        namespace,
        pods,
    } = entry;
    let registry = match registry {
        Registry::Kubernetes => "Kubernetes",
        Registry::External => "External",
    };
    let namespace = namespace.as_ref().map(ToString::to_string);
    let info = |addresses: &[IpAddr], shortname: String| NameInfo {
        ips: addresses.iter().map(ToString::to_string).collect(),
        registry: registry.to_owned(),
        shortname,
        namespace: namespace.clone().unwrap_or_default(),
        ..Default::default()
    };
    let short = short_name.as_deref().unwrap_or_default();
    let of_pod = |pod: &PodName| {
        let PodName {
            hostname,
            addresses,
        } = pod;
        let name = format!("{hostname}.{host}");
        (name, info(addresses, format!("{hostname}.{short}")))
    };
    let own = (host.to_string(), info(addresses, short.to_owned()));
    NameTable {
        table: pods.iter().map(of_pod).chain([own]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn pods_stand_beside_their_service() {
        let ip: IpAddr = "10.1.0.1".parse().unwrap();
        let table = name_table(&NameEntry {
            host: "db.shop.svc.cluster.local".parse().unwrap(),
            addresses: Arc::new([ip]),
            registry: Registry::Kubernetes,
            short_name: Some("db".into()),
            namespace: "shop".parse().ok(),
            pods: Arc::new([PodName {
                hostname: "db-0".into(),
                addresses: Arc::new([ip]),
            }]),
        });
        let names: Vec<(&str, &str)> = table
            .table
            .iter()
            .map(|(host, info)| (host.as_str(), info.shortname.as_str()))
            .collect();
        let pod = ("db-0.db.shop.svc.cluster.local", "db-0.db");
        assert_eq!(names, [pod, ("db.shop.svc.cluster.local", "db")]);
    }
}
