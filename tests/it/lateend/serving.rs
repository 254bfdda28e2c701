//! Proxies come, are served, follow edits, come back after a restart; and the process begins and ends as told.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use nix::fcntl::OFlag;
use tonic::Code;
use tonic::metadata::MetadataMap;
use xds::Kind;
use xds::client::{nack, subscribe};

use super::client::{Proxy, all, bearer, cart, certificate, one, plaintext, secure, versions};
use super::process::{Home, Lateend, MESH, eventually};

const REVIEWS: &str = "outbound|9080||reviews.shop.svc.cluster.local";

#[tokio::test]
async fn a_proxy_joins_with_a_token_and_streams_with_its_certificate() {
    let home = Home::new();
    let lateend = Lateend::start(&home, &[]).await;
    let joining = secure(&lateend, &home.roots(), None).await.unwrap();
    let token = bearer(&home.token("shop", "cart", Duration::ZERO));
    let identity = certificate(joining, token).await.unwrap();
    assert_eq!(
        *identity.chain.last().unwrap(),
        home.roots(),
        "the root bundle comes last"
    );
    let channel = secure(&lateend, "", Some(&identity)).await;
    assert!(channel.is_err(), "who trusts nobody does not connect");
    let channel = secure(&lateend, &home.roots(), Some(&identity))
        .await
        .unwrap();
    let renewed = certificate(channel.clone(), MetadataMap::new())
        .await
        .unwrap();
    assert_ne!(renewed.chain[0], identity.chain[0]);
    let mut proxy = Proxy::open(channel, MetadataMap::new(), cart(), all(Kind::Cluster))
        .await
        .unwrap();
    let clusters = proxy.accept().await;
    assert!(
        versions(&clusters).contains_key(REVIEWS),
        "{:?}",
        versions(&clusters)
    );
}

