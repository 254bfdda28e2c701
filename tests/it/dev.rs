//! `lateen dev` as a newcomer meets it: the real command on the folder that comes with the tree.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::mesh::{alone, lateen, top};

/// A copy of `samples/dev` with the weights of the two versions.
fn folder(v1: u32, v2: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(top().join("samples/dev")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    set_weights(dir.path(), v1, v2);
    dir
}

fn set_weights(dir: &Path, v1: u32, v2: u32) {
    let original = fs::read_to_string(top().join("samples/dev/routing.yaml")).unwrap();
    let text = original
        .replace("weight: 90", &format!("weight: {v1}"))
        .replace("weight: 10", &format!("weight: {v2}"));
    let part = dir.join("part");
    fs::write(&part, text).unwrap();
    fs::rename(part, dir.join("routing.yaml")).unwrap();
}

fn report(done: &Output) -> Value {
    serde_json::from_slice(&done.stdout).unwrap_or_else(|error| {
        panic!(
            "standard output is one JSON object: {error}\n{}",
            String::from_utf8_lossy(&done.stderr)
        )
    })
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

#[test]
fn the_dev_mesh_does_what_its_yaml_says() {
    let _alone = alone();
    let done = lateen()
        .args(["dev", "--for", "26s", "-o", "json"])
        .output()
        .unwrap();
    let report = report(&done);
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(
        (done.status.code(), &report["ok"]),
        (Some(0), &Value::Bool(true)),
        "{report}\n{said}"
    );
    let keys: Vec<&str> = report
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut wanted = vec![
        "requests",
        "failed",
        "refused",
        "unexpected",
        "by_version",
        "expected_weights",
        "by_identity",
        "plaintext_refused",
        "p50_ms",
        "p99_ms",
        "first_success_s",
        "mode",
        "proxies",
        "ok",
    ];
    wanted.sort_unstable();
    assert_eq!(keys, wanted);
    let (v1, v2) = (
        count(&report["by_version"]["v1"]),
        count(&report["by_version"]["v2"]),
    );
    assert!(v1 + v2 >= 2000, "{report}");
    let of_2000 = v2 * 2000 / (v1 + v2);
    assert!(
        (140..=260).contains(&of_2000),
        "{of_2000} of 2000 calls on v2"
    );
    assert_eq!(
        report["expected_weights"],
        serde_json::json!({ "v1": 90, "v2": 10 })
    );
    // Whoever is refused is seen by no server, and the caller without a sidecar has no identity.
    let seen = report["by_identity"].as_object().unwrap();
    assert_eq!(
        Vec::from_iter(seen.keys()),
        ["spiffe://cluster.local/ns/shop/sa/productpage"]
    );
    assert_eq!(
        (count(&report["failed"]), count(&report["unexpected"])),
        (0, 0)
    );
    assert!(
        count(&report["plaintext_refused"]) > 100 && count(&report["refused"]) > 500,
        "{report}"
    );
    assert_eq!(
        (count(&report["proxies"]), &report["mode"]),
        (6, &Value::from("netns"))
    );
    assert!(
        report["first_success_s"].as_f64().unwrap() < 10.0,
        "{report}"
    );
}

#[test]
fn expectations_come_from_the_folder() {
    let _alone = alone();
    let dir = folder(30, 70);
    let done = lateen()
        .args(["dev", "--for", "5s", "-o", "json", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    let report = report(&done);
    assert_eq!(
        done.status.code(),
        Some(0),
        "{report}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert_eq!(
        report["expected_weights"],
        serde_json::json!({ "v1": 30, "v2": 70 })
    );
    let (v1, v2) = (
        count(&report["by_version"]["v1"]),
        count(&report["by_version"]["v2"]),
    );
    assert!((60..=80).contains(&(v2 * 100 / (v1 + v2))), "{report}");
}

/// A run that goes on until it is told to end, and what it says.
struct Run {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Run {
    fn start(dir: &Path) -> Self {
        let mut child = lateen()
            .args(["dev", "--dir"])
            .arg(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads on to a line that has this in it.
    fn hear(&mut self, text: &str) -> String {
        let heard = self.lines.by_ref().map(Result::unwrap);
        let mut before = Vec::new();
        for line in heard {
            if line.contains(text) {
                return line;
            }
            before.push(line);
        }
        panic!("{text:?} was never said, but:\n{}", before.join("\n"));
    }

    /// Ends it by a signal; its exit code.
    fn end(mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap().code()
    }
}

#[test]
fn an_edit_is_told_and_followed() {
    let _alone = alone();
    let dir = folder(90, 10);
    let mut run = Run::start(dir.path());
    run.hear("first success");
    // Nothing that was right before is right after.
    set_weights(dir.path(), 0, 100);
    run.hear("VirtualService shop/reviews changed (routing.yaml:");
    run.hear("all 6 proxies have it after");
    let line = run.hear("v2 100.0 %");
    assert!(line.contains("0 failed, 0 unexpected"), "{line}");
    fs::write(
        dir.path().join("broken.yaml"),
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nspec: [\n",
    )
    .unwrap();
    run.hear("broken.yaml:");
    assert_eq!(run.end("-INT"), Some(130));
}

/// What must be equal before and after.
fn machine() -> BTreeMap<&'static str, String> {
    let run = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).output().unwrap();
        assert!(done.status.success(), "{program}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let rules = run("iptables-save", &[]);
    BTreeMap::from([
        ("links", run("ip", &["-o", "link"])),
        ("addresses", run("ip", &["-o", "address"])),
        ("routes", run("ip", &["route", "show", "table", "all"])),
        (
            "rules",
            rules
                .lines()
                .filter(|line| line.starts_with("-A"))
                .collect(),
        ),
        (
            "mounts",
            fs::read_to_string("/proc/self/mountinfo").unwrap(),
        ),
        ("files", format!("{:?}", Path::new("/run/lateen").exists())),
    ])
}

/// The namespaces of a process: pid, network and mount.
fn namespaces(process: &str) -> Vec<PathBuf> {
    let link = |kind| fs::read_link(format!("/proc/{process}/ns/{kind}"));
    ["pid", "net", "mnt"]
        .into_iter()
        .filter_map(|kind| link(kind).ok())
        .collect()
}

/// The processes of this machine, or those below one of them.
fn processes(below: Option<&str>) -> Vec<String> {
    let Some(parent) = below else {
        let entries = fs::read_dir("/proc")
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        return entries.filter(|name| name.parse::<u32>().is_ok()).collect();
    };
    let children =
        fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let below = children.split_whitespace().flat_map(|child| {
        let mut all = processes(Some(child));
        all.push(child.to_owned());
        all
    });
    below.collect()
}

#[test]
fn nothing_stays_behind() {
    let _alone = alone();
    let before = machine();
    let ours = namespaces("self");
    let dir = folder(90, 10);
    for (signal, code) in [("-INT", Some(130)), ("-TERM", Some(130)), ("-KILL", None)] {
        let mut run = Run::start(dir.path());
        run.hear("first success");
        let mesh = processes(Some(&run.child.id().to_string()));
        assert!(mesh.len() > 20, "{mesh:?}");
        let mut spaces: Vec<PathBuf> = mesh
            .iter()
            .flat_map(|process| namespaces(process))
            .collect();
        spaces.retain(|space| !ours.contains(space));
        assert!(spaces.len() > 20, "{spaces:?}");
        assert_eq!(run.end(signal), code, "{signal}");
        let in_them = || {
            let inside = |process: &String| {
                namespaces(process)
                    .iter()
                    .any(|space| spaces.contains(space))
            };
            processes(None)
                .into_iter()
                .filter(inside)
                .collect::<Vec<_>>()
        };
        // The kernel takes the namespaces of a killed process away in its own time.
        let until = Instant::now() + Duration::from_secs(10);
        while (!in_them().is_empty() || machine() != before) && Instant::now() < until {
            std::thread::yield_now();
        }
        assert_eq!(in_them(), Vec::<String>::new(), "after {signal}");
        assert_eq!(machine(), before, "after {signal}");
    }
}

fn fails(arguments: &[&str], more: impl FnOnce(&mut Command)) -> (Option<i32>, String) {
    let mut command = lateen();
    command.args(arguments);
    more(&mut command);
    let done = command.output().unwrap();
    assert!(
        done.stdout.is_empty(),
        "what is wrong goes to standard error"
    );
    (
        done.status.code(),
        String::from_utf8_lossy(&done.stderr).into_owned(),
    )
}

#[test]
fn what_is_missing_or_misspelt_is_said() {
    let (code, said) = fails(&["dev"], |command| {
        command
            .env("PATH", "/nowhere")
            .env("ENVOY", "/nowhere/envoy");
    });
    assert_eq!(code, Some(2), "{said}");
    for name in [
        "ip",
        "nsenter",
        "iptables-restore",
        "/nowhere/envoy",
        "apt-get install",
    ] {
        assert!(said.contains(name), "{name} is named: {said}");
    }
    let (code, said) = fails(&["dev", "--dir", "/nowhere"], |_| {});
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("/nowhere"));
    let token = [
        "token",
        "create",
        "--stateDir",
        "/nowhere",
        "--namespace",
        "a",
        "--service-account",
        "b",
    ];
    let (code, said) = fails(&token, |_| {});
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("/nowhere is no folder"), "{said}");
    assert!(!Path::new("/nowhere").exists());
    let (code, said) = fails(&["validat", "."], |_| {});
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("'validate'"), "{said}");
}
