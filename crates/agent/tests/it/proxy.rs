//! `lateen-agent proxy`: a real Envoy, a control plane that the test plays, a network of the test's own.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::process::{Command, Stdio};

use agent::admin::call;
use envoy_api::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use envoy_api::type_url::{CLUSTER, LISTENER};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use http::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use wire::NAME_TABLE;

use crate::control_plane::Fake;
use crate::network::{ADDRESS, enter, run};
use crate::sidecar::{Proxy, SOON, call_by_tls, eventually, get, play, ready, upstream};

#[test]
fn it_runs_an_envoy_with_all_that_it_needs_and_ends_it() {
    enter();
    block_on(async {
        let mut fake = Fake::start("istiod.istio-system.svc").await;
        let app = app_metrics().await;
        let mut proxy = Proxy::start(&fake, &["--prometheusAnnotations", &app]);
        let mut stream = upstream(&mut fake).await;
        let unready = eventually("the port 15020", async || {
            get(15020, "/healthz/ready").await
        })
        .await;
        assert_eq!(
            unready.status, 503,
            "nothing came from the control plane yet: {unready:?}"
        );
        assert_eq!(play(&mut stream).await, [CLUSTER, LISTENER, NAME_TABLE]);
        hook(&["wait"]);
        assert!(ready(15021).await.is_some());

        let answer = call_by_tls(&fake);
        assert!(answer.contains("hello"), "{answer}");
        assert_eq!(proxy.lines.recv_timeout(SOON).unwrap(), "called /x");
        assert_names_and_metrics().await;
        let mode = std::fs::metadata(fake.path("agent"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);

        assert_eq!(
            post(
                (ADDRESS.parse::<std::net::IpAddr>().unwrap(), 15020).into(),
                "/quitquitquit"
            )
            .await,
            403
        );
        assert_eq!(
            call(Method::GET, 15020, "/quitquitquit", SOON)
                .await
                .unwrap()
                .status,
            405
        );
        hook(&["request", "--debug-port=15020", "POST", "drain"]);
        let drains = get(15020, "/healthz/ready").await.unwrap();
        assert_eq!(
            (drains.status.as_u16(), &drains.body[..]),
            (503, &b"draining\n"[..])
        );
        assert_eq!(
            post(([127, 0, 0, 1], 15020).into(), "/quitquitquit").await,
            200
        );
        assert!(proxy.ended().await.success());
        assert!(
            TcpStream::connect("127.0.0.1:15000").await.is_err(),
            "Envoy has ended, too"
        );
    });
}

/// Runs the agent's program as a hook of a container does.
fn hook(words: &[&str]) {
    run(env!("CARGO_BIN_EXE_lateen-agent"), words);
}

/// An app with one metric; where it is, as the injector says it.
async fn app_metrics() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    tokio::spawn(async move {
        loop {
            let mut stream = listener.accept().await.unwrap().0;
            let mut head = BufReader::new(&mut stream).lines();
            while head
                .next_line()
                .await
                .unwrap()
                .is_some_and(|line| !line.is_empty())
            {}
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nof_app 7\n# EOF";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    json!({ "scrape": "true", "port": port }).to_string()
}

async fn assert_names_and_metrics() {
    let mut question = Message::query();
    question.add_query(Query::query(
        Name::from_ascii("reviews.").unwrap(),
        RecordType::A,
    ));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket
        .send_to(&question.to_vec().unwrap(), "127.0.0.1:15053")
        .await
        .unwrap();
    let mut buffer = [0; 512];
    let length = tokio::time::timeout(SOON, socket.recv(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(answer.answers[0].data.to_string(), "240.240.0.1");

    let page = get(15020, "/stats/prometheus").await.unwrap();
    let page = String::from_utf8(page.body.into()).unwrap();
    for line in [
        "istio_requests_total{source_namespace=\"shop\",source_app=\"cart\",nothing=\"unknown\"} 1",
        "istio_agent_xds_proxy_responses 3",
        "istio_agent_dns_requests_total 1",
        "istio_agent_num_outgoing_requests{request_type=\"csr\"} 1",
        "envoy_server_live{} 1",
        "of_app 7",
    ] {
        assert!(
            page.lines().any(|found| found == line),
            "no {line} in\n{page}"
        );
    }
    let envoys = get(15090, "/stats/prometheus").await.unwrap();
    assert!(
        String::from_utf8_lossy(&envoys.body)
            .contains("envoy_cluster_upstream_cx_total{cluster_name=\"xds-grpc\"}")
    );
}

async fn post(address: SocketAddr, path: &str) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn envoy_comes_back_from_a_crash_and_from_an_outage_and_dies_with_its_agent() {
    enter();
    block_on(async {
        let mut fake = Fake::start("istiod.istio-system.svc").await;
        let mut proxy = Proxy::start(
            &fake,
            &[
                "--exitOnZeroActiveConnections",
                "--minimumDrainDuration",
                "0s",
            ],
        );
        play(&mut upstream(&mut fake).await).await;
        eventually("readiness", async || ready(15021).await).await;

        // The stream ended with `play`. Envoy comes back and says what it has.
        let mut stream = upstream(&mut fake).await;
        let mut resumed = Vec::new();
        while resumed.len() < 2 {
            let request = stream.requests.message().await.unwrap().unwrap();
            if !request.initial_resource_versions.is_empty() {
                resumed.push(request.type_url);
            }
        }
        resumed.sort();
        assert_eq!(resumed, [LISTENER, NAME_TABLE]);
        assert!(
            call_by_tls(&fake).contains("hello"),
            "and serves all the while"
        );

        let [old] = proxy.envoys()[..] else {
            panic!("one Envoy")
        };
        kill(old, Signal::SIGKILL).unwrap();
        play(&mut upstream(&mut fake).await).await;
        eventually("readiness after a crash", async || ready(15021).await).await;
        let [new] = proxy.envoys()[..] else {
            panic!("one Envoy")
        };
        assert_ne!(old, new);
        assert!(proxy.agent.try_wait().unwrap().is_none());

        // By SIGTERM it ends when the last connection does: there is none.
        kill(
            Pid::from_raw(proxy.agent.id().try_into().unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
        assert!(proxy.ended().await.success());

        let mut proxy = Proxy::start(&fake, &[]);
        let [envoy] = eventually("Envoy", async || proxy.envoys().try_into().ok()).await;
        proxy.agent.kill().unwrap();
        proxy.agent.wait().unwrap();
        eventually("Envoy's end", async || {
            kill(envoy, None).is_err().then_some(())
        })
        .await;
    });
}

#[test]
fn a_native_sidecar_that_drained_before_the_app_ended_ends_at_once() {
    enter();
    block_on(async {
        let mut fake = Fake::start("istiod.istio-system.svc").await;
        let mut proxy = Proxy::start(&fake, &["--terminationDrainDuration", "10m"]);
        play(&mut upstream(&mut fake).await).await;
        eventually("readiness", async || ready(15021).await).await;
        hook(&["request", "POST", "/drain"]);
        assert!(
            call_by_tls(&fake).contains("hello"),
            "and serves until it ends"
        );
        kill(
            Pid::from_raw(proxy.agent.id().try_into().unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
        assert!(proxy.ended().await.success());
    });
}

#[test]
fn hooks_tell_why_they_fail() {
    enter();
    let hook = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lateen-agent"));
        let done = command.args(words).output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let (code, error) = hook(&["wait", "--timeoutSeconds", "0"]);
    assert!(
        code == Some(1) && error.contains("the proxy is not ready after 0ns"),
        "{error}"
    );
    let (code, error) = hook(&["wait", "--url", "http://example.com/"]);
    assert!(
        code == Some(1) && error.contains("write http://localhost:PORT/PATH"),
        "{error}"
    );
    let (code, error) = hook(&["request", "POST", "drain"]);
    assert!(
        code == Some(1) && error.contains("no answer from the agent on port 15020"),
        "{error}"
    );
}

#[test]
fn a_new_certificate_reaches_envoy_and_cuts_no_stream() {
    enter();
    block_on(async {
        let mut fake = Fake::start("istiod.istio-system.svc").await;
        let _proxy = Proxy::start(&fake, &["--secretTtl", "4s"]);
        let mut stream = upstream(&mut fake).await;
        play(&mut stream).await;
        eventually("readiness", async || ready(15021).await).await;
        let serial = async || {
            let certificates = get(15000, "/certs").await?;
            let certificates: serde_json::Value =
                serde_json::from_slice(&certificates.body).ok()?;
            Some(certificates["certificates"][0]["cert_chain"][0]["serial_number"].to_string())
        };
        let first = serial().await.unwrap();
        eventually("another certificate", async || {
            serial().await.filter(|now| *now != first)
        })
        .await;
        assert!(call_by_tls(&fake).contains("hello"));
        assert!(fake.delta.try_recv().is_err(), "still the first stream");
        assert!(
            stream
                .responses
                .send(Ok(DeltaDiscoveryResponse::default()))
                .await
                .is_ok()
        );
    });
}

#[test]
fn an_expired_token_is_told_once_and_with_the_way_to_another() {
    enter();
    block_on(async {
        let fake = Fake::start("istiod.istio-system.svc").await;
        let token = fake.path("token");
        std::fs::write(&token, "shop/expired").unwrap();
        let mut agent = Command::new(env!("CARGO_BIN_EXE_lateen-agent"))
            .args(["proxy", "--namespace", "shop", "--pod", "cart-1"])
            .args(["--ip", ADDRESS, "--envoy", "/bin/false"])
            .args(["--discoveryAddress", &fake.address.to_string()])
            .arg("--rootCert")
            .arg(fake.path("root.pem"))
            .arg("--tokenFile")
            .arg(&token)
            .arg("--workDir")
            .arg(fake.path("agent"))
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        eventually("more tries", async || {
            (fake.proofs().len() > 3).then_some(())
        })
        .await;
        agent.kill().unwrap();
        let error = String::from_utf8(agent.wait_with_output().unwrap().stderr).unwrap();
        let told: Vec<_> = error
            .lines()
            .filter(|line| line.contains("no certificate"))
            .collect();
        let [told] = told[..] else { panic!("{error}") };
        for word in [
            &format!("--tokenFile {}", token.display()),
            "it has expired",
            "lateen token create",
        ] {
            assert!(told.contains(word), "{told}");
        }
    });
}

#[test]
fn who_is_not_root_is_not_in_its_group_either() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_lateen-agent"))
        .args(["proxy", "--namespace", "shop", "--pod", "cart"])
        .args(["--uid", "1337", "--ip", "127.0.0.1"])
        // This address is nobody's: here the start ends.
        .args(["--dnsAddress", "192.0.2.1:15053", "--workDir"])
        .arg(folder.path().join("agent"))
        .output()
        .unwrap();
    let error = String::from_utf8(ended.stderr).unwrap();
    assert!(error.contains("192.0.2.1:15053"), "{error}");
    for made in ["agent", "agent/xds.sock"] {
        let made = std::fs::metadata(folder.path().join(made)).unwrap();
        assert_eq!((made.uid(), made.gid()), (1337, 1337));
    }
}

#[test]
fn wrong_arguments_are_named() {
    let agent = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lateen-agent"));
        command.env_clear().args(arguments);
        let done = command.output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let base = ["proxy", "--namespace", "shop", "--pod", "cart"];
    for (more, word) in [
        (&["--discoveryAddress", "istiod"][..], "--discoveryAddress"),
        (&["--namespace", "Shop"], "--namespace"),
        (&["--serverName", "a b"], "--serverName"),
        (&["--labelsFile", "/nonexistent"], "--labelsFile"),
        (
            &["--terminationDrainDuration", "soon"],
            "--terminationDrainDuration",
        ),
        (&["--ip", "localhost"], "--ip"),
        (&["router"], "sidecar"),
        (&["--appProbers", "{\"/x\": {}}"], "/app-health/"),
        (
            &[
                "--prometheusAnnotations",
                "{\"port\":\"15020\"}",
                "--ip",
                "127.0.0.1",
            ],
            "would ask itself",
        ),
    ] {
        let (code, error) = agent(&[&base[..], more].concat());
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(word), "{error}");
    }
    let (code, error) = agent(&["proxy"]);
    assert!(
        code == Some(2) && error.contains("--namespace") && error.contains("--pod"),
        "{error}"
    );
    let (code, error) = agent(&["capture", "-m", "TPROXY"]);
    assert!(
        code == Some(2) && error.contains("only REDIRECT"),
        "{error}"
    );
}

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
}
