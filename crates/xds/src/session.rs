//! The protocol of one stream, without IO: requests, views and the time go in, events and responses come out.
//!
//! A session is asked for its next response when the last one is flushed, so what it sends is always the newest state.
//! It keeps no list of what Envoy has: that is what the view says, except for the names that are pending. A new view
//! makes the names pending that differ from the old one, and costs as much as it differs.
//!
//! Delta streams are changed make before break: clusters and their endpoints, then the routes and listeners that need
//! them once they are live, then removals once nothing that Envoy may still hold needs them. State-of-the-world streams
//! have the order only. Where a part may not be sent, because a cluster that it needs is not live or because Envoy
//! refused it, what Envoy has stands in its place and the rest of the resource moves on.

mod answer;
mod channel;
mod crossing;
mod foreign;
mod names;
mod refusal;
mod request;
mod stage;
mod subscribe;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use channel::{Channel, Held, Message, Pending};
use foreign::ForeignTypes;
use refusal::PartVersion;
pub(crate) use request::DeltaRequest;
pub use request::{Ask, Request};
use stage::Stage;

use crate::resource::PerKind;
use crate::{Kind, Liveness, Resource, Version, View};

/// The variant of the protocol that a stream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Every response to clusters and listeners names all there are.
    Sotw,
    /// Responses carry what changed.
    Delta,
}

/// A message to Envoy.
#[derive(Clone, Debug)]
pub struct Response {
    /// The kind; none for a type that we do not serve.
    pub kind: Option<Kind>,
    /// The type URL of the resources.
    pub type_url: Cow<'static, str>,
    /// Unique on the stream; Envoy repeats it in its answer.
    pub nonce: String,
    /// A hash of the resources' versions.
    pub version: Version,
    /// What is added or replaced; in the state of the world all there is, for kinds where that matters.
    pub resources: Vec<Arc<Resource>>,
    /// What is removed, or does not exist; delta only.
    pub removed: Vec<Arc<str>>,
}

/// A resource that a refusal concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accused {
    /// The resource's name.
    pub name: Arc<str>,
    /// The keys of the parts that Envoy had not accepted before.
    pub parts: Vec<Arc<str>>,
}

/// What happened on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A response was handed to the transport.
    Sent {
        /// The kind; none for a type that we do not serve.
        kind: Option<Kind>,
        /// The response's nonce.
        nonce: String,
        /// How many resources it carries.
        resources: usize,
        /// Its length in bytes.
        bytes: usize,
    },
    /// Envoy accepted a response.
    Acked {
        /// The kind.
        kind: Kind,
        /// The response's nonce.
        nonce: String,
        /// The epoch of the view that it was made from.
        epoch: u64,
    },
    /// Envoy refused a response. While several parts are accused the search for the culprit goes on; a refusal that
    /// accuses exactly one is final: that part is not sent to this stream again until it changes.
    Rejected {
        /// The kind.
        kind: Kind,
        /// The response's nonce.
        nonce: String,
        /// Envoy's reason, without its unstable debug markers.
        message: String,
        /// The resources and parts that were new to Envoy.
        accused: Vec<Accused>,
    },
    /// Envoy has accepted all that the view with this epoch says about what it subscribed to.
    FullySynced {
        /// The view's epoch.
        epoch: u64,
    },
}

/// The state of one stream.
#[derive(Debug)]
pub struct Session {
    mode: Mode,
    view: View,
    channels: PerKind<Channel>,
    stage: Stage,
    foreign: ForeignTypes,
    /// The number of the last message; its nonce in hexadecimal.
    message: u64,
    /// The place in `Kind::ALL` of the kind whose turn is next. Turns keep a busy kind from starving the others.
    turn: usize,
    /// The epoch that was last reported as synced, until something is outstanding again.
    synced: Option<u64>,
}

impl Session {
    /// A new stream that is to be given this view.
    pub fn new(mode: Mode, view: View) -> Self {
        Self {
            mode,
            view,
            channels: PerKind::default(),
            stage: Stage::default(),
            foreign: ForeignTypes::default(),
            message: 0,
            turn: 0,
            synced: None,
        }
    }

    /// The variant of the protocol.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The view that the stream is being given.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Takes a request in. Nothing in it is an error: what makes no sense is ignored.
    pub fn on_request(&mut self, request: Request) -> Vec<Event> {
        let Some(kind) = Kind::from_type_url(&request.type_url) else {
            self.foreign.request(request);
            return Vec::new();
        };
        let mut events = Vec::new();
        let answered = u64::from_str_radix(&request.nonce, 16).ok();
        if let Some(number) = answered {
            events.extend(self.answered(kind, number, request.error));
        }
        match request.ask {
            // An answer to an older response is out of date as an answer, not in its names: requests come in order, and
            // a name that was left and taken up again meanwhile must be answered again. A nonce that was never sent is
            // from another stream.
            Ask::Names(names) => {
                let foreign = answered.is_none_or(|number| number > self.message);
                if request.nonce.is_empty() || !foreign || !self.channel(kind).asked {
                    self.subscribe_to(kind, names);
                }
            }
            Ask::Changes {
                subscribe,
                unsubscribe,
                initial,
            } => {
                self.change_subscription(kind, &subscribe, &unsubscribe, &initial);
            }
        }
        events.extend(self.synced_event());
        events
    }

