//! What holds of every world: 256 stories of 20 edits each, times `LATEEN_SOAK`; `LATEEN_SEED` repeats one run.

mod kit;

use kit::properties;
use testkit::{Run, check};

#[test]
fn incremental_equals_from_scratch() {
    check(
        "incremental equals from scratch",
        Run::default(),
        properties::incremental_equals_scratch,
    );
}

#[test]
fn the_state_of_the_world_equals_delta() {
    check(
        "the state of the world equals delta",
        Run::default(),
        properties::sotw_equals_delta,
    );
}

#[test]
fn the_order_of_objects_does_not_matter() {
    check(
        "the order of objects does not matter",
        Run::default(),
        properties::order_does_not_matter,
    );
}

#[test]
fn sec_27_envoy_accepts_whatever_users_write() {
    check(
        "Envoy accepts whatever users write",
        Run::default(),
        properties::envoy_accepts_everything,
    );
}
