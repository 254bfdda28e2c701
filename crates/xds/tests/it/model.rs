//! A model of Envoy: it takes responses in, warms clusters, subscribes to what they and its listeners name, and answers
//! late. It fails when it is told to use what it does not have.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use xds::{Ask, Kind, Liveness, Mode, Request, Resource, Response, Session, View};

use crate::world::describe;

type Held = BTreeMap<String, Arc<Resource>>;

/// One Envoy with its stream.
pub struct Envoy {
    mode: Mode,
    session: Session,
    now: Duration,
    /// Whether the first start is over, from which on nothing may break.
    started: bool,
    clusters: Held,
    /// The clusters that it calls: a changed one only once its endpoints came.
    active: Held,
    endpoints: Held,
    listeners: Held,
    routes: Held,
    /// Clusters and endpoints that it had on an earlier stream and the server does not know: the identities of the one
    /// may not fit the other.
    torn: BTreeSet<(Kind, String)>,
    /// Clusters that once found their endpoints themselves: what they have on the way to another kind is not promised.
    converted: BTreeSet<String>,
    /// Clusters that wait for their endpoints; those that have never been live are marked.
    warming: BTreeMap<String, bool>,
    /// What was said on this stream: subscriptions to names.
    named: BTreeMap<Kind, BTreeSet<String>>,
    nonces: BTreeMap<Kind, String>,
    /// Requests on their way, oldest first.
    requests: VecDeque<Request>,
    /// Answers to clusters, which wait until nothing warms.
    withheld: Vec<Request>,
}

impl Envoy {
    pub fn new(mode: Mode, view: View) -> Self {
        let mut envoy = Self {
            mode,
            session: Session::new(mode, view),
            now: Duration::ZERO,
            started: false,
            clusters: Held::new(),
            active: Held::new(),
            endpoints: Held::new(),
            listeners: Held::new(),
            routes: Held::new(),
            torn: BTreeSet::new(),
            converted: BTreeSet::new(),
            warming: BTreeMap::new(),
            named: BTreeMap::new(),
            nonces: BTreeMap::new(),
            requests: VecDeque::new(),
            withheld: Vec::new(),
        };
        envoy.subscribe(Kind::Cluster, &[]);
        envoy
    }

    /// Loses the connection and comes back with what it has. One that has nothing looks like one that starts.
    pub fn reconnect(&mut self, view: View) {
        if self.mode == Mode::Sotw || !self.started || self.clusters.is_empty() {
            return;
        }
        for kind in [Kind::Cluster, Kind::Endpoint] {
            let names: Vec<_> = self.held(kind).keys().cloned().collect();
            self.torn.extend(names.into_iter().map(|name| (kind, name)));
        }
        self.session = Session::new(self.mode, view);
        self.requests.clear();
        self.withheld.clear();
        // the clusters that it names count as live, warm or not
        self.warming.values_mut().for_each(|new| *new = false);
        for kind in [Kind::Cluster, Kind::Endpoint, Kind::Listener, Kind::Route] {
            let versions = |held: &Held| {
                held.iter()
                    .map(|(name, it)| (name.clone(), it.version().to_string()))
                    .collect()
            };
            let initial = versions(self.held(kind));
            let subscribe = self
                .named
                .get(&kind)
                .into_iter()
                .flatten()
                .cloned()
                .collect();
            self.push(
                kind,
                String::new(),
                Ask::Changes {
                    subscribe,
                    unsubscribe: Vec::new(),
                    initial,
                },
            );
        }
    }

    pub fn view(&mut self, view: View) {
        self.session.on_view(view);
    }

    pub fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// One request arrives at the server. False if none is on its way.
    pub fn deliver_request(&mut self) -> bool {
        let Some(request) = self.requests.pop_front() else {
            return false;
        };
        let kind = Kind::from_type_url(&request.type_url).unwrap();
        if let Ask::Changes {
            initial,
            unsubscribe,
            ..
        } = &request.ask
        {
            // with an old farewell on its way the server forgets what Envoy has meanwhile
            let gone = unsubscribe.iter().map(|name| (kind, name.clone()));
            self.torn.extend(gone);
            for (name, version) in initial {
                let known = self.session.view().get(kind, name);
                let warm = !self.warming.contains_key(name);
                if warm && known.is_some_and(|known| known.version().to_string() == *version) {
                    self.torn.remove(&(kind, name.clone()));
                }
            }
        }
        self.session.on_request(request);
        true
    }