    /// Takes a new view in. Costs as much as it differs from the one before.
    pub fn on_view(&mut self, view: View) -> Option<Event> {
        let old = std::mem::replace(&mut self.view, view);
        for kind in Kind::ALL {
            let mut changed = Vec::new();
            old.for_each_change(&self.view, kind, |name| changed.push(Arc::clone(name)));
            let (before, now) = (
                old.outbound.resources(kind),
                self.view.outbound.resources(kind),
            );
            self.channels.get_mut(kind).names.rebase(before, now);
            for name in changed {
                self.view_changed(kind, &name, Held::of(old.get(kind, &name)));
            }
        }
        self.synced_event()
    }

    /// One name's resource is another now, or gone.
    fn view_changed(&mut self, kind: Kind, name: &Arc<str>, before: Held) {
        let target = self.view.get(kind, name);
        let channel = self.channels.get_mut(kind);
        if !channel
            .names
            .contains(name, self.view.outbound.resources(kind))
        {
            return;
        }
        let now = Held::of(target);
        let held = channel
            .pending
            .get(name)
            .map_or(&before, |pending| &pending.held);
        if kind == Kind::Cluster && channel.begun && self.mode == Mode::Delta {
            match target {
                Some(_) if *held == Held::Nothing => self.stage.announce(name),
                None if *held == Held::Nothing => self.stage.forget(name),
                Some(_) | None => {}
            }
        }
        if *held != now {
            channel.pending.entry(Arc::clone(name)).or_insert(Pending {
                held: before,
                owed: false,
            });
        } else if channel
            .pending
            .get(name)
            .is_some_and(|pending| !pending.owed)
        {
            channel.pending.remove(name);
        }
    }

    /// The time at which [`Session::next`] has something to say without anything else happening.
    pub fn deadline(&self) -> Option<Duration> {
        self.stage.deadline()
    }

    fn channel(&self, kind: Kind) -> &Channel {
        self.channels.get(kind)
    }

    fn channel_mut(&mut self, kind: Kind) -> &mut Channel {
        self.channels.get_mut(kind)
    }

    /// Handles the answer to a message. Unknown and repeated numbers are ignored.
    fn answered(&mut self, kind: Kind, number: u64, error: Option<String>) -> Option<Event> {
        let composed = matches!(kind, Kind::Extension | Kind::Listener | Kind::Route);
        let mixed = error.is_some() && composed && self.holds_back();
        let channel = self.channels.get_mut(kind);
        let (earlier, message) = channel.take(number)?;
        let accepted = error.is_none();
        for message in &earlier {
            channel.accept(message);
        }
        let nonce = nonce(number);
        let event = match error {
            None => {
                channel.accept(&message);
                Event::Acked {
                    kind,
                    nonce,
                    epoch: message.epoch,
                }
            }
            Some(text) => {
                let accused = accused_resources(channel.refuse(&message, mixed, kind, &self.view));
                Event::Rejected {
                    kind,
                    nonce,
                    message: text,
                    accused,
                }
            }
        };
        for message in &earlier {
            self.stage_answered(kind, message, true);
        }
        self.stage_answered(kind, &message, accepted);
        self.forgive();
        Some(event)
    }

    fn stage_answered(&mut self, kind: Kind, message: &Message, accepted: bool) {
        match kind {
            Kind::Cluster if accepted => self.stage.clusters_accepted(message.number),
            Kind::Cluster => {
                for name in message.names() {
                    self.stage.cluster_refused(name, message.number);
                }
            }
            Kind::Endpoint => {
                for resource in &message.sent {
                    self.stage
                        .endpoints_answered(resource.name(), message.number, accepted);
                }
                // an answer that there are none makes no cluster live
                for name in &message.removed {
                    self.stage.endpoints_answered(name, message.number, false);
                }
            }
            Kind::Extension | Kind::Listener | Kind::Route | Kind::NameTable => {}
        }
    }

    /// Once nothing is held back, what was refused as a mixture of old and new is tried again whole.
    fn forgive(&mut self) {
        let refused = |kind| !self.channel(kind).refusals.is_empty();
        if Kind::ALL.into_iter().any(refused) && !self.holds_back() {
            for kind in Kind::ALL {
                self.channel_mut(kind).refusals.forgive_mixed();
            }
        }
    }

    /// Says that all is sent and accepted, once for each time that it becomes so.
    fn synced_event(&mut self) -> Option<Event> {
        let listens = [Kind::Cluster, Kind::Listener]
            .into_iter()
            .all(|kind| self.channel(kind).asked);
        if !listens
            || !Kind::ALL
                .into_iter()
                .all(|kind| self.channel(kind).is_settled())
        {
            self.synced = None;
            return None;
        }
        let epoch = self.view.epoch;
        (self.synced.replace(epoch) != Some(epoch)).then_some(Event::FullySynced { epoch })
    }
}

/// The accused parts by resource.
fn accused_resources(parts: Vec<PartVersion>) -> Vec<Accused> {
    let mut accused: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
    for (name, key, _) in parts {
        accused.entry(name).or_default().push(key);
    }
    accused
        .into_iter()
        .map(|(name, parts)| Accused { name, parts })
        .collect()
}

/// A message's number as its nonce.
fn nonce(number: u64) -> String {
    format!("{number:x}")
}

/// When a cluster's endpoints are ours to send.
fn has_endpoints(cluster: &Resource) -> bool {
    cluster.liveness() == Liveness::Eds
}
