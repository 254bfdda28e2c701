//! How the watches are: while one is lost, what it last said is served on, and metrics and the log say so.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// All watches.
#[derive(Debug, Default)]
pub struct Health(Mutex<Vec<(String, Arc<Mutex<State>>)>>);

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
    state: Arc<Mutex<State>>,
}

impl Health {
    /// The entry of a watch of that name.
    pub(crate) fn watch(&self, name: String) -> Watch {
        let state = Arc::new(Mutex::new(State::New(Instant::now())));
        let entry = (name.clone(), Arc::clone(&state));
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(entry);
        Watch { name, state }
    }

    /// For each watch, for how many seconds it has been lost; 0 when it is well.
    #[must_use]
    pub fn stale_seconds(&self) -> Vec<(String, f64)> {
        let watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = |(name, state): &(String, Arc<Mutex<State>>)| {
            let since = match &*state.lock().unwrap_or_else(PoisonError::into_inner) {
                State::New(since) | State::Lost(since) => since.elapsed().as_secs_f64(),
                State::Well | State::Absent => 0.0,
            };
            (name.clone(), since)
        };
        watches.iter().map(seconds).collect()
    }
}

impl Watch {
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
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut now = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut now, state)
    }
}