    /// One response arrives at Envoy. False if the server has nothing to say.
    pub fn deliver_response(&mut self) -> bool {
        let Some(response) = self.session.next(self.now) else {
            return false;
        };
        self.take(&response);
        true
    }

    /// Everything arrives.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let moved = self.deliver_response() | self.deliver_request();
            if !moved {
                self.now += Duration::from_secs(5);
                if !self.deliver_response() {
                    return;
                }
            }
        }
        panic!("no end of messages");
    }

    /// What it holds, to compare.
    pub fn holds(&self) -> Vec<String> {
        let all = [
            &self.clusters,
            &self.endpoints,
            &self.listeners,
            &self.routes,
        ];
        all.into_iter()
            .flat_map(|held| held.values().map(|resource| describe(resource)))
            .collect()
    }

    fn held(&mut self, kind: Kind) -> &mut Held {
        match kind {
            Kind::Cluster => &mut self.clusters,
            Kind::Endpoint => &mut self.endpoints,
            Kind::Listener => &mut self.listeners,
            Kind::Extension | Kind::Route | Kind::NameTable => &mut self.routes,
        }
    }

    fn take(&mut self, response: &Response) {
        let kind = response.kind.unwrap();
        let full = self.mode == Mode::Sotw && matches!(kind, Kind::Cluster | Kind::Listener);
        let before = self.held(kind).clone();
        if full {
            self.held(kind).clear();
        }
        for resource in &response.resources {
            // what it lost interest in meanwhile is dropped
            let named = self
                .named
                .get(&kind)
                .is_none_or(|names| names.contains(&**resource.name()));
            if named {
                self.held(kind)
                    .insert(resource.name().to_string(), Arc::clone(resource));
            }
        }
        for name in &response.removed {
            // Envoy keeps the endpoints of a cluster that it has
            if kind != Kind::Endpoint {
                self.held(kind).remove(&**name);
            }
        }
        self.nonces.insert(kind, response.nonce.clone());
        match kind {
            Kind::Cluster => self.clusters_came(response, &before),
            Kind::Endpoint => self.endpoints_came(response),
            Kind::Listener => self.listeners_came(),
            Kind::Extension | Kind::Route | Kind::NameTable => {}
        }
        self.check();
        self.answer(kind, &response.nonce);
        if self.warming.is_empty() {
            self.start();
        }
    }

    fn clusters_came(&mut self, response: &Response, before: &Held) {
        for resource in &response.resources {
            let name = resource.name().to_string();
            let changed = before.get(&name) != Some(resource);
            if resource.liveness() != Liveness::Eds {
                self.converted.insert(name);
            } else if changed {
                let new = !before.contains_key(&name) || self.warming.get(&name) == Some(&true);
                self.warming.insert(name, new);
            }
        }
        let clusters = &self.clusters;
        let eds = |cluster: &Arc<Resource>| cluster.liveness() == Liveness::Eds;
        self.warming
            .retain(|name, _| clusters.get(name).is_some_and(eds));
        for held in [&mut self.endpoints, &mut self.active] {
            held.retain(|name, _| clusters.get(name).is_some_and(eds));
        }
        let eds = |cluster: &&Arc<Resource>| cluster.liveness() == Liveness::Eds;
        let names = self
            .clusters
            .values()
            .filter(eds)
            .map(|cluster| cluster.name().to_string())
            .collect();
        self.follow(Kind::Endpoint, names);
    }

    fn endpoints_came(&mut self, response: &Response) {
        for resource in &response.resources {
            let name = resource.name().to_string();
            self.warming.remove(&name);
            let Some(cluster) = self.clusters.get(&name).cloned() else {
                continue;
            };
            let known = !self.converted.contains(&name)
                && !self.torn.contains(&(Kind::Cluster, name.clone()))
                && !self.torn.remove(&(Kind::Endpoint, name.clone()));
            // the cluster in use gets them as well
            for accepting in [&cluster, self.active.get(&name).unwrap_or(&cluster)] {
                assert!(
                    self.mode == Mode::Sotw || !known || accepts(accepting, resource),
                    "{} does not accept {}",
                    describe(accepting),
                    describe(resource)
                );
            }
            if accepts(&cluster, resource) {
                self.torn.remove(&(Kind::Cluster, name.clone()));
            }
            self.active.insert(name, cluster);
        }
    }

    /// Its clusters are warm: listeners come next.
    fn start(&mut self) {
        if !std::mem::replace(&mut self.started, true) {
            self.subscribe(Kind::Listener, &[]);
        }
        self.requests.extend(self.withheld.drain(..));
    }

    /// A listener's route table has its name.
    fn listeners_came(&mut self) {
        let names: BTreeSet<String> = self.listeners.keys().cloned().collect();
        self.routes.retain(|name, _| names.contains(name));
        self.follow(Kind::Route, names);
    }

    /// Subscribes to these names and forgets all others.
    fn follow(&mut self, kind: Kind, names: BTreeSet<String>) {
        let before = self.named.insert(kind, names.clone()).unwrap_or_default();
        let subscribe: Vec<_> = names.difference(&before).cloned().collect();
        let unsubscribe: Vec<_> = before.difference(&names).cloned().collect();
        if subscribe.is_empty() && unsubscribe.is_empty() {
            return;
        }
        let ask = match self.mode {
            Mode::Sotw => Ask::Names(names.into_iter().collect()),
            Mode::Delta => Ask::Changes {
                subscribe,
                unsubscribe,
                initial: HashMap::new(),
            },
        };
        let nonce = match self.mode {
            Mode::Sotw => self.nonces.get(&kind).cloned().unwrap_or_default(),
            Mode::Delta => String::new(),
        };
        self.push(kind, nonce, ask);
    }

    fn subscribe(&mut self, kind: Kind, names: &[&str]) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let ask = match self.mode {
            Mode::Sotw => Ask::Names(names),
            Mode::Delta => Ask::Changes {
                subscribe: names,
                unsubscribe: Vec::new(),
                initial: HashMap::new(),
            },
        };
        self.push(kind, String::new(), ask);
    }

    fn answer(&mut self, kind: Kind, nonce: &str) {
        let ask = match self.mode {
            Mode::Sotw => Ask::Names(
                self.named
                    .get(&kind)
                    .into_iter()
                    .flatten()
                    .cloned()
                    .collect(),
            ),
            Mode::Delta => Ask::Changes {
                subscribe: Vec::new(),
                unsubscribe: Vec::new(),
                initial: HashMap::new(),
            },
        };
        self.push(kind, nonce.to_owned(), ask);
        if kind == Kind::Cluster && !self.warming.is_empty() {
            self.withheld.extend(self.requests.pop_back());
        }
    }

    fn push(&mut self, kind: Kind, nonce: String, ask: Ask) {
        self.requests.push_back(Request {
            type_url: kind.type_url().to_owned(),
            nonce,
            error: None,
            ask,
        });
    }

    /// Nothing in use refers to a cluster that is absent, was never live, or has nobody to call.
    fn check(&self) {
        if self.mode == Mode::Sotw || !self.started {
            return;
        }
        for resource in self.listeners.values().chain(self.routes.values()) {
            for name in resource.parts().values().flat_map(|part| part.needs.iter()) {
                assert!(
                    self.clusters.contains_key(&**name),
                    "{} needs {name}, which is absent",
                    describe(resource)
                );
                assert!(
                    self.warming.get(&**name) != Some(&true),
                    "{} needs {name}, which is cold",
                    describe(resource)
                );
                let endpoints = self.endpoints.get(&**name);
                let vacant = endpoints.is_some_and(|endpoints| endpoints.encoded_len() == 0);
                assert!(
                    !vacant || self.converted.contains(&**name),
                    "{} needs {name}, which has no endpoints",
                    describe(resource)
                );
            }
        }
    }
}

/// Whether a cluster accepts the identity of its endpoints, where it has any: `7:amber+azure` accepts `azure.3`.
fn accepts(cluster: &Resource, endpoints: &Resource) -> bool {
    let (cluster, endpoints) = (describe(cluster), describe(endpoints));
    let content = |text: &str| text.split(['=', ':']).next_back().unwrap_or("").to_owned();
    let endpoints = content(&endpoints);
    let identity = endpoints.split('.').next().unwrap_or("");
    identity.is_empty()
        || content(&cluster)
            .split('+')
            .any(|accepted| accepted == identity)
}
