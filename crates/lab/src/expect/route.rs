//! Where a request goes: the host that it names, the VirtualService that routes it, the pods that it may reach.

use std::collections::BTreeMap;

use http::Uri;
use model::{
    ClientTls, DestinationRule, HostPattern, Hostname, HttpAction, Kind, Namespace, Object, Port,
    Spec, SubsetName, VirtualService, older_first,
};

use super::Oracle;
use super::matching::takes;
use crate::folder::{Origin, Workload};

/// What of a request decides where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The host that is called, without port.
    pub host: String,
    /// The port that is called.
    pub port: u16,
    /// The path, with the query.
    pub path: String,
    /// The method.
    pub method: String,
    /// The headers, lower case.
    pub headers: BTreeMap<String, String>,
    /// Whether it is HTTP at all.
    pub is_http: bool,
}

impl Request {
    /// The request that a URL stands for.
    #[must_use]
    pub fn of_url(url: &str, method: &str, headers: &BTreeMap<String, String>) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        Some(Self {
            host: uri.host()?.to_owned(),
            port: uri.port_u16().unwrap_or(80),
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
            method: method.to_owned(),
            headers: headers.clone(),
            is_http: uri.scheme_str() == Some("http"),
        })
    }
}

impl Request {
    /// What the host header says.
    pub(super) fn authority(&self) -> String {
        let of_url = || match self.port {
            80 => self.host.clone(),
            port => format!("{}:{port}", self.host),
        };
        self.headers.get("host").cloned().unwrap_or_else(of_url)
    }
}

/// A destination with its share of the calls.
#[derive(Clone, Debug)]
pub(super) struct Target<'a> {
    pub share: f64,
    pub host: Hostname,
    pub port: u16,
    pub subset: Option<SubsetName>,
    pub rules: Vec<&'a DestinationRule>,
    /// What the rules say about TLS.
    pub tls: Option<&'a ClientTls>,
}

