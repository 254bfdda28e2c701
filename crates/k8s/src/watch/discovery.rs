//! Which namespaces exist for the mesh (MeshConfig `discoverySelectors`).
//!
//! Objects of other namespaces are dropped as they come. When the choice changes, the watches of objects in namespaces
//! list again: each takes the new choice as a whole, and what was there before stays until its list is complete.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::LabelSelector;
use tokio::sync::watch;

use crate::lives::Lives;

/// The choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Discovery {
    /// The MeshConfig or the Namespaces have not been heard of yet.
    #[default]
    Undecided,
    /// Every namespace.
    All,
    /// These only.
    Namespaces(Arc<BTreeSet<String>>),
}

impl Discovery {
    /// Whether objects of a namespace exist for the mesh.
    pub fn sees(&self, namespace: &str) -> bool {
        match self {
            Self::Undecided => false,
            Self::All => true,
            Self::Namespaces(chosen) => chosen.contains(namespace),
        }
    }
}

/// The selectors as they were last read; none until then.
pub type Selectors = watch::Receiver<Option<Arc<[LabelSelector]>>>;

/// Follows the selectors and the Namespaces until nobody asks. `own`, the namespace of the control plane, is always
/// chosen: what is said there holds for the whole mesh.
pub fn decide(
    own: String,
    lives: Arc<Lives>,
    mut selectors: Selectors,
) -> watch::Receiver<Discovery> {
    let (decided, choice) = watch::channel(Discovery::Undecided);
    tokio::spawn(async move {
        let mut namespaces = lives.namespace_changes();
        loop {
            let is_listed = *namespaces.borrow_and_update() > 0;
            let now = choose(
                &own,
                &lives,
                selectors.borrow_and_update().as_deref(),
                is_listed,
            );
            decided.send_if_modified(|before| {
                let changed = *before != now;
                *before = now;
                changed
            });
            let gone = tokio::select! {
                changed = selectors.changed() => changed.is_err(),
                changed = namespaces.changed() => changed.is_err(),
                () = decided.closed() => true,
            };
            if gone {
                return;
            }
        }
    });
    choice
}

fn choose(
    own: &str,
    lives: &Lives,
    selectors: Option<&[LabelSelector]>,
    is_listed: bool,
) -> Discovery {
    match selectors {
        None => Discovery::Undecided,
        Some([]) => Discovery::All,
        Some(_) if !is_listed => Discovery::Undecided,
        Some(selectors) => {
            let namespaces = lives.namespaces().into_iter();
            let chosen = namespaces.filter(|(name, life)| {
                let label = |key: &str| life.labels.get(key).map(String::as_str);
                name == own || selectors.iter().any(|one| one.matches(label))
            });
            let chosen = chosen.map(|(name, _)| name).collect();
            Discovery::Namespaces(Arc::new(chosen))
        }
    }
}
