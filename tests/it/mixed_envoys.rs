//! A mesh whose proxies run every Envoy that is served: they talk with each other by HTTP and TCP over mutual TLS, and
//! their agents count it under the same names with the same labels.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use lab::app::{Call, Outcome};
use lab::inside::program;
use model::EnvoyMinor;
use serde_json::Value;
use testkit::{peer_authentication, service};

use crate::inside::{Stage, eventually, inside_with, workload};
use crate::mesh::envoy_of;
use crate::objects;

/// In the place of Envoy: the one that the proxy's revision is called after, which stands beside this.
const BY_REVISION: &str = "#!/bin/sh\nexec \"$0-$CANONICAL_REVISION\" \"$@\"\n";

/// A folder with that, and with every Envoy beside it.
fn envoys() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("envoy");
    std::fs::write(&script, BY_REVISION).unwrap();
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    for envoy in EnvoyMinor::ALL {
        let link = folder.path().join(format!("envoy-{envoy}"));
        symlink(envoy_of(envoy), link).unwrap();
    }
    folder
}

/// Puts every Envoy beside the script where the mesh finds it, whose users cannot look into folders of ours.
fn bind_envoys() {
    for envoy in EnvoyMinor::ALL {
        let name = format!("envoy-{envoy}");
        let target = program(&name);
        std::fs::write(&target, "").unwrap();
        let mut bind = Command::new("mount");
        bind.arg("--bind");
        bind.arg(Path::new(&envoy_of(EnvoyMinor::NEWEST)).with_file_name(name));
        assert!(bind.arg(target).status().unwrap().success());
    }
}

/// What an Envoy's part of the mesh is called.
fn name(role: &str, envoy: EnvoyMinor) -> String {
    format!("{role}-{}", envoy.to_string().replace('.', "-"))
}

/// A server and a caller of each Envoy.
fn world() -> Vec<Value> {
    let mut objects = objects![
        peer_authentication("default")
            .in_namespace("istio-system")
            .mode("STRICT"),
    ];
    for envoy in EnvoyMinor::ALL {
        let [server, client] = ["server", "client"].map(|role| name(role, envoy));
        let of = |name: &str, ports| {
            let pod = workload("shop", name, name, ports);
            pod.labelled("app", name)
                .labelled("version", &envoy.to_string())
        };
        objects.extend(objects![
            service(&server)
                .in_namespace("shop")
                .selecting("app", &server)
                .port(9080)
                .tcp_port(9000),
            of(&server, &[9080, 9000]),
            of(&client, &[]),
        ]);
    }
    objects
}

async fn call(stage: &Stage, from: &str, url: &str) -> Outcome {
    let call = Call {
        fresh: true,
        ..Call::get(url)
    };
    let from = format!("shop/{from}");
    stage.mesh.call(&from, call).await.unwrap()
}

/// The Envoy that a proxy says it runs.
async fn runs(stage: &Stage, workload: &str) -> EnvoyMinor {
    let info = call(stage, workload, "http://127.0.0.1:15000/server_info").await;
    let info: Value = serde_json::from_str(&info.body).unwrap();
    let version = info["version"].as_str().unwrap();
    version.split('/').nth(1).unwrap().parse().unwrap()
}

/// The series of Istio's metrics at a workload, without their values; what tells the Envoys apart is masked.
async fn series(stage: &Stage, workload: &str) -> BTreeSet<String> {
    let page = call(stage, workload, "http://127.0.0.1:15020/stats/prometheus").await;
    let series = page.body.lines().filter(|line| line.starts_with("istio_"));
    let series = series.filter_map(|line| Some(line.rsplit_once(' ')?.0));
    let masked = series.map(|line| {
        EnvoyMinor::ALL.iter().fold(line.to_owned(), |line, envoy| {
            let version = envoy.to_string();
            line.replace(&version, "V")
                .replace(&version.replace('.', "-"), "V")
        })
    });
    masked.collect()
}

/// What all proxies of a role count, once they count the same.
async fn counted(stage: &Stage, role: &str, wanted: &[&str]) -> BTreeSet<String> {
    eventually("the same series at every Envoy", async || {
        let [old, newer, newest] = EnvoyMinor::ALL.map(|envoy| name(role, envoy));
        let old = series(stage, &old).await;
        let has = |name: &&str| old.iter().any(|line| line.starts_with(name));
        let complete = wanted.iter().all(has);
        let same = old == series(stage, &newer).await && old == series(stage, &newest).await;
        (complete && same).then_some(old)
    })
    .await
}

#[test]
fn every_envoy_talks_with_every_other_and_counts_alike() {
    let envoys = envoys();
    let test = "mixed_envoys::every_envoy_talks_with_every_other_and_counts_alike";
    inside_with(&envoys.path().join("envoy"), test, async {
        bind_envoys();
        let stage = Stage::start(&world()).await;
        for from in EnvoyMinor::ALL {
            let client = name("client", from);
            assert_eq!(runs(&stage, &client).await, from);
            for to in EnvoyMinor::ALL {
                let server = name("server", to);
                let peer = format!("spiffe://cluster.local/ns/shop/sa/{client}");
                let answered = call(&stage, &client, &format!("http://{server}:9080/")).await;
                assert_eq!(
                    answered.status,
                    Some(200),
                    "{client} to {server}: {answered:?}"
                );
                assert_eq!(answered.answer.unwrap().peer(), Some(&*peer));
                let line = call(&stage, &client, &format!("tcp://{server}:9000")).await;
                assert_eq!(line.status, Some(200), "{client} to {server}: {line:?}");
            }
        }
        let wanted = [
            "istio_requests_total{",
            "istio_request_duration_milliseconds_bucket{",
            "istio_request_bytes_sum{",
            "istio_response_bytes_count{",
            "istio_tcp_connections_opened_total{",
            "istio_tcp_connections_closed_total{",
            "istio_tcp_sent_bytes_total{",
            "istio_tcp_received_bytes_total{",
            "istio_agent_",
        ];
        for (role, reporter) in [("client", "source"), ("server", "destination")] {
            let series = counted(&stage, role, &wanted).await;
            let reporter = format!("reporter=\"{reporter}\"");
            let reported = series.iter().filter(|line| line.contains(&reporter));
            println!("{role}: {} series, alike", reported.count());
        }
    });
}
