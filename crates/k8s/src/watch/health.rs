//! How the watches are: while one is lost, what it last said is served on, and metrics and the log say so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// All watches.
#[derive(Debug, Default)]
pub struct Health(Mutex<Vec<(String, Arc<Mutex<Entry>>)>>);

/// How one watch is.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchHealth {
    /// What it follows: the plural of a kind, or one object.
    pub resource: String,
    /// For how many seconds it has been lost; 0 when it is well.
    pub stale_seconds: f64,
    /// How often it has read all that there is. A watch that is taken up where it was reads nothing again.
    pub lists: u64,
}

#[derive(Debug)]
struct Entry {
    state: State,
    lists: u64,
}

#[derive(Debug)]
enum State {
    /// It has not listed yet, since then.
    New(Instant),
    Well,
    Absent,
    /// Lost since then.
    Lost(Instant),
}

/// One watch's own entry.
pub struct Watch {
    name: String,
    entry: Arc<Mutex<Entry>>,
}

impl Health {
    /// The entry of a watch of that name.
    pub(crate) fn watch(&self, name: String) -> Watch {
        let entry = Arc::new(Mutex::new(Entry {
            state: State::New(Instant::now()),
            lists: 0,
        }));
        let own = (name.clone(), Arc::clone(&entry));
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(own);
        Watch { name, entry }
    }

    /// How each watch is.
    #[must_use]
    pub fn watches(&self) -> Vec<WatchHealth> {
        let watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let health = |(name, entry): &(String, Arc<Mutex<Entry>>)| {
            let entry = entry.lock().unwrap_or_else(PoisonError::into_inner);
            let stale_seconds = match entry.state {
                State::New(since) | State::Lost(since) => since.elapsed().as_secs_f64(),
                State::Well | State::Absent => 0.0,
            };
            WatchHealth {
                resource: name.clone(),
                stale_seconds,
                lists: entry.lists,
            }
        };
        watches.iter().map(health).collect()
    }
}

impl Watch {
    /// It has read all that there is.
    pub(crate) fn has_listed(&self) {
        self.entry().lists += 1;
    }

    /// Whether it was lost and has not been heard of since.
    pub(crate) fn waits(&self) -> bool {
        matches!(self.entry().state, State::Lost(_))
    }

    pub(crate) fn is_well(&self) {
        let before = self.replace(State::Well);
        match before {
            State::Lost(since) => tracing::info!(
                "the watch of {} is back after {:.1} s",
                self.name,
                since.elapsed().as_secs_f64()
            ),
            State::Absent => tracing::info!("{} exist now", self.name),
            State::New(_) | State::Well => {}
        }
    }

    pub(crate) fn is_absent(&self) {
        if !matches!(self.replace(State::Absent), State::Absent) {
            tracing::warn!(
                "the API server has no {}: install the CRDs to use them",
                self.name
            );
        }
    }

    pub(crate) fn is_lost(&self, reason: &str) {
        let state = &mut self.entry().state;
        match *state {
            State::Lost(_) => tracing::debug!("the watch of {}: {reason}", self.name),
            State::New(since) => {
                *state = State::Lost(since);
                tracing::warn!("{} cannot be watched yet: {reason}", self.name);
            }
            State::Well | State::Absent => {
                *state = State::Lost(Instant::now());
                tracing::warn!(
                    "the watch of {} is lost, what it said is served on: {reason}",
                    self.name
                );
            }
        }
    }

    fn replace(&self, state: State) -> State {
        std::mem::replace(&mut self.entry().state, state)
    }

    fn entry(&self) -> MutexGuard<'_, Entry> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
