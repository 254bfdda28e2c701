//! Aliases: Services of the type ExternalName, whose names lead to another host.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use model::{Addressing, ExportTo, Hostname, Namespace, Object, Spec};

use crate::registry::change;
use crate::scope::Scope;

/// How many aliases may follow each other.
const LONGEST_CHAIN: usize = 8;

/// A Service that stands for another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Its own host.
    pub host: Hostname,
    /// Its namespace.
    pub namespace: Namespace,
    /// Which namespaces see it.
    pub export_to: ExportTo,
    /// The host that it stands for.
    pub target: Hostname,
}

impl Alias {
    /// The alias that an object declares.
    #[must_use]
    pub fn of(object: &Object) -> Option<Self> {
        let Spec::Service(service) = &object.spec else {
            return None;
        };
        let Addressing::ExternalName(target) = &service.addressing else {
            return None;
        };
        Some(Self {
            host: Hostname::of_service(&object.key.name, &object.key.namespace),
            namespace: object.key.namespace.clone(),
            export_to: service.export_to.clone(),
            target: target.clone(),
        })
    }
}

/// All aliases of the mesh.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    by_host: OrdMap<Hostname, Arc<Alias>>,
    by_target: OrdMap<Hostname, OrdSet<Hostname>>,
}

impl Aliases {
    /// Puts what a host stands for in the place of what it stood for. Answers all that are touched.
    pub fn replace(&mut self, host: &Hostname, now: Option<Alias>) -> BTreeSet<Hostname> {
        let before = self.by_host.remove(host);
        let mut touched = self.around(host, before.as_deref());
        if let Some(before) = &before {
            change(&mut self.by_target, before.target.clone(), host, false);
        }
        if let Some(now) = now {
            touched.extend(self.around(host, Some(&now)));
            change(&mut self.by_target, now.target.clone(), host, true);
            self.by_host.insert(host.clone(), Arc::new(now));
        }
        touched
    }

    /// The hosts that an alias leads to, one after the other, and those that lead to it.
    fn around(&self, host: &Hostname, alias: Option<&Alias>) -> BTreeSet<Hostname> {
        let Some(alias) = alias else {
            return BTreeSet::new();
        };
        let leading = self.of(host).into_iter().map(|alias| alias.host.clone());
        let mut touched: BTreeSet<Hostname> = leading.chain([host.clone()]).collect();
        let mut next = Some(&alias.target);
        while let Some(target) = next.filter(|target| touched.insert((*target).clone())) {
            next = self.by_host.get(target).map(|alias| &alias.target);
        }
        touched
    }

    /// The host that an alias stands for in the end, if the scope sees it.
    #[must_use]
    pub fn target(&self, scope: &Scope, host: &Hostname) -> Option<&Hostname> {
        let alias = self.get(host)?;
        self.end(host).filter(|_| scope.sees(&alias.export_to))
    }

    /// The alias of a host.
    #[must_use]
    pub fn get(&self, host: &Hostname) -> Option<&Arc<Alias>> {
        self.by_host.get(host)
    }

    /// Every host that stands for another, ordered.
    pub fn hosts(&self) -> impl Iterator<Item = &Hostname> {
        self.by_host.keys()
    }

    /// The host that an alias stands for in the end.
    #[must_use]
    pub fn end(&self, host: &Hostname) -> Option<&Hostname> {
        let mut target = &self.by_host.get(host)?.target;
        for _ in 0..LONGEST_CHAIN {
            match self.by_host.get(target) {
                Some(next) => target = &next.target,
                None => break,
            }
        }
        Some(target)
    }

    /// All aliases that lead to a host, ordered.
    #[must_use]
    pub fn of(&self, host: &Hostname) -> Vec<&Arc<Alias>> {
        let mut found: OrdMap<&Hostname, &Arc<Alias>> = OrdMap::new();
        let mut hosts = vec![host];
        for _ in 0..LONGEST_CHAIN {
            let direct = hosts.iter().filter_map(|host| self.by_target.get(*host));
            let names = direct.flatten().filter(|name| !found.contains_key(name));
            let aliases: Vec<_> = names.filter_map(|name| self.by_host.get(name)).collect();
            hosts = aliases.iter().map(|alias| &alias.host).collect();
            found.extend(aliases.into_iter().map(|alias| (&alias.host, alias)));
        }
        found.into_iter().map(|(_, alias)| alias).collect()
    }
}
