//! Who is sent what: wildcards, names, answers to what is unknown, stale and repeated requests, resumption.

use std::collections::HashMap;

use xds::Kind::{Cluster, Endpoint, Listener, Route};
use xds::{Ask, Event, Liveness, Mode};

use crate::world::{Stream, World, resume, version};

fn world() -> World {
    World::default()
        .cluster("a", "1")
        .cluster("b", "1")
        .listener("l", "1", &[])
        .route("80", "x", "1", &["a"])
}

#[test]
fn delta_wildcards() {
    let mut legacy = Stream::new(Mode::Delta, &world());
    legacy.ask(Cluster, &[]);
    legacy.ask(Endpoint, &[]);
    legacy.ask(Route, &[]);
    assert_eq!(
        legacy.flush(),
        ["cds a=1 b=1"],
        "only clusters, listeners and name tables have a legacy wildcard"
    );
    legacy.ask(Cluster, &["a"]);
    legacy.view(&world().cluster("c", "1"));
    assert_eq!(
        legacy.flush(),
        ["cds a=1 c=1"],
        "the wildcard stays when a name is added"
    );

    let mut explicit = Stream::new(Mode::Delta, &world());
    explicit.ask(Cluster, &["*"]);
    assert_eq!(explicit.flush(), ["cds a=1 b=1"]);
    explicit.leave(Cluster, &["*"]);
    explicit.view(&world().cluster("c", "1"));
    assert_eq!(explicit.flush(), [""; 0]);

    let mut named = Stream::new(Mode::Delta, &world());
    named.ask(Cluster, &["b"]);
    named.ask(Cluster, &[]);
    assert_eq!(
        named.flush(),
        ["cds b=1"],
        "an empty list is a wildcard in the first request only"
    );

    let mut empty = Stream::new(Mode::Delta, &World::default());
    empty.ask(Listener, &[]);
    assert_eq!(
        empty.flush(),
        ["lds"],
        "Envoy waits for an answer, even an empty one"
    );
    assert_eq!(empty.flush(), [""; 0]);
}

#[test]
fn sotw_names() {
    let mut stream = Stream::new(Mode::Sotw, &world());
    stream.ask(Cluster, &[]);
    stream.ask(Endpoint, &["a"]);
    assert_eq!(stream.flush(), ["cds a=1 b=1", "eds a=1"]);
    stream.ask(Endpoint, &["a", "b"]);
    assert_eq!(stream.flush(), ["eds b=1"]);
    stream.view(&world().cluster("a", "2").endpoints("b", "2"));
    assert_eq!(
        stream.flush(),
        ["cds a=2 b=1", "eds a=1 b=2"],
        "clusters are named all, endpoints follow their cluster"
    );
    stream.ask(Endpoint, &[]);
    stream.view(&world().cluster("a", "2").endpoints("b", "3"));
    assert_eq!(
        stream.flush(),
        [""; 0],
        "an empty list ends a subscription to names"
    );
    stream.view(&world());
    assert_eq!(stream.flush(), ["cds a=1 b=1"]);
}

#[test]
fn sec_35_every_name_is_answered() {
    let mut delta = Stream::new(Mode::Delta, &world());
    delta.ask(Endpoint, &["a", "nowhere"]);
    delta.ask(Route, &["gone"]);
    assert_eq!(delta.flush(), ["eds a=1 -nowhere", "rds -gone"]);
    delta.view(&world().endpoints("nowhere", "1"));
    assert_eq!(delta.flush(), ["eds nowhere=1"]);

    let mut sotw = Stream::new(Mode::Sotw, &world());
    sotw.ask(Endpoint, &["nowhere"]);
    assert_eq!(sotw.flush(), ["eds"]);
    assert_eq!(sotw.flush(), [""; 0]);
}

#[test]
fn resubscription_is_answered_again() {
    let mut stream = Stream::synced(Mode::Delta, &world());
    stream.ask(Endpoint, &["a"]);
    assert_eq!(stream.flush(), ["eds a=1"]);
    stream.leave(Endpoint, &["a"]);
    stream.view(&world().endpoints("a", "2").endpoints("b", "2"));
    assert_eq!(stream.flush(), ["eds b=2"]);
    stream.ask(Endpoint, &["a"]);
    assert_eq!(stream.flush(), ["eds a=2"]);
}

