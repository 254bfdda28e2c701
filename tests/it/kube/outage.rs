//! Without the API server: what was known is served on, and afterwards nothing is lost and nothing is left over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use envoy_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use lab::app::Call;
use serde_json::{Value, json};
use testkit::{Cluster, Dice, Space, seed, soak};
use tokio::sync::oneshot;
use tonic::Streaming;
use xds::Kind;
use xds::client::{Requests, ack, connect};

use super::api::{
    Api, CHANGE, DESTINATION_RULE, SERVICE, Sort, VIRTUAL_SERVICE, Versions, configz,
};
use super::apps::{Load, app, failed, ready};
use super::installed::{install, label, told};
use super::plane::{Plane, http, roots};
use crate::lateend::client::{all, bearer, node, secure_at};

const URL: &str = "http://server:8080/";
/// A hundred calls a second: they tell the time too.
const PACE_MS: u64 = 10;
const SORTS: [Sort; 3] = [VIRTUAL_SERVICE, DESTINATION_RULE, SERVICE];
/// How many objects of each kind the changes are about.
const NAMES: usize = 30;
/// So many calls pass between two looks at something that is waited for.
const LOOK: usize = 5;
/// How long the control plane may take to know everything once the API server is back: a connection on which nothing
/// comes is probed and given up, another is opened, and a list is read.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long and how many: shorter in the gate than in a soak.
struct Size {
    cut: Duration,
    changes: usize,
    doomed: usize,
}

fn size() -> Size {
    match soak() > 1 {
        true => Size {
            cut: Duration::from_secs(60),
            changes: 2000,
            doomed: 500,
        },
        false => Size {
            cut: Duration::from_secs(10),
            changes: 200,
            doomed: 50,
        },
    }
}

/// The API server is out of reach for a pod, which is not told: packets vanish.
struct Cut {
    cluster: Cluster,
    pod: String,
}

impl Cut {
    fn new(cluster: Cluster, pod: String) -> Self {
        let cut = Self { cluster, pod };
        cut.rules("-I");
        cut
    }

    fn rules(&self, what: &str) {
        for rule in [
            [
                what, "INPUT", "-s", &self.pod, "-p", "tcp", "--dport", "6443",
            ],
            [
                what, "OUTPUT", "-d", &self.pod, "-p", "tcp", "--sport", "6443",
            ],
        ] {
            let mut iptables = self.cluster.exec("iptables");
            let done = iptables.args(rule).args(["-j", "DROP"]).output().unwrap();
            assert!(done.status.success(), "{}", told(&done));
        }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.rules("-D");
        }
    }
}

