//! What a refusal does: the last good version stands in, the rest moves on, the culprit is named.

use xds::Kind::{Cluster, Endpoint, Listener, Route};
use xds::{Event, Kind, Mode};

use crate::world::{Stream, World, resume};

const NOTHING: [&str; 0] = [];

fn world() -> World {
    World::default()
        .cluster("a", "1")
        .cluster("b", "1")
        .listener("l", "1", &[])
        .route("80", "x", "1", &["a"])
        .route("80", "y", "1", &["b"])
}

#[test]
fn sec_39_one_refused_part_stays_behind_on_its_stream() {
    let mut stream = Stream::synced(Mode::Delta, &world());
    stream.view(&world().route("80", "x", "bad", &["a"]));
    assert_eq!(stream.flush(), ["rds 80{x=bad y=1}"]);
    stream.nack(Route, "invalid regex");
    let Some(Event::Rejected { kind, message, .. }) = stream.events.last() else {
        panic!("not reported")
    };
    assert_eq!((*kind, message.as_str()), (Route, "invalid regex"));
    assert_eq!(stream.accused(), [r#"80["x"]"#]);
    assert_eq!(
        stream.flush(),
        ["rds 80{x=1 y=1}"],
        "the last good version is sent again"
    );
    stream.ack(Route);
    assert_eq!(stream.flush(), NOTHING, "what was refused is not repeated");

    stream.view(
        &world()
            .route("80", "x", "bad", &["a"])
            .route("80", "y", "2", &["b"]),
    );
    assert_eq!(
        stream.flush(),
        ["rds 80{x=1 y=2}"],
        "its neighbour moves on"
    );
    stream.ack(Route);
    stream.view(
        &world()
            .route("80", "x", "good", &["a"])
            .route("80", "y", "2", &["b"]),
    );
    assert_eq!(stream.flush(), ["rds 80{x=good y=2}"], "until it changes");
    stream.ack(Route);
    assert_eq!(stream.events.last(), Some(&Event::FullySynced { epoch: 0 }));
}

#[test]
fn the_culprit_among_several_is_found() {
    for mode in [Mode::Delta, Mode::Sotw] {
        let mut stream = Stream::synced(mode, &world());
        let mut next = world();
        for n in 0..50 {
            next = next.cluster(&format!("c{n:02}"), if n == 33 { "bad" } else { "1" });
        }
        stream.view(&next);
        let mut refusals = 0;
        for _ in 0..40 {
            let said = stream.flush();
            if said
                .iter()
                .any(|message| message.starts_with("cds") && message.contains("bad"))
            {
                stream.nack(Cluster, "no");
                refusals += 1;
            }
            Kind::ALL.into_iter().for_each(|kind| stream.ack(kind));
        }
        assert!(refusals < 8, "{refusals} refusals in {mode:?}");
        assert_eq!(stream.accused().last().unwrap(), r#"c33[""]"#);
        // Envoy has everything else
        next.clusters.remove("c33");
        let synced = stream
            .events
            .iter()
            .filter(|event| matches!(event, Event::FullySynced { .. }))
            .count();
        assert_eq!(synced, 0);
        stream.view(&next);
        stream.flush();
        Kind::ALL.into_iter().for_each(|kind| stream.ack(kind));
        assert!(
            matches!(stream.events.last(), Some(Event::FullySynced { .. })),
            "{mode:?}: {:?}",
            stream.events.last()
        );
    }
}

#[test]
fn a_refused_new_cluster_keeps_its_routes_back() {
    let mut stream = Stream::synced(Mode::Delta, &world());
    let next = world()
        .cluster("c", "bad")
        .route("80", "x", "2", &["c"])
        .route("80", "y", "2", &["b"]);
    stream.view(&next);
    assert_eq!(stream.flush(), ["cds c=bad", "rds 80{x=1 y=2}"]);
    stream.ack(Route);
    stream.nack(Cluster, "no");
    assert_eq!(stream.flush(), NOTHING);
    stream.view(&next.clone().cluster("c", "good"));
    assert_eq!(stream.flush(), ["cds c=good"]);
    stream.ack(Cluster);
    assert_eq!(stream.flush(), ["rds 80{x=2 y=2}"]);
}

#[test]
fn a_refusal_of_what_envoy_had_accepted_is_only_reported() {
    let mut stream = Stream::synced(Mode::Delta, &world());
    stream.ask(Endpoint, &["a"]);
    assert_eq!(stream.flush(), ["eds a=1"]);
    stream.nack(Endpoint, "no");
    assert!(matches!(
        stream.events.last(),
        Some(Event::FullySynced { .. })
    ));
    assert_eq!(stream.accused(), NOTHING);
    assert_eq!(stream.flush(), NOTHING);
}

/// A table in which an old part and a new one claim the same domain was our own mixture: it is tried again whole.
#[test]
fn a_mixture_of_old_and_new_is_forgiven() {
    let mut stream = Stream::synced(Mode::Delta, &world());
    stream.view(
        &world()
            .cluster("c", "1")
            .route("80", "x", "2", &["c"])
            .route("80", "y", "2", &["b"]),
    );
    assert_eq!(stream.flush(), ["cds c=1", "rds 80{x=1 y=2}"]);
    stream.nack(Route, "duplicate domain");
    assert_eq!(stream.flush(), ["rds 80{x=1 y=1}"]);
    stream.ack(Route);
    stream.ack(Cluster);
    assert_eq!(stream.flush(), ["rds 80{x=2 y=2}"]);
}

#[test]
fn earlier_and_later_messages_are_kept_apart() {
    let mut stream = Stream::synced(Mode::Delta, &world());
    stream.view(&world().listener("l", "bad", &[]));
    assert_eq!(stream.flush(), ["lds l=bad"]);
    stream.view(&world().listener("l", "good", &[]));
    assert_eq!(stream.flush(), ["lds l=good"]);
    stream.nack(Listener, "no");
    stream.ack(Listener);
    assert_eq!(
        stream.flush(),
        NOTHING,
        "the later message had already replaced the refused one"
    );
    assert!(matches!(
        stream.events.last(),
        Some(Event::FullySynced { .. })
    ));
    // the second is refused while the first is not answered: the first is what stands in
    stream.view(&world().listener("l", "3", &[]));
    stream.flush();
    stream.view(&world().listener("l", "worse", &[]));
    stream.flush();
    stream.ack_one(Listener);
    stream.nack(Listener, "no");
    assert_eq!(stream.flush(), ["lds l=3"]);
}

#[test]
fn a_bridge_that_is_refused_is_found_among_others() {
    let start = World::default()
        .accepting("a", &["amber"])
        .accepting("b", &["amber"]);
    let end = start
        .clone()
        .accepting("a", &["azure"])
        .endpoints("a", "2")
        .accepting("b", &["azure"])
        .endpoints("b", "2");
    let mut stream = Stream::synced(Mode::Delta, &start);
    stream.view(&end);
    assert_eq!(
        stream.flush(),
        ["cds a=amber+azure b=amber+azure", "eds a=1 b=1"]
    );
    stream.nack(Cluster, "one is wrong");
    stream.ack(Endpoint);
    assert_eq!(
        stream.flush(),
        ["cds a=amber+azure", "eds a=1"],
        "the endpoints of b wait for its cluster"
    );
    stream.nack(Cluster, "this one");
    assert_eq!(
        stream.flush(),
        ["cds a=amber", "eds a=1", "cds b=amber+azure", "eds b=1"]
    );
    stream.ack(Cluster);
    stream.ack(Endpoint);
    // a keeps its old identity; nothing else that concerns it stops
    assert_eq!(stream.flush(), ["eds a=2 b=2"]);
    stream.ack(Endpoint);
    assert_eq!(stream.flush(), ["cds a=azure b=azure", "eds a=2 b=2"]);
}

/// A stream that comes back with an older route table and listener than the view's.
fn resumed(had: &World, now: &World) -> Stream {
    let mut stream = Stream::new(Mode::Delta, now);
    resume(&mut stream, had);
    stream
}

#[test]
fn a_refused_listener_of_a_resumed_stream_holds_nothing_else_back() {
    let now = world()
        .listener("l", "bad", &[])
        .without_cluster("b")
        .route("80", "y", "2", &["a"]);
    let mut stream = resumed(&world(), &now);
    assert_eq!(stream.flush(), ["lds l=bad", "rds 80{x=1 y=2}"]);
    stream.nack(Listener, "host-local");
    assert_eq!(stream.flush(), NOTHING);
    stream.ack(Route);
    assert_eq!(stream.flush(), ["cds -b", "eds -b"]);
}

#[test]
fn a_refused_table_of_a_resumed_stream_is_kept_whole() {
    let now = world().route("80", "x", "bad", &["a"]);
    let mut stream = resumed(&world(), &now);
    assert_eq!(stream.flush(), ["rds 80{x=bad y=1}"]);
    stream.nack(Route, "invalid regex");
    assert_eq!(stream.accused(), [r#"80["x", "y"]"#]);
    assert_eq!(stream.flush(), NOTHING, "half of it would be worse");
    stream.view(&world().route("80", "x", "good", &["a"]));
    assert_eq!(stream.flush(), ["rds 80{x=good y=1}"]);
}

#[test]
fn a_refused_cluster_does_not_freeze_the_table_of_a_resumed_stream() {
    let now = world()
        .cluster("c", "bad")
        .route("80", "x", "2", &["c"])
        .route("80", "y", "2", &["b"]);
    let mut stream = resumed(&world(), &now);
    assert_eq!(stream.flush(), ["cds c=bad"]);
    stream.nack(Cluster, "no such filter");
    assert_eq!(stream.flush(), ["rds 80{x=2 y=2}"]);
}