#[test]
fn stale_nonces_are_ignored() {
    let mut stream = Stream::new(Mode::Sotw, &world());
    stream.ask(Endpoint, &["a"]);
    stream.flush();
    stream.request(
        Endpoint.type_url(),
        "77",
        None,
        Ask::Names(vec!["b".to_owned()]),
    );
    stream.request(
        Endpoint.type_url(),
        "no number",
        Some("no"),
        Ask::Names(vec!["b".to_owned()]),
    );
    assert!(stream.events.is_empty());
    assert_eq!(stream.flush(), [""; 0]);
    stream.ack(Endpoint);
    stream.ack(Endpoint);
    assert_eq!(
        stream.events,
        [Event::Acked {
            kind: Endpoint,
            nonce: "1".to_owned(),
            epoch: 0
        }]
    );

    // an older response's nonce answers nothing any more, but the names are what the client wants
    stream.request(
        Endpoint.type_url(),
        "1",
        Some("no"),
        Ask::Names(vec!["b".to_owned()]),
    );
    assert_eq!(stream.events.len(), 1);
    assert_eq!(stream.flush(), ["eds b=1"]);

    let mut delta = Stream::new(Mode::Delta, &world());
    delta.ask(Endpoint, &["a"]);
    let subscribe = vec!["b".to_owned()];
    let ask = Ask::Changes {
        subscribe,
        unsubscribe: Vec::new(),
        initial: HashMap::new(),
    };
    delta.request(Endpoint.type_url(), "77", None, ask);
    assert!(delta.events.is_empty());
    assert_eq!(
        delta.flush(),
        ["eds a=1 b=1"],
        "delta subscriptions count whatever they answer"
    );
}

#[test]
fn types_that_are_not_served_are_answered_once() {
    let ask = |names: &[&str]| Ask::Changes {
        subscribe: names.iter().map(ToString::to_string).collect(),
        unsubscribe: Vec::new(),
        initial: HashMap::new(),
    };
    let mut delta = Stream::new(Mode::Delta, &world());
    delta.request("type.googleapis.com/x.Y", "", None, ask(&["a", "*"]));
    assert_eq!(delta.flush(), ["other -a"]);
    delta.request("type.googleapis.com/x.Y", "1", None, ask(&[]));
    assert_eq!(delta.flush(), [""; 0]);
    for n in 0..1000 {
        delta.request(&format!("type.googleapis.com/x.Y{n}"), "", None, ask(&[]));
    }
    assert!(delta.flush().len() < 20, "nobody needs a thousand types");

    let mut sotw = Stream::new(Mode::Sotw, &world());
    sotw.request("", "", None, Ask::Names(vec!["a".to_owned()]));
    assert_eq!(sotw.flush(), ["other"]);
}

#[test]
fn a_client_that_is_up_to_date_is_sent_nothing() {
    let mut stream = Stream::new(Mode::Delta, &world());
    resume(&mut stream, &world());
    assert_eq!(stream.flush(), [""; 0]);
    assert_eq!(stream.events, [Event::FullySynced { epoch: 0 }]);
    stream.view(
        &World {
            epoch: 3,
            ..world()
        }
        .endpoints("a", "2"),
    );
    assert_eq!(stream.flush(), ["eds a=2"]);
    stream.ack(Endpoint);
    assert_eq!(stream.events.last(), Some(&Event::FullySynced { epoch: 3 }));
}

#[test]
fn what_was_lost_meanwhile_is_removed_last() {
    // b is gone, c is new and replaces it, a was changed
    let now = World::default()
        .cluster("a", "2")
        .cluster("c", "1")
        .listener("l", "2", &["c"])
        .route("80", "x", "1", &["a"])
        .route("80", "y", "1", &["c"]);
    let mut stream = Stream::new(Mode::Delta, &now);
    resume(&mut stream, &world());
    assert_eq!(
        stream.flush(),
        ["cds a=2 c=1", "eds a=1"],
        "the changed cluster's endpoints follow it"
    );
    stream.ask(Endpoint, &["c"]);
    assert_eq!(stream.flush(), ["eds c=1"]);
    stream.ack(Endpoint);
    assert_eq!(
        stream.flush(),
        ["lds l=2", "rds 80{x=1 y=1}"],
        "the new cluster's endpoints are acknowledged"
    );
    stream.ack(Listener);
    assert_eq!(stream.flush(), [""; 0]);
    stream.ack(Route);
    assert_eq!(stream.flush(), ["cds -b", "eds -b"]);
}

