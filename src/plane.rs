//! The loop on its own thread: it owns [`Control`], takes in what sources and streams say, and publishes views.
//!
//! All that is queued is taken at once and computed once; a stream reads the newest view when its last response is
//! flushed. That is the whole debounce: there is no timer. Only the proxies whose view changed are told.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use control::{Control, Origin, ProxyId, ProxyInfo};
use model::{Diagnostic, TrustDomain};
use store::{ChangeSet, Snapshot};
use tokio::sync::{mpsc, oneshot, watch};
use xds::{Accused, Kind, Mode, StreamId, View};

use crate::diagnostics::{Diagnostics, News};
use crate::log;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::streams::{Stream, Streams};

/// What the loop is told.
#[derive(Debug)]
enum Message {
    Changed {
        source: usize,
        sets: Vec<ChangeSet>,
        findings: Vec<Diagnostic>,
        seen: Instant,
    },
    Connect {
        id: StreamId,
        client: Box<Client>,
        reply: oneshot::Sender<Option<watch::Receiver<View>>>,
    },
    Gone(StreamId),
    Refused(Refused),
    Snapshot(oneshot::Sender<Snapshot>),
    Stop,
}

/// A client whose identity is settled.
#[derive(Debug)]
pub struct Client {
    /// What it says of itself.
    pub node: Node,
    /// What of that holds.
    pub info: ProxyInfo,
    /// The variant of the protocol that it speaks.
    pub mode: Mode,
}

/// A response that a proxy refused.
#[derive(Debug)]
pub struct Refused {
    /// Whose stream.
    pub stream: Arc<Stream>,
    /// Of which kind.
    pub kind: Kind,
    /// Why.
    pub message: String,
    /// What in it was new to the proxy.
    pub accused: Vec<Accused>,
}

/// How the others talk to the loop. Clones talk to the same.
#[derive(Clone, Debug)]
pub struct Handle {
    messages: mpsc::UnboundedSender<Message>,
    shared: Arc<Shared>,
}

/// What the loop and the others look at.
#[derive(Debug)]
pub struct Shared {
    /// The open streams.
    pub streams: Streams,
    /// The metrics.
    pub metrics: Metrics,
    /// What is to be said of the objects of now.
    pub diagnostics: Diagnostics,
    /// Whether every source has been heard.
    pub synced: watch::Sender<bool>,
}

impl Shared {
    /// Nothing yet.
    #[must_use]
    pub fn new(metrics: Metrics, diagnostics: Diagnostics) -> Self {
        Self {
            streams: Streams::default(),
            metrics,
            diagnostics,
            synced: watch::Sender::new(false),
        }
    }
}

impl Handle {
    /// Starts the loop.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(control: Control, shared: Arc<Shared>) -> io::Result<(Self, JoinHandle<()>)> {
        let (messages, inbox) = mpsc::unbounded_channel();
        let plane = Plane {
            control,
            shared: Arc::clone(&shared),
            senders: HashMap::new(),
            trust_domain: None,
        };
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || plane.run(inbox))?;
        Ok((Self { messages, shared }, thread))
    }

    /// What is shared with the loop.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A source (by its place among the sources) says what changed, and what is to be said of its files.
    pub fn changed(&self, source: usize, sets: Vec<ChangeSet>, findings: Vec<Diagnostic>) {
        self.tell(Message::Changed {
            source,
            sets,
            findings,
            seen: Instant::now(),
        });
    }

    /// Takes a client in and gives it its view, and each newer one; none while the sources are not synced.
    pub async fn connect(&self, client: Client) -> Option<(StreamId, watch::Receiver<View>)> {
        let (reply, answer) = oneshot::channel();
        let id = self.shared.streams.next_id();
        let waiting = Waiting(self, id);
        self.tell(Message::Connect {
            id,
            client: Box::new(client),
            reply,
        });
        let views = answer.await.ok().flatten()?;
        std::mem::forget(waiting);
        Some((id, views))
    }

    /// A stream has ended.
    pub fn gone(&self, id: StreamId) {
        self.tell(Message::Gone(id));
    }

    /// A proxy refused a response.
    pub fn refused(&self, refused: Refused) {
        self.tell(Message::Refused(refused));
    }

    /// The objects of now.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Snapshot(reply));
        answer.await.ok()
    }

    /// Ends the loop, and with it all streams.
    pub fn stop(&self) {
        self.tell(Message::Stop);
    }

    /// The loop ends before its handles only when the process ends: then nobody needs an answer.
    fn tell(&self, message: Message) {
        let _ = self.messages.send(message);
    }
}

