//! Types that we do not serve. Each is answered once, with nothing, so that a client that waits for it goes on; names
//! that are subscribed to are answered as absent.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Response;
use super::request::{Ask, Request};
use crate::Version;

/// More types than this on one stream are ignored.
const MAX_TYPES: usize = 16;

/// What is known of one type.
#[derive(Debug, Default)]
struct Foreign {
    answered: bool,
    absent: Vec<String>,
}

/// The types that a stream asked for in vain.
#[derive(Debug, Default)]
pub(super) struct ForeignTypes(BTreeMap<String, Foreign>);

impl ForeignTypes {
    /// Takes note of a request for a type that is not ours.
    pub fn request(&mut self, request: Request) {
        if self.0.len() >= MAX_TYPES && !self.0.contains_key(&request.type_url) {
            return;
        }
        let entry = self.0.entry(request.type_url).or_default();
        if let Ask::Changes { mut subscribe, .. } = request.ask {
            subscribe.retain(|name| name != "*");
            if !subscribe.is_empty() {
                // names that are asked for before the last ones were answered replace them: what is kept is bounded
                entry.absent = subscribe;
                entry.answered = false;
            }
        }
    }

    /// The next answer that is due.
    pub fn next(&mut self, nonce: impl FnOnce() -> String) -> Option<Response> {
        let (type_url, entry) = self.0.iter_mut().find(|(_, entry)| !entry.answered)?;
        entry.answered = true;
        Some(Response {
            kind: None,
            type_url: Cow::Owned(type_url.clone()),
            nonce: nonce(),
            version: Version::default(),
            resources: Vec::new(),
            removed: std::mem::take(&mut entry.absent)
                .into_iter()
                .map(Into::into)
                .collect(),
        })
    }
}