#[test]
fn endpoints_follow_on_a_resumed_stream_whatever_comes_first() {
    let now = world().cluster("a", "2");
    let mut stream = Stream::new(Mode::Delta, &now);
    let had = version(&world(), Cluster, "a");
    stream.resume(
        Cluster,
        &[],
        &[("a", &had), ("b", &version(&world(), Cluster, "b"))],
    );
    assert_eq!(stream.flush(), ["cds a=2"]);
    let (a, b) = (version(&now, Endpoint, "a"), version(&now, Endpoint, "b"));
    stream.resume(Endpoint, &["a", "b"], &[("a", &a), ("b", &b)]);
    assert_eq!(stream.flush(), ["eds a=1"]);
}

#[test]
fn many_names_and_long_silence_are_bounded() {
    let mut stream = Stream::new(Mode::Delta, &world());
    let names: Vec<String> = (0..100_000).map(|n| format!("n{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    stream.ask(Endpoint, &names);
    assert_eq!(stream.flush().len(), 1, "all are answered as absent");
    let long = "n".repeat(5000);
    stream.ask(Endpoint, &[&long]);
    assert!(stream.flush().is_empty(), "not remembered");
    // nothing is acknowledged
    stream.ask(Cluster, &[]);
    stream.ask(Endpoint, &["a"]);
    stream.flush();
    let mut sent = 2;
    for n in 0..200 {
        stream.view(&world().endpoints("a", &n.to_string()));
        sent += stream.flush().len();
    }
    assert_eq!(sent, 32, "a silent client is not told more");
    // nor are its names kept while it is silent
    for n in 0..10 {
        let names: Vec<String> = (0..100_000).map(|name| format!("m{n}.{name}")).collect();
        stream.ask(
            Endpoint,
            &names.iter().map(String::as_str).collect::<Vec<_>>(),
        );
    }
    stream.ack(Endpoint);
    let said = stream.flush();
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("eds a=199 "), "the newest state");
    assert!(said[0].split(' ').count() < 110_000);
}

/// With its endpoints unacknowledged a cluster settles all the same, however much else was sent.
#[test]
fn a_cluster_settles_however_late_its_endpoints_are_acknowledged() {
    let mut stream = Stream::synced(Mode::Delta, &world());
    let changed = world().cluster("a", "2");
    stream.view(&changed.clone().endpoints("a", "2"));
    assert_eq!(stream.flush(), ["cds a=2", "eds a=1"]);
    for n in 0..100 {
        let other = changed.clone().endpoints("b", &format!("b{n}"));
        stream.view(&other.endpoints("a", "2"));
        stream.flush();
    }
    stream.ack(Endpoint);
    assert_eq!(stream.flush(), ["eds a=2 b=b99"]);
}

#[test]
fn the_inbound_half_wins() {
    let mut view = world().view();
    let other = world().cluster("a", "9").view();
    let mut inbound = xds::Half::default();
    inbound.insert(Cluster, other.get(Cluster, "a").unwrap().clone());
    view.inbound = inbound.into();
    let mut stream = Stream::new(Mode::Delta, &World::default());
    stream.session = xds::Session::new(Mode::Delta, view);
    stream.ask(Cluster, &[]);
    assert_eq!(
        stream.flush(),
        ["cds b=1 a=9"].map(|text| text.replace("b=1 a=9", "a=9 b=1"))
    );
    stream.view(&world().other_cluster("inbound|80||", Liveness::Sent));
    assert_eq!(
        stream.flush(),
        ["cds a=1 inbound|80||=1"],
        "the outbound resource is uncovered"
    );
}

/// What it has of endpoints it says only after its clusters.
#[test]
fn a_resumed_cluster_accepts_less_only_once_its_endpoints_are_known() {
    let had = World::default().accepting("a", &["amber"]);
    let mut stream = Stream::new(Mode::Delta, &had);
    stream.resume(Cluster, &[], &[("a", &version(&had, Cluster, "a"))]);
    stream.view(&had.clone().accepting("a", &["azure"]).endpoints("a", "2"));
    assert_eq!(stream.flush(), ["cds a=amber+azure"]);
    stream.resume(Endpoint, &["a"], &[("a", &version(&had, Endpoint, "a"))]);
    assert_eq!(stream.flush(), ["eds a=2"]);
    stream.ack(Endpoint);
    assert_eq!(stream.flush(), ["cds a=azure", "eds a=2"]);
}
