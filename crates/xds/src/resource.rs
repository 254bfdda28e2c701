//! What discovery carries: resources made of parts, each part encoded once and shared by all streams that get it.
//!
//! A part is the smallest thing that is hashed, shared, staged and refused: one virtual host of a route table, one
//! locality of a load assignment, or a whole cluster. A repeated protobuf field is the concatenation of its elements, so
//! the encoded resource is the concatenation of its parts and nothing is ever encoded twice.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use envoy_api::type_url;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::Identities;

/// The type of a resource, in the order in which a change is sent so that nothing refers to what is not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Clusters (CDS).
    Cluster,
    /// The endpoints of one cluster (EDS), under the cluster's name.
    Endpoint,
    /// The configuration of filters that listeners name (ECDS): before the listeners, so that no new port is open
    /// before the policies that guard it.
    Extension,
    /// Listeners (LDS).
    Listener,
    /// Route tables (RDS).
    Route,
    /// Istio's table of names (NDS), which the agent answers DNS from.
    NameTable,
}

impl Kind {
    /// All kinds, in make-before-break order.
    pub const ALL: [Self; 6] = [
        Self::Cluster,
        Self::Endpoint,
        Self::Extension,
        Self::Listener,
        Self::Route,
        Self::NameTable,
    ];

    /// The type URL of this kind's resources.
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => type_url::CLUSTER,
            Self::Endpoint => type_url::CLUSTER_LOAD_ASSIGNMENT,
            Self::Extension => type_url::TYPED_EXTENSION_CONFIG,
            Self::Listener => type_url::LISTENER,
            Self::Route => type_url::ROUTE_CONFIGURATION,
            Self::NameTable => "type.googleapis.com/istio.networking.nds.v1.NameTable",
        }
    }

    /// The kind of a type URL, if it is one that we serve.
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }

    /// Istio's short name, as its metrics have it: `cds`, `eds`, `ecds`, `lds`, `rds`, `nds`.
    pub fn short(self) -> &'static str {
        match self {
            Self::Cluster => "cds",
            Self::Endpoint => "eds",
            Self::Extension => "ecds",
            Self::Listener => "lds",
            Self::Route => "rds",
            Self::NameTable => "nds",
        }
    }

    /// Whether asking for nothing in particular asks for everything (xDS's legacy wildcard).
    pub(crate) fn is_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener | Self::NameTable)
    }

    /// Whether a state-of-the-world response must name all resources, because what is missing is removed.
    pub(crate) fn is_full_state(self) -> bool {
        self.is_wildcard()
    }
}

/// One value for each kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PerKind<T> {
    clusters: T,
    endpoints: T,
    extensions: T,
    listeners: T,
    routes: T,
    name_tables: T,
}

impl<T> PerKind<T> {
    pub fn get(&self, kind: Kind) -> &T {
        match kind {
            Kind::Cluster => &self.clusters,
            Kind::Endpoint => &self.endpoints,
            Kind::Extension => &self.extensions,
            Kind::Listener => &self.listeners,
            Kind::Route => &self.routes,
            Kind::NameTable => &self.name_tables,
        }
    }

    pub fn get_mut(&mut self, kind: Kind) -> &mut T {
        match kind {
            Kind::Cluster => &mut self.clusters,
            Kind::Endpoint => &mut self.endpoints,
            Kind::Extension => &mut self.extensions,
            Kind::Listener => &mut self.listeners,
            Kind::Route => &mut self.routes,
            Kind::NameTable => &mut self.name_tables,
        }
    }
}

/// What a resource says, as a hash: equal content has an equal version, on every replica and after every restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u128);

impl Version {
    /// The length of a version as text.
    pub(crate) const LENGTH: usize = 32;

    /// Whether a text is this version, as Envoy repeats it.
    pub(crate) fn is_written(self, text: &str) -> bool {
        text.as_bytes() == self.hex()
    }

