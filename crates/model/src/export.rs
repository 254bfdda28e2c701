//! Where objects may be seen (`exportTo`), as each says of itself and as MeshConfig says of all that do not.

use std::sync::Arc;

use crate::Namespace;

/// Where an object or a Service may be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExportTo {
    /// Nothing is written: as MeshConfig says, and where it says nothing, in every namespace.
    #[default]
    Unset,
    /// Every namespace (`*`).
    All,
    /// These namespaces only (`.` is already the object's own). Empty (`~`): none.
    Namespaces(Arc<[Namespace]>),
}

impl ExportTo {
    /// Whether `namespace` may see the object.
    #[must_use]
    pub fn shows_to(&self, namespace: &Namespace) -> bool {
        match self {
            Self::Unset | Self::All => true,
            Self::Namespaces(list) => list.contains(namespace),
        }
    }

    /// Whether every namespace may see the object.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        match self {
            Self::Unset | Self::All => true,
            Self::Namespaces(_) => false,
        }
    }
}

/// What `exportTo` says, before it is known of which object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Export {
    /// Every namespace (`*`).
    All,
    /// Some namespaces only; none: `~`.
    Some {
        /// Whether the object's own is among them (`.`).
        own: bool,
        /// The others, ordered.
        namespaces: Arc<[Namespace]>,
    },
}

impl Export {
    /// What that means for an object of a namespace.
    #[must_use]
    pub fn of(&self, namespace: &Namespace) -> ExportTo {
        match self {
            Self::All => ExportTo::All,
            Self::Some { own, namespaces } => {
                let mut all: Vec<Namespace> = namespaces.to_vec();
                all.extend(own.then(|| namespace.clone()));
                all.sort();
                all.dedup();
                ExportTo::Namespaces(all.into())
            }
        }
    }
}

/// What MeshConfig says of objects without `exportTo`; none: they are seen everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DefaultExports {
    /// Of Services and ServiceEntries (`defaultServiceExportTo`).
    pub services: Option<Export>,
    /// Of VirtualServices (`defaultVirtualServiceExportTo`).
    pub virtual_services: Option<Export>,
    /// Of DestinationRules (`defaultDestinationRuleExportTo`).
    pub destination_rules: Option<Export>,
}
