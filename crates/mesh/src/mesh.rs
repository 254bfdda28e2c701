//! The mesh: indexes over one snapshot, kept up incrementally from one snapshot to the next.

mod exports;
mod routes;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use model::{
    DestinationRule, HostPattern, Hostname, Kind, Labels, Locality, LocalityLb, MeshConfig, Name,
    Namespace, Object, ObjectKey, PriorityLabel, Spec, TrafficDistribution, VirtualService,
};
use store::{Delta, Snapshot};

use crate::affected::{Affected, Touched};
use crate::alias::{Alias, Aliases};
use crate::host_index::{HostIndex, Ranked};
use crate::policies::Policies;
use crate::registry::{Services, change};
use crate::scope::Scope;
use crate::service::MeshService;
use crate::workload::Workload;

/// Everything that can be looked up about the objects of one snapshot. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Mesh {
    snapshot: Snapshot,
    config: Arc<MeshConfig>,
    services: Services,
    aliases: Aliases,
    virtual_services: HostIndex,
    destination_rules: HostIndex,
    /// The VirtualServices that delegate, with their delegates' routes.
    merged: OrdMap<ObjectKey, Arc<VirtualService>>,
    /// Which VirtualServices delegate to one.
    delegating: OrdMap<ObjectKey, OrdSet<ObjectKey>>,
    /// The labels of clients by which VirtualServices tell them apart.
    clients: OrdMap<Labels, OrdSet<ObjectKey>>,
    /// Which VirtualServices lead to a host.
    leading_to: OrdMap<Hostname, OrdSet<ObjectKey>>,
    /// The EndpointSlices of a Service.
    slices: OrdMap<(Namespace, Name), OrdSet<ObjectKey>>,
    /// The EndpointSlices that name a Pod.
    naming: OrdMap<(Namespace, Name), OrdSet<ObjectKey>>,
    /// The Pods and WorkloadEntries of a namespace.
    workloads: OrdMap<Namespace, OrdSet<ObjectKey>>,
    /// The Pods of a Node.
    on_node: OrdMap<Name, OrdSet<ObjectKey>>,
    /// The headless services that have an endpoint at an address.
    headless: OrdMap<IpAddr, OrdSet<Hostname>>,
    /// DestinationRules with a `workloadSelector`, by namespace: what tells the scopes of a namespace apart.
    selecting_rules: OrdMap<Namespace, OrdSet<ObjectKey>>,
    /// The labels that the DestinationRules' `failoverPriority` names.
    priority_labels: OrdMap<Arc<str>, OrdSet<ObjectKey>>,
    /// The Services that look at the node of a caller.
    looking_at_nodes: OrdSet<ObjectKey>,
    policies: Policies,
}