impl<'a> Oracle<'a> {
    /// The destinations of a request; none: it is not known, or an error is all that it gets.
    pub(super) fn targets(&self, caller: &Workload, request: &Request) -> Option<Vec<Target<'a>>> {
        let namespace: Namespace = caller.namespace.parse().ok()?;
        let host = self.resolve(&request.host, &namespace)?;
        if caller.is_injected()
            && request.is_http
            && let Some(service) = self.virtual_service(&host, &namespace)
        {
            let route = service
                .http
                .iter()
                .find(|route| takes(route, caller, request))?;
            let HttpAction::Route(destinations) = &route.action else {
                return None;
            };
            if route.fault.is_some() {
                return None;
            }
            let total: u32 = destinations
                .iter()
                .map(|destination| destination.weight)
                .sum();
            let targets = destinations
                .iter()
                .filter(|destination| destination.weight > 0)
                .map(|weighted| {
                    let to = &weighted.destination;
                    let port = to.port.map_or(request.port, Port::get);
                    let share = f64::from(weighted.weight) / f64::from(total);
                    self.target(share, to.host.clone(), port, to.subset.clone(), &namespace)
                });
            return Some(targets.collect());
        }
        let mut target = self.target(1.0, host, request.port, None, &namespace);
        if !caller.is_injected() {
            target.tls = None;
        }
        Some(vec![target])
    }

    fn target(
        &self,
        share: f64,
        host: Hostname,
        port: u16,
        subset: Option<SubsetName>,
        namespace: &Namespace,
    ) -> Target<'a> {
        let rules = self.destination_rules(&host, namespace);
        let number = Port::new(i64::from(port));
        let of_subset = rules.iter().flat_map(|rule| rule.subsets.iter());
        let of_subset = of_subset
            .filter(|of| Some(&of.name) == subset.as_ref())
            .map(|of| &of.policy);
        let mut policies = of_subset.chain(rules.iter().map(|rule| &rule.policy));
        let tls = policies.find_map(|policy| {
            let port = number.and_then(|port| policy.ports.get(&port));
            port.unwrap_or(&policy.default).tls.as_ref()
        });
        Target {
            share,
            host,
            port,
            subset,
            rules,
            tls,
        }
    }

    fn resolve(&self, host: &str, namespace: &Namespace) -> Option<Hostname> {
        let tries = [
            format!("{host}.{namespace}.svc.cluster.local"),
            format!("{host}.svc.cluster.local"),
            format!("{host}.cluster.local"),
            host.to_owned(),
        ];
        let mut hosts = tries
            .iter()
            .filter_map(|name| name.parse::<Hostname>().ok());
        hosts.find(|host| self.service(host).is_some())
    }

    fn virtual_service(
        &self,
        host: &Hostname,
        namespace: &Namespace,
    ) -> Option<&'a VirtualService> {
        let mut found: Vec<(bool, &Object, &VirtualService)> = Vec::new();
        for object in self.of_kind(Kind::VirtualService) {
            if let Spec::VirtualService(service) = &object.spec
                && service.in_mesh
                && service.export_to.shows_to(namespace)
                && let Some(pattern) = service.hosts.iter().find(|pattern| pattern.matches(host))
            {
                found.push((!matches!(pattern, HostPattern::Exact(_)), object, service));
            }
        }
        found.sort_by(|(a, x, _), (b, y, _)| a.cmp(b).then_with(|| older_first(x, y)));
        found.first().map(|(_, _, service)| *service)
    }

    /// The rules for a host, from the first namespace that has any: the client's, the service's, the root.
    fn destination_rules(
        &self,
        host: &Hostname,
        namespace: &Namespace,
    ) -> Vec<&'a DestinationRule> {
        let root = self.root_namespace();
        let service = host.service_parts().map(|(_, namespace)| namespace);
        let order = [Some(namespace.as_str()), service, Some(root.as_str())];
        for place in order.into_iter().flatten() {
            let mut found: Vec<(&Object, &DestinationRule)> = Vec::new();
            for object in self.of_kind(Kind::DestinationRule) {
                if let Spec::DestinationRule(rule) = &object.spec
                    && object.key.namespace.as_str() == place
                    && rule.host.matches(host)
                    && rule.export_to.shows_to(namespace)
                {
                    found.push((object, rule));
                }
            }
            if !found.is_empty() {
                found.sort_by(|(x, _), (y, _)| older_first(x, y));
                return found.into_iter().map(|(_, rule)| rule).collect();
            }
        }
        Vec::new()
    }

    /// The pods that a destination leads to, each with the port there; none: it leads nowhere, or elsewhere.
    pub(super) fn pods(&self, target: &Target<'_>) -> Option<Vec<(&'a Workload, u16)>> {
        let service = self.service(&target.host)?;
        let port = service
            .ports
            .iter()
            .find(|port| port.number == target.port)?;
        let subset = match &target.subset {
            None => None,
            Some(name) => {
                let all = target.rules.iter().flat_map(|rule| rule.subsets.iter());
                Some(all.into_iter().find(|subset| subset.name == *name)?)
            }
        };
        let belongs = |workload: &Workload| {
            let labels = subset.map(|subset| &subset.labels);
            let has = |(key, value): (&str, &str)| {
                workload.labels.get(key).is_some_and(|own| own == value)
            };
            labels.is_none_or(|labels| labels.iter().all(has))
        };
        let pods: Vec<(&Workload, u16)> = self
            .folder
            .workloads
            .values()
            .filter(|workload| service.selects(workload) && belongs(workload))
            .filter_map(|workload| {
                Some((
                    workload,
                    entry_port(workload, port.name.as_deref()).or(port.resolve(workload))?,
                ))
            })
            .collect();
        (!pods.is_empty()).then_some(pods)
    }
}

/// A WorkloadEntry's own word about a port.
fn entry_port(workload: &Workload, name: Option<&str>) -> Option<u16> {
    let named = |(port, _): &&(Option<String>, u16)| port.as_deref() == name && name.is_some();
    let found = || workload.ports.iter().find(named).map(|(_, number)| *number);
    (workload.origin == Origin::WorkloadEntry)
        .then(found)
        .flatten()
}
