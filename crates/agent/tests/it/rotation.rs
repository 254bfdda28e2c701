//! When the certificate is renewed, in a time of the tests' own.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use agent::certificate::Certificate;
use agent::rotation::{Clock, IssueError, Issuer};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::control_plane::{Authority, rotation};

const DAY: Duration = Duration::from_secs(86_400);

/// tokio's clock, which runs as fast as everybody waits.
#[derive(Clone, Copy)]
struct Fast(SystemTime, Instant);

impl Clock for Fast {
    fn now(&self) -> SystemTime {
        self.0 + self.1.elapsed()
    }
}

/// Signs for a day; fails when told to. Writes down when it was asked, and whether a certificate was the proof.
#[derive(Clone)]
struct Scripted {
    authority: Arc<Authority>,
    clock: Fast,
    failures: Arc<Mutex<u32>>,
    asked: Arc<Mutex<Vec<(Duration, bool)>>>,
}

impl Scripted {
    fn new(clock: Fast, failures: u32) -> Self {
        Self {
            authority: Arc::new(Authority::new()),
            clock,
            failures: Arc::new(Mutex::new(failures)),
            asked: Arc::default(),
        }
    }
}

impl Issuer for Scripted {
    async fn issue(
        &self,
        csr: String,
        proof: Option<&Certificate>,
    ) -> Result<Vec<String>, IssueError> {
        self.asked
            .lock()
            .unwrap()
            .push((self.clock.1.elapsed(), proof.is_some()));
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(IssueError::Refused(Box::new(tonic::Status::unavailable(
                "away",
            ))));
        }
        let life = self.clock.1.elapsed() + DAY;
        Ok(self
            .authority
            .sign(&csr, "spiffe://cluster.local/ns/shop/sa/cart", life))
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_at_half_of_its_life_and_asked_for_until_it_comes() {
    let clock = Fast(SystemTime::now(), Instant::now());
    let issuer = Scripted::new(clock, 2);
    let folder = tempfile::tempdir().unwrap();
    let (sender, mut current) = watch::channel(None);
    let running = tokio::spawn(rotation(issuer.clone(), clock, folder.path()).run(sender));
    let mut keys = Vec::new();
    for _ in 0..3 {
        current.changed().await.unwrap();
        keys.push(current.borrow().clone().unwrap().key().to_owned());
        // The third time both proofs fail once.
        *issuer.failures.lock().unwrap() = if keys.len() == 2 { 2 } else { 0 };
    }
    running.abort();
    keys.dedup();
    assert_eq!(keys.len(), 3, "a new key each time");

    let asked = issuer.asked.lock().unwrap().clone();
    let proofs: Vec<_> = asked.iter().map(|(_, certificate)| *certificate).collect();
    assert_eq!(proofs, [false, false, false, true, true, false, true]);
    let at: Vec<_> = asked.iter().map(|(at, _)| at.as_secs_f64()).collect();
    assert!(at[2] < 1.0, "the first comes after {at:?}");
    let half = DAY.as_secs_f64() / 2.0;
    let near = |value: f64| (value - half).abs() < half * 0.021;
    assert!(near(at[3] - at[2]) && near(at[4] - at[3]), "{at:?}");
    assert!(at[6] - at[4] < 1.0, "tries again soon: {at:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_renewed_at_once_but_not_more_often_than_it_is_retried() {
    let clock = Fast(SystemTime::now(), Instant::now());
    let issuer = Scripted::new(clock, 0);
    let folder = tempfile::tempdir().unwrap();
    let (sender, mut current) = watch::channel(None);
    let (refused, refusals) = mpsc::channel(1);
    let mut rotation = rotation(issuer.clone(), clock, folder.path());
    rotation.refused = refusals;
    let running = tokio::spawn(rotation.run(sender));
    current.changed().await.unwrap();
    let first = current.borrow_and_update().clone().unwrap();
    tokio::time::advance(DAY / 4).await;
    for _ in 0..3 {
        let certificate = current.borrow().clone().unwrap();
        refused.send(certificate).await.unwrap();
        current.changed().await.unwrap();
    }
    // One that has gone already says nothing of the one that is there.
    refused.send(first).await.unwrap();
    current.changed().await.unwrap();
    running.abort();

    let asked = issuer.asked.lock().unwrap().clone();
    let at: Vec<_> = asked.iter().map(|(at, _)| at.as_secs_f64()).collect();
    assert!(at[1] - at[0] < DAY.as_secs_f64() / 4.0 + 1.0, "{at:?}");
    for pair in at[1..4].windows(2) {
        let pause = pair[1] - pair[0];
        assert!((4.9..6.1).contains(&pause), "{at:?}");
    }
    assert!(at[4] - at[3] > DAY.as_secs_f64() / 3.0, "{at:?}");
}
