//! `loadBalancer` of a traffic policy: how an endpoint is chosen, and which of them are preferred.

use std::sync::Arc;
use std::time::Duration;

use crate::{Decimal, LocalityLb};

/// `loadBalancer`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LoadBalancing {
    /// `simple` and `consistentHash`.
    pub policy: LoadBalancer,
    /// `warmup` and `warmupDurationSecs`.
    pub warmup: Option<Warmup>,
    /// `localityLbSetting` and `zoneAwareLbSetting`; none: as MeshConfig says.
    pub locality: Option<LocalityLb>,
}

/// `simple` or `consistentHash`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum LoadBalancer {
    /// `LEAST_REQUEST`, `LEAST_CONN`, `UNSPECIFIED`: Istio's default.
    #[default]
    LeastRequest,
    /// `ROUND_ROBIN`.
    RoundRobin,
    /// `RANDOM`.
    Random,
    /// `PASSTHROUGH`: to the address that the caller addressed.
    Passthrough,
    /// `consistentHash`: the same endpoint for the same key.
    ConsistentHash(ConsistentHash),
}

/// `consistentHash`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConsistentHash {
    /// What is hashed; none: nothing, and any endpoint may be chosen.
    pub key: Option<HashKey>,
    /// How endpoints are found by the hash.
    pub table: HashTable,
}

/// What of a request is hashed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// `httpHeaderName`.
    Header(Arc<str>),
    /// `httpCookie`.
    Cookie(HashCookie),
    /// `useSourceIp`.
    SourceIp,
    /// `httpQueryParameterName`.
    QueryParameter(Arc<str>),
}

/// `httpCookie`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HashCookie {
    /// `name`.
    pub name: Arc<str>,
    /// `path`.
    pub path: Option<Arc<str>>,
    /// `ttl`; none: Envoy makes no cookie, zero: a session cookie.
    pub ttl: Option<Duration>,
    /// `attributes`: names and values, in order.
    pub attributes: Arc<[(Arc<str>, Arc<str>)]>,
}

/// How endpoints are found by a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashTable {
    /// `ringHash`, with at least so many entries; none: 1024.
    Ring(Option<u32>),
    /// `maglev`, with so many entries, a prime.
    Maglev(u32),
}

/// `warmup`: how the traffic of a new endpoint grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Warmup {
    /// `duration`.
    pub duration: Duration,
    /// `minimumPercent`; none: 10.
    pub minimum_percent: Option<Decimal>,
    /// `aggression`, at least 1; none: 1, linear.
    pub aggression: Option<Decimal>,
}
