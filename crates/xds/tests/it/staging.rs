//! Make before break, stream by stream and part by part.

use std::time::Duration;

use xds::Kind::{Cluster, Endpoint, Listener, Route};
use xds::{Event, Liveness, Mode};

use crate::world::{Stream, World};

const NOTHING: [&str; 0] = [];

fn world() -> World {
    World::default()
        .cluster("a", "1")
        .cluster("b", "1")
        .listener("l", "1", &[])
        .route("80", "x", "1", &["a"])
        .route("80", "y", "1", &["b"])
}

/// Host x moves to the new cluster c, and a is not needed any more.
fn moved() -> World {
    world()
        .without_cluster("a")
        .cluster("c", "1")
        .route("80", "x", "2", &["c"])
}

#[test]
fn a_first_connect_is_not_staged() {
    let mut stream = Stream::new(Mode::Delta, &world());
    stream.ask(Cluster, &[]);
    stream.ask(Listener, &[]);
    stream.ask(Route, &["80"]);
    assert_eq!(
        stream.flush(),
        ["cds a=1 b=1", "lds l=1", "rds 80{x=1 y=1}"]
    );
}

#[test]
fn add_switch_remove() {
    let mut stream = Stream::synced(Mode::Delta, &world());
    stream.view(&moved());
    assert_eq!(stream.flush(), ["cds c=1"]);
    stream.ask(Endpoint, &["c"]);
    assert_eq!(stream.flush(), ["eds c=1"]);
    // Envoy withholds the ACK of clusters while one is warming, but not that of endpoints
    stream.ack(Endpoint);
    assert_eq!(stream.flush(), ["rds 80{x=2 y=1}"]);
    stream.ack(Route);
    assert_eq!(stream.flush(), ["cds -a", "eds -a"]);
    stream.leave(Endpoint, &["a"]);
    stream.ack(Cluster);
    stream.ack(Endpoint);
    assert_eq!(stream.flush(), NOTHING);
    assert_eq!(stream.events.last(), Some(&Event::FullySynced { epoch: 0 }));
}

#[test]
fn the_ack_of_the_cluster_counts_as_well() {
    let mut stream = Stream::synced(Mode::Delta, &world());
    stream.view(&moved());
    assert_eq!(stream.flush(), ["cds c=1"]);
    stream.ack(Cluster);
    assert_eq!(stream.flush(), ["rds 80{x=2 y=1}"]);
}

#[test]
fn a_stuck_cluster_holds_back_only_what_needs_it() {
    let mut stream = Stream::synced(Mode::Delta, &world());
    let stuck = moved()
        .route("80", "y", "2", &["b"])
        .route("80", "z", "1", &["c"])
        .listener("l", "2", &[]);
    stream.view(&stuck);
    assert_eq!(
        stream.flush(),
        ["cds c=1", "lds l=2", "rds 80{x=1 y=2}"],
        "x is what it was, z is not there yet"
    );
    stream.ack(Listener);
    stream.ack(Route);
    assert_eq!(
        stream.flush(),
        NOTHING,
        "a is needed by the x that Envoy has"
    );
    stream.view(&stuck.clone().route("80", "y", "3", &["b"]));
    assert_eq!(stream.flush(), ["rds 80{x=1 y=3}"]);
    // the change is taken back: nothing is held any more, and the new cluster goes again
    stream.ack(Route);
    stream.view(
        &world()
            .listener("l", "2", &[])
            .route("80", "y", "3", &["b"]),
    );
    assert_eq!(stream.flush(), ["cds -c"]);
}

#[test]
fn liveness_of_clusters_without_endpoints() {
    let with = |liveness| {
        world()
            .other_cluster("c", liveness)
            .route("80", "x", "2", &["c"])
    };
    let mut sent = Stream::synced(Mode::Delta, &world());
    sent.view(&with(Liveness::Sent));
    assert_eq!(sent.flush(), ["cds c=1", "rds 80{x=2 y=1}"]);

    let mut dns = Stream::synced(Mode::Delta, &world());
    dns.now = Duration::from_secs(100);
    dns.view(&with(Liveness::Ack));
    assert_eq!(
        dns.session.deadline(),
        None,
        "the clock starts when the cluster is sent"
    );
    assert_eq!(dns.flush(), ["cds c=1"]);
    assert_eq!(dns.session.deadline(), Some(Duration::from_secs(105)));
    dns.now = Duration::from_millis(104_999);
    assert_eq!(dns.flush(), NOTHING);
    dns.now = Duration::from_secs(105);
    assert_eq!(dns.flush(), ["rds 80{x=2 y=1}"]);
    assert_eq!(dns.session.deadline(), None);
}

