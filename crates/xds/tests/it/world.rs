//! Worlds to make views of, and a stream that is driven by hand and prints what it is sent.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use xds::{
    Ask, Event, Half, Identities, Kind, Liveness, Mode, Part, Request, Resource, Response, Session,
    View,
};

/// The parts of a resource: key, content, and the clusters that it needs.
pub type Parts = BTreeMap<String, (String, Vec<String>)>;

/// What a view says, in a form that is easy to write and to change.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub epoch: u64,
    pub clusters: BTreeMap<String, (String, Liveness)>,
    pub endpoints: BTreeMap<String, String>,
    /// The identities that clusters accept.
    pub identities: BTreeMap<String, Vec<&'static str>>,
    pub listeners: BTreeMap<String, Parts>,
    pub routes: BTreeMap<String, Parts>,
}

impl World {
    /// An EDS cluster and its endpoints.
    pub fn cluster(mut self, name: &str, content: &str) -> Self {
        self.clusters
            .insert(name.to_owned(), (content.to_owned(), Liveness::Eds));
        self.endpoints
            .entry(name.to_owned())
            .or_insert_with(|| "1".to_owned());
        self
    }

    /// An EDS cluster that says which identities it accepts, and nothing else.
    pub fn accepting(mut self, name: &str, identities: &[&'static str]) -> Self {
        self.identities.insert(name.to_owned(), identities.to_vec());
        self.cluster(name, "")
    }

    pub fn endpoints(mut self, name: &str, content: &str) -> Self {
        self.endpoints.insert(name.to_owned(), content.to_owned());
        self
    }

    pub fn other_cluster(mut self, name: &str, liveness: Liveness) -> Self {
        self.clusters
            .insert(name.to_owned(), ("1".to_owned(), liveness));
        self
    }

    pub fn without_cluster(mut self, name: &str) -> Self {
        self.clusters.remove(name);
        self.endpoints.remove(name);
        self.identities.remove(name);
        self
    }

    pub fn listener(mut self, name: &str, content: &str, needs: &[&str]) -> Self {
        self.listeners
            .insert(name.to_owned(), [part("", content, needs)].into());
        self
    }

    /// One virtual host of a route table.
    pub fn route(mut self, table: &str, host: &str, content: &str, needs: &[&str]) -> Self {
        let (key, value) = part(host, content, needs);
        self.routes
            .entry(table.to_owned())
            .or_default()
            .insert(key, value);
        self
    }

    /// The view; names that begin with `inbound` are in the inbound half.
    pub fn view(&self) -> View {
        let (mut outbound, mut inbound) = (Half::default(), Half::default());
        let mut insert = |kind, resource: Resource| {
            let half = if resource.name().starts_with("inbound") {
                &mut inbound
            } else {
                &mut outbound
            };
            half.insert(kind, Arc::new(resource));
        };
        for (name, (content, liveness)) in &self.clusters {
            let text = content.clone();
            let accepting = move |all: &[Arc<str>]| {
                Part::new(Bytes::from(text.clone() + &all.join("+")), Arc::from([]))
            };
            let accepted = self.identities.get(name).into_iter().flatten();
            let accepted: Arc<[Arc<str>]> = accepted.map(|identity| Arc::from(*identity)).collect();
            let cluster = Resource::single(name.as_str(), accepting(&accepted));
            let identities = self.identities.get(name);
            let identities = identities.map(|_| Identities::new(accepted, accepting));
            let cluster = cluster.with_liveness(*liveness);
            insert(Kind::Cluster, cluster.with_identities(identities));
        }
        for (name, content) in &self.endpoints {
            insert(
                Kind::Endpoint,
                Resource::single(
                    name.as_str(),
                    Part::new(Bytes::from(content.clone()), Arc::from([])),
                )
                .with_vacancy(content.is_empty()),
            );
        }
        for (kind, resources) in [
            (Kind::Listener, &self.listeners),
            (Kind::Route, &self.routes),
        ] {
            for (name, parts) in resources {
                insert(
                    kind,
                    parts.iter().fold(Resource::new(name.as_str()), with_part),
                );
            }
        }
        View {
            epoch: self.epoch,
            outbound: Arc::new(outbound),
            near: Arc::default(),
            inbound: Arc::new(inbound),
        }
    }
}

fn part(key: &str, content: &str, needs: &[&str]) -> (String, (String, Vec<String>)) {
    (
        key.to_owned(),
        (
            content.to_owned(),
            needs.iter().map(ToString::to_string).collect(),
        ),
    )
}

fn with_part(
    resource: Resource,
    (key, (content, needs)): (&String, &(String, Vec<String>)),
) -> Resource {
    let needs: Vec<Arc<str>> = needs.iter().map(|name| Arc::from(name.as_str())).collect();
    resource.with_part(
        Arc::from(key.as_str()),
        Part::new(Bytes::from(content.clone()), needs.into()),
    )
}

/// What a resource says: `name=content`, or `name{key=content ...}`.
pub fn describe(resource: &Resource) -> String {
    let text = |part: &Part| String::from_utf8(part.body.to_vec()).unwrap();
    match resource.parts().get("") {
        Some(only) if resource.parts().len() == 1 => format!("{}={}", resource.name(), text(only)),
        _ => {
            let parts: Vec<_> = resource
                .parts()
                .iter()
                .map(|(key, part)| format!("{key}={}", text(part)))
                .collect();
            format!("{}{{{}}}", resource.name(), parts.join(" "))
        }
    }
}

/// A stream whose other end is the test.
pub struct Stream {
    pub session: Session,
    pub now: Duration,
    mode: Mode,
    pub unanswered: Vec<Response>,
    pub events: Vec<Event>,
}

impl Stream {
    pub fn new(mode: Mode, world: &World) -> Self {
        let session = Session::new(mode, world.view());
        Self {
            session,
            now: Duration::ZERO,
            mode,
            unanswered: Vec::new(),
            events: Vec::new(),
        }
    }

