//! Every open stream: whose it is, what it was sent and what its proxy accepted. Written by the streams themselves as
//! they go, read by `/debug`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use control::ProxyId;
use tokio::sync::watch;
use xds::{Event, Kind, Mode, StreamId, View};

use crate::node::Node;

/// One stream.
#[derive(Debug)]
pub struct Stream {
    /// What the proxy says of itself.
    pub node: Node,
    /// The proxy, for the loop.
    pub proxy: ProxyId,
    /// The variant of the protocol.
    pub mode: Mode,
    /// What it is to hold.
    pub views: watch::Receiver<View>,
    progress: Mutex<Progress>,
}

/// How far a stream has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The nonces of the last response that was sent, and of the last that was accepted, of each kind.
    pub nonces: BTreeMap<Kind, Nonces>,
    /// The epoch of the newest view that concerns it.
    pub wanted: u64,
    /// The newest epoch of which it has accepted everything.
    pub accepted: Option<u64>,
    /// When the oldest change came that it has not accepted.
    since: Option<Instant>,
}

/// The last responses of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nonces {
    /// Sent.
    pub sent: String,
    /// Accepted.
    pub acked: String,
    /// Why the last one was refused, if it was.
    pub refused: Option<String>,
}

impl Progress {
    /// Whether it has accepted everything of the newest view.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.accepted >= Some(self.wanted)
    }
}

impl Stream {
    /// A stream that has been sent nothing yet of the view that it begins with.
    #[must_use]
    pub fn new(node: Node, proxy: ProxyId, mode: Mode, views: watch::Receiver<View>) -> Self {
        let wanted = views.borrow().epoch;
        let progress = Mutex::new(Progress {
            wanted,
            ..Progress::default()
        });
        Self {
            node,
            proxy,
            mode,
            views,
            progress,
        }
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A view with this epoch is to be sent, because of a change that came at `since`.
    pub fn wants(&self, epoch: u64, since: Instant) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.wanted = epoch;
        progress.since.get_or_insert(since);
    }

    /// Something happened on it. Answers how long the proxy took, when it has accepted all that a change brought.
    pub fn happened(&self, event: &Event) -> Option<Duration> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Sent {
                kind: Some(kind),
                nonce,
                ..
            } => {
                progress
                    .nonces
                    .entry(*kind)
                    .or_default()
                    .sent
                    .clone_from(nonce);
            }
            Event::Sent { kind: None, .. } => {}
            Event::Acked { kind, nonce, .. } => {
                let nonces = progress.nonces.entry(*kind).or_default();
                nonces.acked.clone_from(nonce);
                nonces.refused = None;
            }
            Event::Rejected { kind, message, .. } => {
                progress.nonces.entry(*kind).or_default().refused = Some(message.clone());
            }
            Event::FullySynced { epoch } => {
                progress.accepted = progress.accepted.max(Some(*epoch));
                if progress.is_synced() {
                    return progress.since.take().map(|since| since.elapsed());
                }
            }
        }
        None
    }
}

/// All open streams, and the number of the newest state.
#[derive(Debug, Default)]
pub struct Streams {
    next: AtomicU64,
    epoch: AtomicU64,
    open: RwLock<BTreeMap<StreamId, Arc<Stream>>>,
}

impl Streams {
    /// A number that no stream has had.
    #[must_use]
    pub fn next_id(&self) -> StreamId {
        StreamId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes a stream in.
    pub fn insert(&self, id: StreamId, stream: Arc<Stream>) {
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, stream);
    }

    /// A stream by its number.
    #[must_use]
    pub fn get(&self, id: StreamId) -> Option<Arc<Stream>> {
        self.open
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    /// Forgets a stream.
    pub fn remove(&self, id: StreamId) -> Option<Arc<Stream>> {
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id)
    }

    /// All streams, in the order in which they came.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Stream>> {
        self.open
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// The number of the newest state. Every stream that it concerns knew of it before it is told here.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// There is a newer state.
    pub fn set_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
    }
}
