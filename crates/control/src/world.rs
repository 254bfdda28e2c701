//! The outbound halves of proxies of the same address families: a base that every class of them shares, and for each
//! class the few slots that it has otherwise, because of what it sees or of the Envoy that it runs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use mesh::{Group, Mesh, endpoints, endpoints_key, select};
use model::{EnvoyMinor, Families};
use xds::{Half, Kind, Resource};

use crate::class::Class;
use crate::memo::{Memo, Value};
use crate::slot::{NAME_TABLE, Slot, Spot, put};

/// The base and all classes of some families.
#[derive(Debug, Default)]
pub(crate) struct World {
    families: Families,
    base: HashMap<Slot, Arc<Value>>,
    base_half: Half,
    /// Which slots a group of scopes may have otherwise, and the other way round.
    apart: HashMap<Group, BTreeSet<Slot>>,
    apart_of: HashMap<Slot, BTreeSet<Group>>,
    overlays: BTreeMap<Class, Overlay>,
    /// What stands at a place, for explaining a resource.
    slots: HashMap<(Kind, Arc<str>, Arc<str>), Slot>,
}

/// What one class has otherwise than the base, and all that it has.
#[derive(Debug)]
struct Overlay {
    own: HashMap<Slot, Option<Arc<Value>>>,
    /// How many of its own slots are of a kind.
    own_of: BTreeMap<Kind, usize>,
    half: Arc<Half>,
    users: usize,
}

impl World {
    /// Nothing yet.
    pub fn new(families: Families) -> Self {
        Self {
            families,
            ..Self::default()
        }
    }

    /// Whether no proxy is left.
    pub fn is_deserted(&self) -> bool {
        self.overlays.is_empty()
    }

    /// Selects again what may differ; answers the classes that changed.
    pub fn update(
        &mut self,
        mesh: &Mesh,
        slots: &BTreeSet<Slot>,
        memo: &mut Memo,
    ) -> BTreeSet<Class> {
        if self.base_half.get(Kind::NameTable, NAME_TABLE).is_none() {
            self.base_half
                .insert(Kind::NameTable, Arc::new(Resource::new(NAME_TABLE)));
        }
        let mut changed = BTreeSet::new();
        for slot in slots {
            self.update_slot(mesh, slot, memo, &mut changed);
        }
        changed
    }

    fn update_slot(
        &mut self,
        mesh: &Mesh,
        slot: &Slot,
        memo: &mut Memo,
        changed: &mut BTreeSet<Class>,
    ) {
        let apart = mesh.apart(&slot.key());
        let value = resolve(mesh, &Class::base(self.families), slot, memo);
        #[cfg(feature = "mutants")]
        let value = self.sabotage(slot, value, memo.mutant);
        let same = self.base.get(slot) == value.as_ref();
        if !same {
            set(&mut self.base, slot, value.clone());
            let spot = slot.place(self.families);
            put(&mut self.base_half, spot, value.as_deref());
        }
        self.note_apart(slot, &apart, value.is_some());
        for (class, overlay) in &mut self.overlays {
            let stands_apart = overlay.own.contains_key(slot)
                || class.scope.groups().any(|group| apart.contains(&group))
                || value.as_ref().is_some_and(|value| class.reforms(value));
            if !stands_apart && same {
                continue;
            }
            let now = if stands_apart {
                resolve(mesh, class, slot, memo)
            } else {
                value.clone()
            };
            let spot = slot.place(self.families);
            if overlay.settle(slot, spot, now, value.as_ref(), &self.base_half) {
                changed.insert(class.clone());
            }
        }
    }

    #[cfg(feature = "mutants")]
    fn sabotage(
        &self,
        slot: &Slot,
        value: Option<Arc<Value>>,
        mutant: Option<crate::Mutant>,
    ) -> Option<Arc<Value>> {
        let before = || self.base.get(slot).cloned();
        let of_subset =
            matches!(slot.key(), mesh::Key::Cluster(cluster) if cluster.subset.is_some());
        match mutant {
            Some(crate::Mutant::MissingCluster) if of_subset => None,
            Some(crate::Mutant::DroppedRemoval) => value.or_else(before),
            Some(crate::Mutant::StaleEntry) => value.map(|value| before().unwrap_or(value)),
            _ => value,
        }
    }

