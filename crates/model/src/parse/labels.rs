//! Labels and selectors as the user wrote them.

use std::collections::BTreeMap;

use super::notes::{At, Notes};
use crate::{Code, Labels, Selector};

impl Notes<'_> {
    /// Labels that something is selected by, or bears.
    pub(super) fn labels(&mut self, at: &At<'_>, labels: BTreeMap<String, String>) -> Labels {
        for (key, value) in &labels {
            if !is_key(key) {
                let hint = "letters, digits, '-', '_' and '.', perhaps after a domain and '/'";
                self.refuse(&at.field(key), format!("{key:?} is not a label"), hint);
            }
            if !is_value(value) {
                let hint =
                    "letters, digits, '-', '_' and '.', at most 63; wildcards do not work here";
                self.refuse(
                    &at.field(key),
                    format!("{value:?} is not a label's value"),
                    hint,
                );
            }
        }
        labels.into_iter().collect()
    }

    /// `selector` in the form of `matchLabels`; `at` is its path.
    pub(super) fn match_labels(
        &mut self,
        at: &At<'_>,
        selector: Option<istio_api::WorkloadSelector>,
    ) -> Option<Selector> {
        let istio_api::WorkloadSelector { match_labels } = selector?;
        self.not_misspelt(&at.field("matchLabels"), &match_labels);
        self.selector(at, &at.field("matchLabels"), match_labels)
    }

    /// `workloadSelector` in the form of `labels`; `at` is its path.
    pub(super) fn workload_labels(
        &mut self,
        at: &At<'_>,
        selector: Option<istio_api::NetworkingWorkloadSelector>,
    ) -> Option<Selector> {
        let istio_api::NetworkingWorkloadSelector { labels } = selector?;
        self.not_misspelt(&at.field("labels"), &labels);
        self.selector(at, &at.field("labels"), labels)
    }

    fn selector(
        &mut self,
        at: &At<'_>,
        field: &At<'_>,
        labels: BTreeMap<String, String>,
    ) -> Option<Selector> {
        if labels.is_empty() {
            self.warn(
                at,
                Code::SchemaWarning,
                "the selector has no labels and selects everything",
                "name labels, or leave the selector out",
            );
        }
        Selector::new(self.labels(field, labels))
    }
}

fn is_word(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(edge)
        && text.ends_with(edge)
        && text.len() <= 63
        && text
            .chars()
            .all(|c| edge(c) || matches!(c, '-' | '_' | '.'))
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((domain, name)) => {
            domain.len() <= 253 && domain.split('.').all(is_word) && is_word(name)
        }
        None => is_word(key),
    }
}

fn is_value(value: &str) -> bool {
    value.is_empty() || is_word(value)
}
