//! One kind of resource on one stream: what is subscribed to, what Envoy has of it, what was sent and not answered.
//!
//! What Envoy has is what the view says, except for the names that are pending. So a stream that is up to date keeps no
//! list of what it was sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::names::Names;
use super::refusal::{PartVersion, Refusals};
use crate::{Kind, Resource, View};

/// How many messages may be unanswered. A client that never answers is told no more, and the newest state waits.
const MAX_UNANSWERED: usize = 32;

/// What Envoy has of a resource, as far as this stream knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// It has none.
    Nothing,
    /// It has one, from an earlier stream, that is not ours of now.
    Unknown,
    /// It was sent this one.
    Is(Arc<Resource>),
}

impl Held {
    pub fn of(resource: Option<&Arc<Resource>>) -> Self {
        resource.map_or(Self::Nothing, |resource| Self::Is(Arc::clone(resource)))
    }

    /// The parts of a resource that are not in what Envoy has, each with what Envoy has in its place.
    pub fn changes<'a>(
        &'a self,
        resource: &'a Resource,
    ) -> Box<dyn Iterator<Item = (&'a Arc<str>, Option<&'a crate::Part>, &'a crate::Part)> + 'a>
    {
        match self {
            Self::Is(held) => Box::new(held.changed_in(resource)),
            Self::Nothing | Self::Unknown => {
                Box::new(resource.parts().iter().map(|(key, part)| (key, None, part)))
            }
        }
    }
}

/// A name whose state at Envoy differs from the view, or that must be answered.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub held: Held,
    /// Whether it is sent even when nothing changed: Envoy asked for it, or its cluster was sent again.
    pub owed: bool,
}

/// A message that was sent and not answered yet.
#[derive(Debug)]
pub(super) struct Message {
    pub number: u64,
    pub epoch: u64,
    pub sent: Vec<Arc<Resource>>,
    pub removed: Vec<Arc<str>>,
}

impl Message {
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.sent
            .iter()
            .map(|resource| resource.name())
            .chain(&self.removed)
    }
}

/// One kind on one stream.
#[derive(Debug, Default)]
pub(super) struct Channel {
    pub names: Names,
    /// State of the world: a hash of the last list of names.
    pub names_hash: Option<u128>,
    /// Whether a request came.
    pub asked: bool,
    /// Whether a response was sent, or none was due because Envoy was up to date.
    pub begun: bool,
    /// Whether Envoy holds resources from an earlier stream that the view may have lost.
    pub resumed: bool,
    /// Whether a response is due even if it is empty.
    pub answer: bool,
    pub pending: BTreeMap<Arc<str>, Pending>,
    /// The last name that went alone into a message.
    pub last: Option<Arc<str>>,
    pub unanswered: VecDeque<Message>,
    /// What Envoy last acknowledged of each name in an unanswered message.
    pub good: BTreeMap<Arc<str>, Held>,
    pub refusals: Refusals,
}

impl Channel {
    /// Whether all is sent and answered.
    pub fn is_settled(&self) -> bool {
        self.pending.is_empty()
            && self.unanswered.is_empty()
            && !self.answer
            && !self.refusals.is_searching()
    }

    /// The pending names, those first that were not the last to go alone: one that changes all the time must not starve
    /// the others.
    pub fn in_turn(&self) -> impl Iterator<Item = (&Arc<str>, &Pending)> {
        let last = self.last.as_deref().unwrap_or_default();
        let after = (Bound::Excluded(last), Bound::Unbounded);
        let rest = (Bound::Unbounded, Bound::Included(last));
        let after = self.pending.range::<str, _>(after);
        after.chain(self.pending.range::<str, _>(rest))
    }

    /// Takes note that a name must be answered; `held` is what Envoy has unless we know better.
    pub fn owe(&mut self, name: &Arc<str>, held: impl FnOnce() -> Held) {
        let pending = || Pending {
            held: held(),
            owed: true,
        };
        self.pending
            .entry(Arc::clone(name))
            .and_modify(|pending| pending.owed = true)
            .or_insert_with(pending);
    }

    /// Forgets a name that Envoy is no longer interested in.
    pub fn forget(&mut self, name: &str) {
        self.pending.remove(name);
        self.good.remove(name);
        self.refusals.forget(name);
    }

