//! When a change has reached every proxy: what the control plane says of itself on `/debug`.
//!
//! A folder of ours bears a marker, an object of no meaning whose label counts how often the folder was written; when
//! the control plane shows that label, it has read all that was written with it. A user's folder bears none: there the
//! number of the control plane's state (its epoch) must have risen.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

/// The namespace of markers.
const NAMESPACE: &str = "lateen-lab";
/// The label that counts.
const GENERATION: &str = "dev.lateen.io/generation";

/// After a change is acknowledged, calls may still meet what was before for so long: Envoy's threads take a change up
/// one after the other, and connections to what is gone are closed.
pub const AFTERGLOW: Duration = Duration::from_secs(2);

/// What must have been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Markers by name, and the generation that each must have.
    pub markers: BTreeMap<String, u64>,
    /// The epoch that must be surpassed.
    pub after: Option<u64>,
}

/// A marker.
#[must_use]
pub fn marker(name: &str, generation: u64) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": { GENERATION: generation.to_string() },
        },
    })
}

impl Wanted {
    /// Whether the control plane's objects (`/debug/configz`) bear the markers.
    #[must_use]
    pub fn is_read(&self, objects: &Value) -> bool {
        let objects = objects.as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |object: &Value, path: &str| {
            object
                .pointer(path)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        self.markers.iter().all(|(name, generation)| {
            objects.iter().any(|object| {
                let label = object
                    .get("labels")
                    .and_then(|labels| labels.get(GENERATION))
                    .and_then(Value::as_str);
                text(object, "/namespace").as_deref() == Some(NAMESPACE)
                    && text(object, "/name").as_deref() == Some(name)
                    && label.and_then(|label| label.parse().ok()) == Some(*generation)
            })
        })
    }

    /// Whether all proxies (`/debug/syncz`) have accepted everything; how many there are, and the epoch.
    #[must_use]
    pub fn are_synced(&self, streams: &Value) -> Option<(usize, u64)> {
        let streams = streams.as_array()?;
        let epochs = streams
            .iter()
            .filter_map(|stream| stream.get("epoch")?.as_u64());
        let epoch = epochs.max().unwrap_or(0);
        let synced = |stream: &Value| stream.get("synced").and_then(Value::as_bool) == Some(true);
        (self.after.is_none_or(|after| epoch > after) && streams.iter().all(synced))
            .then_some((streams.len(), epoch))
    }
}

/// What proxies refused (`/debug/syncz`), a line each.
#[must_use]
pub fn refused(streams: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for stream in streams.as_array().into_iter().flatten() {
        let proxy = stream
            .get("proxy")
            .and_then(Value::as_str)
            .unwrap_or_default();
        for (name, value) in stream.as_object().into_iter().flatten() {
            if let (Some(kind), Some(why)) = (name.strip_suffix("_refused"), value.as_str()) {
                lines.push(format!("{proxy} refuses its {kind}s: {why}"));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_of_another_generation_does_not_count() {
        let shown = |generation: u64| {
            let marker = marker("stage", generation);
            json!([{ "kind": "ServiceAccount", "namespace": marker["metadata"]["namespace"], "name": "stage",
                "labels": marker["metadata"]["labels"] }])
        };
        let wanted = Wanted {
            markers: [("stage".to_owned(), 2)].into(),
            after: None,
        };
        assert!(wanted.is_read(&shown(2)));
        assert!(!wanted.is_read(&shown(1)));
        assert!(!wanted.is_read(&json!([])));
    }

    #[test]
    fn all_proxies_must_have_accepted_a_newer_state() {
        let streams = |synced: bool| json!([{ "epoch": 7, "synced": true }, { "epoch": 7, "synced": synced }]);
        let wanted = |after| Wanted {
            after,
            ..Wanted::default()
        };
        assert_eq!(wanted(Some(6)).are_synced(&streams(true)), Some((2, 7)));
        assert_eq!(wanted(Some(7)).are_synced(&streams(true)), None);
        assert_eq!(wanted(None).are_synced(&streams(false)), None);
    }
}
