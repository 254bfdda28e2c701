//! Kubernetes' selector of labels (`metav1.LabelSelector`).

use std::sync::Arc;

use crate::Labels;

/// Selects what fulfils all of its conditions; without any, everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LabelSelector {
    /// `matchLabels`.
    pub labels: Labels,
    /// `matchExpressions`.
    pub expressions: Arc<[LabelExpression]>,
}

/// One of `matchExpressions`, by its `operator`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LabelExpression {
    /// The label has one of these values.
    In(Arc<str>, Arc<[Arc<str>]>),
    /// It has none of them, or is not there.
    NotIn(Arc<str>, Arc<[Arc<str>]>),
    /// It is there.
    Exists(Arc<str>),
    /// It is not there.
    DoesNotExist(Arc<str>),
}

impl LabelSelector {
    /// Whether something is selected whose labels `label` looks up.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.labels
            .iter()
            .all(|(key, value)| label(key) == Some(value))
            && self.expressions.iter().all(|one| one.matches(&label))
    }
}

impl LabelExpression {
    fn matches<'a>(&self, label: &impl Fn(&str) -> Option<&'a str>) -> bool {
        let is_one = |key: &str, values: &[Arc<str>]| {
            label(key).is_some_and(|value| values.iter().any(|one| **one == *value))
        };
        match self {
            Self::In(key, values) => is_one(key, values),
            Self::NotIn(key, values) => !is_one(key, values),
            Self::Exists(key) => label(key).is_some(),
            Self::DoesNotExist(key) => label(key).is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_must_hold() {
        let label = |key: &str| match key {
            "team" => Some("shop"),
            "env" => Some("prod"),
            _ => None,
        };
        let values: Arc<[Arc<str>]> = Arc::new(["prod".into(), "stage".into()]);
        let one = |expression| {
            let selector = LabelSelector {
                labels: [("team", "shop")].into_iter().collect(),
                expressions: Arc::new([expression]),
            };
            selector.matches(label)
        };
        assert!(LabelSelector::default().matches(label));
        assert!(one(LabelExpression::In("env".into(), Arc::clone(&values))));
        assert!(!one(LabelExpression::In(
            "region".into(),
            Arc::clone(&values)
        )));
        assert!(!one(LabelExpression::NotIn(
            "env".into(),
            Arc::clone(&values)
        )));
        assert!(one(LabelExpression::NotIn("region".into(), values)));
        assert!(one(LabelExpression::Exists("env".into())));
        assert!(!one(LabelExpression::Exists("region".into())));
        assert!(one(LabelExpression::DoesNotExist("region".into())));
    }
}
