//! Workloads: what runs a proxy or is called, from Pods and WorkloadEntries.

use std::net::IpAddr;
use std::sync::Arc;

use ir::WorkloadRef;
use model::{
    EndpointAddress, Families, Labels, Locality, Name, Namespace, Object, ObjectKey, Port,
    PortName, ServiceAccount, Spec, SpiffeId, TrustDomain,
};

/// Pod label: the workload takes Istio's mutual TLS. The injector sets it.
pub const TLS_MODE: &str = "security.istio.io/tlsMode";

/// Pod label: where the pod runs, whatever its Node says.
const LOCALITY: &str = "istio-locality";

/// Reads `region.zone.subzone`, for labels hold no slashes; Istio takes slashes too.
fn of_label(text: &str) -> Locality {
    if text.contains('/') {
        return Locality::new(text);
    }
    Locality::new(&text.replace('.', "/"))
}

/// One workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name: the pod's, or the WorkloadEntry's.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: Labels,
    /// Whom it runs as.
    pub service_account: ServiceAccount,
    /// Its addresses.
    pub addresses: Arc<[IpAddr]>,
    /// The ports that it declares, with their names.
    pub ports: Arc<[(Option<PortName>, Port)]>,
    /// Whether it takes Istio's mutual TLS.
    pub mesh_tls: bool,
    /// The Node on which it runs.
    pub node: Option<Name>,
    /// Where it says that it runs: a WorkloadEntry's `locality`, a Pod's label `istio-locality`; none: where its Node does.
    pub locality: Option<Locality>,
    /// Whether it is a Pod; else a WorkloadEntry.
    pub is_pod: bool,
}

impl Workload {
    /// The workload that a Pod or WorkloadEntry is.
    #[must_use]
    pub fn of(object: &Object) -> Option<Self> {
        let labelled = |labels: &Labels| labels.get(TLS_MODE) == Some("istio");
        match &object.spec {
            Spec::Pod(pod) => Some(Self {
                namespace: object.key.namespace.clone(),
                name: object.key.name.as_str().into(),
                labels: object.meta.labels.clone(),
                service_account: pod.service_account.clone(),
                addresses: Arc::clone(&pod.addresses),
                ports: Arc::clone(&pod.ports),
                mesh_tls: labelled(&object.meta.labels) && !pod.host_network,
                node: pod.node.clone(),
                locality: object.meta.labels.get(LOCALITY).map(of_label),
                is_pod: true,
            }),
            Spec::WorkloadEntry(entry) => Some(Self {
                namespace: object.key.namespace.clone(),
                name: object.key.name.as_str().into(),
                labels: entry.labels.clone(),
                service_account: entry
                    .service_account
                    .clone()
                    .unwrap_or_else(ServiceAccount::default_account),
                addresses: match &entry.address {
                    Some(EndpointAddress::Ip(address)) => Arc::new([*address]),
                    Some(EndpointAddress::Dns(_) | EndpointAddress::Unix(_)) | None => Arc::new([]),
                },
                ports: entry
                    .ports
                    .iter()
                    .map(|(name, port)| (Some(name.clone()), *port))
                    .collect(),
                mesh_tls: labelled(&entry.labels) || entry.service_account.is_some(),
                node: None,
                locality: Some(entry.locality.clone()),
                is_pod: false,
            }),
            Spec::VirtualService(_)
            | Spec::DestinationRule(_)
            | Spec::PeerAuthentication(_)
            | Spec::AuthorizationPolicy(_)
            | Spec::ServiceEntry(_)
            | Spec::Service(_)
            | Spec::EndpointSlice(_)
            | Spec::Node(_)
            | Spec::Namespace
            | Spec::ServiceAccount
            | Spec::Deployment(_)
            | Spec::MeshConfig(_) => None,
        }
    }

    /// The families of its addresses.
    #[must_use]
    pub fn families(&self) -> Families {
        Families::of(&self.addresses)
    }

    /// Its identity.
    #[must_use]
    pub fn identity(&self, trust_domain: &TrustDomain) -> SpiffeId {
        SpiffeId {
            trust_domain: trust_domain.clone(),
            namespace: self.namespace.clone(),
            service_account: self.service_account.clone(),
        }
    }

    /// What telemetry says of it (Istio's canonical service rules).
    #[must_use]
    pub fn reference(&self, trust_domain: &TrustDomain) -> WorkloadRef {
        let first = |keys: &[&str], fallback: &str| -> Arc<str> {
            keys.iter()
                .find_map(|key| self.labels.get(key))
                .unwrap_or(fallback)
                .into()
        };
        let name = first(&["service.istio.io/workload-name"], &self.name);
        WorkloadRef {
            canonical_service: first(
                &[
                    "service.istio.io/canonical-name",
                    "app.kubernetes.io/name",
                    "app",
                ],
                &name,
            ),
            canonical_revision: first(
                &[
                    "service.istio.io/canonical-revision",
                    "app.kubernetes.io/version",
                    "version",
                ],
                "latest",
            ),
            namespace: self.namespace.as_str().into(),
            principal: self.identity(trust_domain).to_string().into(),
            name,
        }
    }
}

/// The key of the object that a workload would be, as a Pod.
#[must_use]
pub fn pod_key(namespace: &Namespace, name: &Name) -> ObjectKey {
    ObjectKey {
        kind: model::Kind::Pod,
        namespace: namespace.clone(),
        name: name.clone(),
    }
}