#[test]
fn new_listeners_wait_and_changed_ones_keep_what_they_have() {
    let mut stream = Stream::synced(Mode::Delta, &world());
    stream.view(
        &world()
            .cluster("c", "1")
            .listener("l", "2", &["c"])
            .listener("m", "1", &["c"])
            .listener("n", "1", &["a"]),
    );
    assert_eq!(stream.flush(), ["cds c=1", "lds n=1"]);
    stream.ack(Cluster);
    assert_eq!(stream.flush(), ["lds l=2 m=1"]);
}

#[test]
fn changed_clusters_stay_live_and_endpoints_follow_them() {
    let mut stream = Stream::synced(Mode::Delta, &world());
    stream.view(&world().cluster("a", "2").route("80", "x", "2", &["a"]));
    assert_eq!(stream.flush(), ["cds a=2", "eds a=1", "rds 80{x=2 y=1}"]);
}

/// A new service account changes the cluster, which must reach Envoy before the first endpoint that has it.
#[test]
fn new_endpoints_wait_for_their_changed_cluster() {
    let mut stream = Stream::synced(Mode::Delta, &world());
    stream.view(
        &world()
            .endpoints("b", "2")
            .cluster("a", "2")
            .endpoints("a", "2"),
    );
    assert_eq!(stream.flush(), ["cds a=2", "eds a=1 b=2"]);
    stream.view(
        &world()
            .endpoints("b", "2")
            .cluster("a", "2")
            .endpoints("a", "3"),
    );
    assert_eq!(stream.flush(), NOTHING);
    stream.ack(Endpoint);
    assert_eq!(stream.flush(), ["eds a=3"]);
}

/// With endpoints that are still to go, a cluster that accepts less would refuse what it calls.
#[test]
fn a_cluster_accepts_less_only_after_its_endpoints_are_gone() {
    let start = world().accepting("a", &["amber", "azure"]);
    let mut stream = Stream::synced(Mode::Delta, &start);
    stream.view(&start.accepting("a", &["amber"]).endpoints("a", "2"));
    assert_eq!(stream.flush(), ["eds a=2"]);
    stream.ack(Endpoint);
    assert_eq!(stream.flush(), ["cds a=amber", "eds a=2"]);
    stream.ack(Endpoint);
    assert_eq!(stream.flush(), NOTHING);
    // nothing is waited for where no endpoint changes
    stream.view(&world().accepting("a", &["black"]).endpoints("a", "2"));
    assert_eq!(stream.flush(), ["cds a=black", "eds a=2"]);
}

#[test]
fn endpoints_of_one_identity_give_way_to_another_over_a_bridge() {
    let start = world().accepting("a", &["amber"]);
    let mut stream = Stream::synced(Mode::Delta, &start);
    stream.view(&start.clone().accepting("a", &["azure"]).endpoints("a", "2"));
    assert_eq!(stream.flush(), ["cds a=amber+azure", "eds a=1"]);
    // and a third comes before Envoy has answered
    stream.view(&start.accepting("a", &["black"]).endpoints("a", "3"));
    assert_eq!(stream.flush(), ["cds a=amber+azure+black", "eds a=1"]);
    stream.ack(Endpoint);
    assert_eq!(stream.flush(), ["eds a=3"]);
    stream.ack(Endpoint);
    assert_eq!(stream.flush(), ["cds a=black", "eds a=3"]);
    stream.ack(Endpoint);
    stream.ack(Cluster);
    assert_eq!(stream.flush(), NOTHING);
    assert_eq!(stream.events.last(), Some(&Event::FullySynced { epoch: 0 }));
}

#[test]
fn the_last_endpoint_of_a_cluster_goes_after_the_routes_to_it() {
    let start = world().endpoints("b", "");
    let mut stream = Stream::synced(Mode::Delta, &start);
    // traffic moves from a to b, and so do the endpoints
    let end = start
        .endpoints("a", "")
        .endpoints("b", "2")
        .route("80", "x", "2", &["b"]);
    stream.view(&end);
    assert_eq!(stream.flush(), ["eds b=2", "rds 80{x=2 y=1}"]);
    stream.ack(Endpoint);
    assert_eq!(stream.flush(), NOTHING);
    stream.ack(Route);
    assert_eq!(stream.flush(), ["eds a="]);
    // with no route that moves away there is nothing to wait for
    stream.view(&end.endpoints("b", ""));
    assert_eq!(stream.flush(), ["eds b="]);
}