    /// The version as text: 32 hexadecimal digits.
    pub(crate) fn hex(self) -> [u8; Self::LENGTH] {
        let mut text = [0; Self::LENGTH];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            for (place, digit) in pair.iter_mut().zip([byte >> 4, byte & 0xF]) {
                *place = digit + if digit < 10 { b'0' } else { b'a' - 10 };
            }
        }
        text
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// The smallest piece of a resource that changes, is shared and can be refused by itself.
#[derive(Clone, Debug)]
pub struct Part {
    /// A hash of what this part says.
    pub hash: u128,
    /// The encoded fields that this part adds to the resource.
    pub body: Bytes,
    /// The names of the clusters that must be live before this part may be used.
    pub needs: Arc<[Arc<str>]>,
}

impl Part {
    /// A part whose hash is that of its bytes.
    pub fn new(body: Bytes, needs: Arc<[Arc<str>]>) -> Self {
        Self {
            hash: xxh3_128(&body),
            body,
            needs,
        }
    }
}

/// Parts are equal when their hashes are.
impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Part {}

/// When a new cluster may be used. It matters for clusters only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Liveness {
    /// Endpoints come by EDS under the cluster's name: live when Envoy acknowledged the cluster, or its endpoints.
    Eds,
    /// Envoy finds the endpoints itself (DNS): live when it acknowledged the cluster, or five seconds after sending.
    Ack,
    /// Nothing to wait for (static, original destination): live once it is sent.
    #[default]
    Sent,
}

/// A named resource: a persistent map of parts, its version and length kept up to date with every change.
pub struct Resource {
    name: Arc<str>,
    parts: OrdMap<Arc<str>, Part>,
    version: Version,
    length: usize,
    liveness: Liveness,
    identities: Option<Identities>,
    vacant: bool,
    /// The concatenated body while some stream is sending it; see [`Resource::body`].
    whole: Mutex<Weak<Vec<u8>>>,
    /// The bridge that was made last, while some stream holds it; see [`Resource::bridge_from`].
    bridge: Mutex<Weak<Resource>>,
}

