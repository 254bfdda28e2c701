//! Random worlds, changes, delays and reconnections: both variants end with what the view says, and on the way a delta
//! stream's Envoy never uses what it does not have, never calls a cluster without endpoints, and never refuses one.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use xds::{Liveness, Mode};

use crate::model::Envoy;
use crate::world::{World, describe};

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// Another world: what is in it is drawn from this number.
    Change(u64),
    Response,
    Request,
    Wait(u64),
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<u64>().prop_map(Step::Change),
        6 => Just(Step::Response),
        6 => Just(Step::Request),
        1 => (0..8000_u64).prop_map(Step::Wait),
        1 => Just(Step::Reconnect),
    ]
}

/// Who endpoints may be.
const IDENTITIES: [&str; 3] = ["amber", "azure", "black"];

/// An EDS cluster that accepts some identities, with endpoints of one of them or with none.
fn serve(world: World, name: &str, draw: &mut impl FnMut(u64) -> u64) -> World {
    let version = world.epoch;
    let first = usize::try_from(draw(3)).unwrap();
    let more = usize::try_from(draw(3)).unwrap();
    let accepted: Vec<_> = IDENTITIES[first..].iter().take(more + 1).copied().collect();
    let endpoints = match draw(4) {
        0 => String::new(),
        1 => format!("{}.{version}", IDENTITIES[first]),
        _ => IDENTITIES[first].to_owned(),
    };
    let mut world = world.accepting(name, &accepted).endpoints(name, &endpoints);
    if draw(2) == 0 {
        let changed = (format!("{version}:"), Liveness::Eds);
        world.clusters.insert(name.to_owned(), changed);
    }
    world
}

/// Changes a world a little. Routes and listeners need only clusters that are there and can be called.
fn change(world: &mut World, mut seed: u64) {
    let mut draw = |below: u64| {
        let value = seed % below;
        seed = seed.rotate_right(7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        value
    };
    world.epoch += 1;
    let cluster = |n: u64| {
        if n < 5 {
            format!("c{n}")
        } else {
            format!("inbound{n}")
        }
    };
    for _ in 0..=draw(3) {
        let name = cluster(draw(7));
        match draw(6) {
            0 => *world = world.clone().without_cluster(&name),
            1 => {
                let liveness = if draw(2) == 0 {
                    Liveness::Ack
                } else {
                    Liveness::Sent
                };
                *world = world
                    .clone()
                    .without_cluster(&name)
                    .other_cluster(&name, liveness);
                world
                    .clusters
                    .insert(name, (world.epoch.to_string(), liveness));
            }
            _ => *world = serve(world.clone(), &name, &mut draw),
        }
    }
    let serves = |name: &&String| world.endpoints.get(*name).is_none_or(|all| !all.is_empty());
    let live: Vec<String> = world.clusters.keys().filter(serves).cloned().collect();
    for (table, hosts) in [("80", draw(4)), ("81", draw(4))] {
        world.routes.remove(table);
        world.listeners.remove(table);
        if live.is_empty() || draw(5) == 0 {
            continue;
        }
        let mut pick = || live[usize::try_from(draw(live.len() as u64)).unwrap()].clone();
        for host in 0..=hosts {
            let need = pick();
            *world = world
                .clone()
                .route(table, &format!("h{host}"), &need, &[&need]);
        }
        // the table's head, without which it is none
        *world = world.clone().route(table, "", table, &[]);
        let need = pick();
        *world = world.clone().listener(table, &need, &[&need]);
    }
}

/// What an Envoy should have of a world.
fn wanted(world: &World) -> Vec<String> {
    let view = world.view();
    let mut all = Vec::new();
    for kind in xds::Kind::ALL {
        let held: BTreeMap<_, _> = view
            .resources(kind)
            .map(|resource| (resource.name(), describe(resource)))
            .collect();
        all.extend(held.into_values());
    }
    all
}

fn run(mode: Mode, steps: &[Step]) -> (Vec<String>, World) {
    let mut world = World::default();
    change(&mut world, 42);
    let mut envoy = Envoy::new(mode, world.view());
    for step in steps {
        match step {
            Step::Change(seed) => {
                change(&mut world, *seed);
                envoy.view(world.view());
            }
            Step::Response => {
                envoy.deliver_response();
            }
            Step::Request => {
                envoy.deliver_request();
            }
            Step::Wait(time) => envoy.wait(Duration::from_millis(*time)),
            Step::Reconnect => envoy.reconnect(world.view()),
        }
    }
    envoy.settle();
    (envoy.holds(), world)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1024), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_variants_end_with_the_view(steps in proptest::collection::vec(step(), 0..150)) {
        let (sotw, world) = run(Mode::Sotw, &steps);
        prop_assert_eq!(&sotw, &wanted(&world));
        let (delta, _) = run(Mode::Delta, &steps);
        prop_assert_eq!(&delta, &sotw);
    }
}