/// Has etcd forget everything but what is there now.
fn compact(cluster: &Cluster) {
    const ETCD: &str = "127.0.0.1:2379";
    cluster.in_network(|| async {
        // The key of a single zero byte, which nobody has.
        let head = http(ETCD, "POST", "/v3/kv/range", r#"{"key":"AA=="}"#).await;
        let head: Value = serde_json::from_str(&head.unwrap()).unwrap();
        let revision = head["header"]["revision"].as_str().unwrap();
        let body = json!({ "revision": revision, "physical": true }).to_string();
        let done = http(ETCD, "POST", "/v3/kv/compaction", &body).await;
        assert!(done.is_some(), "etcd compacts nothing");
    });
}

/// Changes that chance decides, to a few objects of each kind.
struct Changes {
    dice: Dice,
    namespace: String,
    there: BTreeSet<(&'static str, usize)>,
    count: usize,
}

impl Changes {
    fn new(space: &Space) -> Self {
        let seed = seed();
        println!("the changes have the seed {seed}");
        Self {
            dice: Dice::new(seed),
            namespace: space.name().to_owned(),
            there: BTreeSet::new(),
            count: 0,
        }
    }

    async fn make(&mut self, api: &Api, count: usize) {
        for _ in 0..count {
            self.one(api).await;
        }
    }

    async fn one(&mut self, api: &Api) {
        self.count += 1;
        let (sort, number) = (self.dice.one(&SORTS), self.dice.below(NAMES));
        let (name, namespace) = (format!("o{number}"), self.namespace.as_str());
        let change = json!({ "metadata": { "annotations": { CHANGE: self.count.to_string() } } });
        let done = if self.there.insert((sort.0, number)) {
            let mut object = object(sort, number);
            object["metadata"] = change["metadata"].clone();
            api.create(sort, namespace, &name, &object).await
        } else if self.dice.once_in(2) {
            self.there.remove(&(sort.0, number));
            api.delete(sort, namespace, &name).await
        } else {
            api.patch(sort, namespace, &name, &change).await
        };
        done.unwrap_or_else(|why| panic!("{} {name}: {why}", sort.0));
    }
}

/// An object as it is created. Numbers are names.
fn object(sort: Sort, number: usize) -> Value {
    let (host, other) = (format!("o{number}"), format!("o{}", (number + 1) % NAMES));
    let spec = match sort {
        SERVICE => {
            json!({ "ports": [{ "name": "http", "port": 80 }], "selector": { "app": host } })
        }
        VIRTUAL_SERVICE => json!({
            "hosts": [host],
            "http": [{ "route": [{ "destination": { "host": other } }] }],
        }),
        _ => json!({ "host": host, "subsets": [{ "name": "v1", "labels": { "version": "v1" } }] }),
    };
    json!({ "spec": spec })
}

/// The names of the clusters that a proxy has.
type Names = Arc<Mutex<BTreeSet<String>>>;

/// A proxy that follows all clusters.
struct Watcher {
    names: Names,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Watcher {
    /// `kept`: what must never be taken away.
    fn start(space: &Space, plane: &Plane, kept: String) -> Self {
        let request = ["create", "token", "client", "--audience=istio-ca"];
        let token = space.kubectl_ok(&request);
        let (roots, address) = (roots(space), plane.secure());
        let (cluster, namespace) = (space.cluster().clone(), space.name().to_owned());
        let (stop, stopped) = oneshot::channel();
        let names = Names::default();
        let seen = Arc::clone(&names);
        let thread = std::thread::spawn(move || {
            cluster.in_network(|| async {
                let id = format!("sidecar~198.18.255.9~watcher.{namespace}~{namespace}.svc");
                let (channel, _) = secure_at(&address, &roots, None).await.unwrap();
                let first = DeltaDiscoveryRequest {
                    node: Some(node(&id, &[])),
                    ..all(Kind::Cluster)
                };
                let stream = connect(channel, bearer(token.trim()), first).await;
                tokio::select! {
                    () = follow(stream.unwrap(), &kept, &seen) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            names,
            stop,
            thread,
        }
    }

    /// Waits until it has the clusters of exactly these Services of a namespace.
    fn has_come_to(&self, namespace: &str, wanted: &BTreeSet<String>) {
        let began = Instant::now();
        loop {
            let now = services(&self.names.lock().unwrap(), namespace);
            if now == *wanted {
                return;
            }
            assert!(!self.thread.is_finished(), "it follows no longer");
            assert!(began.elapsed() < PATIENCE, "{now:?} instead of {wanted:?}");
        }
    }

    fn stop(self) {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

async fn follow(stream: (Requests, Streaming<DeltaDiscoveryResponse>), kept: &str, names: &Names) {
    let (requests, mut responses) = stream;
    loop {
        let response = responses.message().await.unwrap();
        let response = response.expect("the stream goes on");
        let (came, went) = (&response.resources, &response.removed_resources);
        assert!(!came.is_empty() || !went.is_empty(), "a push of nothing");
        {
            let mut names = names.lock().unwrap();
            names.extend(came.iter().map(|resource| resource.name.clone()));
            names.retain(|name| !went.contains(name));
            assert!(names.contains(kept), "{kept} was taken away");
        }
        requests.send(ack(&response)).await.unwrap();
    }
}

fn has<K: Ord, V: PartialEq>(map: &BTreeMap<K, V>, (key, value): &(&K, &V)) -> bool {
    map.get(key) == Some(value)
}

/// The Services of a namespace, by the clusters that a proxy has.
fn services(clusters: &BTreeSet<String>, namespace: &str) -> BTreeSet<String> {
    let end = format!(".{namespace}.svc.cluster.local");
    let name = |cluster: &String| {
        let host = cluster.strip_prefix("outbound|80||")?;
        Some(host.strip_suffix(&end)?.to_owned())
    };
    clusters.iter().filter_map(name).collect()
}

/// Makes and deletes what shall be gone in the end.
async fn doomed(api: &Api, namespace: &str, count: usize, make: bool) {
    for number in 0..count {
        let (sort, name) = (SORTS[number % SORTS.len()], format!("doomed-{number}"));
        let done = match make {
            true => {
                api.create(sort, namespace, &name, &object(sort, number))
                    .await
            }
            false => api.delete(sort, namespace, &name).await,
        };
        done.unwrap_or_else(|why| panic!("{} {name}: {why}", sort.0));
    }
}

/// A mesh that is called all the time, and a namespace in which things change.
struct Scene {
    cluster: Cluster,
    plane: Plane,
    space: Space,
    fuzz: Space,
    load: Load,
    watcher: Watcher,
    changes: Changes,
    size: Size,
}

impl Scene {
    fn start() -> Self {
        let cluster = Cluster::own();
        let done = install(&cluster, &["global.configValidation=false"]);
        assert!(done.status.success(), "{}", told(&done));
        let (space, fuzz) = (cluster.space("apps"), cluster.space("fuzz"));
        label(&space);
        space.apply(&app("server").port(8080).replicas(2).yaml());
        space.apply(&app("client").yaml());
        ready(&space, "server");
        ready(&space, "client");
        let plane = Plane::of(&cluster);
        let kept = format!("outbound|8080||server.{}.svc.cluster.local", space.name());
        Self {
            watcher: Watcher::start(&space, &plane, kept),
            load: Load::start_beside(&space, "client", Call::get(URL), PACE_MS),
            changes: Changes::new(&fuzz),
            size: size(),
            cluster,
            plane,
            space,
            fuzz,
        }
    }

    /// A quarter of the changes.
    fn change(&mut self) {
        let (cluster, changes, count) = (&self.cluster, &mut self.changes, self.size.changes / 4);
        cluster.in_network(|| async { changes.make(&Api::of(cluster).await, count).await });
    }

    /// Makes or deletes what shall be gone in the end.
    fn doomed(&self, make: bool) {
        let (cluster, namespace, count) = (&self.cluster, self.fuzz.name(), self.size.doomed);
        cluster.in_network(|| async {
            doomed(&Api::of(cluster).await, namespace, count, make).await;
        });
    }

    fn known(&self) -> Versions {
        configz(&self.plane.configz(), &SORTS)
    }

    /// How often the watch of each kind has read all that there is.
    fn lists(&self) -> [f64; SORTS.len()] {
        let lists = self.plane.metric("lateen_watch_lists_total");
        SORTS.map(|(_, _, plural)| lists[&format!("resource=\"{plural}\"")])
    }

    /// Waits until each kind was listed again. The kernel of an API server that was killed still delivers what was on
    /// its way: all may be known before.
    fn listed_since(&self, before: [f64; SORTS.len()]) {
        let began = Instant::now();
        while self
            .lists()
            .iter()
            .zip(before)
            .any(|(now, before)| *now <= before)
        {
            assert!(began.elapsed() < PATIENCE, "listed: {:?}", self.lists());
            self.load.wait_for(LOOK);
        }
    }

    fn cut(&self) -> Cut {
        Cut::new(self.cluster.clone(), self.plane.address().to_owned())
    }

    /// Lets so much time pass as calls take at their pace.
    fn wait(&self) {
        let calls = self.size.cut.as_millis() / u128::from(PACE_MS);
        self.load.wait_for(usize::try_from(calls).unwrap());
    }

    /// Waits for the API server.
    fn answered(&self) {
        let began = Instant::now();
        let ready = ["get", "--raw", "/readyz"];
        while !self.cluster.kubectl(ready).status.success() {
            assert!(began.elapsed() < PATIENCE, "it does not come back");
            self.load.wait_for(LOOK);
        }
    }

    /// Waits until the control plane knows exactly what the API server has, in these versions.
    fn settled(&self) {
        let cluster = &self.cluster;
        let wanted = cluster.in_network(|| async { Api::of(cluster).await.versions(&SORTS).await });
        let began = Instant::now();
        loop {
            let known = self.known();
            if known == wanted {
                println!("{} objects agree after {:?}", known.len(), began.elapsed());
                return;
            }
            if began.elapsed() > PATIENCE {
                let lost: BTreeMap<_, _> = wanted.iter().filter(|one| !has(&known, one)).collect();
                let left: BTreeMap<_, _> = known.iter().filter(|one| !has(&wanted, one)).collect();
                panic!("lost: {lost:#?}\nleft over: {left:#?}");
            }
            self.load.wait_for(LOOK);
        }
    }

    fn end(self) {
        let outcomes = self.load.stop();
        let failed = failed(&outcomes);
        println!("{} calls, {} failed", outcomes.len(), failed.len());
        assert!(failed.is_empty(), "{:#?}", &failed[..failed.len().min(5)]);
        let services = configz(&self.plane.configz(), &[SERVICE]);
        let of_fuzz = services.keys().filter(|key| key.1 == self.fuzz.name());
        let names = of_fuzz.map(|key| key.2.clone()).collect();
        self.watcher.has_come_to(self.fuzz.name(), &names);
        self.watcher.stop();
        drop(self.space);
    }
}

#[test]
fn an_outage_fails_no_call_and_leaves_no_trace() {
    let mut scene = Scene::start();
    scene.doomed(true);
    scene.change();
    scene.settled();

    let (before, lists) = (scene.known(), scene.lists());
    let cut = scene.cut();
    scene.doomed(false);
    scene.change();
    scene.wait();
    assert_eq!(scene.known(), before, "it is cut off");
    drop(cut);
    scene.settled();
    assert_eq!(scene.lists(), lists, "watches go on where they were");

    scene.cluster.kill("kube-apiserver");
    scene.wait();
    scene.cluster.start("kube-apiserver");
    scene.answered();
    scene.change();
    scene.settled();

    // What it has seen is compacted away when it comes back: 410 Gone.
    let lists = scene.lists();
    let cut = scene.cut();
    scene.doomed(true);
    scene.change();
    scene.doomed(false);
    scene.cluster.kill("kube-apiserver");
    compact(&scene.cluster);
    scene.cluster.start("kube-apiserver");
    scene.answered();
    scene.wait();
    drop(cut);
    scene.listed_since(lists);
    scene.settled();
    scene.end();
}
