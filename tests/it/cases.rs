//! Behaviour cases through real Envoys: every folder of `tests/cases`, by worlds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use crate::mesh::{alone, lateen, top};
use crate::scenes;

/// The cases by the world that each names.
fn by_world() -> BTreeMap<String, Vec<PathBuf>> {
    let mut found = BTreeMap::<String, Vec<PathBuf>>::new();
    for case in scenes::cases() {
        found.entry(scenes::world(&case)).or_default().push(case);
    }
    found
}

#[test]
fn every_case_passes_with_its_objects_and_fails_without() {
    let _alone = alone();
    let mut played = 0;
    let mut wrong = Vec::new();
    for (world, cases) in by_world() {
        let done = lateen()
            .args(["cases", "--world"])
            .arg(top().join("tests/worlds").join(&world))
            .args(&cases)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let verdicts: Vec<Value> = serde_json::from_slice(&done.stdout)
            .unwrap_or_else(|error| panic!("world {world} did not play: {error}, {}", done.status));
        assert_eq!(verdicts.len(), cases.len());
        played += verdicts.len();
        let broken = |verdict: &&Value| !verdict["problems"].as_array().unwrap().is_empty();
        wrong.extend(verdicts.iter().filter(broken).map(Value::to_string));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(played >= 40, "{played} cases");
}
