//! One sidecar as the server sees it: it asks and acknowledges in Envoy's order, and remembers the version of what it
//! has, for when it reconnects.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use envoy_api::envoy::config::core::v3::Node;
use envoy_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use tokio::sync::watch;
use tokio::time::sleep;
use xds::Kind;

use crate::Result;
use crate::catalogue::{Entry, Name};
use crate::grpc::{Refused, Stream, frame};
use crate::ledger::{Ledger, Received};

/// The kinds that Envoy subscribes to.
const KINDS: [Kind; 5] = [
    Kind::Cluster,
    Kind::Endpoint,
    Kind::Extension,
    Kind::Listener,
    Kind::Route,
];

/// The name of everything.
const WILDCARD: &str = "*";

/// A route table that does not exist. A sidecar that has everything is sent nothing when it reconnects; but a name that
/// it asks for is always answered, and this one's answer comes last.
const FENCE: &str = "fence";

/// How long Envoy, as we start it, waits until it connects again, and how often we let it.
const BACK_OFF: Duration = Duration::from_millis(200);
const TRIES: usize = 100;

/// A sidecar, connected or not.
#[derive(Debug)]
pub struct Sidecar {
    number: usize,
    node: Node,
    ledger: Arc<Ledger>,
    held: HashMap<Name, Entry>,
    /// The first requests of the next stream.
    first: Vec<Bytes>,
    /// The endpoints that are asked for and not there, or older than their cluster.
    warming: HashSet<Name>,
    /// The acknowledgements of clusters that wait for that.
    withheld: Vec<Bytes>,
    /// What else is asked for and not answered.
    awaited: HashSet<Name>,
    /// Whether it has asked for listeners.
    listening: bool,
    /// How often it subscribed on this stream.
    subscriptions: u32,
}

impl Sidecar {
    /// A sidecar that has nothing yet.
    pub fn new(number: usize, node: Node, ledger: Arc<Ledger>) -> Self {
        let everything = ledger.catalogue(|catalogue| catalogue.name(Kind::Cluster, WILDCARD));
        let request = DeltaDiscoveryRequest {
            node: Some(node.clone()),
            type_url: Kind::Cluster.type_url().to_owned(),
            ..DeltaDiscoveryRequest::default()
        };
        Self {
            number,
            node,
            ledger,
            held: HashMap::new(),
            first: vec![frame(&request)],
            warming: HashSet::new(),
            withheld: Vec::new(),
            awaited: HashSet::from([everything]),
            listening: false,
            subscriptions: 1,
        }
    }

    /// Streams until it is told to stop.
    pub async fn run(
        mut self,
        server: SocketAddr,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Self> {
        let mut stream = self.open(server).await?;
        loop {
            tokio::select! {
                message = stream.message() => self.receive(&stream, &message?)?,
                _ = stop.wait_for(|stop| *stop) => return Ok(self),
            }
        }
    }

    /// Opens the stream. A connection that is reset, because too many come at once, is tried again.
    async fn open(&self, server: SocketAddr) -> Result<Stream> {
        let mut tries = 1;
        loop {
            match Stream::open(server, self.number, &self.first).await {
                Err(error) if tries < TRIES && !error.is::<Refused>() => {
                    self.ledger.retry();
                    sleep(BACK_OFF).await;
                    tries += 1;
                }
                opened => return opened,
            }
        }
    }

    fn receive(&mut self, stream: &Stream, message: &Bytes) -> Result<()> {
        let ledger = Arc::clone(&self.ledger);
        let received = ledger.receive(self.number, message, self.subscriptions)?;
        let (mut wanted, mut missing) = (Vec::new(), Vec::new());
        ledger.catalogue(|catalogue| {
            self.awaited
                .remove(&catalogue.name(received.kind, WILDCARD));
            for name in &received.removed {
                let name = catalogue.name(received.kind, name);
                self.held.remove(&name);
                missing.push(name);
            }
            for entry in &received.resources {
                let Some(facts) = catalogue.facts(*entry) else {
                    continue;
                };
                self.held.insert(facts.name, *entry);
                missing.push(facts.name);
                wanted.extend(&facts.refers_to);
            }
        });
        for name in &missing {
            self.awaited.remove(name);
            self.warming.remove(name);
        }
        self.answer(stream, &received, wanted)?;
        if self.warming.is_empty() && self.awaited.is_empty() {
            ledger.arrive(self.number);
        }
        Ok(())
    }

    /// Acknowledges, and asks for what the resources refer to. As in Envoy a cluster is acknowledged when its endpoints
    /// are there, and listeners are asked for when all clusters are.
    fn answer(&mut self, stream: &Stream, received: &Received, wanted: Vec<Name>) -> Result<()> {
        let unknown = wanted
            .iter()
            .copied()
            .filter(|name| !self.held.contains_key(name) && !self.is_asked(*name));
        let unknown: Vec<Name> = unknown.collect::<HashSet<_>>().into_iter().collect();
        let ack = frame(&DeltaDiscoveryRequest {
            type_url: received.kind.type_url().to_owned(),
            response_nonce: received.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        });
        match received.kind {
            Kind::Cluster => {
                self.warming.extend(wanted);
                self.subscribe(stream, Kind::Endpoint, unknown)?;
                self.withheld.push(ack);
            }
            Kind::Listener => {
                self.awaited.extend(&unknown);
                stream.send(ack)?;
                for kind in [Kind::Extension, Kind::Route] {
                    let names = self.ledger.catalogue(|catalogue| {
                        let of_kind = |name: &Name| {
                            catalogue.spelled(*name).is_some_and(|(of, _)| *of == kind)
                        };
                        unknown.iter().copied().filter(of_kind).collect()
                    });
                    self.subscribe(stream, kind, names)?;
                }
            }
            Kind::Endpoint | Kind::Extension | Kind::Route | Kind::NameTable => stream.send(ack)?,
        }
        if !self.warming.is_empty() {
            return Ok(());
        }
        for ack in self.withheld.drain(..) {
            stream.send(ack)?;
        }
        if !self.listening {
            self.listening = true;
            self.awaited.insert(
                self.ledger
                    .catalogue(|catalogue| catalogue.name(Kind::Listener, WILDCARD)),
            );
            self.request(stream, Kind::Listener, Vec::new())?;
        }
        Ok(())
    }

    fn is_asked(&self, name: Name) -> bool {
        self.warming.contains(&name) || self.awaited.contains(&name)
    }

    fn subscribe(&mut self, stream: &Stream, kind: Kind, mut names: Vec<Name>) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        names.sort_unstable();
        let spelled = self.ledger.catalogue(|catalogue| {
            let spelled = names.iter().filter_map(|name| catalogue.spelled(*name));
            spelled.map(|(_, name)| name.clone()).collect()
        });
        self.request(stream, kind, spelled)
    }

