//! Programs and folders for the tests that run a mesh.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::EnvoyMinor;

/// The top of the tree.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program of ours: they all stand beside the folder of the test programs. `make test` builds them first.
pub fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join(name);
    assert!(
        path.exists(),
        "{} is not there: run `cargo build --workspace --bins` first",
        path.display()
    );
    path
}

/// The Envoy that tests use: `ENVOY`, or the pinned one.
pub fn envoy() -> OsString {
    let pinned = || found(&mut Command::new(top().join("hack/envoy")));
    std::env::var_os("ENVOY").unwrap_or_else(pinned)
}

/// An Envoy of this minor: the one that tests use, or an older one.
pub fn envoy_of(minor: EnvoyMinor) -> OsString {
    if minor == EnvoyMinor::NEWEST {
        return envoy();
    }
    let mut hack = Command::new(top().join("hack/envoy"));
    found(hack.arg(minor.to_string()))
}

fn found(hack: &mut Command) -> OsString {
    let found = hack.output().unwrap();
    let said = String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success(), "{said}");
    String::from_utf8(found.stdout).unwrap().trim().into()
}

/// `lateen` with an Envoy.
pub fn lateen() -> Command {
    program("lateend");
    program("lateen-agent");
    let mut command = Command::new(program("lateen"));
    command.current_dir(top());
    command.env("ENVOY", envoy());
    command
}

/// Waits until no other test of this program runs a mesh: a machine that is busy twice is too slow for both.
pub fn alone() -> MutexGuard<'static, ()> {
    static MESH: Mutex<()> = Mutex::new(());
    MESH.lock().unwrap_or_else(PoisonError::into_inner)
}
