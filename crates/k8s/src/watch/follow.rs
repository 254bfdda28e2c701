//! One watch, for ever: what to ask, what to make of each failure, how long to wait.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures::StreamExt as _;
use kube::core::ApiResource;
use kube::runtime::watcher::{self, Event, InitialListStrategy, watcher};
use kube::{Api, Client};
use tokio::sync::watch;

use super::discovery::Discovery;
use super::health::Watch;
use crate::raw::Raw;
use crate::resources::Only;

/// How long one request lasts at most, in seconds: a connection that died in silence is noticed after it.
const REQUEST_SECONDS: u32 = 120;
/// The wait after a failure, and its limit: an API server that is back is asked within two seconds.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// A request that has not failed for so long has been answered: a connection that is dead is given up before.
const ANSWERED: Duration = Duration::from_secs(15);

/// What a watch says.
pub enum Seen {
    /// A list begins: what follows until [`Complete`](Self::Complete) is all that there is.
    Begin,
    /// One object of the list.
    Listed(Raw),
    /// The list is complete.
    Complete,
    /// An object was made or changed.
    Applied(Raw),
    /// An object is gone.
    Deleted(Raw),
    /// The API server has no such kind: its CRD is not installed.
    Absent,
}

/// What is done with what is seen.
pub trait Sink: Send + 'static {
    /// Takes it in. False: nobody listens any more.
    fn take(&mut self, seen: Seen) -> bool;
}

/// One watch.
pub struct Follower {
    api: Api<Raw>,
    config: watcher::Config,
    watch: Watch,
    /// Whenever it changes, all is listed again; nothing is asked for before it is decided.
    discovery: Option<watch::Receiver<Discovery>>,
}

/// Why a request failed, as far as it matters what to do.
enum Failure {
    /// The kind does not exist.
    Absent,
    /// The API server is too old for streaming lists, or they are switched off.
    NoStreaming,
    /// Everything else passes, or needs a right that somebody must give.
    Lost(String),
}

impl Follower {
    /// A watch of all objects of a kind, or of one object only.
    pub fn new(client: &Client, resource: ApiResource, only: Option<Only>, watch: Watch) -> Self {
        let config = watcher::Config::default()
            .timeout(REQUEST_SECONDS)
            .streaming_lists();
        let (api, config) = match only {
            None => (Api::all_with(client.clone(), &resource), config),
            Some(Only { namespace, name }) => {
                let client = client.clone();
                let api = match namespace {
                    Some(namespace) => Api::namespaced_with(client, &namespace, &resource),
                    None => Api::all_with(client, &resource),
                };
                (api, config.fields(&format!("metadata.name={name}")))
            }
        };
        Self {
            api,
            config,
            watch,
            discovery: None,
        }
    }

    /// The same, which lists again whenever other namespaces are chosen.
    pub fn again_with(self, discovery: Option<watch::Receiver<Discovery>>) -> Self {
        Self { discovery, ..self }
    }

    /// Ends when other namespaces are chosen.
    async fn chosen_anew(&mut self) {
        if let Some(discovery) = &mut self.discovery
            && discovery.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    async fn decided(&mut self) {
        if let Some(discovery) = &mut self.discovery {
            // Who decides lives as long as anybody listens.
            let _ = discovery
                .wait_for(|choice| *choice != Discovery::Undecided)
                .await;
        }
    }

    /// Follows until nobody listens.
    pub async fn run(mut self, mut sink: impl Sink) {
        self.decided().await;
        let mut waits = waits();
        let mut events = watcher(self.api.clone(), self.config.clone()).boxed();
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                // Where nothing changes, nothing comes that says so.
                () = tokio::time::sleep(ANSWERED), if self.watch.waits() => {
                    self.watch.is_well();
                    continue;
                }
                () = self.chosen_anew() => {
                    events = watcher(self.api.clone(), self.config.clone()).boxed();
                    continue;
                }
            };
            let seen = match event {
                Some(Ok(event)) => seen(event),
                Some(Err(error)) => {
                    match failure(&error, &self.config) {
                        Failure::NoStreaming => {
                            self.config.initial_list_strategy = InitialListStrategy::ListWatch;
                            events = watcher(self.api.clone(), self.config.clone()).boxed();
                            continue;
                        }
                        Failure::Absent => {
                            if !sink.take(Seen::Absent) {
                                return;
                            }
                            self.watch.is_absent();
                        }
                        Failure::Lost(reason) => self.watch.is_lost(&reason),
                    }
                    tokio::time::sleep(waits.next().unwrap_or(LONGEST_WAIT)).await;
                    continue;
                }
                // It never ends by itself.
                None => return,
            };
            if !matches!(seen, Seen::Begin) {
                self.watch.is_well();
                waits = self::waits();
            }
            if matches!(seen, Seen::Complete) {
                self.watch.has_listed();
            }
            if !sink.take(seen) {
                return;
            }
        }
    }
}

fn waits() -> ExponentialBackoff {
    let waits = ExponentialBuilder::new().with_jitter().without_max_times();
    waits
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .build()
}

fn seen(event: Event<Raw>) -> Seen {
    match event {
        Event::Init => Seen::Begin,
        Event::InitApply(raw) => Seen::Listed(raw),
        Event::InitDone => Seen::Complete,
        Event::Apply(raw) => Seen::Applied(raw),
        Event::Delete(raw) => Seen::Deleted(raw),
    }
}

fn failure(error: &watcher::Error, config: &watcher::Config) -> Failure {
    let started = match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
            Some(error)
        }
        watcher::Error::WatchError(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => None,
    };
    let code = match started {
        Some(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    };
    let is_streaming = config.initial_list_strategy == InitialListStrategy::StreamingList;
    match code {
        Some(404) => Failure::Absent,
        // `sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled`
        Some(400 | 422) if is_streaming => Failure::NoStreaming,
        _ => Failure::Lost(error.to_string()),
    }
}
