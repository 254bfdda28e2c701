//! Traffic does not notice how it is steered: weights, subsets, endpoints and identities change at random under load,
//! the control plane is killed meanwhile, and no call fails or comes to who may not answer it.

mod judge;
mod state;

use std::sync::{Arc, Mutex};

use lab::app::{Command, Outcome};
use serde_json::Value;
use testkit::{Dice, seed, soak};

use crate::inside::{Stage, eventually, inside};
use judge::{History, Load, judge};
use state::State;

/// How many flips there are, and after how many of them the control plane is killed.
const FLIPS: u32 = 100;
const FLIPS_A_LIFE: u32 = 20;
/// How many calls see each state.
const CALLS_A_FLIP: usize = 20;

/// What callers got so far.
type Calls = Arc<Mutex<Vec<(Load, Outcome)>>>;

#[test]
fn no_call_fails_while_its_route_is_flipped_and_the_control_plane_killed() {
    let test = "flips::no_call_fails_while_its_route_is_flipped_and_the_control_plane_killed";
    inside(test, async {
        let (seed, flips) = (seed(), FLIPS * soak());
        println!("flips: LATEEN_SEED={seed}, {flips} flips");
        let mut flipping = Flipping::start(seed).await;
        for flip in 1..=flips {
            flipping.flip(flip % FLIPS_A_LIFE == 0).await;
        }
        flipping.end(flips / FLIPS_A_LIFE);
    });
}

struct Flipping {
    stage: Stage,
    dice: Dice,
    state: State,
    history: History,
    calls: Calls,
    kills: u32,
}

impl Flipping {
    /// A mesh under load.
    async fn start(seed: u64) -> Self {
        let mut flipping = Self {
            stage: Stage::start(&state::world()).await,
            dice: Dice::new(seed),
            state: State::first(),
            history: History::default(),
            calls: Calls::default(),
            kills: 0,
        };
        flipping.write(State::first());
        flipping.acknowledged().await;
        for load in Load::ALL {
            flipping.call(load).await;
        }
        flipping.are_called().await;
        flipping
    }

    async fn call(&self, load: Load) {
        let (call, every_ms) = load.calls();
        let command = Command::Load { call, every_ms };
        let told = self.stage.mesh.tell("shop/client", &command).await;
        let mut outcomes = told.unwrap();
        let calls = Arc::clone(&self.calls);
        tokio::spawn(async move {
            while let Ok(Some(outcome)) = outcomes.next().await {
                calls.lock().unwrap().push((load, outcome));
            }
        });
    }

    /// Some calls are made.
    async fn are_called(&self) {
        let made = || self.calls.lock().unwrap().len();
        let before = made();
        eventually("calls", async || {
            (made() >= before + CALLS_A_FLIP).then_some(())
        })
        .await;
    }

    fn write(&mut self, state: State) {
        self.history.written(&state);
        self.stage.write(&state.objects());
        self.state = state;
    }

    async fn acknowledged(&mut self) {
        self.stage.applied().await;
        self.history.acknowledged();
    }

    /// Writes another state, and waits until every proxy has it, or does not wait.
    async fn flip(&mut self, and_kill: bool) {
        let next = self.state.flip(&mut self.dice);
        match and_kill {
            true => self.kill(next).await,
            false if self.dice.once_in(5) => return self.write(next),
            false => self.write(next),
        }
        self.acknowledged().await;
        self.are_called().await;
    }

    /// Kills the control plane at rest, then once more with an edit that it only finds when it comes back.
    async fn kill(&mut self, next: State) {
        self.acknowledged().await;
        self.stage.mesh.control_plane.crash().await.unwrap();
        self.stage.applied().await;
        self.is_sent_nothing(|_| true).await;
        self.stage.mesh.control_plane.kill().await.unwrap();
        self.are_called().await;
        self.write(next);
        self.stage.mesh.control_plane.restart().await.unwrap();
        self.acknowledged().await;
        self.is_sent_nothing(|proxy| proxy.starts_with("bystander."))
            .await;
        self.kills += 1;
    }

    /// The control plane has sent nothing to these proxies since it started.
    async fn is_sent_nothing(&self, concerned: impl Fn(&str) -> bool) {
        let status = self.stage.mesh.control_plane.get("/debug/syncz").await;
        let status: Vec<Value> = serde_json::from_str(&status.body).unwrap();
        let concerned: Vec<_> = status
            .iter()
            .filter(|proxy| concerned(proxy["proxy"].as_str().unwrap()))
            .collect();
        assert!(!concerned.is_empty(), "{status:?}");
        for proxy in concerned {
            for (field, value) in proxy.as_object().unwrap() {
                let sent = field.ends_with("_sent") && !value.is_null() && *value != "";
                assert!(!sent, "{field} of an Envoy that had everything: {proxy}");
            }
        }
    }

    fn end(self, kills: u32) {
        let calls = self.calls.lock().unwrap();
        let (faults, made) = judge(&self.history, &calls);
        println!(
            "flips: {} calls {made:?}, {} faults, killed {} times",
            calls.len(),
            faults.len(),
            self.kills
        );
        for fault in faults.iter().take(10) {
            println!("{fault}");
        }
        assert_eq!(faults.len(), 0);
        assert_eq!((made.len(), self.kills), (Load::ALL.len(), kills));
    }
}
