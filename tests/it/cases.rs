//! Behaviour cases through real Envoys: every folder of `tests/cases`, by worlds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use model::EnvoyMinor;
use serde_json::Value;

use crate::mesh::{alone, envoy_of, lateen, top};
use crate::scenes;

/// The cases by the world that each names.
fn by_world() -> BTreeMap<String, Vec<PathBuf>> {
    let mut found = BTreeMap::<String, Vec<PathBuf>>::new();
    for case in scenes::cases() {
        found.entry(scenes::world(&case)).or_default().push(case);
    }
    found
}

/// Plays cases of a world with an Envoy; what is wrong with those that fail.
fn play(envoy: EnvoyMinor, world: &str, cases: &[PathBuf]) -> Vec<String> {
    let done = lateen()
        .env("ENVOY", envoy_of(envoy))
        .args(["cases", "--world"])
        .arg(top().join("tests/worlds").join(world))
        .args(cases)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let verdicts: Vec<Value> = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|error| panic!("world {world} did not play: {error}, {}", done.status));
    assert_eq!(verdicts.len(), cases.len());
    let broken = |verdict: &&Value| !verdict["problems"].as_array().unwrap().is_empty();
    let broken = verdicts.iter().filter(broken);
    broken
        .map(|verdict| format!("Envoy {envoy}: {verdict}"))
        .collect()
}

#[test]
fn every_case_passes_with_its_objects_and_fails_without() {
    let _alone = alone();
    let mut played = 0;
    let mut wrong = Vec::new();
    for (world, cases) in by_world() {
        wrong.extend(play(EnvoyMinor::NEWEST, &world, &cases));
        played += cases.len();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(played >= 40, "{played} cases");
}

/// What the older Envoys play: something of everything.
const CHOSEN: &[&str] = &[
    "az-custom-http",
    "az-deny-path-template",
    "az-dry-run",
    "az-metrics",
    "az-tcp-deny",
    "dr-hash-header",
    "dr-hash-source-ip-tcp",
    "dr-outlier-detection",
    "dr-retry-budget",
    "dr-tls-istio-mutual",
    "pa-workload",
    "protocol-sniffed",
    "se-dns",
    "vs-fault-delay-and-abort",
    "vs-headers",
    "vs-mirror",
    "vs-retries-counted",
    "vs-tls-sni",
];

/// With `LATEEN_SOAK` they play all.
#[test]
fn a_choice_of_the_cases_passes_with_older_envoys() {
    let _alone = alone();
    let older = EnvoyMinor::ALL
        .into_iter()
        .filter(|envoy| *envoy < EnvoyMinor::NEWEST);
    let mut wrong = Vec::new();
    for (world, mut cases) in by_world() {
        let is_chosen = |case: &PathBuf| CHOSEN.iter().any(|name| case.ends_with(name));
        cases.retain(|case| testkit::soak() > 1 || is_chosen(case));
        if cases.is_empty() {
            continue;
        }
        for envoy in older.clone() {
            wrong.extend(play(envoy, &world, &cases));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
