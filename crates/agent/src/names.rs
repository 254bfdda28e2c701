//! The mesh's names: the table that the control plane sends, and which addresses a question is answered with.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use envoy_api::Any;
use tokio::sync::watch;
use wire::istio::networking::nds::v1::NameTable;
use wire::istio::networking::nds::v1::name_table::NameInfo;

/// A table with all the ways to write a name, for callers of one namespace.
#[derive(Clone, Debug, Default)]
pub struct Names {
    hosts: HashMap<String, Arc<[IpAddr]>>,
}

/// What the table says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The host's addresses, of both families.
    pub addresses: Arc<[IpAddr]>,
    /// The name without the search domain that the caller's resolver put behind it.
    pub canonical: Option<String>,
}

impl Names {
    /// Adds to each host the names that a caller in `namespace` may use for it: `name` in its own namespace, `name.ns`,
    /// `name.ns.svc`.
    #[must_use]
    pub fn new<'a>(
        entries: impl IntoIterator<Item = (&'a String, &'a NameInfo)>,
        namespace: &str,
    ) -> Self {
        let mut full = HashMap::new();
        let mut short = Vec::new();
        for (host, info) in entries {
            let NameInfo {
                ips,
                registry: _,
                shortname,
                namespace: theirs,
                alt_hosts,
            } = info;
            let addresses: Arc<[IpAddr]> = ips.iter().filter_map(|ip| ip.parse().ok()).collect();
            if addresses.is_empty() {
                continue;
            }
            if !shortname.is_empty() && !theirs.is_empty() {
                for name in [
                    format!("{shortname}.{theirs}"),
                    format!("{shortname}.{theirs}.svc"),
                ] {
                    short.push((name, Arc::clone(&addresses)));
                }
                if theirs == namespace {
                    short.push((shortname.clone(), Arc::clone(&addresses)));
                }
            }
            let alternatives = alt_hosts
                .iter()
                .map(|host| (host.clone(), Arc::clone(&addresses)));
            short.extend(alternatives);
            full.insert(canonical(host), addresses);
        }
        // What is written out in the table beats what follows from another entry.
        for (name, addresses) in short {
            full.entry(canonical(&name)).or_insert(addresses);
        }
        Self { hosts: full }
    }

    /// Looks up a name as it stands in a question. With no entry of its own, a name that ends in one of the `search`
    /// domains is looked up without it: that is what resolvers make of `name.ns` first.
    #[must_use]
    pub fn find(&self, question: &str, search: &[String]) -> Option<Found> {
        let name = canonical(question);
        if let Some(addresses) = self.host(&name) {
            return Some(Found {
                addresses,
                canonical: None,
            });
        }
        search.iter().find_map(|domain| {
            let head = name
                .strip_suffix(canonical(domain).as_str())?
                .strip_suffix('.')?;
            let addresses = self.host(head)?;
            Some(Found {
                addresses,
                canonical: Some(head.to_owned()),
            })
        })
    }

    /// A host, or the nearest wildcard above it.
    fn host(&self, name: &str) -> Option<Arc<[IpAddr]>> {
        let parents = std::iter::successors(name.split_once('.'), |(_, rest)| rest.split_once('.'));
        let mut wildcards = parents.map(|(_, parent)| format!("*.{parent}"));
        let found = self.hosts.get(name);
        found
            .or_else(|| wildcards.find_map(|wildcard| self.hosts.get(&wildcard)))
            .cloned()
    }
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// The name table as discovery brings it, resource by resource.
#[derive(Debug)]
pub struct NameStore {
    namespace: String,
    resources: BTreeMap<String, (String, NameTable)>,
    current: watch::Sender<Arc<Names>>,
}

impl NameStore {
    /// An empty table, and where to see it.
    #[must_use]
    pub fn new(namespace: &str) -> (Self, watch::Receiver<Arc<Names>>) {
        let (current, names) = watch::channel(Arc::default());
        let store = Self {
            namespace: namespace.to_owned(),
            resources: BTreeMap::new(),
            current,
        };
        (store, names)
    }

