//! Long streams outlive edits: a gRPC stream, a websocket and a raw TCP connection go on for a minute while policies and
//! routes change, and not one filter chain is drained.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use lab::app::{Call, Command, Outcome, Protocol};
use serde_json::{Value, json};
use testkit::{authorization_policy, peer_authentication, route, service, soak, virtual_service};

use crate::inside::{Stage, eventually, inside, workload};
use crate::objects;

const EDITS: u32 = 200;
const SECONDS: u64 = 60;
/// Milliseconds from one call on a stream to the next.
const PACE: u64 = 50;

const CLIENT: &str = "cluster.local/ns/shop/sa/client";

/// The streams, by name.
fn kinds() -> [(&'static str, Call); 3] {
    let grpc = Call {
        protocol: Protocol::Grpc,
        ..Call::get("http://server:9090/")
    };
    [
        ("gRPC stream", grpc),
        ("websocket", Call::get("ws://server:9080/chat")),
        ("TCP connection", Call::get("tcp://server:9000")),
    ]
}

fn world() -> Vec<Value> {
    objects![
        workload("shop", "client", "client", &[]),
        workload("shop", "server", "server", &[9080, 9090, 9000]).labelled("app", "server"),
        service("server")
            .in_namespace("shop")
            .selecting("app", "server")
            .port(9080)
            .named_port("grpc", 9090)
            .tcp_port(9000),
    ]
}

/// What an edit says: of policies and of HTTP routes, another each time.
fn edited(edit: u32) -> Vec<Value> {
    let path = format!("/edit-{edit}");
    let caller = json!({"from": [{"source": {"principals": [CLIENT]}}]});
    let mut split = route()
        .to("server")
        .with("timeout", if edit % 4 < 2 { "0s" } else { "3600s" })
        .with(
            "headers",
            json!({"request": {"set": {"x-edit": edit.to_string()}}}),
        );
    if edit % 8 < 4 {
        split = split.when(json!({"uri": {"prefix": "/"}}));
    }
    objects![
        authorization_policy("callers")
            .in_namespace("shop")
            .selecting("app", "server")
            .action("ALLOW")
            .rule(caller)
            .rule(json!({"to": [{"operation": {"paths": [path]}}]})),
        authorization_policy("edits")
            .in_namespace("shop")
            .action("DENY")
            .rule(json!({"to": [{"operation": {"paths": [path], "ports": ["9080"]}}]})),
        virtual_service("server")
            .in_namespace("shop")
            .host("server")
            .route(split),
    ]
}

fn mtls(port_mode: &str) -> Vec<Value> {
    objects![
        peer_authentication("server")
            .in_namespace("shop")
            .selecting("app", "server")
            .mode("STRICT")
            .port_mode(9080, port_mode)
    ]
}

/// What each stream got so far.
type Calls = Arc<Mutex<BTreeMap<&'static str, Vec<Outcome>>>>;

/// The seconds from the first call to the last.
fn age(calls: &[Outcome]) -> u64 {
    let ends = calls.first().zip(calls.last());
    ends.map_or(0, |(first, last)| (last.began - first.began) / 1_000_000)
}

struct Streams {
    stage: Stage,
    calls: Calls,
}

impl Streams {
    async fn open() -> Self {
        let mut stage = Stage::start(&world()).await;
        stage.show(&[edited(0), mtls("STRICT")].concat()).await;
        let streams = Self {
            stage,
            calls: Calls::default(),
        };
        for (name, call) in kinds() {
            let command = Command::Load {
                call,
                every_ms: PACE,
            };
            let told = streams.stage.mesh.tell("shop/client", &command).await;
            let (mut outcomes, calls) = (told.unwrap(), Arc::clone(&streams.calls));
            tokio::spawn(async move {
                while let Ok(Some(outcome)) = outcomes.next().await {
                    calls.lock().unwrap().entry(name).or_default().push(outcome);
                }
            });
        }
        streams.are_used().await;
        streams
    }

    /// Every stream is used once more, from now on.
    async fn are_used(&self) {
        let made = || {
            let calls = self.calls.lock().unwrap();
            kinds().map(|(name, _)| calls.get(name).map_or(0, Vec::len))
        };
        let before = made();
        eventually("a message on every stream", async || {
            let more = made().iter().zip(before).all(|(now, then)| *now > then + 1);
            more.then_some(())
        })
        .await;
    }

    /// For how many seconds every stream has been open.
    fn age(&self) -> u64 {
        let calls = self.calls.lock().unwrap();
        calls.values().map(|calls| age(calls)).min().unwrap_or(0)
    }

    /// Nothing was lost on any stream, and none was opened again.
    fn are_whole(&self) {
        let calls = self.calls.lock().unwrap();
        for (name, calls) in &*calls {
            println!("{name}: {} messages in {} s", calls.len(), age(calls));
            let is_whole = |call: &Outcome| call.status == Some(200) && call.connection == 1;
            let broken = calls.iter().position(|call| !is_whole(call));
            assert_eq!(
                broken.map(|place| &calls[place..]),
                None,
                "the {name} broke"
            );
        }
        assert_eq!(calls.len(), kinds().len());
    }

    /// How often an Envoy replaced a listener, and chains of one.
    async fn replaced(&self, of: &str) -> (u64, u64) {
        let stats = "http://127.0.0.1:15000/stats?filter=^listener_manager";
        let said = self.stage.mesh.call(of, Call::get(stats)).await.unwrap();
        let value = |name: &str| {
            let mut lines = said.body.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let value = value.unwrap_or_else(|| panic!("no {name} in {}", said.body));
            value.parse().unwrap()
        };
        (
            value("listener_manager.listener_modified"),
            value("listener_manager.listener_in_place_updated"),
        )
    }

    /// The status of a request of its own.
    async fn status(&self, path: &str) -> Option<u16> {
        let call = Call {
            fresh: true,
            ..Call::get(&format!("http://server:9080{path}"))
        };
        self.stage
            .mesh
            .call("shop/client", call)
            .await
            .unwrap()
            .status
    }
}

#[test]
fn long_streams_outlive_edits_of_policies_and_routes() {
    let test = "streams::long_streams_outlive_edits_of_policies_and_routes";
    inside(test, async {
        let mut streams = Streams::open().await;
        let before = [
            streams.replaced("shop/server").await,
            streams.replaced("shop/client").await,
        ];
        let (mut edit, seconds) = (0, SECONDS * u64::from(soak()));
        while edit < EDITS || streams.age() < seconds {
            edit += 1;
            let objects = [edited(edit), mtls("STRICT")].concat();
            streams.stage.show(&objects).await;
            streams.are_used().await;
        }
        let refused = streams.status(&format!("/edit-{edit}")).await;
        assert_eq!(refused, Some(403), "the last edit is in force");
        let after = [
            streams.replaced("shop/server").await,
            streams.replaced("shop/client").await,
        ];
        assert_eq!(before, after, "no listener and no chain was replaced");
        streams.are_whole();

        // The measure is not blind: what must replace its chain does.
        let objects = [edited(edit), mtls("PERMISSIVE")].concat();
        streams.stage.show(&objects).await;
        let now = streams.replaced("shop/server").await;
        assert_ne!(now, after[0], "PeerAuthentication replaces its chain");
        streams.are_used().await;

        streams.are_whole();
        println!("{edit} edits");
    });
}
