//! Random objects that set every translated field and collide on purpose: few names, namespaces, hosts, ports and
//! addresses. What they say is mostly good; [`crate::clutter`] sees to the rest.

mod connections;
mod kubernetes;
mod policies;
mod routes;
mod rules;
mod services;

use serde_json::{Value, json};

use crate::dice::Dice;

/// What sort of object is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each variant is its kind")]
pub enum Sort {
    Service,
    Pod,
    EndpointSlice,
    WorkloadEntry,
    ServiceEntry,
    VirtualService,
    DestinationRule,
    PeerAuthentication,
    AuthorizationPolicy,
    MeshConfig,
    Namespace,
    Deployment,
}

impl Sort {
    /// One sort; those that meet in routing and policies come more often.
    #[must_use]
    pub fn any(dice: &mut Dice) -> Self {
        use Sort::{
            AuthorizationPolicy, Deployment, DestinationRule, EndpointSlice, MeshConfig, Namespace,
            PeerAuthentication, Pod, Service, ServiceEntry, VirtualService, WorkloadEntry,
        };
        const OFTEN: [Sort; 26] = [
            Service,
            Service,
            Service,
            Service,
            Service,
            Pod,
            Pod,
            Pod,
            EndpointSlice,
            EndpointSlice,
            WorkloadEntry,
            ServiceEntry,
            ServiceEntry,
            ServiceEntry,
            VirtualService,
            VirtualService,
            VirtualService,
            VirtualService,
            DestinationRule,
            DestinationRule,
            DestinationRule,
            PeerAuthentication,
            AuthorizationPolicy,
            AuthorizationPolicy,
            MeshConfig,
            Service,
        ];
        match dice.below(40) {
            0 => Namespace,
            1 => Deployment,
            _ => dice.one(&OFTEN),
        }
    }

    /// Another object of this sort under the name of one.
    pub(crate) fn renewed(self, old: &Value, dice: &mut Dice) -> Value {
        let mut value = self.generate(dice);
        if let Some(metadata) = old.get("metadata") {
            for field in ["name", "namespace"] {
                value["metadata"][field] = metadata[field].clone();
            }
        }
        if dice.once_in(3) {
            crate::clutter::clutter(dice, &mut value);
        }
        value
    }

    /// A good object of this sort; at most a field that is not translated makes it odd.
    #[must_use]
    pub fn generate(self, dice: &mut Dice) -> Value {
        match self {
            Self::Service => kubernetes::service(dice),
            Self::Pod => kubernetes::pod(dice),
            Self::EndpointSlice => kubernetes::endpoint_slice(dice),
            Self::Namespace => kubernetes::namespace(dice),
            Self::Deployment => kubernetes::deployment(dice),
            Self::WorkloadEntry => services::workload_entry(dice),
            Self::ServiceEntry => services::service_entry(dice),
            Self::VirtualService => routes::virtual_service(dice),
            Self::DestinationRule => rules::destination_rule(dice),
            Self::PeerAuthentication => policies::peer_authentication(dice),
            Self::AuthorizationPolicy => policies::authorization_policy(dice),
            Self::MeshConfig => policies::mesh_config(dice),
        }
    }
}

/// The namespaces of all worlds; the first is the root namespace.
pub(crate) const NAMESPACES: [&str; 3] = ["istio-system", "shop", "web"];
/// Names of services, pods' apps and most other objects.
pub(crate) const NAMES: [&str; 3] = ["cart", "pay", "web"];
/// Ports that callers address. The last is where Envoy itself listens.
pub(crate) const PORTS: [u16; 5] = [80, 80, 9080, 3306, 15001];
/// Ports of workloads.
pub(crate) const TARGETS: [u16; 3] = [80, 8080, 9000];
/// Addresses of services, shared.
pub(crate) const VIPS: [&str; 4] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"];
/// Addresses of workloads.
pub(crate) const IPS: [&str; 5] = ["10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4", "fd01::1"];
/// Values of the label `version`, and names of subsets.
pub(crate) const VERSIONS: [&str; 3] = ["v1", "v2", "v3"];
/// Accounts.
pub(crate) const ACCOUNTS: [&str; 3] = ["cart", "pay", "default"];
/// Hosts and wildcards that routes, rules and entries name: short ones, aliases of services, addresses.
pub(crate) const HOSTS: [&str; 17] = [
    "cart",
    "pay",
    "web",
    "cart.shop",
    "pay.web.svc",
    "cart.shop.svc.cluster.local",
    "pay.web.svc.cluster.local",
    "cart.web.svc.cluster.local",
    "api.example.com",
    "db.example.com",
    "API.example.com",
    "*.example.com",
    "*.shop.svc.cluster.local",
    "*.cart.shop.svc.cluster.local",
    "*.cart.shop",
    "*.local",
    "10.0.0.1",
];

