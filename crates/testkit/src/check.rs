//! Properties on many stories: how many, which seed, and what to say when one does not hold.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::dice::Dice;
use crate::world::{Story, stories};

/// How a property is tried.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// On how many stories; `LATEEN_SOAK` multiplies it.
    pub worlds: u32,
    /// How many edits each has.
    pub edits: usize,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            worlds: 256,
            edits: 20,
        }
    }
}

/// How much longer than usual tests are to run: once, or as often as `LATEEN_SOAK` says, where 1 only says "longer".
#[must_use]
pub fn soak() -> u32 {
    const LONGER: u32 = 10;
    match std::env::var("LATEEN_SOAK") {
        Ok(times) => times
            .parse()
            .ok()
            .filter(|times| *times > 1)
            .unwrap_or(LONGER),
        Err(_) => 1,
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The seed: `LATEEN_SEED`, else always the same, so that a gate that was green stays green; a soak takes a new one, the
/// same for the whole of the program.
#[must_use]
pub fn seed() -> u64 {
    static FRESH: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    number("LATEEN_SEED").unwrap_or_else(|| if soak() > 1 { *FRESH } else { 1 })
}

/// Tries a property; fails with the smallest story that was found for which it does not hold.
///
/// # Panics
/// When it does not hold.
pub fn check(name: &str, run: Run, property: impl Fn(&Story) -> Result<(), String>) {
    let seed = seed();
    println!(
        "{name}: LATEEN_SEED={seed}, {} worlds",
        run.worlds.saturating_mul(soak())
    );
    if let Some(failure) = search(run, seed, MAX_SHRINKS, property) {
        panic!("{name} does not hold (LATEEN_SEED={seed}): {failure}");
    }
}

/// The first failure of a property, unabridged: what sabotage must lead to.
#[must_use]
pub fn find_failure(run: Run, property: impl Fn(&Story) -> Result<(), String>) -> Option<String> {
    search(run, seed(), 0, property)
}

/// How many shorter stories are tried once one has failed.
const MAX_SHRINKS: u32 = 2000;

fn search(
    run: Run,
    seed: u64,
    max_shrink_iters: u32,
    property: impl Fn(&Story) -> Result<(), String>,
) -> Option<String> {
    let config = Config {
        cases: run.worlds.saturating_mul(soak()),
        failure_persistence: None,
        max_shrink_iters,
        ..Config::default()
    };
    let mut dice = Dice::new(seed);
    let bytes: Vec<u8> = (0..4).flat_map(|_| dice.roll().to_le_bytes()).collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let outcome = runner.run(&stories(run.edits), |story| {
        let tried = catch_unwind(AssertUnwindSafe(|| property(&story)));
        let result = tried.unwrap_or_else(|_| Err("it panicked".to_owned()));
        result.map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) => None,
        Err(TestError::Fail(reason, story)) => Some(format!("{reason}\n{story:?}")),
        Err(TestError::Abort(reason)) => Some(reason.to_string()),
    }
}
