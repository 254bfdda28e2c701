//! Looks at the objects that were touched and at those that refer to them.

use std::collections::{BTreeMap, BTreeSet};

use mesh::{Mesh, diagnose, diagnose_refused};
use model::{Diagnostic, ObjectKey};
use store::{Change, ChangeSet, Delta, Snapshot, Store};

use super::again::References;
use super::{Differences, News};

/// What was said of each object, and what is needed to say it again.
#[derive(Debug, Default)]
pub(super) struct Looker {
    /// The objects with their places of now. The loop's own say where they stood when they last meant something else.
    store: Store,
    mesh: Option<Mesh>,
    references: References,
    of_objects: BTreeMap<ObjectKey, Vec<Diagnostic>>,
    of_files: BTreeMap<usize, Vec<Diagnostic>>,
}

impl Looker {
    /// Takes the news in and says what that changes.
    pub(super) fn look(&mut self, news: News) -> Differences {
        let News {
            sets,
            findings,
            mesh,
        } = news;
        let mut differences = Differences::default();
        for (source, now) in findings {
            let before = self.of_files.insert(source, now.clone());
            differences.add(&before.unwrap_or_default(), &now);
        }
        let mut subjects = touched(&sets, self.store.snapshot());
        let mut delta = Delta::default();
        let before = self.store.snapshot().clone();
        for set in sets {
            delta.merge(self.store.apply(set));
        }
        let now = self.store.snapshot().clone();
        self.references.update(&before, &now, &delta.changed);
        let earlier = std::mem::replace(&mut self.mesh, mesh);
        match (&earlier, &self.mesh) {
            (Some(earlier), Some(mesh)) => {
                match self
                    .references
                    .again(earlier, mesh, &before, &now, &delta.changed)
                {
                    Some(again) => subjects.extend(again),
                    None => subjects.extend(everything(&now)),
                }
            }
            (None, Some(_)) => subjects.extend(everything(&now)),
            (_, None) => {}
        }
        for key in subjects {
            let said = self.of(&key, &now);
            let before = if said.is_empty() {
                self.of_objects.remove(&key)
            } else {
                self.of_objects.insert(key, said.clone())
            };
            differences.add(&before.unwrap_or_default(), &said);
        }
        differences
    }

    /// What an object says by itself and what it says together with the others.
    fn of(&self, key: &ObjectKey, now: &Snapshot) -> Vec<Diagnostic> {
        let (object, refusal) = (now.get(key), now.refused.get(key));
        let own = object
            .into_iter()
            .flat_map(|object| object.diagnostics.iter());
        let own = own.chain(
            refusal
                .into_iter()
                .flat_map(|refusal| refusal.diagnostics.iter()),
        );
        let mesh = self.mesh.as_ref();
        let together = mesh
            .zip(object)
            .map(|(mesh, object)| diagnose(mesh, object));
        let instead = mesh
            .zip(refusal)
            .map(|(mesh, refusal)| diagnose_refused(mesh, refusal));
        let said = together.into_iter().chain(instead).flatten();
        let all: BTreeSet<Diagnostic> = own.cloned().chain(said).collect();
        all.into_iter().collect()
    }
}

/// Every object, good or refused.
fn everything(now: &Snapshot) -> impl Iterator<Item = ObjectKey> {
    now.objects.keys().chain(now.refused.keys()).cloned()
}

/// The objects that sources speak of, whether or not that changes what they mean.
fn touched(sets: &[ChangeSet], before: &Snapshot) -> BTreeSet<ObjectKey> {
    let mut touched = BTreeSet::new();
    for change in sets.iter().flat_map(|set| &set.changes) {
        match change {
            Change::Upsert(object) => drop(touched.insert(object.key.clone())),
            Change::Reject(refusal) => drop(touched.insert(refusal.key.clone())),
            Change::Remove(key) => drop(touched.insert(key.clone())),
            Change::Resync(kind, entries) => {
                touched.extend(entries.iter().map(|entry| entry.key().clone()));
                let known = before.objects.keys().chain(before.refused.keys());
                touched.extend(known.filter(|key| key.kind == *kind).cloned());
            }
        }
    }
    touched
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::Control;
    use testkit::{Run, Story, check};

    /// A loop that says everything anew each time, and a looker that follows it.
    fn follows(story: &Story) -> Result<(), String> {
        let mut control = Control::new([]);
        let (mut looker, mut said) = (Looker::default(), BTreeMap::new());
        let (mut world, first) = story.begin();
        let edits = story.edits.iter().map(|edit| world.edit(*edit));
        for sets in std::iter::once(first).chain(edits.collect::<Vec<_>>()) {
            control.apply(sets.iter().cloned());
            let mesh = Some(control.mesh().clone());
            let news = News {
                sets,
                mesh,
                ..News::default()
            };
            looker.look(news).apply(&mut said);
            let (mine, all) = (
                said.keys().cloned().collect::<Vec<_>>(),
                control.diagnostics(),
            );
            if mine != all {
                let wrong = |a: &[Diagnostic], b: &[Diagnostic]| {
                    let only = a.iter().filter(|one| !b.contains(one));
                    only.map(ToString::to_string).collect::<Vec<_>>()
                };
                return Err(format!(
                    "missing {:?}, stale {:?}",
                    wrong(&all, &mine),
                    wrong(&mine, &all)
                ));
            }
        }
        Ok(())
    }

    #[test]
    fn looking_again_finds_what_looking_at_everything_finds() {
        check("diagnostics follow", Run::default(), follows);
    }
}