    /// What Envoy acknowledged last of a name that is in an unanswered message.
    fn last_good(&self, name: &str) -> Held {
        self.good.get(name).cloned().unwrap_or(Held::Nothing)
    }

    /// Takes note that a name goes into a message, and of what Envoy has of it until it answers.
    pub fn remember_good(&mut self, name: &Arc<str>, held: Held) {
        self.good.entry(Arc::clone(name)).or_insert(held);
    }

    /// Whether a message with this name is unanswered.
    pub fn is_in_flight(&self, name: &str) -> bool {
        let mut names = self.unanswered.iter().flat_map(Message::names);
        names.any(|other| **other == *name)
    }

    /// Whether so much is unanswered that nothing more may be sent.
    pub fn is_full(&self) -> bool {
        self.unanswered.len() >= MAX_UNANSWERED
    }

    /// Whether all that can be settled is: what Envoy refused is not waited for.
    pub fn has_ended(&self) -> bool {
        let refused = |name: &Arc<str>| self.refusals.concern(name);
        self.unanswered.is_empty() && self.pending.keys().all(refused)
    }

    /// Puts a message among the unanswered ones.
    pub fn push(&mut self, message: Message) {
        self.unanswered.push_back(message);
    }

    /// Takes the message with this number out, and the earlier ones, which the answer answers too. None if the number
    /// is unknown or was answered before.
    pub fn take(&mut self, number: u64) -> Option<(Vec<Message>, Message)> {
        let place = self
            .unanswered
            .iter()
            .position(|message| message.number == number)?;
        let earlier = self.unanswered.drain(..place).collect();
        Some((earlier, self.unanswered.pop_front()?))
    }

    /// Takes note that Envoy accepted a message, which is no longer among the unanswered ones.
    pub fn accept(&mut self, message: &Message) {
        self.refusals.conclude(message.number);
        if self.unanswered.is_empty() {
            self.good.clear();
            return;
        }
        let later = self.names_in_flight();
        let sent = message
            .sent
            .iter()
            .map(|resource| (resource.name(), Held::Is(Arc::clone(resource))));
        for (name, held) in sent.chain(message.removed.iter().map(|name| (name, Held::Nothing))) {
            if later.contains(name) {
                self.good.insert(Arc::clone(name), held);
            } else {
                self.good.remove(name);
            }
        }
    }

    fn names_in_flight(&self) -> BTreeSet<Arc<str>> {
        self.unanswered
            .iter()
            .flat_map(Message::names)
            .cloned()
            .collect()
    }

    /// Takes note that Envoy refused a message: it has again what it acknowledged last. Returns the accused parts.
    pub fn refuse(
        &mut self,
        message: &Message,
        mixed: bool,
        kind: Kind,
        view: &View,
    ) -> Vec<PartVersion> {
        let half = view.outbound.resources(kind);
        let later = self.names_in_flight();
        let (mut accused, mut accused_whole) = (Vec::new(), Vec::new());
        for resource in message
            .sent
            .iter()
            .filter(|resource| self.names.contains(resource.name(), half))
        {
            let good = self.last_good(resource.name());
            let parts = good
                .changes(resource)
                .map(|(key, _, part)| (Arc::clone(resource.name()), Arc::clone(key), part.hash));
            if good == Held::Unknown && resource.parts().len() > 1 {
                self.refusals.refuse_whole(resource);
                accused_whole.extend(parts);
            } else {
                accused.extend(parts);
            }
        }
        let single = accused.len() == 1;
        for name in message
            .names()
            .filter(|name| !later.contains(*name) && self.names.contains(name, half))
            .cloned()
            .collect::<Vec<_>>()
        {
            let held = self.last_good(&name);
            self.good.remove(&name);
            let resend = single && held != Held::Nothing;
            let owed = resend || self.pending.get(&name).is_some_and(|pending| pending.owed);
            if owed || held != Held::of(view.get(kind, &name)) {
                self.pending.insert(name, Pending { held, owed });
            }
        }
        self.refusals.accuse(message.number, accused.clone(), mixed);
        accused.append(&mut accused_whole);
        accused
    }
}
