//! Who looks: what a client's namespace and the client-side selectors that match it make visible.

use std::sync::Arc;

use model::{ExportTo, Namespace, ObjectKey};

/// An outbound scope. Two workloads of equal scopes have equal outbound halves.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// The client's namespace; none: the base, which sees what every namespace sees.
    pub namespace: Option<Namespace>,
    /// The DestinationRules whose `workloadSelector` matches the client, ordered.
    pub matched: Arc<[ObjectKey]>,
}

impl Scope {
    /// The scope of a namespace in which no client-side selector matched.
    #[must_use]
    pub fn of(namespace: Namespace) -> Self {
        Self {
            namespace: Some(namespace),
            matched: Arc::new([]),
        }
    }

    /// Whether something with this `exportTo` is visible here.
    #[must_use]
    pub fn sees(&self, export_to: &ExportTo) -> bool {
        match (&self.namespace, export_to) {
            (_, ExportTo::All) => true,
            (Some(namespace), ExportTo::Namespaces(list)) => list.contains(namespace),
            (None, ExportTo::Namespaces(_)) => false,
        }
    }

    /// Whether the client lives in `namespace`.
    #[must_use]
    pub fn is_in(&self, namespace: &Namespace) -> bool {
        self.namespace.as_ref() == Some(namespace)
    }
}