    /// Name and version of each resource, for a stream that goes on where another ended.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<String, String> {
        let versions = self.resources.iter();
        versions
            .map(|(name, (version, _))| (name.clone(), version.clone()))
            .collect()
    }

    /// Takes a message of discovery: (name, version, resource), and names that are gone.
    ///
    /// # Errors
    /// A resource is no name table; then nothing of the message is taken.
    pub fn update(
        &mut self,
        resources: Vec<(String, String, Any)>,
        removed: &[String],
    ) -> Result<(), String> {
        let tables =
            resources
                .into_iter()
                .map(|(name, version, any)| match any.unpack::<NameTable>() {
                    Ok(Some(table)) => Ok((name, (version, table))),
                    Ok(None) => Err(format!("{:?} is no name table", any.type_url)),
                    Err(error) => Err(error.to_string()),
                });
        let tables: Vec<_> = tables.collect::<Result<_, _>>()?;
        self.resources.retain(|name, _| !removed.contains(name));
        self.resources.extend(tables);
        self.publish();
        Ok(())
    }

    /// Takes a message that is the whole state.
    ///
    /// # Errors
    /// As [`NameStore::update`].
    pub fn replace(&mut self, resources: Vec<(String, String, Any)>) -> Result<(), String> {
        let old: Vec<_> = self.resources.keys().cloned().collect();
        self.update(resources, &old)
    }

    fn publish(&self) {
        let tables = self.resources.values().flat_map(|(_, table)| &table.table);
        self.current
            .send_replace(Arc::new(Names::new(tables, &self.namespace)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(ip: &str, shortname: &str, namespace: &str) -> NameInfo {
        NameInfo {
            ips: vec![ip.to_owned()],
            registry: "Kubernetes".to_owned(),
            shortname: shortname.to_owned(),
            namespace: namespace.to_owned(),
            alt_hosts: Vec::new(),
        }
    }

    fn table() -> NameTable {
        let service = |name: &str, namespace: &str, ip: &str| {
            (
                format!("{name}.{namespace}.svc.cluster.local"),
                info(ip, name, namespace),
            )
        };
        let external = |host: &str, ip: &str| (host.to_owned(), info(ip, "", ""));
        let entries = [
            service("reviews", "shop", "240.240.0.1"),
            service("reviews", "other", "240.240.0.2"),
            external("*.wild.example", "240.240.0.3"),
            external("Api.Example", "240.240.0.4"),
        ];
        NameTable {
            table: entries.into(),
        }
    }

    fn find(question: &str) -> Option<String> {
        let search = [
            "shop.svc.cluster.local",
            "svc.cluster.local",
            "cluster.local",
        ]
        .map(str::to_owned);
        let found = Names::new(&table().table, "shop").find(question, &search)?;
        Some(found.addresses[0].to_string())
    }

    #[test]
    fn a_name_works_as_in_a_cluster() {
        let mine = Some("240.240.0.1".to_owned());
        for name in [
            "reviews",
            "reviews.shop",
            "Reviews.shop.svc",
            "reviews.shop.svc.cluster.local.",
            "reviews.shop.svc.cluster.local.shop.svc.cluster.local",
            "reviews.shop.shop.svc.cluster.local",
        ] {
            assert_eq!(find(name), mine, "{name}");
        }
        assert_eq!(find("reviews.other").as_deref(), Some("240.240.0.2"));
        assert_eq!(find("a.b.wild.example").as_deref(), Some("240.240.0.3"));
        assert_eq!(
            find("api.example.svc.cluster.local").as_deref(),
            Some("240.240.0.4")
        );
        for unknown in ["wild.example", "reviews.third", "xreviews", ""] {
            assert_eq!(find(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_message_that_is_no_table_changes_nothing() {
        let (mut store, names) = NameStore::new("shop");
        let resource = |any| vec![("t".to_owned(), "v1".to_owned(), any)];
        store
            .update(resource(envoy_api::pack(&table())), &[])
            .unwrap();
        let wrong = Any {
            type_url: "type.googleapis.com/other".to_owned(),
            value: bytes::Bytes::new(),
        };
        assert!(store.replace(resource(wrong)).is_err());
        assert!(names.borrow().find("reviews", &[]).is_some());
        assert_eq!(
            store.versions(),
            BTreeMap::from([("t".to_owned(), "v1".to_owned())])
        );
        store.update(Vec::new(), &["t".to_owned()]).unwrap();
        assert!(names.borrow().find("reviews", &[]).is_none());
    }
}
