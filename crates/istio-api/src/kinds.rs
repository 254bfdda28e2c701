//! Which kinds exist here, under which groups and versions: what a reader dispatches on.

/// One kind and the names under which it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KindInfo {
    /// API group; empty for Kubernetes' core group.
    pub group: &'static str,
    /// `kind` as objects say it.
    pub kind: &'static str,
    /// Plural, lower-case: the name of the resource and of its CRD.
    pub plural: &'static str,
    /// Versions that are served, the stored one first; all have the same fields.
    pub versions: &'static [&'static str],
    /// Short names for `kubectl`.
    pub short_names: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub namespaced: bool,
}

/// Group of VirtualService, DestinationRule, ServiceEntry and WorkloadEntry.
pub const NETWORKING: &str = "networking.istio.io";
/// Group of PeerAuthentication and AuthorizationPolicy.
pub const SECURITY: &str = "security.istio.io";

const NETWORKING_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const SECURITY_VERSIONS: &[&str] = &["v1", "v1beta1"];

/// Every kind of this crate: Istio's first, then Kubernetes'.
pub const KINDS: &[KindInfo] = &[
    networking("VirtualService", "virtualservices", &["vs"]),
    networking("DestinationRule", "destinationrules", &["dr"]),
    networking("ServiceEntry", "serviceentries", &["se"]),
    networking("WorkloadEntry", "workloadentries", &["we"]),
    security("PeerAuthentication", "peerauthentications", &["pa"]),
    security("AuthorizationPolicy", "authorizationpolicies", &["ap"]),
    kubernetes("", "Service", "services", &["svc"]),
    kubernetes("discovery.k8s.io", "EndpointSlice", "endpointslices", &[]),
    kubernetes("", "Pod", "pods", &["po"]),
    KindInfo {
        namespaced: false,
        ..kubernetes("", "Node", "nodes", &["no"])
    },
    KindInfo {
        namespaced: false,
        ..kubernetes("", "Namespace", "namespaces", &["ns"])
    },
    kubernetes("", "ServiceAccount", "serviceaccounts", &["sa"]),
    kubernetes("apps", "Deployment", "deployments", &["deploy"]),
];

const fn networking(
    kind: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
) -> KindInfo {
    KindInfo {
        group: NETWORKING,
        versions: NETWORKING_VERSIONS,
        ..kubernetes("", kind, plural, short_names)
    }
}

const fn security(
    kind: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
) -> KindInfo {
    KindInfo {
        group: SECURITY,
        versions: SECURITY_VERSIONS,
        ..kubernetes("", kind, plural, short_names)
    }
}

const fn kubernetes(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
) -> KindInfo {
    KindInfo {
        group,
        kind,
        plural,
        versions: &["v1"],
        short_names,
        namespaced: true,
    }
}