    fn request(&mut self, stream: &Stream, kind: Kind, names: Vec<String>) -> Result<()> {
        self.subscriptions += 1;
        stream.send(frame(&DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: names,
            ..DeltaDiscoveryRequest::default()
        }))
    }

    /// Whether it holds every service, and everything that what it holds refers to.
    pub fn check(&self, services: usize) -> Result<()> {
        self.ledger.catalogue(|catalogue| {
            let mut clusters = 0;
            for (name, entry) in &self.held {
                let kind = catalogue.spelled(*name).map(|(kind, _)| *kind);
                clusters += usize::from(kind == Some(Kind::Cluster));
                let facts = catalogue.facts(*entry);
                let mut wanted = facts.iter().flat_map(|facts| &facts.refers_to);
                if let Some(missing) = wanted.find(|name| !self.held.contains_key(name)) {
                    let missing = catalogue.spelled(*missing);
                    return Err(format!("sidecar {} was not sent {missing:?}", self.number).into());
                }
            }
            if clusters < services {
                let number = self.number;
                return Err(format!("sidecar {number} was sent only {clusters} clusters").into());
            }
            Ok(())
        })
    }

    /// Makes ready to connect again as one that has everything: Envoy names all that it holds, kind by kind.
    pub fn resume(&mut self) -> Result<()> {
        let ledger = Arc::clone(&self.ledger);
        let mut initial: HashMap<Kind, BTreeMap<String, String>> = HashMap::new();
        let fence = ledger.catalogue(|catalogue| {
            for (name, entry) in &self.held {
                let (Some((kind, name)), Some(facts)) =
                    (catalogue.spelled(*name), catalogue.facts(*entry))
                else {
                    continue;
                };
                initial
                    .entry(*kind)
                    .or_default()
                    .insert(name.clone(), facts.version.clone());
            }
            catalogue.name(Kind::Route, FENCE)
        });
        self.first.clear();
        for kind in KINDS {
            let initial = initial.remove(&kind).unwrap_or_default();
            let mut names = Vec::new();
            if matches!(kind, Kind::Endpoint | Kind::Extension | Kind::Route) {
                names.extend(initial.keys().cloned());
            }
            if kind == Kind::Route {
                names.push(FENCE.to_owned());
            }
            self.first.push(frame(&DeltaDiscoveryRequest {
                node: (kind == Kind::Cluster).then(|| self.node.clone()),
                type_url: kind.type_url().to_owned(),
                resource_names_subscribe: names,
                initial_resource_versions: initial,
                ..DeltaDiscoveryRequest::default()
            }));
        }
        self.subscriptions = u32::try_from(self.first.len())?;
        self.warming.clear();
        self.withheld.clear();
        self.awaited = HashSet::from([fence]);
        Ok(())
    }
}
