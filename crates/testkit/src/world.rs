//! Worlds: documents as two sources hold them, and what happens to them.
//!
//! A world behaves as a source does: of two documents with one key the first counts, a document that cannot be read
//! any more keeps the object that it held, and one that takes another key gives its old one back.

use std::fmt;

use model::{ObjectKey, Parsed};
use proptest::prelude::Rng as _;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::Value;
use store::{Change, ChangeSet, SourceId};

use crate::clutter::{clutter, smash};
use crate::dice::Dice;
use crate::generate::Sort;
use crate::load::{change, read};

/// One document of a world.
#[derive(Clone, Debug)]
struct Slot {
    /// Whether it is a document at all: one that was left out keeps its place, so that others keep theirs.
    there: bool,
    source: SourceId,
    sort: Sort,
    /// What it says when it is repaired.
    good: Value,
    /// What it says at first; taken when it is written.
    first: Option<Value>,
    /// What it says; none: it is not there.
    now: Option<Value>,
    /// The object that it is, or was when it could be read last.
    held: Option<ObjectKey>,
}

impl Slot {
    /// The document of a seed, not written yet.
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let sort = Sort::any(&mut dice);
        let mut good = sort.generate(&mut dice);
        if dice.once_in(4) {
            clutter(&mut dice, &mut good);
        }
        let mut first = good.clone();
        if dice.once_in(12) {
            smash(&mut dice, &mut first);
        }
        Self {
            there: seed != NOTHING,
            source: SourceId(u32::from(dice.once_in(5))),
            sort,
            good,
            first: Some(first),
            now: None,
            held: None,
        }
    }
}

/// An ordered list of documents.
#[derive(Clone, Debug, Default)]
pub struct World {
    slots: Vec<Slot>,
}

/// The seed of a document that was left out.
const NOTHING: u64 = 0;

/// Something that happens to a world. Documents are named by any number, which counts round and round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Nothing: an edit that was left out.
    Nothing,
    /// A new document.
    Add(u64),
    /// A document says something else of the same sort, under the same name.
    Change(u64, u64),
    /// A document is gone.
    Remove(u64),
    /// A document is broken.
    Break(u64, u64),
    /// A document says again what it said before it was broken or removed.
    Repair(u64),
}

impl Edit {
    /// What stands in its place when it is left out; what comes after it must still name the same documents.
    fn left_out(self) -> Self {
        match self {
            Self::Add(_) => Self::Add(NOTHING),
            Self::Nothing
            | Self::Change(..)
            | Self::Remove(_)
            | Self::Break(..)
            | Self::Repair(_) => Self::Nothing,
        }
    }
}

impl World {
    /// Makes an edit; answers what the sources then say.
    pub fn edit(&mut self, edit: Edit) -> Vec<ChangeSet> {
        self.concerned(edit)
            .map_or_else(Vec::new, |slot| self.edit_slot(slot, edit))
    }

    /// The document that an edit concerns; a new one is made.
    fn concerned(&mut self, edit: Edit) -> Option<usize> {
        match edit {
            Edit::Nothing => None,
            Edit::Add(seed) => {
                self.slots.push(Slot::new(seed));
                Some(self.slots.len() - 1).filter(|_| seed != NOTHING)
            }
            Edit::Change(which, _) | Edit::Remove(which) | Edit::Break(which, _) => {
                self.slot(which)
            }
            Edit::Repair(which) => self.broken_slot(which),
        }
    }

    fn edit_slot(&mut self, slot: usize, edit: Edit) -> Vec<ChangeSet> {
        let mut good = self.slots[slot].good.clone();
        match edit {
            Edit::Nothing => Vec::new(),
            Edit::Add(_) => {
                let first = self.slots[slot].first.take();
                self.write(slot, first)
            }
            Edit::Change(_, seed) => {
                let value = self.slots[slot].sort.renewed(&good, &mut Dice::new(seed));
                self.slots[slot].good = value.clone();
                self.write(slot, Some(value))
            }
            Edit::Remove(_) => self.write(slot, None),
            Edit::Break(_, seed) => {
                smash(&mut Dice::new(seed), &mut good);
                self.write(slot, Some(good))
            }
            Edit::Repair(_) => self.write(slot, Some(good)),
        }
    }

    fn slot(&self, which: u64) -> Option<usize> {
        usize::try_from(which % u64::try_from(self.slots.len()).ok()?.max(1))
            .ok()
            .filter(|slot| self.slots.get(*slot).is_some_and(|slot| slot.there))
    }

    /// A document that is not as it should be.
    fn broken_slot(&self, which: u64) -> Option<usize> {
        let mut broken: Vec<usize> = (0..self.slots.len()).collect();
        broken.retain(|slot| {
            let slot = &self.slots[*slot];
            slot.there && slot.now.as_ref() != Some(&slot.good)
        });
        let count = u64::try_from(broken.len())
            .ok()
            .filter(|count| *count > 0)?;
        broken.get(usize::try_from(which % count).ok()?).copied()
    }