impl Resource {
    /// A resource without parts.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            parts: OrdMap::new(),
            version: Version(0),
            length: 0,
            liveness: Liveness::default(),
            identities: None,
            vacant: false,
            whole: Mutex::default(),
            bridge: Mutex::default(),
        }
    }

    /// A resource of one part.
    pub fn single(name: impl Into<Arc<str>>, part: Part) -> Self {
        Self::new(name).with_part(Arc::from(""), part)
    }

    /// The same, with a rule for when it may be used.
    #[must_use]
    pub fn with_liveness(mut self, liveness: Liveness) -> Self {
        self.liveness = liveness;
        self
    }

    /// The same, with the identities that this cluster accepts of its endpoints; none: it does not go by them.
    #[must_use]
    pub fn with_identities(mut self, identities: Option<Identities>) -> Self {
        self.identities = identities;
        self
    }

    /// The same load assignment, with whether it has no endpoint that may be called.
    #[must_use]
    pub fn with_vacancy(mut self, vacant: bool) -> Self {
        self.vacant = vacant;
        self
    }

    /// A copy with this part added or replaced. Parts are encoded in the order of their keys. Costs O(log parts).
    #[must_use]
    pub fn with_part(&self, key: Arc<str>, part: Part) -> Self {
        let mut copy = self.clone();
        let (term, length) = (term(&key, &part), part.body.len());
        if let Some(old) = copy.parts.insert(Arc::clone(&key), part) {
            copy.forget(&key, &old);
        }
        copy.version.0 = copy.version.0.wrapping_add(term);
        copy.length += length;
        copy
    }

    /// A copy without this part.
    #[must_use]
    pub fn without_part(&self, key: &str) -> Self {
        let mut copy = self.clone();
        if let Some(old) = copy.parts.remove(key) {
            copy.forget(key, &old);
        }
        copy
    }

    fn forget(&mut self, key: &str, part: &Part) {
        self.version.0 = self.version.0.wrapping_sub(term(key, part));
        self.length -= part.body.len();
    }

    /// The resource's name, unique among those of its kind in a view.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The version: a sum over the parts, so that it is independent of the order of changes.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The parts by key.
    pub fn parts(&self) -> &OrdMap<Arc<str>, Part> {
        &self.parts
    }

    /// When this cluster may be used by routes.
    pub fn liveness(&self) -> Liveness {
        self.liveness
    }

    /// Whether this load assignment has no endpoint that may be called.
    pub(crate) fn is_vacant(&self) -> bool {
        self.vacant
    }

    /// Whether this cluster refuses identities that `older` accepts.
    pub(crate) fn accepts_less_than(&self, older: &Self) -> bool {
        let both = self.identities.as_ref().zip(older.identities.as_ref());
        both.is_some_and(|(now, before)| !now.accept_all_of(before))
    }

    /// This cluster, made to accept what `older` accepts as well. None if one of them does not go by identities.
    pub(crate) fn bridge_from(&self, older: &Self) -> Option<Arc<Self>> {
        let (now, before) = (self.identities.as_ref()?, older.identities.as_ref()?);
        let joined = now.joined(before);
        let mut made = locked(&self.bridge);
        if let Some(bridge) = made.upgrade()
            && bridge.identities.as_ref() == Some(&joined)
        {
            return Some(bridge);
        }
        let key = self.parts.keys().next()?;
        let bridge = self.with_part(Arc::clone(key), joined.part());
        let bridge = Arc::new(bridge.with_identities(Some(joined)));
        *made = Arc::downgrade(&bridge);
        Some(bridge)
    }

    /// The length of the encoded resource in bytes.
    pub fn encoded_len(&self) -> usize {
        self.length
    }

    /// The encoded resource. That of a single part is shared; several are joined once for all streams that are sending
    /// them at the same time, and freed with the last.
    pub fn body(&self) -> Bytes {
        let mut parts = self.parts.values();
        match (parts.next(), parts.next()) {
            (None, _) => Bytes::new(),
            (Some(only), None) => only.body.clone(),
            (Some(_), Some(_)) => Bytes::from_owner(Shared(self.joined())),
        }
    }

    fn joined(&self) -> Arc<Vec<u8>> {
        let mut whole = locked(&self.whole);
        if let Some(bytes) = whole.upgrade() {
            return bytes;
        }
        let mut bytes = Vec::with_capacity(self.length);
        for part in self.parts.values() {
            bytes.extend_from_slice(&part.body);
        }
        let bytes = Arc::new(bytes);
        *whole = Arc::downgrade(&bytes);
        bytes
    }

    /// The parts that `newer` has and this has not, or has otherwise, with this resource's part under the same key.
    pub(crate) fn changed_in<'a>(
        &'a self,
        newer: &'a Self,
    ) -> impl Iterator<Item = (&'a Arc<str>, Option<&'a Part>, &'a Part)> {
        self.parts.diff(&newer.parts).filter_map(|item| match item {
            DiffItem::Add(key, part) => Some((key, None, part)),
            DiffItem::Update {
                old: (key, old),
                new: (_, new),
            } => Some((key, Some(old), new)),
            DiffItem::Remove(..) => None,
        })
    }
}

/// What is kept while somebody uses it is whole even if somebody panicked.
fn locked<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One part's share of the version.
fn term(key: &str, part: &Part) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(&part.hash.to_le_bytes());
    hasher.update(key.as_bytes());
    hasher.digest128()
}

impl Clone for Resource {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            parts: self.parts.clone(),
            version: self.version,
            length: self.length,
            liveness: self.liveness,
            identities: self.identities.clone(),
            vacant: self.vacant,
            whole: Mutex::default(),
            bridge: Mutex::default(),
        }
    }
}

/// Resources are equal when they have the same name and say the same.
impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && self.name == other.name
    }
}

impl Eq for Resource {}

impl fmt::Debug for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: BTreeMap<_, _> = self
            .parts
            .iter()
            .map(|(key, part)| (key, format!("{:x}", part.hash)))
            .collect();
        formatter
            .debug_struct("Resource")
            .field("name", &self.name)
            .field("parts", &parts)
            .finish_non_exhaustive()
    }
}

/// The owner of bytes that several messages share.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
