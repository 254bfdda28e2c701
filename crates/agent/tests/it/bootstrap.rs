//! The bootstrap, as each real Envoy that is served reads it.

use std::path::{Path, PathBuf};
use std::process::Command;

use agent::args::{Arguments, Command as Asked, ProxyArguments};
use agent::bootstrap::{Sockets, render};
use agent::node::Node;
use clap::Parser as _;
use model::EnvoyMinor;

/// Envoy: the one that `make test` uses.
pub fn envoy() -> PathBuf {
    envoy_of(EnvoyMinor::NEWEST)
}

/// Envoy of this minor.
pub fn envoy_of(minor: EnvoyMinor) -> PathBuf {
    let hack = concat!(env!("CARGO_MANIFEST_DIR"), "/../../hack/envoy");
    let older = (minor < EnvoyMinor::NEWEST).then(|| minor.to_string());
    let done = Command::new(hack).args(older).output().unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    PathBuf::from(String::from_utf8(done.stdout).unwrap().trim())
}

fn arguments(more: &[&str]) -> ProxyArguments {
    let base = [
        "lateen-agent",
        "proxy",
        "--namespace",
        "shop",
        "--pod",
        "cart-1",
    ];
    match Arguments::try_parse_from(base.iter().chain(more))
        .unwrap()
        .command
    {
        Asked::Proxy(arguments) => *arguments,
        other => panic!("{other:?}"),
    }
}

#[test]
fn envoy_accepts_it_without_a_warning_whatever_the_names_are() {
    let folder = tempfile::tempdir().unwrap();
    let odd = "app=a\"b}${X}%{{,version=\\n";
    for more in [
        &[
            "--ip",
            "198.18.0.7",
            "--labels",
            "app=cart",
            "--locality",
            "r/z/s",
        ][..],
        &[
            "--ip",
            "fd00::7",
            "--labels",
            odd,
            "--workload",
            "<&\">",
            "--adminPort",
            "15999",
        ],
    ] {
        let arguments = arguments(more);
        let node = Node::new(&arguments.node).unwrap();
        let sockets = Sockets {
            xds: Path::new("/run/agent/xds.sock"),
            sds: Path::new("/run/agent/sds.sock"),
        };
        let path = folder.path().join("envoy-rev.json");
        std::fs::write(&path, render(&node, &arguments.ports, sockets).to_string()).unwrap();
        for envoy in EnvoyMinor::ALL {
            let done = Command::new(envoy_of(envoy))
                .args(["--mode", "validate", "--log-level", "warning", "-c"])
                .arg(&path)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(
                done.status.success() && !said.contains("[warning]"),
                "Envoy {envoy}: {said}"
            );
        }
    }
}
