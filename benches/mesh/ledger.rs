//! What all sidecars received, by phase: bytes, when it came, how much of it was distinct, and, for the floor, what
//! exactly it was.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::Notify;
use xds::Kind;
use xxhash_rust::xxh3::xxh3_128;

use crate::Result;
use crate::catalogue::{Catalogue, Entry, Name};
use crate::grpc::PREFIX;
use crate::recording::{Phase, Recording, Script, Step};

/// A run of bytes of the recording ends with a resource whose hash is divisible by this: mostly some tens of resources,
/// and the same runs in messages that differ in a few.
const RUN: u128 = 32;
/// A resource of this many bytes is a run of its own.
const LARGE: usize = 4096;

/// A response, as far as it concerns a sidecar.
#[derive(Debug)]
pub struct Received {
    /// The kind of its resources.
    pub kind: Kind,
    /// What an acknowledgement repeats.
    pub nonce: String,
    /// What it adds or replaces.
    pub resources: Vec<Entry>,
    /// What it says does not exist.
    pub removed: Vec<String>,
}

/// A `DeltaDiscoveryResponse` whose resources stay encoded.
#[derive(Clone, PartialEq, prost::Message)]
struct Response {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    resources: Vec<Bytes>,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(string, tag = "5")]
    nonce: String,
    #[prost(string, repeated, tag = "6")]
    removed_resources: Vec<String>,
}

/// What was received in a phase.
#[derive(Debug, Default)]
pub struct Totals {
    /// Bytes of messages with their prefixes.
    pub bytes: u64,
    /// The same, counting equal resources once.
    pub distinct: u64,
    /// Messages.
    pub messages: u64,
    /// Connections that were reset and tried again.
    pub retries: u64,
    /// For each sidecar that received anything, from the beginning of the phase to its last message.
    pub delays: Vec<Duration>,
}

/// One sidecar in a phase.
#[derive(Clone, Debug, Default)]
struct Column {
    last: Option<Instant>,
    /// Whether it received what the phase is about.
    has_subject: bool,
    arrived: bool,
    script: Script,
}

/// The books of a run; all sidecars share them.
#[derive(Debug)]
pub struct Ledger {
    inner: Mutex<Inner>,
    arrival: Notify,
}

#[derive(Debug)]
struct Inner {
    catalogue: Catalogue,
    /// What is written for the floor, if this run is.
    recording: Option<Recording>,
    by_hash: HashMap<u128, u32>,
    columns: Vec<Column>,
    began: Instant,
    /// How many sidecars must still receive what the phase is about.
    expected: usize,
    /// What the phase is about, if it is about one resource: its name, and the least number of a new version of it.
    subject: Option<(Name, Entry)>,
    seen: HashSet<Entry>,
    totals: Totals,
}

