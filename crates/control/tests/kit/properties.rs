//! The properties themselves: what holds of every story.

use std::collections::BTreeMap;

use control::{Control, ProxyId};
use store::{ChangeSet, SourceId, Store};
use testkit::{Dice, Story};
use xds::Mode;

use super::client::Client;
use super::{Seen, Versions, contents, difference, proxies, sees, valid, versions};

type Holds = Result<(), String>;

/// A loop, and a store beside it that is told the same.
struct Both {
    control: Control,
    store: Store,
    proxies: Vec<ProxyId>,
}

impl Both {
    fn new(sets: &[ChangeSet]) -> Self {
        let mut both = Self {
            control: super::control(),
            store: Store::default(),
            proxies: Vec::new(),
        };
        both.apply(sets);
        both.proxies = proxies()
            .into_iter()
            .map(|info| both.control.connect(info))
            .collect();
        both
    }

    /// Tells both; answers the proxies whose view changed.
    fn apply(&mut self, sets: &[ChangeSet]) -> Vec<ProxyId> {
        for set in sets {
            self.store.apply(set.clone());
        }
        self.control
            .apply(sets.iter().cloned())
            .proxies
            .into_iter()
            .collect()
    }

    fn versions(&self) -> BTreeMap<ProxyId, Versions> {
        let versions = |id| versions(&self.control.view(id).unwrap());
        self.proxies.iter().map(|id| (*id, versions(*id))).collect()
    }

    /// Compares with a loop that is told everything at once: two of the five proxies, in turns.
    fn equals_scratch(&self, turn: usize) -> Holds {
        let mut scratch = Control::new([]);
        scratch.apply([contents(self.store.snapshot())]);
        let all = proxies().into_iter().zip(&self.proxies).enumerate();
        let in_turn = all.filter(|(place, _)| (place + turn) % 5 < 2);
        for (info, id) in in_turn.map(|(_, both)| both) {
            let who = format!("{}/{}", info.namespace, info.name);
            let fresh = scratch.connect(info);
            if let Some(difference) = difference(&sees(&self.control, *id), &sees(&scratch, fresh))
            {
                return Err(format!("{who}: {difference}"));
            }
        }
        if self.control.diagnostics() != scratch.diagnostics() {
            return Err(format!(
                "diagnostics: {:#?} instead of {:#?}",
                self.control.diagnostics(),
                scratch.diagnostics()
            ));
        }
        Ok(())
    }
}

/// Incremental equals from scratch, after every edit; and every proxy whose view changed is named.
pub fn incremental_equals_scratch(story: &Story) -> Holds {
    let (mut world, sets) = story.begin();
    let mut both = Both::new(&sets);
    both.equals_scratch(0)
        .map_err(|why| format!("at the beginning: {why}"))?;
    for (number, edit) in story.edits.iter().enumerate() {
        let sets = world.edit(*edit);
        if sets.is_empty() {
            continue;
        }
        let before = both.versions();
        let named = both.apply(&sets);
        for (id, seen) in both.versions() {
            if before.get(&id) != Some(&seen) && !named.contains(&id) {
                return Err(format!(
                    "after edit {number}: {id:?} changed and is not named"
                ));
            }
        }
        // A proxy that comes and goes, and one that was there all the time, see the same.
        if number % 4 == 3 {
            let back = both.proxies[number % both.proxies.len()];
            let info = proxies().swap_remove(number % both.proxies.len());
            both.control.disconnect(back);
            let place = number % both.proxies.len();
            both.proxies[place] = both.control.connect(info);
        }
        both.equals_scratch(2 * number)
            .map_err(|why| format!("after edit {number}: {why}"))?;
    }
    Ok(())
}

/// What Envoys hold is the same whether they speak the state of the world or delta, and it is their view.
pub fn sotw_equals_delta(story: &Story) -> Holds {
    let (mut world, sets) = story.begin();
    let mut both = Both::new(&sets);
    let view = |both: &Both, id: ProxyId| both.control.view(id).ok_or("the proxy is gone");
    let mut clients = Vec::new();
    for id in both.proxies.clone().into_iter().take(3) {
        let (sotw, delta) = (view(&both, id)?, view(&both, id)?);
        clients.push((
            id,
            Client::connect(Mode::Sotw, sotw),
            Client::connect(Mode::Delta, delta),
        ));
    }
    for (number, edit) in story.edits.iter().enumerate() {
        let named = both.apply(&world.edit(*edit));
        for (id, sotw, delta) in &mut clients {
            if named.contains(id) {
                sotw.view(view(&both, *id)?);
                delta.view(view(&both, *id)?);
            }
            if let Some(difference) = difference(sotw.held(), delta.held()) {
                return Err(format!(
                    "after edit {number}: the state of the world is not delta's: {difference}"
                ));
            }
            let seen = delta.asked_for(sees(&both.control, *id));
            if let Some(difference) = difference(delta.held(), &seen) {
                return Err(format!(
                    "after edit {number}: Envoy does not hold its view: {difference}"
                ));
            }
        }
    }
    Ok(())
}

/// The order in which objects are told makes no difference to a byte.
pub fn order_does_not_matter(story: &Story) -> Holds {
    let (mut world, sets) = story.begin();
    let mut store = Store::default();
    for set in sets
        .into_iter()
        .chain(story.edits.iter().flat_map(|edit| world.edit(*edit)))
    {
        store.apply(set);
    }
    let all = contents(store.snapshot());
    let mut dice = Dice::new(story.documents.iter().fold(7, |sum, seed| sum ^ seed));
    let mut first: Option<BTreeMap<ProxyId, Seen>> = None;
    for round in 0..3 {
        let mut control = super::control();
        let mut changes = all.changes.clone();
        let good = store.snapshot().objects.len();
        let (objects, refusals) = changes.split_at_mut(good);
        shuffle(objects, &mut dice);
        shuffle(refusals, &mut dice);
        // One by one, all at once, and something between.
        for some in changes.chunks([1, changes.len().max(1), 3][round]) {
            control.apply([ChangeSet {
                source: SourceId::default(),
                changes: some.to_vec(),
            }]);
        }
        let mut seen: BTreeMap<ProxyId, Seen> = BTreeMap::new();
        for info in proxies() {
            let id = control.connect(info);
            seen.insert(id, sees(&control, id));
        }
        let first = first.get_or_insert_with(|| seen.clone());
        for (id, seen) in &seen {
            if let Some(difference) = difference(seen, &first[id]) {
                return Err(format!("in round {round}: {id:?}: {difference}"));
            }
        }
    }
    Ok(())
}

fn shuffle<T>(list: &mut [T], dice: &mut Dice) {
    for index in (1..list.len()).rev() {
        list.swap(index, dice.below(index + 1));
    }
}

/// Whatever users write becomes something that Envoy accepts.
pub fn envoy_accepts_everything(story: &Story) -> Holds {
    let (mut world, sets) = story.begin();
    let mut both = Both::new(&sets);
    let mut known = valid::Known::default();
    let mut check = |both: &Both| -> Holds {
        for id in &both.proxies {
            let view = both.control.view(*id).ok_or("the proxy is gone")?;
            valid::check(&view, &mut known).map_err(|why| format!("{id:?}: {why}"))?;
        }
        Ok(())
    };
    check(&both).map_err(|why| format!("at the beginning: {why}"))?;
    for (number, edit) in story.edits.iter().enumerate() {
        both.apply(&world.edit(*edit));
        check(&both).map_err(|why| format!("after edit {number}: {why}"))?;
    }
    Ok(())
}