impl Mesh {
    /// The mesh of a snapshot, from scratch.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        let changed = snapshot
            .objects
            .keys()
            .chain(snapshot.refused.keys())
            .cloned()
            .collect();
        Self::default().next(snapshot, &Delta { changed }).0
    }

    /// The mesh of the next snapshot, and what of it may differ.
    #[must_use]
    pub fn next(&self, now: &Snapshot, delta: &Delta) -> (Self, Affected) {
        let mut next = self.clone();
        next.config = config_of(now);
        let (now, delta) = self.completed(now, delta, &next.config.exports);
        next.snapshot = now;
        let mut touched = Touched {
            everything: next.config != self.config,
            ..Touched::default()
        };
        for key in &next.with_roots(self, &delta) {
            next.index(self, key, &mut touched);
        }
        let moved = next.services.settle_addresses(&touched.services);
        touched.services.extend(moved);
        let affected = touched.spread(self, &mut next);
        (next, affected)
    }

    /// Takes one changed object out of the indexes as it was and puts it in as it is.
    fn index(&mut self, before: &Self, key: &ObjectKey, touched: &mut Touched) {
        let old = before.snapshot.get(key).cloned();
        let new = self.snapshot.get(key).cloned();
        match key.kind {
            Kind::Service | Kind::ServiceEntry => {
                let services = new.as_deref().map(MeshService::of).unwrap_or_default();
                let looked = self.looks_at_nodes();
                match services.iter().any(looks_at_nodes) {
                    true => self.looking_at_nodes.insert(key.clone()),
                    false => self.looking_at_nodes.remove(key),
                };
                touched.everywhere |= looked != self.looks_at_nodes();
                let of_before = before.services.of_object(key).iter().map(AsRef::as_ref);
                let selectors = of_before.chain(&services);
                let selectors = selectors.map(|service| service.selector.clone());
                let place = |selector| (key.namespace.clone(), selector);
                touched.served.extend(selectors.map(place));
                touched
                    .services
                    .extend(self.services.replace(key, services));
                self.index_alias(key, new.as_deref(), touched);
            }
            Kind::VirtualService => self.index_routes(before, key, touched),
            Kind::DestinationRule => self.index_rules(key, old.as_deref(), new.as_deref(), touched),
            Kind::PeerAuthentication | Kind::AuthorizationPolicy => {
                self.policies.replace(key, old.as_deref(), &self.snapshot);
                touched.policies.insert(key.clone());
            }
            Kind::EndpointSlice => self.index_slice(key, old.as_deref(), new.as_deref(), touched),
            Kind::Pod | Kind::WorkloadEntry => {
                let mut set = self.workloads.remove(&key.namespace).unwrap_or_default();
                if new.is_some() {
                    set.insert(key.clone());
                } else {
                    set.remove(key);
                }
                if !set.is_empty() {
                    self.workloads.insert(key.namespace.clone(), set);
                }
                for (object, add) in [(&old, false), (&new, true)] {
                    if let Some(node) = object.as_deref().and_then(node_of) {
                        change(&mut self.on_node, node.clone(), key, add);
                    }
                }
                touched.workloads.insert(key.clone());
            }
            Kind::Node => {
                let pods = self.on_node.get(&key.name).into_iter().flatten();
                touched.workloads.extend(pods.cloned());
            }
            Kind::Namespace | Kind::ServiceAccount | Kind::Deployment | Kind::MeshConfig => {}
        }
    }

    fn index_alias(&mut self, key: &ObjectKey, new: Option<&Object>, touched: &mut Touched) {
        if key.kind == Kind::Service {
            let host = Hostname::of_service(&key.name, &key.namespace);
            let hosts = self.aliases.replace(&host, new.and_then(Alias::of));
            touched.services.extend(hosts);
        }
    }

    fn index_rules(
        &mut self,
        key: &ObjectKey,
        old: Option<&Object>,
        new: Option<&Object>,
        touched: &mut Touched,
    ) {
        let labels = self.priority_labels.clone();
        let mut selecting = self
            .selecting_rules
            .remove(&key.namespace)
            .unwrap_or_default();
        selecting.remove(key);
        for (object, add) in [(old, false), (new, true)] {
            let Some(object) = object else { continue };
            let Spec::DestinationRule(rule) = &object.spec else {
                continue;
            };
            update(
                &mut self.destination_rules,
                &rule.host,
                Ranked::new(object),
                add,
            );
            touched.ruled.insert(rule.host.clone());
            for label in priority_labels_of(rule) {
                change(&mut self.priority_labels, Arc::clone(&label.key), key, add);
            }
            touched
                .subsets
                .extend(rule.subsets.iter().map(|subset| subset.name.clone()));
            if rule.workload_selector.is_some() {
                touched.selecting.insert(key.namespace.clone());
                if add {
                    selecting.insert(key.clone());
                }
            }
        }
        // Where every client is must be looked up anew.
        touched.everywhere |= !labels.keys().eq(self.priority_labels.keys());
        if !selecting.is_empty() {
            self.selecting_rules
                .insert(key.namespace.clone(), selecting);
        }
    }

    fn index_slice(
        &mut self,
        key: &ObjectKey,
        old: Option<&Object>,
        new: Option<&Object>,
        touched: &mut Touched,
    ) {
        for (object, add) in [(old, false), (new, true)] {
            let Some(Object {
                spec: Spec::EndpointSlice(slice),
                ..
            }) = object
            else {
                continue;
            };
            let Some(name) = &slice.service else { continue };
            let place = (key.namespace.clone(), name.clone());
            let mut set = self.slices.remove(&place).unwrap_or_default();
            if add {
                set.insert(key.clone());
            } else {
                set.remove(key);
            }
            if !set.is_empty() {
                self.slices.insert(place, set);
            }
            touched
                .endpoints
                .insert(Hostname::of_service(name, &key.namespace));
        }
        let (before, now) = (pods_of(old), pods_of(new));
        for pod in before.symmetric_difference(&now) {
            let place = (key.namespace.clone(), (*pod).clone());
            change(&mut self.naming, place, key, now.contains(pod));
        }
    }

    /// The objects that it was made of.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// One object, or its last good version.
    #[must_use]
    pub fn object(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        self.snapshot.get(key)
    }

    /// MeshConfig.
    #[must_use]
    pub fn config(&self) -> &MeshConfig {
        &self.config
    }

    /// All services.
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.services
    }

    pub(crate) fn aliases(&self) -> &Aliases {
        &self.aliases
    }

    /// The service that a scope reaches under a host: its own, or the one that an ExternalName stands for.
    #[must_use]
    pub fn reached(&self, scope: &Scope, host: &Hostname) -> Option<&Arc<MeshService>> {
        let own = self.services.visible(scope, host);
        own.or_else(|| {
            let target = self.aliases.target(scope, host)?;
            self.services.visible(scope, target)
        })
    }

    /// The other names of a host, by ExternalName, ordered.
    pub fn aliases_of(&self, host: &Hostname) -> impl Iterator<Item = &Hostname> {
        self.aliases.of(host).into_iter().map(|alias| &alias.host)
    }

    pub(crate) fn virtual_services(&self) -> &HostIndex {
        &self.virtual_services
    }

    /// A VirtualService with its delegates' routes, if it delegates.
    pub(crate) fn merged(&self, key: &ObjectKey) -> Option<&Arc<VirtualService>> {
        self.merged.get(key)
    }

    /// The VirtualServices that delegate to one.
    pub fn delegating_to(&self, key: &ObjectKey) -> impl Iterator<Item = &ObjectKey> {
        self.delegating.get(key).into_iter().flatten()
    }

    pub(crate) fn clients(&self) -> &OrdMap<Labels, OrdSet<ObjectKey>> {
        &self.clients
    }

    pub(crate) fn destination_rules(&self) -> &HostIndex {
        &self.destination_rules
    }

    pub(crate) fn policies(&self) -> &Policies {
        &self.policies
    }

    /// The VirtualServices that lead to a host.
    pub(crate) fn leading_to(&self, host: &Hostname) -> impl Iterator<Item = &ObjectKey> {
        self.leading_to.get(host).into_iter().flatten()
    }

    /// The EndpointSlices of a Service.
    pub(crate) fn slices_of<'a>(
        &'a self,
        service: &MeshService,
    ) -> impl Iterator<Item = &'a Arc<Object>> {
        let key = &service.rank.key;
        let place = (key.namespace.clone(), key.name.clone());
        let keys = (key.kind == Kind::Service)
            .then(|| self.slices.get(&place))
            .flatten();
        keys.into_iter()
            .flatten()
            .filter_map(|key| self.object(key))
    }

    /// The Services of which an EndpointSlice names a pod.
    pub(crate) fn naming(&self, pod: &ObjectKey) -> impl Iterator<Item = Hostname> {
        let place = (pod.namespace.clone(), pod.name.clone());
        let slices = (pod.kind == Kind::Pod)
            .then(|| self.naming.get(&place))
            .flatten();
        let service = |key: &ObjectKey| match &self.object(key)?.spec {
            Spec::EndpointSlice(slice) => Some(Hostname::of_service(
                slice.service.as_ref()?,
                &key.namespace,
            )),
            _ => None,
        };
        slices.into_iter().flatten().filter_map(service)
    }

    /// The headless services that have an endpoint at an address, ordered.
    pub(crate) fn headless_at(&self, address: IpAddr) -> impl Iterator<Item = &Hostname> {
        self.headless.get(&address).into_iter().flatten()
    }

    pub(crate) fn set_headless<'a>(
        &mut self,
        host: &Hostname,
        addresses: impl Iterator<Item = &'a IpAddr>,
        add: bool,
    ) {
        for address in addresses {
            change(&mut self.headless, *address, host, add);
        }
    }

    /// The Pods and WorkloadEntries of a namespace.
    pub(crate) fn workloads_in(&self, namespace: &Namespace) -> impl Iterator<Item = &Arc<Object>> {
        self.workloads
            .get(namespace)
            .into_iter()
            .flatten()
            .filter_map(|key| self.object(key))
    }

    /// The workload that a Pod or WorkloadEntry is.
    #[must_use]
    pub fn workload(&self, key: &ObjectKey) -> Option<Workload> {
        Workload::of(self.object(key)?)
    }

    /// Where a workload runs: where it says, else where its Node stands; empty where that is unknown.
    pub(crate) fn locality(&self, workload: &Workload) -> Locality {
        let of_node = || {
            let key = ObjectKey::without_namespace(Kind::Node, workload.node.clone()?)?;
            match &self.object(&key)?.spec {
                Spec::Node(node) => Some(node.locality.clone()),
                _ => None,
            }
        };
        let own = workload.locality.clone();
        own.or_else(of_node).unwrap_or_default()
    }

    /// Whether some Service looks at the node of a caller.
    pub(crate) fn looks_at_nodes(&self) -> bool {
        !self.looking_at_nodes.is_empty()
    }

    /// The labels that some `failoverPriority` names, ordered.
    pub(crate) fn priority_labels(&self) -> impl Iterator<Item = &Arc<str>> {
        let of_mesh = labels_of(&self.config.locality).map(|label| &label.key);
        let all: BTreeSet<&Arc<str>> = self.priority_labels.keys().chain(of_mesh).collect();
        all.into_iter()
    }

    /// The DestinationRules of a namespace that select clients, ordered.
    pub fn selecting_rules(&self, namespace: &Namespace) -> impl Iterator<Item = &ObjectKey> {
        self.selecting_rules.get(namespace).into_iter().flatten()
    }

    /// The patterns that VirtualServices name.
    pub(crate) fn routed_patterns(&self) -> impl Iterator<Item = &HostPattern> {
        self.virtual_services.patterns()
    }

    /// How many VirtualServices there are.
    #[must_use]
    pub fn virtual_service_count(&self) -> usize {
        self.snapshot.of_kind(Kind::VirtualService).count()
    }

    /// The namespaces in which something lives that tells scopes apart.
    #[must_use]
    pub fn namespaces(&self) -> BTreeSet<&Namespace> {
        self.workloads.keys().collect()
    }
}

