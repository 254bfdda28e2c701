//! The dev mesh sees what it claims to see: with a promise of the control plane broken, the runner says no.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::mesh::{alone, envoy, program, top};

/// `lateen dev` on the samples, with a control plane that breaks a promise.
fn dev_with(mutant: &str) -> Output {
    let bin = tempfile::tempdir().unwrap();
    for name in ["lateen", "lateen-agent"] {
        std::fs::copy(program(name), bin.path().join(name)).unwrap();
    }
    let sabotaged = program("lateend-mutants");
    script(
        &bin.path().join("lateend"),
        &format!("exec {} --mutant {mutant} \"$@\"", sabotaged.display()),
    );
    Command::new(bin.path().join("lateen"))
        .current_dir(top())
        .env("ENVOY", envoy())
        .args(["dev", "--for", "4s", "-o", "json"])
        .output()
        .unwrap()
}

fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn assert_noticed(mutant: &str) {
    let _alone = alone();
    let done = dev_with(mutant);
    let said = String::from_utf8_lossy(&done.stderr);
    let report: serde_json::Value = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|error| panic!("{mutant}: {error}\n{said}"));
    assert_eq!(done.status.code(), Some(1), "{mutant}: {report}\n{said}");
    assert_eq!(report["ok"], false, "{mutant}: {report}");
    assert!(
        report["unexpected"].as_u64().unwrap() > 0,
        "{mutant}: {report}"
    );
}

#[test]
fn the_dev_mesh_notices_that_authorization_is_off() {
    assert_noticed("no-authorization");
}

#[test]
fn the_dev_mesh_notices_that_mutual_tls_is_off() {
    assert_noticed("no-mutual-tls");
}

#[test]
fn what_ships_has_no_mutants() {
    let shipped = Command::new(program("lateend"))
        .arg("--help")
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&shipped.stdout).contains("mutant"));
}
