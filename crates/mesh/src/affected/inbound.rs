//! Whose inbound half may differ: by what became of workloads, of the services that lead to them, of the policies that
//! guard them and of the providers that these ask.

use model::{Kind, Selector};

use super::{Affected, InboundTouch, Touched};
use crate::mesh::Mesh;
use crate::policies::selector_of;

impl Touched {
    pub(super) fn touch_workloads(&mut self, old: &Mesh, new: &Mesh, affected: &mut Affected) {
        for key in &self.workloads {
            for mesh in [old, new] {
                self.endpoints.extend(mesh.naming(key));
                let Some(workload) = mesh.workload(key) else {
                    continue;
                };
                for service in mesh.services().in_namespace(&key.namespace) {
                    let selector = service.selector.as_ref();
                    if selector.is_some_and(|selector| selector.matches(&workload.labels)) {
                        self.endpoints.insert(service.host.clone());
                    }
                }
            }
            affected.inbound.push(InboundTouch {
                namespace: Some(key.namespace.clone()),
                selector: None,
                name: Some(key.name.clone()),
            });
        }
        self.serve_ruled([old, new]);
        let served = self.served.iter().cloned();
        let selecting = self.selecting.iter().cloned();
        let selecting = selecting.map(|namespace| (namespace, None));
        let touch = |(namespace, selector)| InboundTouch {
            namespace: Some(namespace),
            selector,
            name: None,
        };
        affected.inbound.extend(served.chain(selecting).map(touch));
        let clients = self.clients.iter().cloned();
        affected.inbound.extend(clients.map(|labels| InboundTouch {
            namespace: None,
            selector: Selector::new(labels),
            name: None,
        }));
    }

    /// A rule about a host says how its servers' proxies connect to their apps.
    fn serve_ruled(&mut self, meshes: [&Mesh; 2]) {
        for mesh in meshes {
            let patterns = self.ruled.iter();
            for host in patterns.flat_map(|pattern| mesh.hosts_under(pattern)) {
                let services = mesh.services().all(&host).iter();
                let place = services.map(|s| (s.namespace().clone(), s.selector.clone()));
                self.served.extend(place);
            }
        }
    }

    pub(super) fn touch_policies(&mut self, old: &Mesh, new: &Mesh, affected: &mut Affected) {
        for key in &self.policies {
            let roots = [&old.config().root_namespace, &new.config().root_namespace];
            let in_root = roots.contains(&&key.namespace);
            for mesh in [old, new] {
                let object = mesh.object(key);
                affected.inbound.push(InboundTouch {
                    namespace: (!in_root).then(|| key.namespace.clone()),
                    selector: object.and_then(|object| selector_of(object)).cloned(),
                    name: None,
                });
                if key.kind == Kind::PeerAuthentication {
                    let services = mesh.services();
                    let own = services
                        .in_namespace(&key.namespace)
                        .map(|service| &service.host);
                    let all = in_root.then(|| services.hosts()).into_iter().flatten();
                    self.endpoints.extend(own.chain(all).cloned());
                }
            }
            if new.snapshot().refused.contains_key(key) || old.snapshot().refused.contains_key(key)
            {
                let namespace = Some(key.namespace.clone());
                affected.inbound.push(InboundTouch {
                    namespace,
                    selector: None,
                    name: None,
                });
            }
        }
    }

    /// Whoever asks a provider looks at its service, wherever he is.
    pub(super) fn touch_providers(&self, old: &Mesh, new: &Mesh, affected: &mut Affected) {
        let providers = [old, new].into_iter().flat_map(|mesh| {
            let authorizers = mesh.config().authorizers.values();
            authorizers.map(|authorizer| &authorizer.host)
        });
        if providers
            .into_iter()
            .any(|host| self.services.contains(host))
        {
            affected.inbound.push(InboundTouch {
                namespace: None,
                selector: None,
                name: None,
            });
        }
    }
}
