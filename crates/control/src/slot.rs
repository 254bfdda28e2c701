//! Where the value of a key stands: in which part of which resource.

use std::sync::Arc;

use ir::RouteTableName;
use mesh::{ClusterKey, Key, VirtualHostKey};
use model::Families;
use xds::{Half, Kind, Resource};

use crate::memo::Value;

/// One place in a half.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Slot {
    /// A node.
    Node(Key),
    /// The endpoints of a cluster, where Lateen sends them.
    Assignment(ClusterKey),
}

/// The name of the one name table.
pub(crate) const NAME_TABLE: &str = "nametable";

impl Slot {
    /// The key whose scopes stand apart for it.
    pub fn key(&self) -> Key {
        match self {
            Self::Node(key) => key.clone(),
            Self::Assignment(cluster) => Key::Cluster(cluster.clone()),
        }
    }

    /// The resource and, in it, the part, for proxies of these families.
    pub fn place(&self, families: Families) -> Spot {
        let whole = Arc::from("");
        match self {
            Self::Assignment(cluster) => (Kind::Endpoint, cluster.name().to_string().into(), whole),
            Self::Node(Key::Cluster(cluster)) => {
                (Kind::Cluster, cluster.name().to_string().into(), whole)
            }
            Self::Node(Key::Fixed(name)) => (Kind::Cluster, name.to_string().into(), whole),
            Self::Node(Key::RouteTable(table)) => (Kind::Route, table.to_string().into(), whole),
            Self::Node(Key::VirtualHost(table, host)) => {
                (Kind::Route, table.to_string().into(), part(table, host))
            }
            Self::Node(Key::Listener(name)) => (Kind::Listener, name.text(families).into(), whole),
            Self::Node(Key::VirtualOutbound) => (Kind::Listener, "virtualOutbound".into(), whole),
            Self::Node(Key::Name(host)) => {
                (Kind::NameTable, NAME_TABLE.into(), host.as_str().into())
            }
        }
    }
}

/// The part of a virtual host is called as the virtual host is.
fn part(table: &RouteTableName, host: &VirtualHostKey) -> Arc<str> {
    match host {
        VirtualHostKey::Host(pattern) => format!("{pattern}:{}", table.port()).into(),
        VirtualHostKey::CatchAll => "*".into(),
    }
}

/// What stands where: the resource, and the part of it.
pub(crate) type Spot = (Kind, Arc<str>, Arc<str>);

/// Puts a value into its place, or takes away what stands there.
pub(crate) fn put(half: &mut Half, (kind, name, part): Spot, value: Option<&Value>) {
    let before = half.get(kind, &name).cloned();
    let after = match (before, value) {
        (Some(resource), Some(value)) => {
            value.describe(resource.with_part(part, value.part.clone()))
        }
        (None, Some(value)) => {
            value.describe(Resource::new(Arc::clone(&name)).with_part(part, value.part.clone()))
        }
        (Some(resource), None) => resource.without_part(&part),
        (None, None) => return,
    };
    // The name table stays when its last host goes: agents wait for one.
    if after.parts().is_empty() && kind != Kind::NameTable {
        half.remove(kind, &name);
    } else {
        half.insert(kind, Arc::new(after));
    }
}