/// An object's frame.
fn frame(dice: &mut Dice, api_version: &str, kind: &str, name: &str) -> Value {
    let mut object = json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace(dice)},
    });
    if dice.once_in(3) {
        let second = dice.below(4);
        object["metadata"]["creationTimestamp"] = format!("2024-01-01T00:00:0{second}Z").into();
    }
    object
}

/// A name; half of them are one, so that what refers to it is often there.
fn name(dice: &mut Dice) -> &'static str {
    if dice.once_in(2) {
        NAMES[0]
    } else {
        dice.one(&NAMES)
    }
}

/// A version; half of them are one, so that a subset that is named is often there.
fn version(dice: &mut Dice) -> &'static str {
    if dice.once_in(2) {
        VERSIONS[0]
    } else {
        dice.one(&VERSIONS)
    }
}

/// A namespace; half of them are one.
fn namespace(dice: &mut Dice) -> &'static str {
    if dice.once_in(2) {
        "shop"
    } else {
        dice.one(&NAMESPACES)
    }
}

/// A host; half of them are that of the usual name in the usual namespace.
fn host(dice: &mut Dice) -> &'static str {
    if dice.once_in(2) {
        "cart.shop.svc.cluster.local"
    } else {
        dice.one(&HOSTS)
    }
}

/// A host without wildcard.
fn exact_host(dice: &mut Dice) -> &'static str {
    loop {
        let found = host(dice);
        if !found.starts_with('*') {
            return found;
        }
    }
}

/// The labels of a workload.
fn labels(dice: &mut Dice) -> Value {
    let mut labels = json!({"app": name(dice), "version": dice.one(&VERSIONS)});
    if !dice.once_in(3) {
        labels["security.istio.io/tlsMode"] = "istio".into();
    }
    labels
}

/// Labels that select workloads, rarely none.
fn wanted(dice: &mut Dice) -> Value {
    match dice.below(6) {
        0 => json!({"version": dice.one(&VERSIONS)}),
        1 => json!({"app": name(dice), "version": dice.one(&VERSIONS)}),
        2 => json!({"missing": "label"}),
        _ => json!({"app": name(dice)}),
    }
}

fn export_to(dice: &mut Dice) -> Value {
    match dice.below(6) {
        0 => json!(["."]),
        1 => json!(["~"]),
        2 => json!(["*"]),
        3 => json!([]),
        _ => json!(dice.some(&NAMESPACES)),
    }
}

fn duration(dice: &mut Dice) -> &'static str {
    dice.one(&["1s", "250ms", "1h30m", "0s", "1.5s", "3155760000s", "1ms"])
}

/// A limit: usual, nothing, the largest.
fn limit(dice: &mut Dice) -> Value {
    dice.one(&[
        json!(1),
        json!(100),
        json!(0),
        json!(2_147_483_647),
        json!(7),
    ])
}

/// A field and what makes its value.
type Field<'a> = (&'a str, &'a dyn Fn(&mut Dice) -> Value);

/// Sets fields, each with a chance of one in `odds`.
fn sprinkle(dice: &mut Dice, odds: usize, object: &mut Value, fields: &[Field<'_>]) {
    for (field, make) in fields {
        if dice.once_in(odds) {
            object[*field] = make(dice);
        }
    }
}