impl Ledger {
    /// Empty books for so many sidecars.
    pub fn new(sidecars: usize, record: bool) -> Arc<Self> {
        let inner = Inner {
            catalogue: Catalogue::default(),
            recording: record.then(Recording::default),
            by_hash: HashMap::new(),
            columns: vec![Column::default(); sidecars],
            began: Instant::now(),
            expected: 0,
            subject: None,
            seen: HashSet::new(),
            totals: Totals::default(),
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
            arrival: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a phase in which this many sidecars are to receive something: this resource as nobody had it before.
    pub fn begin(&self, expected: usize, subject: Option<(Kind, String)>) {
        let mut inner = self.lock();
        let catalogue = &mut inner.catalogue;
        let subject = subject.map(|(kind, name)| (catalogue.name(kind, &name), catalogue.next()));
        inner.subject = subject;
        inner.columns.fill(Column::default());
        inner.seen.clear();
        inner.totals = Totals::default();
        inner.expected = expected;
        inner.began = Instant::now();
    }

    /// Waits until as many sidecars as expected have what the phase is about.
    pub async fn arrived(&self) {
        while self.lock().expected > 0 {
            self.arrival.notified().await;
        }
    }

    /// A connection was reset.
    pub fn retry(&self) {
        self.lock().totals.retries += 1;
    }

    /// How many sidecars are still waited for.
    pub fn missing(&self) -> usize {
        self.lock().expected
    }

    /// How many messages came so far in this phase.
    pub fn messages(&self) -> u64 {
        self.lock().totals.messages
    }

    /// Ends the phase.
    pub fn finish(&self) -> Totals {
        let mut inner = self.lock();
        let (began, columns) = (inner.began, std::mem::take(&mut inner.columns));
        let mut totals = std::mem::take(&mut inner.totals);
        let delay = |column: &Column| {
            column
                .last
                .map(|last| last.saturating_duration_since(began))
        };
        totals.delays = columns.iter().filter_map(delay).collect();
        inner.columns = vec![Column::default(); columns.len()];
        if let Some(recording) = &mut inner.recording {
            let scripts = columns.into_iter().map(|column| column.script).collect();
            recording.phases.push(Phase { scripts });
        }
        totals
    }

    /// What was recorded, encoded. The run is over.
    pub fn take_recording(&self) -> Vec<u8> {
        self.lock()
            .recording
            .take()
            .unwrap_or_default()
            .encode_to_vec()
    }

    /// Books a message, with its prefix, of a sidecar that had sent so many subscriptions before it came.
    pub fn receive(&self, sidecar: usize, frame: &Bytes, subscriptions: u32) -> Result<Received> {
        let now = Instant::now();
        let mut inner = self.lock();
        let response = Response::decode(frame.slice(PREFIX..))?;
        let kind =
            Kind::from_type_url(&response.type_url).ok_or("a response of an unknown type")?;
        let mut resources = Vec::with_capacity(response.resources.len());
        let mut ends = Vec::new();
        let mut length = 0;
        for encoded in &response.resources {
            let entry = inner.catalogue.entry(kind, encoded)?;
            if inner.seen.insert(entry) {
                inner.totals.distinct += u64::try_from(encoded.len())?;
            }
            length += encoded.len();
            resources.push(entry);
            let start = encoded.as_ptr().addr() - frame.as_ptr().addr();
            if encoded.len() >= LARGE {
                ends.push(start);
            }
            if encoded.len() >= LARGE || inner.catalogue.ends_run(entry, RUN) {
                ends.push(start + encoded.len());
            }
        }
        inner.totals.bytes += u64::try_from(frame.len())?;
        // What stands around the resources is each stream's own.
        inner.totals.distinct += u64::try_from(frame.len() - length)?;
        inner.totals.messages += 1;
        let chunks = inner.record(frame, ends);
        let has_subject = resources.iter().any(|entry| inner.is_subject(*entry));
        let column = inner.columns.get_mut(sidecar).ok_or("no such sidecar")?;
        column.last = Some(now);
        column.has_subject |= has_subject;
        if let Some(chunks) = chunks {
            column.script.steps.push(Step {
                after: subscriptions,
                chunks,
            });
        }
        Ok(Received {
            kind,
            nonce: response.nonce,
            resources,
            removed: response.removed_resources,
        })
    }

    /// A sidecar has all that it waits for.
    pub fn arrive(&self, sidecar: usize) {
        let mut inner = self.lock();
        let any = inner.subject.is_none();
        let Some(column) = inner.columns.get_mut(sidecar) else {
            return;
        };
        if (any || column.has_subject) && !std::mem::replace(&mut column.arrived, true) {
            inner.expected = inner.expected.saturating_sub(1);
            if inner.expected == 0 {
                self.arrival.notify_one();
            }
        }
    }

    /// Asks the catalogue.
    pub fn catalogue<T>(&self, ask: impl FnOnce(&mut Catalogue) -> T) -> T {
        ask(&mut self.lock().catalogue)
    }
}

impl Inner {
    /// Whether this is a new version of what the phase is about.
    fn is_subject(&self, entry: Entry) -> bool {
        self.subject.is_some_and(|(name, least)| {
            let facts = self.catalogue.facts(entry);
            entry >= least && facts.is_some_and(|facts| facts.name == name)
        })
    }

    /// The chunks of a frame that is cut at these places.
    fn record(&mut self, frame: &Bytes, ends: Vec<usize>) -> Option<Vec<u32>> {
        let recording = self.recording.as_mut()?;
        let mut chunks = Vec::with_capacity(ends.len() + 1);
        let mut start = 0;
        for end in ends.into_iter().chain([frame.len()]) {
            let Some(run) = frame.get(start..end).filter(|run| !run.is_empty()) else {
                continue;
            };
            let number = *self.by_hash.entry(xxh3_128(run)).or_insert_with(|| {
                recording.chunks.push(Bytes::copy_from_slice(run));
                u32::try_from(recording.chunks.len() - 1).unwrap_or(u32::MAX)
            });
            chunks.push(number);
            start = end;
        }
        Some(chunks)
    }
}
