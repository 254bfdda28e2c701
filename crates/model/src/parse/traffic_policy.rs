//! `trafficPolicy` of a DestinationRule and of its subsets.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use istio_api::ProxyProtocolVersion;

use super::notes::{At, Notes};
use super::value::{MILLISECOND, PERCENT, UNSIGNED};
use super::{client_tls, connection_pool, load_balancer, outlier_detection};
use crate::{
    Code, EndpointAddress, EnvoyMinor, Hostname, Port, PortPolicy, ProxyProtocol, RetryBudget,
    TrafficPolicy, Tunnel,
};

/// Reads a traffic policy; an absent one says nothing.
pub(super) fn read(
    wire: Option<istio_api::TrafficPolicy>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> TrafficPolicy {
    let Some(wire) = wire else {
        return TrafficPolicy::default();
    };
    if wire == istio_api::TrafficPolicy::default() {
        notes.empty(
            at,
            "write `loadBalancer`, `tls` or another of its fields, or leave it out",
        );
    }
    let istio_api::TrafficPolicy {
        load_balancer,
        connection_pool,
        outlier_detection,
        tls,
        port_level_settings,
        tunnel,
        proxy_protocol,
        retry_budget,
    } = wire;
    if tunnel.is_some() && proxy_protocol.is_some() {
        let message = "`tunnel` and `proxyProtocol` exclude each other";
        notes.refuse(at, message, "keep one of them");
    }
    let settings = Settings {
        load_balancer,
        connection_pool,
        outlier_detection,
        tls,
    };
    let default = PortPolicy {
        tunnel: tunnel.and_then(|wire| read_tunnel(wire, &at.field("tunnel"), notes)),
        proxy_protocol: proxy_protocol.map(read_proxy_protocol),
        retry_budget: retry_budget
            .map(|wire| read_retry_budget(wire, &at.field("retryBudget"), notes)),
        ..settings.read(at, notes)
    };
    let retries = default.connection_pool.as_ref();
    if default.retry_budget.is_some() && retries.is_some_and(|pool| pool.max_retries.is_some()) {
        notes.warn(
            &at.field("retryBudget"),
            Code::SchemaWarning,
            "`retryBudget` takes the place of `connectionPool.http.maxRetries`",
            "keep one of them",
        );
    }
    TrafficPolicy {
        ports: ports(
            port_level_settings,
            &default,
            &at.field("portLevelSettings"),
            notes,
        ),
        default,
    }
}

fn read_tunnel(
    wire: istio_api::TunnelSettings,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<Tunnel> {
    let istio_api::TunnelSettings {
        protocol,
        target_host,
        target_port,
    } = wire;
    let post = match protocol.as_deref() {
        None | Some("" | "CONNECT") => false,
        Some("POST") => true,
        Some(other) => {
            let message = format!("{other:?} opens no tunnel");
            notes.refuse(&at.field("protocol"), message, "write `CONNECT` or `POST`");
            false
        }
    };
    let at_host = at.field("targetHost");
    let host = target_host.filter(|host| !host.is_empty());
    if host.is_none() {
        notes.missing(&at_host, "name the host at the tunnel's end");
    }
    let at_port = at.field("targetPort");
    if target_port.is_none() {
        notes.missing(&at_port, "give the port at the tunnel's end");
    }
    let port = notes.port(&at_port, target_port);
    let host = host?;
    let host = match host.parse() {
        Ok(address) => Some(EndpointAddress::Ip(address)),
        // As it stands: it is the proxy that looks it up.
        Err(_) => notes
            .valid(&at_host, host.parse::<Hostname>())
            .map(EndpointAddress::Dns),
    };
    Some(Tunnel {
        post,
        host: host?,
        port: port?,
    })
}

fn read_proxy_protocol(wire: istio_api::ProxyProtocol) -> ProxyProtocol {
    let istio_api::ProxyProtocol { version } = wire;
    match version {
        None | Some(ProxyProtocolVersion::V1) => ProxyProtocol::V1,
        Some(ProxyProtocolVersion::V2) => ProxyProtocol::V2,
    }
}

fn read_retry_budget(
    wire: istio_api::RetryBudget,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> RetryBudget {
    let istio_api::RetryBudget {
        percent,
        min_retry_concurrency: least,
        budget_interval: interval,
    } = wire;
    let at_interval = at.field("budgetInterval");
    if interval.is_some() {
        let what = "the interval of a retry budget";
        let hint = "older proxies count the requests that are under way, and no others";
        notes.needs_envoy(&at_interval, EnvoyMinor::V1_39, what, hint);
    }
    RetryBudget {
        percent: notes.decimal(&at.field("percent"), percent, &PERCENT),
        min_concurrency: notes.number(&at.field("minRetryConcurrency"), least, &UNSIGNED),
        interval: notes.duration(&at_interval, interval.as_deref(), MILLISECOND),
    }
}

/// What a policy and the settings of one of its ports have in common.
#[derive(Default, PartialEq)]
struct Settings {
    load_balancer: Option<istio_api::LoadBalancerSettings>,
    connection_pool: Option<istio_api::ConnectionPoolSettings>,
    outlier_detection: Option<istio_api::OutlierDetection>,
    tls: Option<istio_api::ClientTlsSettings>,
}

impl Settings {
    fn read(self, at: &At<'_>, notes: &mut Notes<'_>) -> PortPolicy {
        let Self {
            load_balancer: lb,
            connection_pool: pool,
            outlier_detection: ejection,
            tls,
        } = self;
        let at_ejection = at.field("outlierDetection");
        let ejects = ejection.is_some();
        PortPolicy {
            load_balancer: lb
                .map(|lb| load_balancer::read(lb, ejects, &at.field("loadBalancer"), notes)),
            connection_pool: pool
                .map(|pool| connection_pool::read(pool, &at.field("connectionPool"), notes)),
            outlier_detection: ejection
                .map(|wire| outlier_detection::read(wire, &at_ejection, notes)),
            tls: tls.and_then(|wire| client_tls::read(wire, &at.field("tls"), notes)),
            ..PortPolicy::default()
        }
    }
}

fn ports(
    wire: Vec<istio_api::PortTrafficPolicy>,
    whole: &PortPolicy,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> BTreeMap<Port, PortPolicy> {
    let mut found = BTreeMap::new();
    for (index, wire) in wire.into_iter().enumerate() {
        let at = at.item(index);
        let istio_api::PortTrafficPolicy {
            port,
            load_balancer,
            connection_pool,
            outlier_detection,
            tls,
        } = wire;
        let number = port.and_then(|istio_api::PortSelector { number }| number);
        let number_at = at.field("port");
        let number_at = number_at.field("number");
        if number.is_none() {
            notes.missing(&number_at, "give the number of the service's port");
        }
        let port = notes.port(&number_at, number);
        let settings = Settings {
            load_balancer,
            connection_pool,
            outlier_detection,
            tls,
        };
        if settings == Settings::default() && port.is_some() {
            notes.empty(&at, "write `loadBalancer`, `tls` or another of its fields");
        }
        let policy = PortPolicy {
            tunnel: whole.tunnel.clone(),
            proxy_protocol: whole.proxy_protocol,
            retry_budget: whole.retry_budget,
            ..settings.read(&at, notes)
        };
        match port.map(|port| found.entry(port)) {
            Some(Entry::Vacant(entry)) => {
                entry.insert(policy);
            }
            Some(Entry::Occupied(entry)) => {
                let message = format!("the port {} stands here twice", entry.key());
                notes.error(&number_at, message, "the second is dropped; leave one out");
            }
            None => {}
        }
    }
    found
}