fn config_of(snapshot: &Snapshot) -> Arc<MeshConfig> {
    let key = ObjectKey {
        kind: Kind::MeshConfig,
        namespace: Namespace::istio_system(),
        name: Name::istio(),
    };
    match snapshot.get(&key).map(|object| &object.spec) {
        Some(Spec::MeshConfig(config)) => Arc::clone(config),
        _ => Arc::default(),
    }
}

/// The labels that a rule's `failoverPriority` names.
fn priority_labels_of(rule: &DestinationRule) -> impl Iterator<Item = &PriorityLabel> {
    let balancing = rule.policies().filter_map(|p| p.load_balancer.as_ref());
    balancing
        .filter_map(|lb| lb.locality.as_ref())
        .flat_map(labels_of)
}

fn looks_at_nodes(service: &MeshService) -> bool {
    service.node_local || service.distribution == TrafficDistribution::SameNode
}

fn labels_of(setting: &LocalityLb) -> impl Iterator<Item = &PriorityLabel> {
    let order = match setting {
        LocalityLb::Failover(order) => Some(order),
        LocalityLb::Off | LocalityLb::Distribute(_) => None,
    };
    order.into_iter().flat_map(|order| order.labels.iter())
}

/// The Node on which a Pod runs.
fn node_of(object: &Object) -> Option<&Name> {
    match &object.spec {
        Spec::Pod(pod) => pod.node.as_ref(),
        _ => None,
    }
}

/// The pods that an EndpointSlice names.
fn pods_of(object: Option<&Object>) -> BTreeSet<&Name> {
    match object.map(|object| &object.spec) {
        Some(Spec::EndpointSlice(slice)) => {
            let endpoints = slice.endpoints.iter();
            endpoints.filter_map(|e| e.pod.as_ref()).collect()
        }
        _ => BTreeSet::new(),
    }
}

fn update(index: &mut HostIndex, pattern: &HostPattern, object: Ranked, add: bool) {
    if add {
        index.insert(pattern, object);
    } else {
        index.remove(pattern, &object);
    }
}
