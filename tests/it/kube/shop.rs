//! What a user does first: samples applied, pods injected, traffic under mutual TLS, weights and policies that hold.

use lab::app::{Call, Outcome};

use super::apps::{app, calls, get, ready};
use super::installed::injected;

const ROUTING: &str = include_str!("../../../samples/kubernetes/routing.yaml");
const SECURITY: &str = include_str!("../../../samples/kubernetes/security.yaml");
const URL: &str = "http://reviews:9080/";

fn version(outcome: &Outcome) -> Option<&str> {
    outcome.answer.as_ref()?.version.as_deref()
}

#[test]
fn the_samples_do_what_they_say() {
    let space = injected("shop");
    let namespace = space.name();
    for part in [
        app("frontend"),
        app("intruder"),
        app("outsider").outside(),
        app("reviews").version("v1").port(9080),
        app("reviews").version("v2").port(9080),
    ] {
        space.apply(&part.yaml());
    }
    for name in [
        "frontend",
        "intruder",
        "outsider",
        "reviews-v1",
        "reviews-v2",
    ] {
        ready(&space, name);
    }
    let first = get(&space, "frontend", URL);
    assert_eq!(first.status, Some(200), "{first:?}");
    let peer = first.answer.as_ref().and_then(|answer| answer.peer());
    let frontend = format!("spiffe://cluster.local/ns/{namespace}/sa/frontend");
    assert_eq!(peer, Some(frontend.as_str()), "{first:?}");
    let plaintext = get(&space, "outsider", URL);
    assert_eq!(
        plaintext.status,
        Some(200),
        "permissive by default: {plaintext:?}"
    );

    space.apply(ROUTING);
    space.apply(&SECURITY.replace("ns/default/sa", &format!("ns/{namespace}/sa")));
    let settled = |holds: &dyn Fn() -> bool| {
        for _ in 0..100 {
            if holds() {
                return;
            }
        }
        panic!("the policies do not hold");
    };
    settled(&|| get(&space, "intruder", URL).status == Some(403));
    settled(&|| get(&space, "outsider", URL).status.is_none());
    let answered = calls(&space, "frontend", Call::get(URL), 1000, 8);
    let of = |wanted| {
        answered
            .iter()
            .filter(|one| version(one) == Some(wanted))
            .count()
    };
    assert_eq!(of("v1") + of("v2"), 1000);
    assert!((65..=135).contains(&of("v2")), "{}", of("v2"));
    println!("weights 90/10: v1 {}, v2 {}", of("v1"), of("v2"));
}
