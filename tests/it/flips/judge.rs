//! Whether what callers got is right: a call may be answered as any state says that was in force at some time between
//! its beginning and its end. A state is in force from when it is written until a later one is acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use lab::app::{Call, Outcome, Protocol};

use super::state::State;

/// A kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// HTTP/1.1 on one connection.
    Http1,
    /// HTTP/2 on one connection.
    Http2,
    /// One gRPC stream.
    Grpc,
    /// Lines on one TCP connection.
    Tcp,
    /// A line on a TCP connection of its own.
    FreshTcp,
}

impl Load {
    pub const ALL: [Self; 5] = [
        Self::Http1,
        Self::Http2,
        Self::Grpc,
        Self::Tcp,
        Self::FreshTcp,
    ];

    /// The calls, and the milliseconds from one to the next: together they make 200 a second.
    pub fn calls(self) -> (Call, u64) {
        let http = |url, protocol| Call {
            protocol,
            ..Call::get(url)
        };
        match self {
            Self::Http1 => (Call::get("http://reviews:9080/"), 10),
            Self::Http2 => (http("http://reviews:9080/", Protocol::Http2), 20),
            Self::Grpc => (http("http://reviews:9090/", Protocol::Grpc), 40),
            Self::Tcp => (Call::get("tcp://reviews:9000"), 80),
            Self::FreshTcp => {
                let line = Call::get("tcp://reviews:9000");
                (
                    Call {
                        fresh: true,
                        ..line
                    },
                    80,
                )
            }
        }
    }

    /// Who may answer in a state; none: whoever answered first, for as long as the connection lasts.
    fn answers(self, state: &State) -> Option<BTreeSet<&'static str>> {
        match self {
            Self::Http1 | Self::Http2 => Some(state.routed()),
            Self::FreshTcp => Some(state.endpoints()),
            Self::Grpc | Self::Tcp => None,
        }
    }
}

/// How long Envoy's workers may take, in microseconds, to do what its main thread has acknowledged.
const TAKING_UP: u64 = 100_000;

/// A state and when it was in force, in microseconds since 1970.
struct InForce {
    state: State,
    begins: u64,
    ends: u64,
}

/// All states so far.
#[derive(Default)]
pub struct History(Vec<InForce>);

impl History {
    /// A state is about to be written.
    pub fn written(&mut self, state: &State) {
        self.0.push(InForce {
            state: state.clone(),
            begins: now(),
            ends: u64::MAX,
        });
    }

    /// Every proxy has acknowledged the last state.
    pub fn acknowledged(&mut self) {
        let end = now() + TAKING_UP;
        let Some((_, earlier)) = self.0.split_last_mut() else {
            return;
        };
        for state in earlier {
            state.ends = state.ends.min(end);
        }
    }

    /// What is wrong with what came of a call; none: nothing.
    pub fn fault(&self, load: Load, outcome: &Outcome) -> Option<String> {
        if outcome.failure.is_some() || outcome.status != Some(200) {
            return Some(format!("{load:?} failed: {outcome:?}"));
        }
        let ended = outcome.began + outcome.micros;
        let then = self
            .0
            .iter()
            .filter(|state| state.begins <= ended && outcome.began <= state.ends);
        let mut allowed = BTreeSet::new();
        for state in then {
            // who goes by its first connection is right whoever answers, on that connection
            let Some(answers) = load.answers(&state.state) else {
                let again = outcome.connection != 1;
                return again.then(|| format!("{load:?} had to connect again: {outcome:?}"));
            };
            allowed.extend(answers);
        }
        let server = outcome.answer.as_ref()?.workload.as_str();
        (!allowed.contains(server))
            .then(|| format!("{load:?} came to {server}, not to {allowed:?}: {outcome:?}"))
    }
}

/// What is wrong with all that was called, and how many calls each load made.
pub fn judge(history: &History, calls: &[(Load, Outcome)]) -> (Vec<String>, BTreeMap<Load, usize>) {
    let mut made = BTreeMap::new();
    for (load, _) in calls {
        *made.entry(*load).or_default() += 1;
    }
    let faults = calls
        .iter()
        .filter_map(|(load, outcome)| history.fault(*load, outcome));
    (faults.collect(), made)
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros()).unwrap()
}
