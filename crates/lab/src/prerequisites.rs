//! What a machine needs before a mesh can run on it: everything that is missing is named at once.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::inside::Programs;

/// The system's programs that are used, and the Debian package of each.
const SYSTEM: [(&str, &str); 4] = [
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("iptables-restore", "iptables"),
    ("iptables-save", "iptables"),
];

/// Where Debian keeps what only root needs, and where an ordinary user's `PATH` does not look.
const ROOTS_OWN: &str = ":/usr/sbin:/sbin";

/// Why an ordinary user is not enough.
const ROOT: &str = "root: every workload gets a network namespace of its own, and its traffic is captured there with \
                    iptables; nothing of this machine's own network is changed";

/// What is missing, a line each, for people; empty: all is there.
#[must_use]
pub fn missing(programs: &Programs, search_path: &OsStr) -> Vec<String> {
    if std::env::consts::OS != "linux" {
        return vec![format!(
            "Linux: traffic is captured with network namespaces and iptables; this is {}",
            std::env::consts::OS
        )];
    }
    let mut missing = Vec::new();
    let mut search_path = search_path.to_owned();
    if !nix::unistd::geteuid().is_root() {
        search_path.push(ROOTS_OWN);
        // Root's home is another, and what was downloaded is not there.
        missing.push(format!(
            "{ROOT}. Run the same command with: sudo env ENVOY={}",
            programs.envoy.display()
        ));
    }
    let mut packages = Vec::new();
    for (program, package) in SYSTEM {
        if find(program, &search_path).is_none() {
            missing.push(program.to_owned());
            if !packages.contains(&package) {
                packages.push(package);
            }
        }
    }
    if !packages.is_empty() {
        missing.push(format!(
            "install with: apt-get install -y --no-install-recommends {}",
            packages.join(" ")
        ));
    }
    let ours = [
        ("lateend", &programs.lateend, "cargo build --bins"),
        ("lateen-agent", &programs.agent, "cargo build --bins"),
        ("Envoy", &programs.envoy, "hack/envoy, or set ENVOY"),
    ];
    for (name, path, how) in ours {
        if !is_program(path) {
            missing.push(format!("{name} at {} (get it with: {how})", path.display()));
        }
    }
    if !Path::new("/etc/resolv.conf").exists() {
        missing.push("/etc/resolv.conf (an empty file will do)".to_owned());
    }
    missing
}

fn find(program: &str, search_path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(search_path)
        .map(|folder| folder.join(program))
        .find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
