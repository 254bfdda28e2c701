//! The generator of the property tests leaves nothing out: it sets every field of the six kinds.

use std::collections::BTreeSet;

use testkit::{Dice, Sort};

use crate::fields::chart_schemas;

/// So many objects of each kind hold every field, with each seed that was tried.
const OBJECTS: usize = 8_000;

const SORTS: [Sort; 6] = [
    Sort::VirtualService,
    Sort::DestinationRule,
    Sort::PeerAuthentication,
    Sort::AuthorizationPolicy,
    Sort::ServiceEntry,
    Sort::WorkloadEntry,
];

#[test]
fn the_generator_sets_every_field() {
    let schemas = chart_schemas();
    let mut dice = Dice::new(testkit::seed());
    let mut set = BTreeSet::new();
    for sort in SORTS {
        for _ in 0..OBJECTS {
            let object = sort.generate(&mut dice);
            set.extend(
                schemas
                    .leaves_of(&object)
                    .into_iter()
                    .map(|leaf| leaf.field),
            );
        }
    }
    let all = schemas.all();
    let missing: Vec<_> = all.difference(&set).collect();
    assert!(
        missing.is_empty(),
        "{} are missing: {missing:#?}",
        missing.len()
    );
    println!("{} fields of the six kinds are generated", all.len());
}
