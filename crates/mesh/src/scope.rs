//! Who looks: what a client's namespace and the client-side selectors that match it make visible.

use std::sync::Arc;

use model::{Client, ExportTo, Families, Labels, Namespace, ObjectKey};

use crate::apart::Group;
use crate::mesh::Mesh;
use crate::workload::Workload;

/// An outbound scope. Two workloads of equal scopes have equal outbound halves.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// The families of the client's addresses.
    pub families: Families,
    /// The client's namespace; none: the base, which sees what every namespace sees.
    pub namespace: Option<Namespace>,
    /// The DestinationRules whose `workloadSelector` matches the client, ordered.
    pub matched: Arc<[ObjectKey]>,
    /// The `sourceLabels` of VirtualServices that the client bears, ordered.
    pub labels: Arc<[Labels]>,
}

impl Scope {
    /// The base of the scopes of these families.
    #[must_use]
    pub fn base(families: Families) -> Self {
        Self {
            families,
            ..Self::default()
        }
    }

    /// The scope of a namespace in which no client-side selector matched.
    #[must_use]
    pub fn of(namespace: Namespace) -> Self {
        Self {
            namespace: Some(namespace),
            ..Self::default()
        }
    }

    /// Whether something with this `exportTo` is visible here.
    #[must_use]
    pub fn sees(&self, export_to: &ExportTo) -> bool {
        match &self.namespace {
            Some(namespace) => export_to.shows_to(namespace),
            None => export_to.is_everywhere(),
        }
    }

    /// Whether a condition on the client holds here.
    #[must_use]
    pub fn is(&self, client: &Client) -> bool {
        let Client { namespace, labels } = client;
        let lives_there = namespace.as_ref().is_none_or(|there| self.is_in(there));
        lives_there && (labels.is_empty() || self.labels.contains(labels))
    }

    /// The groups that it belongs to.
    pub fn groups(&self) -> impl Iterator<Item = Group> {
        let namespace = self.namespace.clone().map(Group::Namespace);
        let labelled = (!self.labels.is_empty()).then_some(Group::Labelled);
        namespace.into_iter().chain(labelled)
    }

    /// Whether the client lives in `namespace`.
    #[must_use]
    pub fn is_in(&self, namespace: &Namespace) -> bool {
        self.namespace.as_ref() == Some(namespace)
    }
}

impl Mesh {
    /// The scope of a workload.
    #[must_use]
    pub fn scope_of(&self, workload: &Workload) -> Scope {
        let Workload {
            namespace, labels, ..
        } = workload;
        let matches = |key: &&ObjectKey| {
            let rule = self.destination_rule(key);
            let selector = rule.and_then(|rule| rule.workload_selector.as_ref());
            selector.is_some_and(|selector| selector.matches(labels))
        };
        let matched = self.selecting_rules(namespace).filter(matches);
        let sources = self.source_labels(namespace);
        let sources = sources.filter(|wanted| labels.contain(wanted));
        Scope {
            families: workload.families(),
            namespace: Some(namespace.clone()),
            matched: matched.cloned().collect(),
            labels: sources.cloned().collect(),
        }
    }
}
