//! Connected proxies: who they are, which scope they look from, and what they serve.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use mesh::{Affected, InboundTouch, Mesh, TLS_MODE, Workload, pod_key, select_inbound};
use model::{EnvoyMinor, Kind, Labels, Name, Namespace, ObjectKey, ServiceAccount};
use xds::Half;

use crate::class::Class;
use crate::memo::Memo;
use crate::near::{Near, Place};
use crate::outbound::Outbound;

/// A connected proxy, while it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxyId(u64);

/// Who a proxy says it is, once that has been checked against its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyInfo {
    /// The namespace of its workload.
    pub namespace: Namespace,
    /// The name of its workload: the pod's, or the WorkloadEntry's.
    pub name: Name,
    /// Its labels; those of the object count where there is one.
    pub labels: Labels,
    /// Whom it runs as.
    pub service_account: ServiceAccount,
    /// Its addresses.
    pub addresses: Arc<[IpAddr]>,
    /// The Envoy that it runs.
    pub envoy: EnvoyMinor,
}

/// One proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub info: ProxyInfo,
    pub workload: Workload,
    pub place: Place,
    pub inbound: Arc<Half>,
}

/// All connected proxies.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    next: u64,
    by_id: HashMap<ProxyId, Proxy>,
    by_namespace: BTreeMap<Namespace, BTreeSet<ProxyId>>,
    by_class: BTreeMap<Class, BTreeSet<ProxyId>>,
    by_place: BTreeMap<Place, BTreeSet<ProxyId>>,
}

/// What proxies share, which they enter and leave.
pub(crate) struct Shared<'a> {
    pub outbound: &'a mut Outbound,
    pub near: &'a mut Near,
    pub memo: &'a mut Memo,
}

impl Proxies {
    pub fn get(&self, id: ProxyId) -> Option<&Proxy> {
        self.by_id.get(&id)
    }

    pub fn connect(&mut self, info: ProxyInfo, mesh: &Mesh, shared: &mut Shared<'_>) -> ProxyId {
        let id = ProxyId(self.next);
        self.next += 1;
        let workload = workload(mesh, &info);
        let place = place(mesh, &workload, info.envoy);
        self.enter(id, &place, mesh, shared);
        self.by_namespace
            .entry(info.namespace.clone())
            .or_default()
            .insert(id);
        shared.memo.counts.selects += 1;
        let inbound = shared
            .memo
            .inbound(&select_inbound(mesh, &workload), info.envoy);
        self.by_id.insert(
            id,
            Proxy {
                info,
                workload,
                place,
                inbound,
            },
        );
        id
    }

    fn enter(&mut self, id: ProxyId, place: &Place, mesh: &Mesh, shared: &mut Shared<'_>) {
        shared.outbound.enter(mesh, &place.class, shared.memo);
        shared.near.enter(mesh, place, shared.memo);
        let class = place.class.clone();
        self.by_class.entry(class).or_default().insert(id);
        self.by_place.entry(place.clone()).or_default().insert(id);
    }

    fn leave(&mut self, id: ProxyId, place: &Place, outbound: &mut Outbound, near: &mut Near) {
        remove(&mut self.by_class, &place.class, id);
        remove(&mut self.by_place, place, id);
        outbound.leave(&place.class);
        near.leave(place);
    }

    pub fn disconnect(&mut self, id: ProxyId, outbound: &mut Outbound, near: &mut Near) {
        let Some(proxy) = self.by_id.remove(&id) else {
            return;
        };
        remove(&mut self.by_namespace, &proxy.info.namespace, id);
        self.leave(id, &proxy.place, outbound, near);
    }

