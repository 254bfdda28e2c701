//! Envoy's field constraints are ours: of thousands of resources with a changed field, Envoy refuses none for a
//! constraint that we let pass, and we refuse none that it takes.

mod judge;
mod mutate;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use envoy_api::{Any, pack, validate_any};
use model::EnvoyMinor;
use testkit::{Dice, seed, soak};

use crate::envoy_accepts::pack::{Alone, address, standing_alone};
use crate::envoy_accepts::{all_scenes, all_sent};
use judge::{Judge, Verdict};

const RESOURCES: u32 = 2_000;
/// What Envoy says where a field breaks its constraint, after the whole message, which it may cut short.
const CONSTRAINT: &str = "Proto constraint validation failed";

/// Whether Envoy refused a resource for a field's constraint: it says so at once with the message in text, or in words.
fn is_for_a_constraint(why: &str) -> bool {
    let is_text = |why: &str| why.starts_with("goo.gle/debug");
    let within = why.split_once(": ").map(|(_, within)| within);
    why.contains(CONSTRAINT)
        || (why.contains("(truncated)") && (is_text(why) || within.is_some_and(is_text)))
}

/// Everything that tests send, in forms that need nothing else.
fn all() -> Vec<Alone> {
    let sent = all_sent(&all_scenes(), EnvoyMinor::NEWEST);
    sent.iter()
        .filter_map(|sent| standing_alone(sent.kind, &sent.resource.body()))
        .collect()
}

/// A resource under a name and an address of its own.
fn named(alone: &Alone, number: u32) -> Any {
    let name = judge::name(number);
    match alone {
        Alone::Cluster(cluster) => {
            let mut cluster = cluster.clone();
            cluster.name = name;
            pack(&cluster)
        }
        Alone::Listener(listener) => {
            let mut listener = listener.clone();
            listener.name = name;
            listener.address = Some(address(Ipv4Addr::from_bits(0x7F00_0000 + number)));
            listener.additional_addresses.clear();
            listener.bind_to_port = Some(false);
            pack(&listener)
        }
    }
}

#[test]
fn envoy_and_we_agree_on_2000_mutated_resources() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (seed, all) = (seed(), all());
        println!(
            "mutated: LATEEN_SEED={seed}, {} resources to begin with",
            all.len()
        );
        let mut dice = Dice::new(seed);
        let mut judge = Judge::start().await;
        let mut counts = BTreeMap::<_, u32>::new();
        for _ in 0..RESOURCES * soak() {
            let alone = &all[dice.below(all.len())];
            let mut resource = named(alone, judge.next());
            mutate::hasten(&mut resource);
            let place = mutate::mutate(&mut dice, &mut resource);
            let ours = validate_any(&resource);
            let verdict = judge.ask(resource.clone()).await;
            let shown = || envoy_api::json::to_json(&resource).map(|json| format!("{json:#}"));
            let theirs = match &verdict {
                Verdict::Taken => "taken",
                Verdict::Warms => "taken, and warms",
                Verdict::Crashed => "not survived",
                Verdict::Refused(why) if is_for_a_constraint(why) => "refused for a constraint",
                Verdict::Refused(_) => "refused for its meaning",
            };
            match (&ours, theirs) {
                (Ok(()), "refused for a constraint") => {
                    panic!(
                        "{place}: Envoy refuses what we let pass: {verdict:?}\n{:?}",
                        shown()
                    )
                }
                (Err(ours), "taken" | "taken, and warms") => {
                    panic!("{place}: Envoy takes what we refuse: {ours}\n{:?}", shown())
                }
                _ => {}
            }
            *counts.entry((ours.is_ok(), theirs)).or_default() += 1;
            if verdict == Verdict::Crashed {
                println!("{place}: Envoy crashes");
            }
            if matches!(verdict, Verdict::Warms | Verdict::Crashed) {
                judge = Judge::start().await;
            }
        }
        for ((ours, theirs), count) in &counts {
            let ours = if *ours { "let pass" } else { "refused" };
            println!("{count:5} {ours} by us, {theirs} by Envoy");
        }
        assert!(
            counts.contains_key(&(false, "refused for a constraint")),
            "{counts:?}"
        );
        assert!(counts.contains_key(&(true, "taken")), "{counts:?}");
    });
}
