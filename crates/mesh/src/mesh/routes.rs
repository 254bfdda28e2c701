//! The indexes of VirtualServices: by host, by what they lead to, by whom they delegate to, by the clients that they name.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{Kind, ObjectKey, VirtualService};
use store::Delta;

use super::{Mesh, update};
use crate::affected::Touched;
use crate::delegates::{delegates, merged};
use crate::host_index::Ranked;
use crate::registry::change;
use crate::routes::{client_labels, destination_hosts, virtual_service_in};

impl Mesh {
    /// What changed, and the VirtualServices that delegate to it.
    pub(super) fn with_roots(&mut self, before: &Self, delta: &Delta) -> BTreeSet<ObjectKey> {
        let now = self.snapshot.clone();
        let routes = || {
            let changed = delta.changed.iter();
            changed.filter(|key| key.kind == Kind::VirtualService)
        };
        for key in routes() {
            for (snapshot, add) in [(&before.snapshot, false), (&now, true)] {
                let service = virtual_service_in(snapshot, key).map(|(_, service)| service);
                for delegate in service.into_iter().flat_map(|service| delegates(service)) {
                    change(&mut self.delegating, delegate, key, add);
                }
            }
        }
        let roots = routes().flat_map(|key| self.delegating_to(key)).cloned();
        delta.changed.iter().cloned().chain(roots).collect()
    }

    pub(super) fn index_routes(&mut self, before: &Self, key: &ObjectKey, touched: &mut Touched) {
        let now = self.snapshot.clone();
        let own = virtual_service_in(&now, key).map(|(_, service)| service);
        match own.and_then(|own| merged(&now, &key.namespace, own)) {
            Some(merged) => self.merged.insert(key.clone(), Arc::new(merged)),
            None => self.merged.remove(key),
        };
        let (old, new) = (
            before.virtual_service(key),
            self.virtual_service(key).cloned(),
        );
        self.index_clients(key, old, new.as_ref(), touched);
        for (snapshot, service, add) in [(&before.snapshot, old, false), (&now, new.as_ref(), true)]
        {
            let meta = virtual_service_in(snapshot, key).map(|(meta, _)| meta);
            let Some((meta, service)) = meta.zip(service) else {
                continue;
            };
            for host in service.hosts.iter() {
                let refused = snapshot.get(key).is_none();
                let ranked = Ranked::of(key, meta, refused);
                update(&mut self.virtual_services, host, ranked, add);
                touched.routed.insert(host.clone());
                if service.routes_connections() {
                    touched.connected.insert(host.clone());
                }
            }
            for host in destination_hosts(service) {
                let mut set = self.leading_to.remove(host).unwrap_or_default();
                if add {
                    set.insert(key.clone());
                } else {
                    set.remove(key);
                }
                if !set.is_empty() {
                    self.leading_to.insert(host.clone(), set);
                }
            }
        }
    }

    /// By which labels a VirtualService tells clients apart; where that, or who sees it, changes, the clients that bear
    /// them are looked at again.
    fn index_clients(
        &mut self,
        key: &ObjectKey,
        old: Option<&Arc<VirtualService>>,
        new: Option<&Arc<VirtualService>>,
        touched: &mut Touched,
    ) {
        let before = old.map(|service| (client_labels(service), &service.export_to));
        let now = new.map(|service| (client_labels(service), &service.export_to));
        for (side, add) in [(&before, false), (&now, true)] {
            for labels in side.iter().flat_map(|(labels, _)| labels) {
                change(&mut self.clients, (*labels).clone(), key, add);
                if before != now {
                    touched.clients.insert((*labels).clone());
                }
            }
        }
    }
}