    /// Writes a document, or takes it away.
    fn write(&mut self, slot: usize, value: Option<Value>) -> Vec<ChangeSet> {
        let key = value.as_ref().and_then(key_of);
        let source = self.slots[slot].source.clone();
        let taken = self.slots.iter().enumerate().any(|(other, s)| {
            other != slot && s.source == source && s.held.is_some() && s.held == key
        });
        let mut changes = Vec::new();
        let gone = value.is_none();
        self.slots[slot].now = value.clone();
        let held = self.slots[slot].held.clone();
        if let Some(old) = held.filter(|old| gone || key.as_ref().is_some_and(|key| key != old)) {
            changes.push(Change::Remove(old));
            self.slots[slot].held = None;
        }
        if key.is_some() && !taken {
            changes.extend(value.as_ref().and_then(change));
            self.slots[slot].held = key;
        }
        if changes.is_empty() {
            return Vec::new();
        }
        vec![ChangeSet { source, changes }]
    }

    /// The documents as they are, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let there = self.slots.iter().enumerate();
        let text = |(index, slot): (usize, &Slot)| {
            let source = slot.source.0;
            let now = slot.now.as_ref()?;
            Some(format!("# {index}, source {source}\n{now}\n"))
        };
        there.filter_map(text).collect::<Vec<_>>().join("---\n")
    }
}

fn key_of(value: &Value) -> Option<ObjectKey> {
    match read(value) {
        Parsed::Object(object) => Some(object.key),
        Parsed::Refused(refusal) => Some(refusal.key),
        Parsed::Ignored(_) | Parsed::Unreadable(_) => None,
    }
}

/// How a world begins, and what happens to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Story {
    /// The seeds of its first documents.
    pub documents: Vec<u64>,
    /// What happens, in order.
    pub edits: Vec<Edit>,
}

impl Story {
    /// The world at its beginning, and what its sources say.
    #[must_use]
    pub fn begin(&self) -> (World, Vec<ChangeSet>) {
        let mut world = World::default();
        let sets = self
            .documents
            .iter()
            .flat_map(|seed| world.edit(Edit::Add(*seed)))
            .collect();
        (world, sets)
    }
}

impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut world, _) = self.begin();
        writeln!(f, "{}", world.text())?;
        for edit in &self.edits {
            let Some(slot) = world.concerned(*edit) else {
                continue;
            };
            world.edit_slot(slot, *edit);
            writeln!(f, "=== {edit:?}")?;
            match &world.slots[slot].now {
                Some(value) => writeln!(f, "{slot} is {value}")?,
                None => writeln!(f, "{slot} is gone")?,
            }
        }
        Ok(())
    }
}

/// Stories of this many edits. They shrink by leaving out edits and documents.
#[must_use]
pub fn stories(edits: usize) -> Stories {
    Stories { edits }
}

/// See [`stories`].
#[derive(Clone, Copy, Debug)]
pub struct Stories {
    edits: usize,
}

impl Strategy for Stories {
    type Tree = StoryTree;
    type Value = Story;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let mut dice = Dice::new(runner.rng().next_u64());
        let story = Story {
            documents: dice.many(3, 15, Dice::roll),
            edits: dice.many(self.edits, self.edits, edit),
        };
        let size = story.documents.len() + story.edits.len();
        Ok(StoryTree {
            story,
            before: None,
            at: 0,
            step: size.next_power_of_two(),
            shrunk: false,
        })
    }
}

fn edit(dice: &mut Dice) -> Edit {
    match dice.below(10) {
        0 | 1 => Edit::Add(dice.roll()),
        2..=5 => Edit::Change(dice.roll(), dice.roll()),
        6 => Edit::Remove(dice.roll()),
        7 => Edit::Break(dice.roll(), dice.roll()),
        _ => Edit::Repair(dice.roll()),
    }
}

/// A story while it shrinks: runs of edits and documents are left out, long runs first.
#[derive(Clone, Debug)]
pub struct StoryTree {
    story: Story,
    before: Option<Story>,
    at: usize,
    step: usize,
    shrunk: bool,
}

impl StoryTree {
    /// Leaves out the next run; false when there is nothing left to try.
    fn next(&mut self) -> bool {
        loop {
            let (edits, documents) = (self.story.edits.len(), self.story.documents.len());
            if self.at >= edits + documents {
                if self.step == 1 && !self.shrunk {
                    return false;
                }
                self.step = (self.step / 2).max(1);
                self.shrunk = false;
                self.at = 0;
                if edits + documents == 0 {
                    return false;
                }
                continue;
            }
            self.before = Some(self.story.clone());
            let left_out = self.at..self.at + self.step;
            let mut shorter = false;
            // Edits are left out from the last one on: the failure is usually seen after it.
            for (index, edit) in self.story.edits.iter_mut().rev().enumerate() {
                if left_out.contains(&index) {
                    let without = edit.left_out();
                    shorter |= *edit != without;
                    *edit = without;
                }
            }
            for (index, seed) in self.story.documents.iter_mut().enumerate() {
                if left_out.contains(&(edits + index)) {
                    shorter |= *seed != NOTHING;
                    *seed = NOTHING;
                }
            }
            if !shorter {
                self.at += self.step;
                continue;
            }
            return true;
        }
    }
}

impl ValueTree for StoryTree {
    type Value = Story;

    fn current(&self) -> Story {
        self.story.clone()
    }

    fn simplify(&mut self) -> bool {
        if self.before.take().is_some() {
            self.shrunk = true;
        }
        self.next()
    }

    fn complicate(&mut self) -> bool {
        match self.before.take() {
            Some(before) => {
                self.story = before;
                self.at += self.step;
                self.next()
            }
            None => false,
        }
    }
}
