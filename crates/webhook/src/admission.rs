//! `AdmissionReview` (`admission.k8s.io/v1`): what the API server asks and what it is answered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json_patch::Patch;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long one warning may be, in characters: the API server cuts longer ones.
const MAX_WARNING: usize = 250;
/// How many warnings are sent; together they must stay under 4 KiB.
const MAX_WARNINGS: usize = 15;

/// What the API server sends.
#[derive(Clone, Debug, Deserialize)]
pub struct Question {
    /// `apiVersion`, which the answer repeats.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// `kind`: `AdmissionReview`.
    pub kind: String,
    /// What is asked.
    pub request: Request,
}

/// `request` of an AdmissionReview, as far as it is read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Request {
    /// Names the request in the answer.
    pub uid: String,
    /// CREATE, UPDATE, DELETE or CONNECT.
    pub operation: String,
    /// The namespace in which it happens: that of a Pod's template does not name it.
    pub namespace: String,
    /// The object as it would be.
    pub object: Value,
    /// The object as it is; null unless it exists.
    pub old_object: Value,
}

/// What an API server is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Go on, perhaps with changes.
    Allow {
        /// Changes of the object.
        patch: Option<Patch>,
        /// What the user sees beside the success.
        warnings: Vec<String>,
    },
    /// Do not.
    Deny {
        /// What the user sees: what is wrong, where, and what to do.
        message: String,
        /// What the user sees beside.
        warnings: Vec<String>,
    },
}

impl Verdict {
    /// Go on with the object as it is.
    #[must_use]
    pub fn allow() -> Self {
        Self::Allow {
            patch: None,
            warnings: Vec::new(),
        }
    }
}

/// The whole answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    api_version: String,
    kind: String,
    response: Response,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Status {
    message: String,
    reason: &'static str,
    code: u16,
}

impl Question {
    /// The answer that carries `verdict`.
    #[must_use]
    pub fn answer(self, verdict: Verdict) -> Answer {
        let uid = self.request.uid;
        let response = match verdict {
            Verdict::Allow { patch, warnings } => {
                let patch = patch.filter(|patch| !patch.is_empty());
                // A patch is made of JSON values: it has a text.
                let patch = patch.and_then(|patch| serde_json::to_vec(&patch).ok());
                Response {
                    uid,
                    allowed: true,
                    status: None,
                    patch_type: patch.is_some().then_some("JSONPatch"),
                    patch: patch.map(|patch| STANDARD.encode(patch)),
                    warnings: bounded(warnings),
                }
            }
            Verdict::Deny { message, warnings } => Response {
                uid,
                allowed: false,
                status: Some(Status {
                    message,
                    reason: "Invalid",
                    code: 422,
                }),
                patch: None,
                patch_type: None,
                warnings: bounded(warnings),
            },
        };
        Answer {
            api_version: self.api_version,
            kind: self.kind,
            response,
        }
    }
}

fn bounded(warnings: Vec<String>) -> Vec<String> {
    let more = warnings.len().saturating_sub(MAX_WARNINGS);
    let cut = |warning: String| match warning.char_indices().nth(MAX_WARNING) {
        Some((end, _)) => format!("{}…", warning.get(..end).unwrap_or_default()),
        None => warning,
    };
    let mut bounded: Vec<String> = warnings.into_iter().take(MAX_WARNINGS).map(cut).collect();
    if more > 0 {
        bounded.push(format!("and {more} more"));
    }
    bounded
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn question() -> Question {
        serde_json::from_value(json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": { "uid": "u-1", "operation": "CREATE", "object": {}, "oldObject": null },
        }))
        .unwrap()
    }

    #[test]
    fn a_patch_travels_as_base64() {
        let patch = json!([{ "op": "add", "path": "/a", "value": 1 }]);
        let verdict = Verdict::Allow {
            patch: Some(serde_json::from_value(patch.clone()).unwrap()),
            warnings: Vec::new(),
        };
        let answer = serde_json::to_value(question().answer(verdict)).unwrap();
        assert_eq!(answer["response"]["uid"], "u-1");
        assert_eq!(answer["response"]["patchType"], "JSONPatch");
        let bytes = STANDARD.decode(answer["response"]["patch"].as_str().unwrap());
        let sent: Value = serde_json::from_slice(&bytes.unwrap()).unwrap();
        assert_eq!(sent, patch);
    }

    #[test]
    fn an_empty_patch_is_none() {
        let verdict = Verdict::Allow {
            patch: Some(Patch(Vec::new())),
            warnings: Vec::new(),
        };
        let answer = serde_json::to_value(question().answer(verdict)).unwrap();
        assert_eq!(answer["response"], json!({ "uid": "u-1", "allowed": true }));
    }

    #[test]
    fn warnings_are_bounded() {
        let verdict = Verdict::Allow {
            patch: None,
            warnings: vec!["ö".repeat(10_000); 100],
        };
        let answer = serde_json::to_value(question().answer(verdict)).unwrap();
        let warnings = answer["response"]["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), MAX_WARNINGS + 1);
        assert_eq!(warnings[MAX_WARNINGS], "and 85 more");
        let longest = warnings.iter().map(|w| w.as_str().unwrap().chars().count());
        assert_eq!(longest.max(), Some(MAX_WARNING + 1));
    }
}
