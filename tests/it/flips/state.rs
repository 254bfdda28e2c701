//! What is flipped: which servers a service has, which subset each is in, and how the route splits between them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{
    Dice, destination_rule, peer_authentication, route, service, virtual_service, workload_entry,
};

use crate::inside::workload;
use crate::objects;

/// A server that always runs, whether or not it is an endpoint of the service.
struct Server {
    name: &'static str,
    address: &'static str,
    account: &'static str,
}

/// Two accounts, so that some flips change the identities of a subset.
const SERVERS: [Server; 4] = [
    server("ada", "198.18.240.1", "amber"),
    server("bea", "198.18.240.2", "azure"),
    server("cia", "198.18.240.3", "amber"),
    server("dea", "198.18.240.4", "azure"),
];

const SUBSETS: [&str; 3] = ["v1", "v2", "v3"];

const fn server(name: &'static str, address: &'static str, account: &'static str) -> Server {
    Server {
        name,
        address,
        account,
    }
}

/// What does not change: the servers, their caller, and in another namespace somebody whom no flip concerns.
pub fn world() -> Vec<Value> {
    let mut objects = objects![
        peer_authentication("default")
            .in_namespace("istio-system")
            .mode("STRICT"),
        workload("shop", "client", "client", &[]),
        workload("other", "bystander", "bystander", &[]),
        service("servers")
            .in_namespace("shop")
            .exported_to(".")
            .selecting("app", "server")
            .port(9080)
            .named_port("grpc", 9090)
            .tcp_port(9000),
    ];
    for server in &SERVERS {
        objects.extend(objects![
            workload_entry(server.name, server.address)
                .in_namespace("shop")
                .running_as(server.account)
                .with("spec.labels.app", "server")
        ]);
    }
    objects
}

/// One state of what changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The subset of each server; none: it is no endpoint.
    places: [Option<usize>; SERVERS.len()],
    /// The share of each subset.
    weights: [usize; SUBSETS.len()],
    /// Whether a subset that the route does not name is there all the same.
    spare: [bool; SUBSETS.len()],
}

impl State {
    /// The state before the first flip.
    pub fn first() -> Self {
        Self {
            places: [Some(0), Some(0), Some(1), None],
            weights: [90, 10, 0],
            spare: [false; SUBSETS.len()],
        }
    }

    /// Another state: one thing changes, or several in one edit.
    pub fn flip(&self, dice: &mut Dice) -> Self {
        loop {
            let mut next = self.clone();
            for _ in 0..dice.one(&[1, 1, 2, 4, 8]) {
                next.change(dice);
            }
            if next != *self && next.answers() {
                return next;
            }
        }
    }

    fn change(&mut self, dice: &mut Dice) {
        let subset = dice.below(SUBSETS.len());
        match dice.below(3) {
            0 => self.weights[subset] = dice.one(&[0, 1, 50, 99]),
            1 => self.spare[subset] = dice.once_in(2),
            _ => {
                let server = dice.below(SERVERS.len());
                self.places[server] = (!dice.once_in(4)).then_some(subset);
            }
        }
    }

    /// Whether every call finds a server: a state in which some do not would prove nothing.
    fn answers(&self) -> bool {
        let serves = |subset| self.places.contains(&Some(subset));
        let mut named = self.named();
        named.next().is_some() && self.named().all(serves)
    }

    /// The subsets that the route names.
    fn named(&self) -> impl Iterator<Item = usize> {
        (0..SUBSETS.len()).filter(|subset| self.weights[*subset] > 0)
    }

    /// The servers that a request may be answered by.
    pub fn routed(&self) -> BTreeSet<&'static str> {
        let named: BTreeSet<usize> = self.named().collect();
        self.servers(|subset| named.contains(&subset))
    }

    /// The servers that a connection may be answered by.
    pub fn endpoints(&self) -> BTreeSet<&'static str> {
        self.servers(|_| true)
    }

    fn servers(&self, in_use: impl Fn(usize) -> bool) -> BTreeSet<&'static str> {
        let placed = SERVERS.iter().zip(&self.places);
        let used = placed.filter(|(_, place)| place.is_some_and(&in_use));
        used.map(|(server, _)| server.name).collect()
    }

    /// The objects that say so.
    pub fn objects(&self) -> Vec<Value> {
        let mut rule = destination_rule("reviews", "reviews").in_namespace("shop");
        let mut split = route().with("retries", json!({"attempts": 0}));
        for (subset, name) in SUBSETS.iter().enumerate() {
            let weight = self.weights[subset];
            if weight > 0 {
                let weight = u32::try_from(weight).unwrap();
                split = split.to("reviews").subset(name).weight(weight);
            }
            if weight > 0 || self.spare[subset] {
                rule = rule.subset(name);
            }
        }
        let mut objects = objects![
            service("reviews")
                .in_namespace("shop")
                .exported_to(".")
                .selecting("app", "reviews")
                .port(9080)
                .named_port("grpc", 9090)
                .tcp_port(9000),
            virtual_service("reviews")
                .in_namespace("shop")
                .host("reviews")
                .route(split),
            rule,
        ];
        for (server, place) in SERVERS.iter().zip(&self.places) {
            if let Some(subset) = place {
                let name = format!("reviews-{}", server.name);
                objects.extend(objects![
                    workload_entry(&name, server.address)
                        .in_namespace("shop")
                        .running_as(server.account)
                        .with("spec.labels.app", "reviews")
                        .with("spec.labels.version", SUBSETS[*subset])
                ]);
            }
        }
        objects
    }
}