    /// A stream that has everything and has acknowledged it.
    pub fn synced(mode: Mode, world: &World) -> Self {
        let mut stream = Self::new(mode, world);
        stream.ask(Kind::Cluster, &[]);
        stream.ask(Kind::Endpoint, &names(&world.endpoints));
        stream.ask(Kind::Listener, &[]);
        stream.ask(Kind::Route, &names(&world.routes));
        stream.flush();
        Kind::ALL.into_iter().for_each(|kind| stream.ack(kind));
        assert_eq!(stream.flush(), [""; 0]);
        assert!(matches!(
            stream.events.last(),
            Some(Event::FullySynced { .. })
        ));
        stream.events.clear();
        stream
    }

    pub fn request(&mut self, type_url: &str, nonce: &str, error: Option<&str>, ask: Ask) {
        let request = Request {
            type_url: type_url.to_owned(),
            nonce: nonce.to_owned(),
            error: error.map(str::to_owned),
            ask,
        };
        self.events.extend(self.session.on_request(request));
    }

    /// Subscribes: in the state of the world to these names only, delta to these as well.
    pub fn ask(&mut self, kind: Kind, names: &[&str]) {
        self.request(kind.type_url(), "", None, self.names(names, &[]));
    }

    pub fn resume(&mut self, kind: Kind, names: &[&str], has: &[(&str, &str)]) {
        let initial = has
            .iter()
            .map(|(name, version)| (name.to_string(), version.to_string()))
            .collect();
        let subscribe = names.iter().map(ToString::to_string).collect();
        self.request(
            kind.type_url(),
            "",
            None,
            Ask::Changes {
                subscribe,
                unsubscribe: Vec::new(),
                initial,
            },
        );
    }

    pub fn leave(&mut self, kind: Kind, names: &[&str]) {
        self.request(kind.type_url(), "", None, self.names(&[], names));
    }

