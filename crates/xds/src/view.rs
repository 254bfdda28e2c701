//! What one class of proxy is subscribed to: two halves of ordered, persistent maps.
//!
//! The outbound half is shared by all proxies of a scope, the inbound half by those of a workload. What of the outbound
//! half depends on where a proxy runs stands apart, under the same names. Copies share structure, so that the difference between an old and a new view costs what changed, not what there is.

use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::resource::PerKind;
use crate::{Kind, Resource};

/// The resources of one kind, by name.
pub type Resources = OrdMap<Arc<str>, Arc<Resource>>;

/// Resources of all kinds that are shared together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Half(PerKind<Resources>);

impl Half {
    /// All resources of a kind.
    pub fn resources(&self, kind: Kind) -> &Resources {
        self.0.get(kind)
    }

    /// All resources of a kind, to change in place.
    pub fn resources_mut(&mut self, kind: Kind) -> &mut Resources {
        self.0.get_mut(kind)
    }

    /// Adds or replaces a resource.
    pub fn insert(&mut self, kind: Kind, resource: Arc<Resource>) {
        self.resources_mut(kind)
            .insert(Arc::clone(resource.name()), resource);
    }

    /// Removes a resource.
    pub fn remove(&mut self, kind: Kind, name: &str) {
        self.resources_mut(kind).remove(name);
    }

    /// A resource by name.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        self.resources(kind).get(name)
    }
}

/// What a stream is to hold. Names of the two halves are distinct; should they not be, the inbound resource wins.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// A number that rises with every change; for logs and status only.
    pub epoch: u64,
    /// What the proxy's namespace sees.
    pub outbound: Arc<Half>,
    /// What stands in the place of outbound resources because of where the proxy runs. It has no names of its own.
    pub near: Arc<Half>,
    /// What the proxy's workload serves.
    pub inbound: Arc<Half>,
}

impl View {
    /// A resource by name.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        let outbound = || {
            let shared = self.outbound.get(kind, name)?;
            Some(self.near.get(kind, name).unwrap_or(shared))
        };
        self.inbound.get(kind, name).or_else(outbound)
    }

    /// All resources of a kind: the outbound ones, then the inbound ones, each in the order of their names.
    pub fn resources(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        let inbound = self.inbound.resources(kind);
        let outbound = self.outbound.resources(kind).values();
        let near = self.near.resources(kind);
        outbound
            .filter(|resource| !inbound.contains_key(resource.name()))
            .map(|resource| near.get(resource.name()).unwrap_or(resource))
            .chain(inbound.values())
    }

    /// The number of resources of a kind; exact when the halves are disjoint.
    pub fn len(&self, kind: Kind) -> usize {
        self.outbound.resources(kind).len() + self.inbound.resources(kind).len()
    }

    /// Calls `visit` with every name of a kind whose resource may differ between this view and a newer one.
    pub(crate) fn for_each_change(
        &self,
        newer: &Self,
        kind: Kind,
        mut visit: impl FnMut(&Arc<str>),
    ) {
        for (old, new) in [
            (&self.outbound, &newer.outbound),
            (&self.near, &newer.near),
            (&self.inbound, &newer.inbound),
        ] {
            for item in old.resources(kind).diff(new.resources(kind)) {
                match item {
                    DiffItem::Add(name, _)
                    | DiffItem::Remove(name, _)
                    | DiffItem::Update { new: (name, _), .. } => {
                        visit(name);
                    }
                }
            }
        }
    }
}
