//! Envoy's side of a stream, as far as it decides what Envoy holds: it subscribes to everything, to the endpoints
//! and route tables that it is told of, and accepts all that it gets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use xds::{Ask, Kind, Liveness, Mode, Request, Response, Session, View};

use super::Seen;

/// One Envoy.
pub struct Client {
    session: Session,
    mode: Mode,
    held: Seen,
    /// The names that it asks for, of kinds without a wildcard.
    wanted: BTreeMap<Kind, BTreeSet<String>>,
    /// The last nonce of each kind.
    nonces: BTreeMap<Kind, String>,
    now: Duration,
}

impl Client {
    /// An Envoy that has just connected.
    pub fn connect(mode: Mode, view: View) -> Self {
        let mut client = Self {
            session: Session::new(mode, view),
            mode,
            held: Seen::new(),
            wanted: BTreeMap::new(),
            nonces: BTreeMap::new(),
            now: Duration::ZERO,
        };
        for kind in [Kind::Cluster, Kind::Listener, Kind::NameTable] {
            client.ask(kind, &[], &[], None);
        }
        client.settle();
        client
    }

    /// Its view is another now; takes in what follows from that.
    pub fn view(&mut self, view: View) {
        self.session.on_view(view);
        self.settle();
    }

    /// What it holds.
    pub fn held(&self) -> &Seen {
        &self.held
    }

    /// What of a view it has asked for: route tables that no listener names are nobody's.
    pub fn asked_for(&self, mut seen: Seen) -> Seen {
        seen.retain(|(kind, name), _| match kind {
            Kind::Cluster | Kind::Listener | Kind::NameTable => true,
            Kind::Endpoint | Kind::Extension | Kind::Route => self
                .wanted
                .get(kind)
                .is_some_and(|wanted| wanted.contains(&**name)),
        });
        seen
    }

    /// Takes in everything that the session has to say, and what it says to that.
    fn settle(&mut self) {
        // Long enough for clusters whose acceptance is all that tells that they are live.
        for _ in 0..2 {
            for _ in 0..10_000 {
                let Some(response) = self.session.next(self.now) else {
                    break;
                };
                self.receive(response);
            }
            self.now += Duration::from_secs(10);
        }
        assert!(
            self.session.next(self.now).is_none(),
            "the session never ends"
        );
    }

    fn receive(&mut self, response: Response) {
        let Some(kind) = response.kind else { return };
        if self.mode == Mode::Sotw && matches!(kind, Kind::Cluster | Kind::Listener) {
            let named: BTreeSet<&Arc<str>> = response.resources.iter().map(|r| r.name()).collect();
            self.held
                .retain(|(of, name), _| *of != kind || named.contains(name));
        }
        for name in &response.removed {
            self.held.remove(&(kind, Arc::clone(name)));
        }
        for resource in &response.resources {
            let value = (resource.version(), resource.body());
            self.held.insert((kind, Arc::clone(resource.name())), value);
        }
        self.nonces.insert(kind, response.nonce.clone());
        self.ask(kind, &[], &[], Some(response.nonce));
        match kind {
            Kind::Cluster => self.follow(Kind::Endpoint),
            Kind::Listener => {
                self.follow(Kind::Extension);
                self.follow(Kind::Route);
            }
            Kind::Endpoint | Kind::Extension | Kind::Route | Kind::NameTable => {}
        }
    }

    /// Subscribes to what the clusters or listeners that it holds refer to, and forgets the rest.
    fn follow(&mut self, kind: Kind) {
        let now: BTreeSet<String> = match kind {
            Kind::Endpoint => self
                .names(Kind::Cluster)
                .filter(|name| {
                    let cluster = self.session.view().get(Kind::Cluster, name);
                    cluster.is_some_and(|cluster| cluster.liveness() == Liveness::Eds)
                })
                .map(|name| name.to_string())
                .collect(),
            Kind::Extension => self
                .names(Kind::Listener)
                .filter(|name| &***name == "virtualInbound")
                .flat_map(|_| ir::AuthorizationFilterName::all())
                .map(|name| name.to_string())
                .collect(),
            _ => self
                .held
                .iter()
                .filter(|((kind, _), _)| *kind == Kind::Listener)
                .flat_map(|(_, (_, body))| super::valid::route_tables(body))
                .collect(),
        };
        let before = self.wanted.insert(kind, now.clone()).unwrap_or_default();
        if before == now {
            return;
        }
        let added: Vec<String> = now.difference(&before).cloned().collect();
        let gone: Vec<String> = before.difference(&now).cloned().collect();
        self.held
            .retain(|(of, name), _| *of != kind || now.contains(&**name));
        self.ask(kind, &added, &gone, None);
    }

    fn names(&self, kind: Kind) -> impl Iterator<Item = &Arc<str>> {
        self.held
            .keys()
            .filter(move |(of, _)| *of == kind)
            .map(|(_, name)| name)
    }

    fn ask(&mut self, kind: Kind, added: &[String], gone: &[String], nonce: Option<String>) {
        let ask = match self.mode {
            Mode::Sotw => Ask::Names(
                self.wanted
                    .get(&kind)
                    .into_iter()
                    .flatten()
                    .cloned()
                    .collect(),
            ),
            Mode::Delta => Ask::Changes {
                subscribe: added.to_vec(),
                unsubscribe: gone.to_vec(),
                initial: HashMap::new(),
            },
        };
        // A change of names is an answer to the last response in SotW, and to none in delta.
        let nonce = nonce.or_else(|| match self.mode {
            Mode::Sotw => self.nonces.get(&kind).cloned(),
            Mode::Delta => None,
        });
        self.session.on_request(Request {
            type_url: kind.type_url().to_owned(),
            nonce: nonce.unwrap_or_default(),
            error: None,
            ask,
        });
    }
}