#[tokio::test]
async fn an_edit_reaches_the_proxies_that_it_concerns() {
    let home = Home::new();
    let lateend = Lateend::start(&home, &[]).await;
    let mut proxy = Proxy::join(&lateend, &home).await;
    proxy.accept().await;
    home.write(
        "more.yaml",
        &MESH
            .split("---")
            .next()
            .unwrap()
            .replace("reviews", "ratings")
            .replace("128.9", "128.8"),
    );
    let added = proxy.accept().await;
    let added: Vec<_> = versions(&added).into_keys().collect();
    assert_eq!(
        added,
        ["outbound|9080||ratings.shop.svc.cluster.local"],
        "only what is new"
    );
    eventually("the log of the edit", async || {
        lateend
            .log()
            .contains("Service shop/ratings (more.yaml:1)")
            .then_some(())
    })
    .await;
    home.write("more.yaml", "kind: Nonsense");
    eventually("a complaint", async || {
        lateend.log().contains("more.yaml:").then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_comes_back_with_what_it_has_is_sent_nothing() {
    let home = Home::new();
    let lateend = Lateend::start(&home, &[]).await;
    let roots = home.roots();
    let mut proxy = Proxy::join(&lateend, &home).await;
    let has = versions(&proxy.accept().await);
    lateend.kill().await;
    assert!(proxy.next().await.is_err());
    let lateend = Lateend::start(&home, &[]).await;
    assert_eq!(home.roots(), roots, "a restart keeps the root");
    let channel = secure(&lateend, &roots, None).await.unwrap();
    let token = bearer(&home.token("shop", "cart", Duration::ZERO));
    let resumed = subscribe(Kind::Cluster.type_url(), Vec::new(), has);
    let mut proxy = Proxy::open(channel, token, cart(), resumed).await.unwrap();
    proxy.send(one(Kind::Route, "no such route")).await;
    // Clusters would have come first.
    let first = proxy.next().await.unwrap();
    assert_eq!(
        (first.type_url.as_str(), first.removed_resources),
        (Kind::Route.type_url(), vec!["no such route".to_owned()])
    );
}

#[tokio::test]
async fn a_refusal_is_told_with_the_object_and_the_line() {
    let home = Home::new();
    let lateend = Lateend::start(&home, &[]).await;
    let mut proxy = Proxy::join(&lateend, &home).await;
    proxy.accept().await;
    proxy.send(one(Kind::Route, "9080")).await;
    let routes = proxy.next_of(Kind::Route).await;
    proxy.send(nack(&routes, "a regex too far")).await;
    eventually("a warning", async || {
        let log = lateend.log();
        let mut lines = log.lines();
        lines
            .find(|line| {
                line.contains("a regex too far")
                    && line.contains("VirtualService shop/reviews mesh.yaml:9")
            })
            .map(drop)
    })
    .await;
    let status = lateend.json("/debug/syncz").await;
    assert_eq!(
        (&status[0]["route_refused"], &status[0]["synced"]),
        (&"a regex too far".into(), &false.into())
    );
}

#[tokio::test]
async fn sec_34_who_has_gone_is_forgotten() {
    let home = Home::new();
    let lateend = Lateend::start(&home, &["--grpcAddr", ":0"]).await;
    let channel = plaintext(&lateend).await;
    for turn in 0..50 {
        let first = all(Kind::Cluster);
        let mut proxy = Proxy::open(channel.clone(), MetadataMap::new(), cart(), first)
            .await
            .unwrap();
        // Some leave before they have their answer.
        if turn % 2 == 0 {
            proxy.accept().await;
        }
    }
    eventually("the last goodbye", async || {
        (lateend.json("/debug/syncz").await == serde_json::json!([])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sec_28_ready_only_when_all_is_read_and_listened_on() {
    let home = Home::new();
    // A source that takes its time: whoever reads a pipe waits until its writer has gone.
    let (pipe, other) = (home.path("mesh-config"), home.path("same pipe"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::hard_link(&pipe, &other).unwrap();
    let lateend = Lateend::listening(&home, &["--meshConfig", pipe.to_str().unwrap()]).await;
    // Opens only once there is a reader, which from then on waits for this writer.
    let mut writer = eventually("a reader", async || {
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
        options.open(&other).ok()
    })
    .await;
    let (status, why) = lateend.get("/ready").await;
    assert_eq!(
        (status, why.as_str()),
        (503, "config has not been read yet\n")
    );
    let text = b"trustDomain: slow.example\n";
    std::fs::write(home.path("file"), text).unwrap();
    std::fs::rename(home.path("file"), &pipe).unwrap();
    // Whoever has the pipe open by now reads it there; whoever opens it later finds the file in its place.
    let _ = writer.write_all(text);
    drop(writer);
    lateend.ready().await;
    // The trust domain of the MeshConfig is in force.
    let joining = secure(&lateend, &home.roots(), None).await.unwrap();
    let identity = certificate(joining, bearer(&home.token("shop", "cart", Duration::ZERO)))
        .await
        .unwrap();
    let der = pem(&identity.chain[0]);
    let uri = b"spiffe://slow.example/ns/shop/sa/cart";
    assert!(der.windows(uri.len()).any(|bytes| bytes == uri));
}

fn pem(text: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject as _;
    rustls::pki_types::CertificateDer::from_pem_slice(text.as_bytes())
        .unwrap()
        .to_vec()
}

#[tokio::test]
async fn it_ends_when_told_and_says_so_to_its_streams() {
    let home = Home::new();
    let lateend = Lateend::start(&home, &[]).await;
    let mut proxy = Proxy::join(&lateend, &home).await;
    proxy.accept().await;
    let (ended, last) = tokio::join!(lateend.stop(), proxy.next());
    assert_eq!(ended.code(), Some(0));
    assert_eq!(last.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_named() {
    let home = Home::new();
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = busy.local_addr().unwrap().to_string();
    let missing = home.path("missing");
    let missing = missing.to_str().unwrap();
    for (more, code, says) in [
        (["--grpcAddr", busy.as_str()], 1, "--grpcAddr 127.0.0.1:"),
        (["--configDir", missing], 1, "--configDir"),
        (["--meshConfig", missing], 1, "--meshConfig"),
        (["--caCertsDir", missing], 1, "ca-cert.pem"),
        (["--httpAdr", ":0"], 2, "--httpAddr"),
        (["--grpcAddr", "nonsense"], 2, "nonsense"),
    ] {
        let ended = home.command().args(more).output().await.unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(code), "{more:?}: {said}");
        assert!(said.contains(says), "{more:?}: {said}");
    }
}

#[tokio::test]
async fn a_plugged_in_ca_is_used() {
    let home = Home::new();
    let now = std::time::SystemTime::now();
    let files = ca::CaFiles::self_signed(&model::TrustDomain::cluster_local(), now).unwrap();
    let dir = home.path("cacerts");
    std::fs::create_dir(&dir).unwrap();
    for (name, text) in [
        ("ca-cert.pem", files.ca_cert.as_str()),
        ("ca-key.pem", &files.ca_key),
        ("root-cert.pem", &files.root_cert),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
    }
    let lateend = Lateend::start(&home, &["--caCertsDir", dir.to_str().unwrap()]).await;
    let joining = secure(&lateend, &files.root_cert, None).await.unwrap();
    let identity = certificate(joining, bearer(&home.token("shop", "cart", Duration::ZERO)))
        .await
        .unwrap();
    assert_eq!(*identity.chain.last().unwrap(), files.root_cert);
    assert!(
        !home.path("state").join("ca").exists(),
        "no root of its own is made"
    );
}
