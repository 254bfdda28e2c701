//! What the tests of the loop share: proxies that look from everywhere, and what they see.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests, of which each test uses a part; a broken expectation fails the test"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use control::{Control, ProxyId, ProxyInfo};
use model::EnvoyMinor;
use store::{Change, ChangeSet, Snapshot, SourceId};
use xds::{Kind, View};

#[cfg(feature = "mutants")]
thread_local! {
    /// The promise that the loops of this thread's stories break.
    pub static MUTANT: std::cell::Cell<Option<control::Mutant>> = const { std::cell::Cell::new(None) };
}

/// A loop to try, sabotaged if it is to be.
pub fn control() -> Control {
    let control = Control::new([]);
    #[cfg(feature = "mutants")]
    let control = match MUTANT.get() {
        Some(mutant) => control.sabotaged(mutant),
        None => control,
    };
    control
}

/// A proxy of a workload, with labels of its own for the case that no object stands for it.
pub fn proxy(namespace: &str, name: &str, app: &str) -> ProxyInfo {
    ProxyInfo {
        namespace: namespace.parse().unwrap(),
        name: name.parse().unwrap(),
        labels: [("app", app), ("version", "v1")].into_iter().collect(),
        service_account: "default".parse().unwrap(),
        addresses: Arc::new(["10.1.0.1".parse().unwrap()]),
        envoy: EnvoyMinor::NEWEST,
    }
}

/// Proxies in every namespace of the generated worlds, some with an object, some without, one where nothing lives; of
/// every Envoy.
pub fn proxies() -> Vec<ProxyInfo> {
    let of = |envoy, info| ProxyInfo { envoy, ..info };
    vec![
        proxy("shop", "cart-0", "cart"),
        of(EnvoyMinor::V1_38, proxy("shop", "cart-vm", "cart")),
        of(EnvoyMinor::V1_39, proxy("web", "pay-1", "pay")),
        of(EnvoyMinor::V1_38, proxy("istio-system", "web-0", "web")),
        proxy("nowhere", "lone", "cart"),
    ]
}

/// What a store holds, as one source would say it anew: good versions first, then what was refused since.
pub fn contents(snapshot: &Snapshot) -> ChangeSet {
    let good = snapshot.objects.values().cloned().map(Change::Upsert);
    let refused = snapshot.refused.values().cloned().map(Change::Reject);
    ChangeSet {
        source: SourceId::default(),
        changes: good.chain(refused).collect(),
    }
}

/// Everything that a proxy sees: the version and the bytes of each resource.
pub type Seen = BTreeMap<(Kind, Arc<str>), (xds::Version, bytes::Bytes)>;

/// What a view holds.
pub fn seen(view: &View) -> Seen {
    let mut seen = Seen::new();
    for kind in Kind::ALL {
        for resource in view.resources(kind) {
            let key = (kind, Arc::clone(resource.name()));
            let twice = seen.insert(key, (resource.version(), resource.body()));
            assert!(
                twice.is_none(),
                "{kind:?} {} is there twice",
                resource.name()
            );
        }
    }
    seen
}

/// The version of each resource that a proxy sees.
pub type Versions = Vec<(Arc<str>, xds::Version)>;

/// The versions of what a view holds.
pub fn versions(view: &View) -> Versions {
    let all = Kind::ALL.into_iter().flat_map(|kind| view.resources(kind));
    all.map(|resource| (Arc::clone(resource.name()), resource.version()))
        .collect()
}

/// What a proxy sees now.
pub fn sees(control: &Control, proxy: ProxyId) -> Seen {
    seen(&control.view(proxy).unwrap())
}

/// The first difference between two views, in words.
pub fn difference(left: &Seen, right: &Seen) -> Option<String> {
    let text = |(kind, name): &(Kind, Arc<str>)| format!("{kind:?} {name}");
    for (key, value) in left {
        match right.get(key) {
            None => return Some(format!("{} is superfluous", text(key))),
            Some(other) if other != value => {
                return Some(format!(
                    "{} differs: {}",
                    text(key),
                    lines(key.0, value, other)
                ));
            }
            Some(_) => {}
        }
    }
    let missing = right.keys().find(|key| !left.contains_key(*key));
    missing.map(|key| format!("{} is missing", text(key)))
}

/// The lines in which two resources differ.
fn lines(
    kind: Kind,
    left: &(xds::Version, bytes::Bytes),
    right: &(xds::Version, bytes::Bytes),
) -> String {
    let (left, right) = (shown(kind, left), shown(kind, right));
    let only = |mark: &str, here: &str, there: &str| -> Vec<String> {
        let there: Vec<&str> = there.lines().collect();
        let lines = here.lines().filter(|line| !there.contains(line));
        lines
            .take(8)
            .map(|line| format!("\n  {mark} {}", line.trim()))
            .collect()
    };
    [only("is", &left, &right), only("should be", &right, &left)]
        .concat()
        .concat()
}

fn shown(kind: Kind, (version, body): &(xds::Version, bytes::Bytes)) -> String {
    let any = envoy_api::Any {
        type_url: kind.type_url().to_owned(),
        value: body.clone(),
    };
    match envoy_api::json::to_json(&any) {
        Ok(json) => format!("{version}\n{json:#}"),
        Err(_) => format!("{version}\n{body:?}"),
    }
}

pub mod client;
pub mod properties;
pub mod valid;