    fn names(&self, names: &[&str], gone: &[&str]) -> Ask {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        match self.mode {
            Mode::Sotw => Ask::Names(owned(names)),
            Mode::Delta => Ask::Changes {
                subscribe: owned(names),
                unsubscribe: owned(gone),
                initial: HashMap::new(),
            },
        }
    }

    pub fn view(&mut self, world: &World) {
        self.events.extend(self.session.on_view(world.view()));
    }

    /// All that the session says without hearing anything.
    pub fn flush(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(response) = self.session.next(self.now) {
            let kind = response.kind.map_or("other", Kind::short);
            let resources = response
                .resources
                .iter()
                .map(|resource| format!(" {}", describe(resource)));
            let removed = response.removed.iter().map(|name| format!(" -{name}"));
            said.push(format!(
                "{kind}{}",
                resources.chain(removed).collect::<String>()
            ));
            self.unanswered.push(response);
        }
        said
    }

    /// Accepts the oldest message of a kind.
    pub fn ack_one(&mut self, kind: Kind) {
        assert!(self.answer(kind, None), "nothing to accept");
    }

    /// Accepts all that was sent of a kind.
    pub fn ack(&mut self, kind: Kind) {
        while self.answer(kind, None) {}
    }

    /// Refuses the oldest message of a kind.
    pub fn nack(&mut self, kind: Kind, why: &str) {
        assert!(self.answer(kind, Some(why)), "nothing to refuse");
    }

    fn answer(&mut self, kind: Kind, error: Option<&str>) -> bool {
        let Some(place) = self
            .unanswered
            .iter()
            .position(|response| response.kind == Some(kind))
        else {
            return false;
        };
        let response = self.unanswered.remove(place);
        let ask = match self.mode {
            // the session may ignore the names of an answer, which are those that it knows
            Mode::Sotw => Ask::Names(self.sotw_names(kind)),
            Mode::Delta => self.names(&[], &[]),
        };
        self.request(kind.type_url(), &response.nonce, error, ask);
        true
    }

    fn sotw_names(&self, kind: Kind) -> Vec<String> {
        match kind {
            Kind::Endpoint | Kind::Extension | Kind::Route => self
                .session
                .view()
                .resources(kind)
                .map(|resource| resource.name().to_string())
                .collect(),
            Kind::Cluster | Kind::Listener | Kind::NameTable => Vec::new(),
        }
    }

    /// The refusals so far, as `name[parts]`.
    pub fn accused(&self) -> Vec<String> {
        let accused = self.events.iter().filter_map(|event| match event {
            Event::Rejected { accused, .. } => Some(accused),
            _ => None,
        });
        accused
            .flatten()
            .map(|accused| format!("{}{:?}", accused.name, accused.parts))
            .collect()
    }
}

fn names<T>(map: &BTreeMap<String, T>) -> Vec<&str> {
    map.keys().map(String::as_str).collect()
}

/// The version that a world's resource has, as Envoy repeats it.
pub fn version(world: &World, kind: Kind, name: &str) -> String {
    world.view().get(kind, name).unwrap().version().to_string()
}

/// Comes back with all that a world has.
pub fn resume(stream: &mut Stream, had: &World) {
    for kind in [Kind::Cluster, Kind::Endpoint, Kind::Listener, Kind::Route] {
        let view = had.view();
        let versions: Vec<_> = view
            .resources(kind)
            .map(|resource| {
                (
                    resource.name().to_string(),
                    version(had, kind, resource.name()),
                )
            })
            .collect();
        let has: Vec<_> = versions
            .iter()
            .map(|(name, version)| (name.as_str(), version.as_str()))
            .collect();
        let names: Vec<_> = match kind {
            Kind::Endpoint | Kind::Route => has.iter().map(|(name, _)| *name).collect(),
            _ => Vec::new(),
        };
        stream.resume(kind, &names, &has);
    }
}
