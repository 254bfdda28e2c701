//! The certificate against a control plane on loopback: how it is got, kept and not used.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent::certificate::Certificate;
use agent::rotation::{Clock, Current, SystemClock};
use tokio::sync::watch;

use crate::control_plane::{Fake, Proof, rotation};

const NAME: &str = "istiod.istio-system.svc";
const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";

/// The machine's clock, ahead of time.
#[derive(Clone, Copy)]
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> SystemTime {
        SystemTime::now() + self.0
    }
}

/// Starts to renew from what there is, and waits for something newer.
async fn next<C: Clock + 'static>(
    fake: &Fake,
    clock: C,
    kept: Option<Arc<Certificate>>,
) -> Arc<Certificate> {
    let (sender, mut current) = watch::channel(kept);
    let running = tokio::spawn(rotation(fake.client(), clock, fake.folder.path()).run(sender));
    let certificate = newer(&mut current).await;
    running.abort();
    certificate
}

async fn newer(current: &mut Current) -> Arc<Certificate> {
    let changed = tokio::time::timeout(Duration::from_secs(10), current.changed());
    changed.await.expect("a certificate").unwrap();
    current.borrow().clone().unwrap()
}

#[tokio::test]
async fn svid_36_the_first_comes_by_token_the_next_by_certificate_and_both_are_kept() {
    let fake = Fake::start(NAME).await;
    let first = next(&fake, SystemClock, None).await;
    assert_eq!(first.identity, CART);
    assert_eq!(first.roots().trim(), fake.authority().pem.trim());
    let kept = || {
        rotation(fake.client(), SystemClock, fake.folder.path())
            .kept(|_, _| true)
            .unwrap()
    };
    assert_eq!(kept().chain(), first.chain());
    assert_eq!(kept().key(), first.key());
    let mode = std::fs::metadata(fake.path("certificate.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let second = next(&fake, Ahead(Duration::from_secs(13 * 3600)), Some(kept())).await;
    assert_ne!((second.key(), second.chain()), (first.key(), first.chain()));
    assert_eq!(kept().chain(), second.chain());
    let proofs = [
        Proof::Token("Bearer shop/cart".to_owned()),
        Proof::Certificate(CART.to_owned()),
    ];
    assert_eq!(fake.proofs(), proofs);
}

#[tokio::test]
async fn a_certificate_that_was_kept_is_used_only_if_it_is_ours_and_holds() {
    let fake = Fake::start(NAME).await;
    next(&fake, SystemClock, None).await;
    let late = rotation(
        fake.client(),
        Ahead(Duration::from_secs(25 * 3600)),
        fake.folder.path(),
    );
    assert!(late.kept(|_, _| true).is_none());
    let mut other = rotation(fake.client(), SystemClock, fake.folder.path());
    assert!(other.kept(|_, _| false).is_none());
    other.identity.service_account = "other".parse().unwrap();
    assert!(other.kept(|_, _| true).is_none());
    std::fs::write(fake.path("certificate.json"), "{").unwrap();
    assert!(
        rotation(fake.client(), SystemClock, fake.folder.path())
            .kept(|_, _| true)
            .is_none()
    );
}

#[tokio::test]
async fn a_certificate_of_a_mesh_that_is_gone_gives_way_to_the_token() {
    let (old, fake) = (Fake::start(NAME).await, Fake::start(NAME).await);
    let foreign = next(&old, SystemClock, None).await;
    // The new control plane takes no certificate of the old root.
    let certificate = next(&fake, Ahead(Duration::from_secs(13 * 3600)), Some(foreign)).await;
    assert_eq!(certificate.roots().trim(), fake.authority().pem.trim());
    assert_eq!(fake.proofs(), [Proof::Token("Bearer shop/cart".to_owned())]);
}

#[tokio::test]
async fn neither_a_foreign_identity_nor_a_foreign_control_plane_is_taken() {
    let fake = Fake::start(NAME).await;
    std::fs::write(fake.path("token"), "shop/intruder").unwrap();
    let (sender, mut current) = watch::channel(None);
    let running =
        tokio::spawn(rotation(fake.client(), SystemClock, fake.folder.path()).run(sender));
    // The second try shows that the first was not taken.
    while fake.proofs().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(current.borrow().is_none());
    std::fs::write(fake.path("token"), "shop/cart").unwrap();
    assert_eq!(newer(&mut current).await.identity, CART);
    running.abort();

    let impostor = Fake::start("elsewhere.example").await;
    let refused = impostor
        .client()
        .connect(None)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("not valid for name"), "{refused}");
    std::fs::write(impostor.path("root.pem"), &fake.authority().pem).unwrap();
    let refused = impostor
        .client()
        .connect(None)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("invalid peer certificate"), "{refused}");
}
