//! An object of any kind as `parse` leaves it: its key, what it says, and where each field stands.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::{
    AuthorizationPolicy, Deployment, DestinationRule, Diagnostic, EndpointSlice, Labels,
    MeshConfig, Name, Namespace, Node, PeerAuthentication, Pod, Service, ServiceEntry,
    VirtualService, WorkloadEntry,
};

/// The kinds that Lateen reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `networking.istio.io` VirtualService.
    VirtualService,
    /// `networking.istio.io` DestinationRule.
    DestinationRule,
    /// `security.istio.io` PeerAuthentication.
    PeerAuthentication,
    /// `security.istio.io` AuthorizationPolicy.
    AuthorizationPolicy,
    /// `networking.istio.io` ServiceEntry.
    ServiceEntry,
    /// `networking.istio.io` WorkloadEntry.
    WorkloadEntry,
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io` EndpointSlice.
    EndpointSlice,
    /// `v1` Pod.
    Pod,
    /// `v1` Node.
    Node,
    /// `v1` Namespace.
    Namespace,
    /// `v1` ServiceAccount.
    ServiceAccount,
    /// `apps` Deployment, read only to explain selectors that match nothing else.
    Deployment,
    /// Istio's MeshConfig: the file of `--meshConfig` or the ConfigMap `istio`.
    MeshConfig,
}

impl Kind {
    /// Every kind, in the order in which they are listed for people.
    pub const ALL: [Self; 14] = [
        Self::VirtualService,
        Self::DestinationRule,
        Self::PeerAuthentication,
        Self::AuthorizationPolicy,
        Self::ServiceEntry,
        Self::WorkloadEntry,
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::Node,
        Self::Namespace,
        Self::ServiceAccount,
        Self::Deployment,
        Self::MeshConfig,
    ];

    /// The kind as `kind:` in YAML names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VirtualService => "VirtualService",
            Self::DestinationRule => "DestinationRule",
            Self::PeerAuthentication => "PeerAuthentication",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::ServiceEntry => "ServiceEntry",
            Self::WorkloadEntry => "WorkloadEntry",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::Node => "Node",
            Self::Namespace => "Namespace",
            Self::ServiceAccount => "ServiceAccount",
            Self::Deployment => "Deployment",
            Self::MeshConfig => "MeshConfig",
        }
    }

    /// Whether objects of this kind live in a namespace.
    #[must_use]
    pub fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespace | Self::Node | Self::MeshConfig)
    }

    /// Whether a rejected object of this kind must close what it cannot open (ARCHITECTURE.md, invariant 3).
    #[must_use]
    pub fn is_security(self) -> bool {
        matches!(self, Self::AuthorizationPolicy | Self::PeerAuthentication)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What names an object. A Namespace has the namespace of its own name, a Node and the MeshConfig have
/// `istio-system`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The kind.
    pub kind: Kind,
    /// `metadata.namespace`.
    pub namespace: Namespace,
    /// `metadata.name`.
    pub name: Name,
}

impl ObjectKey {
    /// The key of an object that is in no namespace; none if its name is none that Kubernetes lets it have.
    #[must_use]
    pub fn without_namespace(kind: Kind, name: Name) -> Option<Self> {
        let namespace = if kind == Kind::Namespace {
            name.as_str().parse().ok()?
        } else {
            Namespace::istio_system()
        };
        Some(Self {
            kind,
            namespace,
            name,
        })
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// What of `metadata` concerns the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Meta {
    /// `metadata.labels`.
    pub labels: Labels,
    /// `metadata.annotations`.
    pub annotations: Labels,
    /// `metadata.creationTimestamp`, in seconds since 1970; objects without one are older than all others.
    pub created: Option<i64>,
}

/// What an object says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is its kind")]
pub enum Spec {
    VirtualService(Arc<VirtualService>),
    DestinationRule(Arc<DestinationRule>),
    PeerAuthentication(Arc<PeerAuthentication>),
    AuthorizationPolicy(Arc<AuthorizationPolicy>),
    ServiceEntry(Arc<ServiceEntry>),
    WorkloadEntry(Arc<WorkloadEntry>),
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
    Pod(Arc<Pod>),
    Node(Arc<Node>),
    Namespace,
    ServiceAccount,
    Deployment(Arc<Deployment>),
    MeshConfig(Arc<MeshConfig>),
}

/// Where an object stands: its file and the line of each of its fields. Never part of equality.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The file, relative to the folder that was given.
    pub file: Option<Arc<str>>,
    /// Field path (`spec.http[0].timeout`) to line, counted from 1 in the file.
    pub lines: BTreeMap<Arc<str>, u32>,
}

impl Place {
    /// The line of a field, or of the nearest field around it.
    #[must_use]
    pub fn line_of(&self, field: &str) -> Option<u32> {
        let mut path = field;
        loop {
            if let Some(line) = self.lines.get(path) {
                return Some(*line);
            }
            path = parent_path(path)?;
        }
    }
}

fn parent_path(path: &str) -> Option<&str> {
    if path.is_empty() {
        return None;
    }
    let cut = path.rfind(['.', '[']).unwrap_or(0);
    path.get(..cut)
}

/// One object, parsed. Equality is about what it says, not where it stands.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its name.
    pub key: ObjectKey,
    /// Labels, annotations and age.
    pub meta: Arc<Meta>,
    /// What it says.
    pub spec: Spec,
    /// Where it stands.
    pub place: Arc<Place>,
    /// What its author should know about it alone.
    pub diagnostics: Arc<[Diagnostic]>,
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.meta == other.meta && self.spec == other.spec
    }
}

impl Eq for Object {}

/// Order by age as Istio settles conflicts: creation time, then `name.namespace`, never file order.
#[must_use]
pub fn older_first(a: &Object, b: &Object) -> std::cmp::Ordering {
    let age = |o: &Object| {
        (
            o.meta.created.unwrap_or(i64::MIN),
            o.key.name.clone(),
            o.key.namespace.clone(),
        )
    };
    age(a).cmp(&age(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_field_has_its_parents_line() {
        let lines = [("", 1), ("spec", 3), ("spec.http[0]", 7)];
        let place = Place {
            file: None,
            lines: lines.iter().map(|(p, l)| ((*p).into(), *l)).collect(),
        };
        assert_eq!(place.line_of("spec.http[0].timeout"), Some(7));
        assert_eq!(place.line_of("spec.http[1].timeout"), Some(3));
        assert_eq!(place.line_of("metadata.name"), Some(1));
    }
}
