//! Which resources are watched, and under which names the API server has them.

use kube::core::{ApiResource, GroupVersionKind};
use model::Kind;

/// The kinds that have a watch of their own. Deployments are left out: only a folder needs them, to explain what its
/// selectors mean.
pub(crate) const WATCHED: [Kind; 12] = [
    Kind::VirtualService,
    Kind::DestinationRule,
    Kind::PeerAuthentication,
    Kind::AuthorizationPolicy,
    Kind::ServiceEntry,
    Kind::WorkloadEntry,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Pod,
    Kind::Node,
    Kind::Namespace,
    Kind::ServiceAccount,
];

/// One object, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Only {
    /// Its namespace; none: in whichever it is, or of a kind that is in none.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Only {
    /// An object of a kind that is in no namespace.
    pub(crate) fn cluster_wide(name: &str) -> Self {
        Self {
            namespace: None,
            name: name.to_owned(),
        }
    }
}

/// A kind by its names, for those that are no objects of the mesh.
pub(crate) fn named(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    let kind = GroupVersionKind::gvk(group, version, kind);
    ApiResource::from_gvk_with_plural(&kind, plural)
}

/// ConfigMaps.
pub(crate) fn config_maps() -> ApiResource {
    named("", "v1", "ConfigMap", "configmaps")
}

/// A kind under its stored version, which stands first in the table.
pub(crate) fn resource(kind: Kind) -> Option<ApiResource> {
    let info = istio_api::KINDS
        .iter()
        .find(|info| info.kind == kind.as_str())?;
    let version = info.versions.first()?;
    Some(named(info.group, version, info.kind, info.plural))
}
