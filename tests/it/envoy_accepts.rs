//! Every behaviour case, the scenes of single fields and the dev mesh, as every proxy of theirs would get it, pass
//! `--mode validate` of every Envoy that is served, in the form that is made for it.

pub mod pack;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::EnvoyMinor;
use prost::Message as _;
use serde_json::Value;
use xds::{Kind, Resource};

use crate::mesh::{envoy_of, top};
use crate::{fields, scenes};

/// So many resources are checked at once: enough that starting Envoy costs little, few enough that all cores have work.
const AT_ONCE: usize = 500;

/// A resource, and who is sent it.
pub struct Sent {
    /// The Envoy that it is made for.
    envoy: EnvoyMinor,
    /// The first scene and proxy of all that are sent it.
    whose: String,
    pub kind: Kind,
    pub resource: Arc<Resource>,
}

/// All scenes, by name.
pub fn all_scenes() -> Vec<(String, Vec<Value>)> {
    let name = |case: &Path| case.file_name().unwrap().to_string_lossy().into_owned();
    let cases = scenes::cases();
    let cases = cases.iter().map(|case| (name(case), scenes::case(case)));
    let fields = (1..).zip(fields::of_fields());
    let fields = fields.map(|(number, scene)| (format!("tests/fields, scene {number}"), scene));
    let dev = scenes::addressed(scenes::folder(&top().join("samples/dev")));
    let dev = ("samples/dev".to_owned(), dev);
    cases.chain(fields).chain([dev]).collect()
}

/// What the proxies of all scenes are sent if they run this Envoy, each resource once.
pub fn all_sent(scenes: &[(String, Vec<Value>)], envoy: EnvoyMinor) -> Vec<Sent> {
    let mut all = HashMap::new();
    for (name, objects) in scenes {
        let mut control = scenes::control(objects);
        for (proxy, number) in scenes::connect(&mut control, envoy).into_iter().zip(1..) {
            let view = control.view(proxy).unwrap();
            for kind in Kind::ALL {
                for resource in view.resources(kind) {
                    let key = (kind, Arc::clone(resource.name()), resource.version());
                    all.entry(key).or_insert_with(|| Sent {
                        envoy,
                        whose: format!("{name}, Pod {number}"),
                        kind,
                        resource: Arc::clone(resource),
                    });
                }
            }
        }
    }
    let mut all: Vec<Sent> = all.into_values().collect();
    all.sort_by(|one, other| {
        let key = |sent: &Sent| {
            (
                sent.kind,
                Arc::clone(sent.resource.name()),
                sent.resource.version(),
            )
        };
        key(one).cmp(&key(other))
    });
    all
}

/// What Envoy says against resources, if it does.
fn refusal(envoy: &Path, sent: &[Sent]) -> Option<String> {
    let resources = sent.iter().map(|sent| (sent.kind, &*sent.resource));
    let file = tempfile::Builder::new().suffix(".pb").tempfile().unwrap();
    std::fs::write(&file, pack::bootstrap(resources).encode_to_vec()).unwrap();
    let run = Command::new(envoy)
        .args(["--mode", "validate", "-l", "error", "-c"])
        .arg(file.path())
        .output()
        .unwrap();
    let said = || String::from_utf8_lossy(&run.stderr).into_owned();
    (!run.status.success()).then(said)
}

/// Which resources Envoy refuses, by halves.
fn refused(envoy: &Path, sent: &[Sent]) -> Vec<String> {
    let Some(said) = refusal(envoy, sent) else {
        return Vec::new();
    };
    if let [one] = sent {
        let name = one.resource.name();
        let Sent {
            envoy, whose, kind, ..
        } = one;
        return vec![format!("Envoy {envoy}, {whose}: {kind:?} {name}: {said}")];
    }
    let (some, others) = sent.split_at(sent.len() / 2);
    let found = [refused(envoy, some), refused(envoy, others)].concat();
    if found.is_empty() {
        return vec![format!("{} resources together: {said}", sent.len())];
    }
    found
}

/// Calls `check` for each item, on all cores.
fn on_all_cores<T: Sync, R: Send>(items: &[T], check: impl Fn(&T) -> Vec<R> + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mine = std::iter::from_fn(|| items.get(next.fetch_add(1, Ordering::Relaxed)));
        mine.flat_map(&check).collect::<Vec<R>>()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..cores).map(|_| scope.spawn(work)).collect();
        let mut found = work();
        found.extend(others.into_iter().flat_map(|other| other.join().unwrap()));
        found
    })
}

#[test]
fn every_real_envoy_accepts_every_case_and_the_dev_mesh() {
    let scenes = all_scenes();
    let sent = EnvoyMinor::ALL.map(|envoy| (envoy, all_sent(&scenes, envoy)));
    for (envoy, sent) in &sent {
        let (resources, scenes) = (sent.len(), scenes.len());
        println!("Envoy {envoy}: {resources} resources of {scenes} scenes");
    }
    let chunks = sent.iter().flat_map(|(envoy, sent)| {
        let program = PathBuf::from(envoy_of(*envoy));
        let chunks = sent.chunks(AT_ONCE);
        chunks.map(move |chunk| (program.clone(), chunk))
    });
    let chunks: Vec<(PathBuf, &[Sent])> = chunks.collect();
    let refused = on_all_cores(&chunks, |(envoy, chunk)| refused(envoy, chunk));
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}