    fn note_apart(&mut self, slot: &Slot, apart: &BTreeSet<Group>, exists: bool) {
        let before = self.apart_of.remove(slot).unwrap_or_default();
        for group in before.difference(apart) {
            if let Some(slots) = self.apart.get_mut(group) {
                slots.remove(slot);
            }
        }
        for group in apart.difference(&before) {
            self.apart
                .entry(group.clone())
                .or_default()
                .insert(slot.clone());
        }
        if !apart.is_empty() {
            self.apart_of.insert(slot.clone(), apart.clone());
        }
        if exists || !apart.is_empty() {
            self.slots.insert(slot.place(self.families), slot.clone());
        } else {
            self.slots.remove(&slot.place(self.families));
        }
    }

    /// Takes in one more proxy of a class.
    pub fn enter(&mut self, mesh: &Mesh, class: &Class, memo: &mut Memo) {
        if let Some(overlay) = self.overlays.get_mut(class) {
            overlay.users += 1;
            return;
        }
        let mut overlay = Overlay {
            own: HashMap::new(),
            own_of: BTreeMap::new(),
            half: Arc::new(self.base_half.clone()),
            users: 1,
        };
        for slot in self.otherwise(class) {
            let now = resolve(mesh, class, slot, memo);
            let spot = slot.place(self.families);
            overlay.settle(slot, spot, now, self.base.get(slot), &self.base_half);
        }
        self.overlays.insert(class.clone(), overlay);
    }

    /// The slots that a class may have otherwise than the base.
    fn otherwise(&self, class: &Class) -> BTreeSet<&Slot> {
        let apart = class.scope.groups();
        let apart = apart.filter_map(|group| self.apart.get(&group)).flatten();
        if class.envoy == EnvoyMinor::NEWEST {
            return apart.collect();
        }
        let reformed = self.base.iter().filter(|(_, value)| class.reforms(value));
        apart.chain(reformed.map(|(slot, _)| slot)).collect()
    }

    /// Lets one proxy of a class go; with the last the overlay goes.
    pub fn leave(&mut self, class: &Class) {
        let Some(overlay) = self.overlays.get_mut(class) else {
            return;
        };
        overlay.users -= 1;
        if overlay.users == 0 {
            self.overlays.remove(class);
        }
    }

    /// Everything that a class has.
    pub fn half(&self, class: &Class) -> Option<Arc<Half>> {
        self.overlays
            .get(class)
            .map(|overlay| Arc::clone(&overlay.half))
    }

    /// What stands at a place.
    pub fn slot(&self, kind: Kind, resource: &str, part: &str) -> Option<&Slot> {
        self.slots
            .get(&(kind, Arc::from(resource), Arc::from(part)))
    }
}

impl Overlay {
    /// Makes a slot hold `now`, beside what the base holds; answers whether the class changed.
    fn settle(
        &mut self,
        slot: &Slot,
        spot: Spot,
        now: Option<Arc<Value>>,
        base: Option<&Arc<Value>>,
        base_half: &Half,
    ) -> bool {
        let (kind, name, part) = &spot;
        let kind = *kind;
        let held = self.half.get(kind, name);
        let held = held.and_then(|resource| resource.parts().get(&**part));
        let changed = held.map(|part| part.hash) != now.as_ref().map(|value| value.part.hash);
        let as_base = now.as_ref() == base;
        let was_own = if as_base {
            self.own.remove(slot).is_some()
        } else {
            self.own.insert(slot.clone(), now.clone()).is_some()
        };
        let own = self.own_of.entry(kind).or_default();
        *own = *own + usize::from(!as_base) - usize::from(was_own);
        if changed {
            let half = Arc::make_mut(&mut self.half);
            let is_whole = part.is_empty() && kind != Kind::Route;
            if *own == 0 {
                // a class that has nothing of its own goes on sharing what all share
                *half.resources_mut(kind) = base_half.resources(kind).clone();
            } else if as_base
                && is_whole
                && let Some(shared) = base_half.get(kind, name)
            {
                half.insert(kind, Arc::clone(shared));
            } else {
                put(half, spot, now.as_deref());
            }
        }
        changed
    }
}

fn resolve(mesh: &Mesh, class: &Class, slot: &Slot, memo: &mut Memo) -> Option<Arc<Value>> {
    let Class { scope, envoy } = class;
    memo.counts.selects += 1;
    match slot {
        Slot::Node(key) => Some(memo.node(&select(mesh, scope, key)?, *envoy)),
        Slot::Assignment(cluster) => {
            let key = endpoints_key(mesh, scope, cluster)?;
            let name = Arc::from(cluster.name().to_string());
            Some(memo.assignment(&name, &endpoints(mesh, &key, None)))
        }
    }
}

fn set(map: &mut HashMap<Slot, Arc<Value>>, slot: &Slot, value: Option<Arc<Value>>) {
    match value {
        Some(value) => map.insert(slot.clone(), value),
        None => map.remove(slot),
    };
}
