//! Labels of objects and the selectors that match them.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Labels as Kubernetes objects and endpoints bear them; shared, ordered by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<BTreeMap<Arc<str>, Arc<str>>>);

impl Labels {
    /// The value of a label.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| &**value)
    }

    /// All labels, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every label of `wanted` stands here with the same value.
    #[must_use]
    pub fn contain(&self, wanted: &Labels) -> bool {
        wanted
            .iter()
            .all(|(key, value)| self.get(key) == Some(value))
    }
}

impl<K: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(Arc::new(
            pairs
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        ))
    }
}

/// `matchLabels`: selects what bears all of these labels. Never empty: an empty selector is written as no selector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector(Labels);

impl Selector {
    /// The selector of these labels, unless there are none.
    #[must_use]
    pub fn new(labels: Labels) -> Option<Self> {
        (!labels.is_empty()).then_some(Self(labels))
    }

    /// The labels that must be there.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.0
    }

    /// Whether something that bears `labels` is selected.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        labels.contain(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_needs_every_label() {
        let labels: Labels = [("app", "cart"), ("version", "v1")].into_iter().collect();
        let select =
            |pairs: &[(&'static str, &'static str)]| Selector::new(pairs.iter().copied().collect());
        assert!(select(&[("app", "cart")]).unwrap().matches(&labels));
        assert!(
            !select(&[("app", "cart"), ("version", "v2")])
                .unwrap()
                .matches(&labels)
        );
        assert!(select(&[]).is_none());
    }
}