/// A client that may leave before it has its answer.
struct Waiting<'a>(&'a Handle, StreamId);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.gone(self.1);
    }
}

struct Plane {
    control: Control,
    shared: Arc<Shared>,
    senders: HashMap<ProxyId, (watch::Sender<View>, Arc<Stream>)>,
    /// The trust domain, to tell when it changes.
    trust_domain: Option<TrustDomain>,
}

impl Plane {
    fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Message>) {
        while let Some(first) = inbox.blocking_recv() {
            let mut queued = vec![first];
            while let Ok(next) = inbox.try_recv() {
                queued.push(next);
            }
            if !self.work(queued) {
                return;
            }
        }
    }

    /// Works off what was queued, changes first, so that whoever connects gets the newest view. False: stop.
    fn work(&mut self, queued: Vec<Message>) -> bool {
        let mut news = News::default();
        let mut since: Option<Instant> = None;
        let mut rest = Vec::new();
        for message in queued {
            match message {
                Message::Changed {
                    source,
                    sets,
                    findings,
                    seen,
                } => {
                    since = Some(since.map_or(seen, |since| since.min(seen)));
                    news.sets.extend(sets);
                    news.findings.insert(source, findings);
                }
                other => rest.push(other),
            }
        }
        if let Some(since) = since {
            self.apply(news, since);
        }
        rest.into_iter().all(|message| self.answer(message))
    }

    fn apply(&mut self, mut news: News, since: Instant) {
        let update = self.control.apply(news.sets.iter().cloned());
        for proxy in &update.proxies {
            let (Some((sender, stream)), Some(view)) =
                (self.senders.get(proxy), self.control.view(*proxy))
            else {
                continue;
            };
            stream.wants(view.epoch, since);
            sender.send_replace(view);
        }
        self.shared.streams.set_epoch(update.epoch);
        let mesh = self.control.mesh();
        log::changed(&update, mesh, since.elapsed());
        self.shared.metrics.set_mesh(mesh.clone());
        news.mesh = self.control.has_synced().then(|| mesh.clone());
        self.shared.diagnostics.tell(news);
        self.notice_trust_domain();
        // Last: who is let in by it finds everything said.
        if self.control.has_synced() {
            self.shared
                .synced
                .send_if_modified(|synced| !std::mem::replace(synced, true));
        }
    }

    /// The authority signs for the trust domain of the start.
    fn notice_trust_domain(&mut self) {
        if !self.control.has_synced() {
            return;
        }
        let now = &self.control.mesh().config().trust_domain;
        match &self.trust_domain {
            Some(before) if before != now => {
                tracing::warn!(
                    "trustDomain is {now} now: restart to have certificates for it, they are of {before}"
                );
            }
            Some(_) => return,
            None => {}
        }
        self.trust_domain = Some(now.clone());
    }

    fn answer(&mut self, message: Message) -> bool {
        match message {
            Message::Changed { .. } => {}
            // Who left meanwhile has said so: that message stands behind this one.
            Message::Connect { id, client, reply } => drop(reply.send(self.connect(id, *client))),
            Message::Gone(id) => self.disconnect(id),
            Message::Refused(refused) => log::refused(&refused, |kind, accused| {
                self.origins(&refused, kind, accused)
            }),
            Message::Snapshot(reply) => drop(reply.send(self.control.mesh().snapshot().clone())),
            Message::Stop => return false,
        }
        true
    }

    fn connect(&mut self, id: StreamId, client: Client) -> Option<watch::Receiver<View>> {
        if !self.control.has_synced() {
            return None;
        }
        let Client { node, info, mode } = client;
        let proxy = self.control.connect(info);
        let (sender, views) = watch::channel(self.control.view(proxy)?);
        let stream = Arc::new(Stream::new(node, proxy, mode, views.clone()));
        self.senders.insert(proxy, (sender, Arc::clone(&stream)));
        self.shared.metrics.connected(&stream.node.version);
        self.shared.streams.insert(id, stream);
        Some(views)
    }

    fn disconnect(&mut self, id: StreamId) {
        let Some(stream) = self.shared.streams.remove(id) else {
            return;
        };
        self.shared.metrics.disconnected(&stream.node.version);
        self.senders.remove(&stream.proxy);
        self.control.disconnect(stream.proxy);
    }

    fn origins(&self, refused: &Refused, kind: Kind, accused: &Accused) -> Vec<Origin> {
        let of_part = |part: &Arc<str>| {
            self.control
                .origins(refused.stream.proxy, kind, &accused.name, part)
        };
        let mut origins: Vec<Origin> = accused.parts.iter().flat_map(of_part).collect();
        origins.sort();
        origins.dedup();
        origins
    }
}
