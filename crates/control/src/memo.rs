//! Equal inputs are built once, equal nodes are translated and encoded once, for all scopes and over time.

use std::collections::HashMap;
use std::sync::Arc;

use ir::{Discovery, Endpoints, Hashed, Node};
use mesh::{InboundInputs, Inputs, build, build_inbound};
use model::EnvoyMinor;
use xds::{Half, Identities, Kind, Liveness, Part, Resource};

use crate::bridge;

/// What a slot holds: one part of a resource, encoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub part: Part,
    /// The oldest Envoy that is sent it just as the newest is.
    pub since: EnvoyMinor,
    pub liveness: Liveness,
    /// The identities that a cluster accepts of its endpoints.
    pub identities: Option<Identities>,
    /// Whether these are endpoints of which none may be called.
    pub vacant: bool,
}

impl Value {
    /// Tells a resource what holds for it as a whole.
    pub fn describe(&self, resource: Resource) -> Resource {
        resource
            .with_liveness(self.liveness)
            .with_identities(self.identities.clone())
            .with_vacancy(self.vacant)
    }
}

/// How much work was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Look-ups of what applies to a key in a scope.
    pub selects: u64,
    /// Nodes that were built from new inputs.
    pub builds: u64,
    /// Nodes that were translated to Envoy's messages.
    pub translations: u64,
    /// Messages that were encoded, endpoints among them.
    pub encodings: u64,
}

impl std::ops::Sub for Counts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            selects: self.selects - before.selects,
            builds: self.builds - before.builds,
            translations: self.translations - before.translations,
            encodings: self.encodings - before.encodings,
        }
    }
}

/// Whom something was encoded for: the newest Envoy, and all that take the same, or an older one.
type Form = EnvoyMinor;

fn form(envoy: EnvoyMinor, since: EnvoyMinor) -> Form {
    if envoy < since {
        envoy
    } else {
        EnvoyMinor::NEWEST
    }
}

/// What was built and encoded, by what it was made of.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    pub counts: Counts,
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::Mutant>,
    by_inputs: HashMap<(u128, Form), Arc<Value>>,
    by_node: HashMap<(u128, Form), Arc<Value>>,
    assignments: HashMap<(Arc<str>, u128), Arc<Value>>,
    inbound: HashMap<(u128, EnvoyMinor), Arc<Half>>,
    /// How many entries there were after the last sweep.
    swept: usize,
}

/// A sweep is due when the tables have doubled, so that sweeping costs a constant share of building.
const MIN_SWEEP: usize = 4096;

/// As many inputs as this are known for one value. More are the traces of edits that changed nothing.
const MAX_INPUTS: usize = 64;

impl Memo {
    /// The node that inputs make, encoded for an Envoy.
    pub fn node(&mut self, inputs: &Hashed<Inputs>, envoy: EnvoyMinor) -> Arc<Value> {
        let hash = inputs.hash128();
        let newest = self.by_inputs.get(&(hash, EnvoyMinor::NEWEST));
        let newest = newest.filter(|value| value.since <= envoy);
        if let Some(value) = newest.or_else(|| self.by_inputs.get(&(hash, envoy))) {
            return Arc::clone(value);
        }
        self.counts.builds += 1;
        let value = self.encode(Hashed::new(build(inputs)), envoy);
        let form = form(envoy, value.since);
        self.by_inputs.insert((hash, form), Arc::clone(&value));
        value
    }

    fn encode(&mut self, node: Hashed<Node>, envoy: EnvoyMinor) -> Arc<Value> {
        let since = translate::since(&node);
        let form = form(envoy, since);
        let key = (node.hash128(), form);
        if let Some(value) = self.by_node.get(&key) {
            return Arc::clone(value);
        }
        self.counts.translations += 1;
        self.counts.encodings += 1;
        let encoded = self.translate(&node, form);
        let value = Arc::new(Value {
            part: part(encoded),
            since,
            liveness: liveness(&node),
            identities: bridge::identities(&node, form),
            vacant: false,
        });
        self.by_node.insert(key, Arc::clone(&value));
        value
    }

    #[cfg(not(feature = "mutants"))]
    fn translate(&self, node: &Node, envoy: EnvoyMinor) -> translate::Encoded {
        translate::encode(node, envoy)
    }

    #[cfg(feature = "mutants")]
    fn translate(&self, node: &Node, envoy: EnvoyMinor) -> translate::Encoded {
        let mut encoded = match self.mutant {
            Some(mutant) => translate::encode(&mutant.spoil(node.clone()), envoy),
            None => translate::encode(node, envoy),
        };
        if self.mutant == Some(crate::Mutant::ArrivalOrder) {
            // A field that no message has, with the number of what was built before.
            let mut bytes = Vec::from(&*encoded.body);
            bytes.extend([0xF8, 0xFF, 0x7F, (self.counts.builds & 0x7F) as u8]);
            encoded.body = bytes.into();
        }
        encoded
    }