#[test]
fn a_route_waits_for_the_first_endpoint_of_what_it_needs() {
    let start = world().accepting("b", &[]).endpoints("b", "");
    let mut stream = Stream::synced(Mode::Delta, &start);
    let end = start
        .accepting("b", &["black"])
        .endpoints("b", "2")
        .route("80", "x", "2", &["b"])
        .route("80", "y", "2", &["a"]);
    stream.view(&end);
    assert_eq!(
        stream.flush(),
        ["cds b=black", "eds b=", "rds 80{x=1 y=2}"],
        "x waits, y does not"
    );
    stream.ack(Endpoint);
    assert_eq!(stream.flush(), ["eds b=2"]);
    stream.ack(Route);
    assert_eq!(stream.flush(), ["rds 80{x=2 y=2}"]);
}

#[test]
fn removals_wait_for_listeners_too() {
    let start = world().listener("l", "1", &["a"]);
    let mut stream = Stream::synced(Mode::Delta, &start);
    let mut end = start
        .clone()
        .without_cluster("a")
        .route("80", "x", "2", &["b"]);
    end.listeners.clear();
    stream.view(&end);
    assert_eq!(stream.flush(), ["lds -l", "rds 80{x=2 y=1}"]);
    stream.ack(Route);
    assert_eq!(stream.flush(), NOTHING);
    stream.ack(Listener);
    assert_eq!(stream.flush(), ["cds -a", "eds -a"]);
}

#[test]
fn one_route_table_per_message_and_the_newest_state_wins() {
    let two = world().route("81", "x", "1", &["a"]);
    let mut stream = Stream::synced(Mode::Delta, &two);
    for n in 2..10 {
        stream.view(&two.clone().route("80", "x", &n.to_string(), &["a"]).route(
            "81",
            "x",
            &n.to_string(),
            &["a"],
        ));
    }
    assert_eq!(stream.flush(), ["rds 80{x=9 y=1}", "rds 81{x=9}"]);
    // a change that is taken back before it is sent is never sent
    stream.view(&two);
    stream.view(
        &two.clone()
            .route("80", "x", "9", &["a"])
            .route("81", "x", "9", &["a"]),
    );
    assert_eq!(stream.flush(), NOTHING);
}

#[test]
fn a_busy_kind_does_not_starve_the_others() {
    let mut stream = Stream::synced(Mode::Delta, &world());
    let mut kinds = Vec::new();
    for n in 2..6 {
        let n = n.to_string();
        let next = world()
            .cluster("a", &n)
            .endpoints("b", &n)
            .listener("l", &n, &[])
            .route("80", "y", &n, &["b"]);
        stream.view(&next);
        kinds.push(stream.session.next(stream.now).unwrap().kind.unwrap());
    }
    assert_eq!(kinds, [Cluster, Endpoint, Listener, Route]);
}

#[test]
fn a_busy_route_table_does_not_starve_the_others() {
    let with = |busy: &str, other: &str| {
        let busy = world().route("80", "x", busy, &["a"]);
        busy.route("8080", "x", other, &["a"])
    };
    let mut stream = Stream::synced(Mode::Delta, &with("1", "1"));
    let mut tables = Vec::new();
    for n in 2..6 {
        stream.view(&with(&n.to_string(), "2"));
        let response = stream.session.next(stream.now).unwrap();
        tables.extend(
            response
                .resources
                .iter()
                .map(|table| table.name().to_string()),
        );
        stream.unanswered.push(response);
        stream.ack(Route);
    }
    assert_eq!(tables, ["80", "8080", "80", "80"]);
}

#[test]
fn a_slow_envoy_gets_the_newest_of_a_route_table_and_no_queue_of_old_ones() {
    let mut stream = Stream::synced(Mode::Delta, &world());
    let with = |n: &str| world().route("80", "x", n, &["a"]);
    stream.view(&with("2"));
    assert_eq!(stream.flush(), ["rds 80{x=2 y=1}"]);
    for n in 3..9 {
        stream.view(&with(&n.to_string()));
        assert_eq!(stream.flush(), NOTHING);
    }
    stream.ack(Route);
    assert_eq!(stream.flush(), ["rds 80{x=8 y=1}"]);
}

#[test]
fn sotw_has_the_order_only() {
    let mut stream = Stream::synced(Mode::Sotw, &world());
    stream.view(&moved());
    assert_eq!(stream.flush(), ["cds b=1 c=1", "rds 80{x=2 y=1}"]);
    stream.view(&world().cluster("a", "2").endpoints("a", "2"));
    assert_eq!(
        stream.flush(),
        ["cds a=2 b=1", "eds a=2", "rds 80{x=1 y=1}"]
    );
}
