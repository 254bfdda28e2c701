//! The outbound halves: one world for proxies of each address families, of which most meshes have one only.
//!
//! What does not read the families is built once for all worlds, since equal inputs are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh::{Affected, Key, Mesh};
use model::Families;
use xds::{Half, Kind};

use crate::class::Class;
use crate::memo::Memo;
use crate::slot::Slot;
use crate::world::World;

/// All outbound halves.
#[derive(Debug)]
pub(crate) struct Outbound {
    /// That of the default families is kept when no proxy is there, so that the first need not wait.
    worlds: BTreeMap<Families, World>,
}

impl Default for Outbound {
    fn default() -> Self {
        let families = Families::default();
        Self {
            worlds: [(families, World::new(families))].into(),
        }
    }
}

impl Outbound {
    /// Selects again what may differ; answers the classes that changed.
    pub fn update(&mut self, mesh: &Mesh, affected: &Affected, memo: &mut Memo) -> BTreeSet<Class> {
        let slots = slots(mesh, affected);
        let worlds = self.worlds.values_mut();
        worlds
            .flat_map(|world| world.update(mesh, &slots, memo))
            .collect()
    }

    /// Takes in one more proxy of a class.
    pub fn enter(&mut self, mesh: &Mesh, class: &Class, memo: &mut Memo) {
        let world = self.worlds.entry(class.scope.families).or_insert_with(|| {
            let mut world = World::new(class.scope.families);
            let everything = Affected {
                keys: mesh.keys(),
                ..Affected::default()
            };
            world.update(mesh, &slots(mesh, &everything), memo);
            world
        });
        world.enter(mesh, class, memo);
    }

    /// Lets one proxy of a class go; with the last the overlay goes, and with the last overlay the world.
    pub fn leave(&mut self, class: &Class) {
        let Some(world) = self.worlds.get_mut(&class.scope.families) else {
            return;
        };
        world.leave(class);
        if world.is_deserted() && class.scope.families != Families::default() {
            self.worlds.remove(&class.scope.families);
        }
    }

    /// Everything that a class has.
    pub fn half(&self, class: &Class) -> Option<Arc<Half>> {
        self.worlds.get(&class.scope.families)?.half(class)
    }

    /// What stands at a place for proxies of these families.
    pub fn slot(
        &self,
        families: Families,
        kind: Kind,
        resource: &str,
        part: &str,
    ) -> Option<&Slot> {
        self.worlds.get(&families)?.slot(kind, resource, part)
    }
}

/// Every slot that an update concerns: the keys, and the endpoints under every cluster of a touched host.
pub(crate) fn slots(mesh: &Mesh, affected: &Affected) -> BTreeSet<Slot> {
    let clusters = affected.keys.iter().filter_map(|key| match key {
        Key::Cluster(cluster) => Some(cluster.clone()),
        Key::Fixed(_)
        | Key::RouteTable(_)
        | Key::VirtualHost(..)
        | Key::Listener(_)
        | Key::VirtualOutbound
        | Key::Name(_) => None,
    });
    let touched = affected
        .endpoints
        .iter()
        .flat_map(|host| mesh.cluster_keys(host));
    let assignments = clusters.chain(touched).map(Slot::Assignment);
    affected
        .keys
        .iter()
        .cloned()
        .map(Slot::Node)
        .chain(assignments)
        .collect()
}
