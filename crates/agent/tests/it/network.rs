//! Network namespaces of the tests' own. A namespace belongs to a thread: what the test's thread starts lives in there,
//! and the kernel takes it away behind the last process.

use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// The pod's address in there, and its network.
pub const ADDRESS: &str = "198.18.0.7";
/// The name server of the pod.
pub const NAME_SERVER: &str = "198.18.0.10";

/// Gives this thread a network with one address, on a cable whose other end is called `outside`, and a resolv.conf.
pub fn enter() {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
    let nothing = None::<&str>;
    mount(
        nothing,
        "/",
        nothing,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        nothing,
    )
    .unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("nameserver {NAME_SERVER}\n")).unwrap();
    let target = std::fs::canonicalize("/etc/resolv.conf").unwrap();
    mount(
        Some(file.path()),
        &target,
        nothing,
        MsFlags::MS_BIND,
        nothing,
    )
    .unwrap();
    ip("link set lo up");
    ip("link add eth0 type veth peer name outside");
    ip(&format!("addr add {ADDRESS}/24 dev eth0"));
    ip("link set eth0 up");
    ip("link set outside up");
}

/// Runs `ip` with these words.
pub fn ip(words: &str) {
    run("ip", &words.split_whitespace().collect::<Vec<_>>());
}

/// Runs a program; answers with what it printed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let done = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(done.stdout).unwrap()
}