    /// Looks again at the proxies that a change may concern; answers those whose view changed.
    pub fn update(
        &mut self,
        mesh: &Mesh,
        affected: &Affected,
        classes: &BTreeSet<Class>,
        places: &BTreeSet<Place>,
        shared: &mut Shared<'_>,
    ) -> BTreeSet<ProxyId> {
        let of_class = |class: &Class| self.by_class.get(class).into_iter().flatten().copied();
        let of_place = |place: &Place| self.by_place.get(place).into_iter().flatten().copied();
        let mut changed: BTreeSet<ProxyId> = classes.iter().flat_map(of_class).collect();
        changed.extend(places.iter().flat_map(of_place));
        let touched: BTreeSet<ProxyId> = affected
            .inbound
            .iter()
            .flat_map(|touch| self.touched(touch))
            .collect();
        for id in touched {
            let Some(proxy) = self.by_id.get_mut(&id) else {
                continue;
            };
            proxy.workload = workload(mesh, &proxy.info);
            shared.memo.counts.selects += 1;
            let inbound = shared
                .memo
                .inbound(&select_inbound(mesh, &proxy.workload), proxy.info.envoy);
            if !Arc::ptr_eq(&inbound, &proxy.inbound) {
                proxy.inbound = inbound;
                changed.insert(id);
            }
            let now = place(mesh, &proxy.workload, proxy.info.envoy);
            if now != proxy.place {
                let before = std::mem::replace(&mut proxy.place, now.clone());
                // Entered first: what both share stays.
                self.enter(id, &now, mesh, shared);
                remove(&mut self.by_place, &before, id);
                if before.class != now.class {
                    remove(&mut self.by_class, &before.class, id);
                }
                shared.outbound.leave(&before.class);
                shared.near.leave(&before);
                changed.insert(id);
            }
        }
        changed
    }

    fn touched(&self, touch: &InboundTouch) -> Vec<ProxyId> {
        let all = match &touch.namespace {
            Some(namespace) => self
                .by_namespace
                .get(namespace)
                .into_iter()
                .flatten()
                .copied()
                .collect(),
            None => self.by_id.keys().copied().collect::<Vec<_>>(),
        };
        let concerns = |id: &ProxyId| {
            self.by_id.get(id).is_some_and(|proxy| {
                touch
                    .name
                    .as_ref()
                    .is_none_or(|name| *name == proxy.info.name)
                    && touch
                        .selector
                        .as_ref()
                        .is_none_or(|selector| selector.matches(&proxy.workload.labels))
            })
        };
        all.into_iter().filter(concerns).collect()
    }
}

/// The workload of a proxy: its Pod or WorkloadEntry, or, where there is none yet, what it says of itself.
fn workload(mesh: &Mesh, info: &ProxyInfo) -> Workload {
    let entry = ObjectKey {
        kind: Kind::WorkloadEntry,
        ..pod_key(&info.namespace, &info.name)
    };
    let known = mesh
        .workload(&pod_key(&info.namespace, &info.name))
        .or_else(|| mesh.workload(&entry));
    let mut workload = known.unwrap_or_else(|| Workload {
        namespace: info.namespace.clone(),
        name: info.name.as_str().into(),
        labels: info.labels.clone(),
        service_account: info.service_account.clone(),
        addresses: Arc::clone(&info.addresses),
        ports: Arc::new([]),
        mesh_tls: info.labels.get(TLS_MODE) == Some("istio"),
        node: None,
        locality: None,
        is_pod: true,
    });
    if workload.addresses.is_empty() {
        workload.addresses = Arc::clone(&info.addresses);
    }
    workload
}

fn place(mesh: &Mesh, workload: &Workload, envoy: EnvoyMinor) -> Place {
    Place {
        class: Class {
            scope: mesh.scope_of(workload),
            envoy,
        },
        proximity: mesh.proximity(workload),
    }
}

fn remove<K: Ord>(index: &mut BTreeMap<K, BTreeSet<ProxyId>>, key: &K, id: ProxyId) {
    let Some(set) = index.get_mut(key) else {
        return;
    };
    set.remove(&id);
    if set.is_empty() {
        index.remove(key);
    }
}