    /// The encoded endpoints of a cluster.
    pub fn assignment(&mut self, name: &Arc<str>, endpoints: &Hashed<Endpoints>) -> Arc<Value> {
        let key = (Arc::clone(name), endpoints.hash128());
        if let Some(value) = self.assignments.get(&key) {
            return Arc::clone(value);
        }
        self.counts.encodings += 1;
        let body = translate::encode_endpoints(name, endpoints);
        let part = Part::new(body, Arc::new([]));
        let value = Arc::new(Value {
            part,
            since: EnvoyMinor::OLDEST,
            liveness: Liveness::Sent,
            identities: None,
            vacant: !endpoints.has_callable(),
        });
        self.assignments.insert(key, Arc::clone(&value));
        value
    }

    /// The inbound half that inputs make for an Envoy, shared by all workloads of equal inputs.
    pub fn inbound(&mut self, inputs: &Hashed<InboundInputs>, envoy: EnvoyMinor) -> Arc<Half> {
        let key = (inputs.hash128(), envoy);
        if let Some(half) = self.inbound.get(&key) {
            return Arc::clone(half);
        }
        self.counts.builds += 1;
        let mut half = Half::default();
        for node in build_inbound(inputs) {
            let (kind, name) = match &node {
                Node::Cluster(cluster) => (Kind::Cluster, cluster.name.to_string()),
                Node::VirtualInbound(_) => (Kind::Listener, "virtualInbound".to_owned()),
                Node::AuthorizationFilter(filter) => (Kind::Extension, filter.name.to_string()),
                Node::RouteTable(_)
                | Node::VirtualHost(_)
                | Node::OutboundListener(_)
                | Node::VirtualOutbound(_)
                | Node::NameEntry(_) => continue,
            };
            let value = self.encode(Hashed::new(node), envoy);
            let resource = value.describe(Resource::single(name, value.part.clone()));
            half.insert(kind, Arc::new(resource));
        }
        let half = Arc::new(half);
        self.inbound.insert(key, Arc::clone(&half));
        half
    }

    /// Drops what nobody holds any more, once the tables have doubled.
    pub fn forget_unused(&mut self) {
        let size =
            self.by_inputs.len() + self.by_node.len() + self.assignments.len() + self.inbound.len();
        if size < MIN_SWEEP.max(self.swept * 2) {
            return;
        }
        let mut entries: HashMap<*const Value, usize> = HashMap::new();
        for value in self.by_inputs.values() {
            *entries.entry(Arc::as_ptr(value)).or_default() += 1;
        }
        // A value that a slot holds is counted there, in `by_node`, and once for each of its inputs.
        self.by_inputs.retain(|_, value| {
            let inputs = entries.get(&Arc::as_ptr(value)).copied().unwrap_or(0);
            inputs <= MAX_INPUTS && Arc::strong_count(value) > inputs + 1
        });
        self.by_node.retain(|_, value| Arc::strong_count(value) > 1);
        self.assignments
            .retain(|_, value| Arc::strong_count(value) > 1);
        self.inbound.retain(|_, half| Arc::strong_count(half) > 1);
        self.swept =
            self.by_inputs.len() + self.by_node.len() + self.assignments.len() + self.inbound.len();
    }
}

/// What was translated, as a part of a resource.
pub(crate) fn part(encoded: translate::Encoded) -> Part {
    let needs = encoded
        .needs
        .iter()
        .map(|name| Arc::from(name.to_string()))
        .collect();
    Part::new(encoded.body, needs)
}

fn liveness(node: &Node) -> Liveness {
    match node {
        Node::Cluster(cluster) => match cluster.discovery {
            Discovery::Eds => Liveness::Eds,
            Discovery::StrictDns(..) | Discovery::LogicalDns(..) => Liveness::Ack,
            Discovery::OriginalDestination
            | Discovery::DynamicDns(_)
            | Discovery::Inbound(_)
            | Discovery::Nothing => Liveness::Sent,
        },
        Node::RouteTable(_)
        | Node::VirtualHost(_)
        | Node::OutboundListener(_)
        | Node::VirtualOutbound(_)
        | Node::VirtualInbound(_)
        | Node::AuthorizationFilter(_)
        | Node::NameEntry(_) => Liveness::Sent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::RouteTableName;
    use model::{OutboundTrafficPolicy, Port};

    #[test]
    fn the_traces_of_edits_without_effect_are_swept() {
        let mut memo = Memo::default();
        let inputs = |port| {
            let table = RouteTableName::Port(Port::new(port).unwrap());
            Hashed::new(Inputs::CatchAll(OutboundTrafficPolicy::AllowAny, table))
        };
        let held = memo.node(&inputs(1), EnvoyMinor::NEWEST);
        for port in 2..=5000 {
            memo.node(&inputs(port), EnvoyMinor::NEWEST);
        }
        memo.forget_unused();
        assert!(memo.by_inputs.len() <= MAX_INPUTS);
        assert!(
            Arc::ptr_eq(&memo.node(&inputs(1), EnvoyMinor::NEWEST), &held),
            "what is held is not encoded again"
        );
        drop(held);
        memo.swept = 0;
        (1..=5000).for_each(|port| drop(memo.node(&inputs(port), EnvoyMinor::NEWEST)));
        memo.forget_unused();
        assert!(memo.by_node.is_empty() && memo.by_inputs.is_empty());
    }
}
