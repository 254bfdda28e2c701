//! What clients of one scope have otherwise because of where they run: the endpoints of clusters that prefer some.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use mesh::{Affected, ClusterKey, EndpointsKey, Key, Mesh, Nearby, Proximity};
use xds::Half;

use crate::class::Class;
use crate::memo::{Memo, Value};
use crate::outbound::slots;
use crate::slot::{Slot, Spot, put};

/// Who has the same endpoints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub class: Class,
    pub proximity: Proximity,
}

/// The halves of all places where somebody is.
#[derive(Debug, Default)]
pub(crate) struct Near {
    /// The clusters of which somebody may prefer some endpoints.
    choosy: BTreeSet<ClusterKey>,
    places: BTreeMap<Place, Around>,
}

/// What is otherwise at one place.
#[derive(Debug, Default)]
struct Around {
    half: Arc<Half>,
    users: usize,
}

/// What was arranged of one cluster for a proximity, for all scopes that see the same.
type Arranged = HashMap<(EndpointsKey, Proximity), Arc<Value>>;

impl Near {
    /// Arranges again what may differ; answers the places that changed.
    pub fn update(&mut self, mesh: &Mesh, affected: &Affected, memo: &mut Memo) -> BTreeSet<Place> {
        let mut changed = BTreeSet::new();
        for slot in slots(mesh, affected) {
            let Slot::Assignment(cluster) = slot else {
                continue;
            };
            let was = self.choosy.remove(&cluster);
            let is = mesh.may_prefer(&cluster);
            if is {
                self.choosy.insert(cluster.clone());
            }
            if !was && !is {
                continue;
            }
            let mut arranged = Arranged::new();
            for (place, around) in &mut self.places {
                if around.settle(mesh, place, &cluster, memo, &mut arranged) {
                    changed.insert(place.clone());
                }
            }
        }
        changed
    }

    /// Takes in one more proxy of a place.
    pub fn enter(&mut self, mesh: &Mesh, place: &Place, memo: &mut Memo) {
        if let Some(around) = self.places.get_mut(place) {
            around.users += 1;
            return;
        }
        let mut around = Around {
            users: 1,
            ..Around::default()
        };
        for cluster in &self.choosy {
            around.settle(mesh, place, cluster, memo, &mut Arranged::new());
        }
        self.places.insert(place.clone(), around);
    }

    /// Lets one proxy of a place go; with the last its half goes.
    pub fn leave(&mut self, place: &Place) {
        let Some(around) = self.places.get_mut(place) else {
            return;
        };
        around.users -= 1;
        if around.users == 0 {
            self.places.remove(place);
        }
    }

    /// What a place has otherwise.
    pub fn half(&self, place: &Place) -> Option<Arc<Half>> {
        self.places
            .get(place)
            .map(|around| Arc::clone(&around.half))
    }
}

impl Around {
    /// Arranges one cluster; answers whether that differs.
    fn settle(
        &mut self,
        mesh: &Mesh,
        place: &Place,
        cluster: &ClusterKey,
        memo: &mut Memo,
        arranged: &mut Arranged,
    ) -> bool {
        memo.counts.selects += 1;
        let Place { class, proximity } = place;
        let (assignment, node) = match mesh::nearby(mesh, &class.scope, cluster, proximity) {
            None => (None, None),
            Some(Nearby::Endpoints(key)) => {
                let name = Arc::from(cluster.name().to_string());
                let value = arranged.entry((key, proximity.clone())).or_insert_with_key(
                    |(key, proximity)| {
                        memo.assignment(&name, &mesh::endpoints(mesh, key, Some(proximity)))
                    },
                );
                (Some(Arc::clone(value)), None)
            }
            Some(Nearby::Cluster(inputs)) => (None, Some(memo.node(&inputs, class.envoy))),
        };
        let families = class.scope.families;
        let node_spot = Slot::Node(Key::Cluster(cluster.clone())).place(families);
        let spot = Slot::Assignment(cluster.clone()).place(families);
        let changed = self.replace(spot, assignment);
        self.replace(node_spot, node) || changed
    }

    fn replace(&mut self, spot: Spot, value: Option<Arc<Value>>) -> bool {
        let (kind, name, part) = &spot;
        let held = self.half.get(*kind, name);
        let held = held.and_then(|resource| resource.parts().get(&**part));
        let changed = held.map(|part| part.hash) != value.as_ref().map(|value| value.part.hash);
        if changed {
            put(Arc::make_mut(&mut self.half), spot, value.as_deref());
        }
        changed
    }
}
