//! Sabotage: each property fails once the promise that it watches is broken. With the feature `mutants` only.
#![cfg(feature = "mutants")]
#![allow(clippy::panic, reason = "a broken expectation fails the test")]

mod kit;

use control::Mutant;
use kit::properties;
use testkit::{Run, Story, find_failure};

type Property = fn(&Story) -> Result<(), String>;

/// What the failure of a property under a mutant says.
fn failure(mutant: Option<Mutant>, worlds: u32, property: Property) -> Option<String> {
    let sabotaged = move |story: &Story| {
        kit::MUTANT.set(mutant);
        property(story)
    };
    find_failure(
        Run {
            worlds,
            ..Run::default()
        },
        sabotaged,
    )
}

fn is_caught(mutant: Mutant, property: Property, by: &[&str]) {
    // More than the properties look at: some mutants need a rare world to show.
    let worlds = 4 * Run::default().worlds;
    let failure = failure(Some(mutant), worlds, property)
        .unwrap_or_else(|| panic!("{mutant:?} is not caught"));
    assert!(
        by.iter().any(|by| failure.contains(by)),
        "{mutant:?} fails otherwise: {failure}"
    );
    assert!(
        !failure.contains("it panicked"),
        "{mutant:?} panics: {failure}"
    );
}

#[test]
fn a_dropped_removal_is_not_what_scratch_would_be() {
    is_caught(
        Mutant::DroppedRemoval,
        properties::incremental_equals_scratch,
        // A whole resource is too much, or a name in the table of names.
        &["is superfluous", "differs"],
    );
}

#[test]
fn a_stale_entry_is_not_what_scratch_would_be() {
    is_caught(
        Mutant::StaleEntry,
        properties::incremental_equals_scratch,
        &["differs"],
    );
}

#[test]
fn an_envoy_that_is_not_told_does_not_hold_its_view() {
    is_caught(
        Mutant::UntoldProxies,
        properties::sotw_equals_delta,
        &["Envoy does not hold its view"],
    );
}

#[test]
fn bytes_that_depend_on_the_order_of_arrival_differ() {
    is_caught(
        Mutant::ArrivalOrder,
        properties::order_does_not_matter,
        &["in round"],
    );
}

#[test]
fn a_missing_cluster_is_needed() {
    is_caught(
        Mutant::MissingCluster,
        properties::envoy_accepts_everything,
        // A route needs it, or its endpoints stand alone.
        &["which is not there", "an EDS cluster or an assignment"],
    );
}

#[test]
fn without_sabotage_the_properties_hold() {
    assert_eq!(failure(None, 64, properties::sotw_equals_delta), None);
}
