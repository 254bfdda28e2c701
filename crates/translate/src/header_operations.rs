//! Headers that a route, or one of its clusters, sets, adds and removes.

use core::header_value_option::HeaderAppendAction;
use envoy_api::envoy::config::core::v3 as core;
use ir::model::{EnvoyMinor, HeaderOperations, format};

use crate::peer_metadata;

/// One direction's changes, in Envoy's words.
#[derive(Default)]
pub(crate) struct Changes {
    /// `..._headers_to_add`: those that are set, then those that are added.
    pub add: Vec<core::HeaderValueOption>,
    /// `..._headers_to_remove`.
    pub remove: Vec<String>,
}

/// The changes of several places, one after the other. Who calls is no user's to say.
pub(crate) fn changes<'a>(
    places: impl IntoIterator<Item = &'a HeaderOperations>,
    envoy: EnvoyMinor,
) -> Changes {
    let mut changes = Changes::default();
    for HeaderOperations { set, add, remove } in places {
        let overwrite = HeaderAppendAction::OverwriteIfExistsOrAdd;
        let append = HeaderAppendAction::AppendIfExistsOrAdd;
        for (list, action) in [(set, overwrite), (add, append)] {
            let free = list.iter().filter(|(name, _)| !is_ours(name));
            let options =
                free.map(|(name, value)| header(name, format::fitted(value, envoy, ""), action));
            changes.add.extend(options);
        }
        let free = remove.iter().filter(|name| !is_ours(name));
        changes.remove.extend(free.map(ToString::to_string));
    }
    changes
}

fn is_ours(name: &str) -> bool {
    name.eq_ignore_ascii_case(peer_metadata::HEADER)
}

fn header(name: &str, value: String, action: HeaderAppendAction) -> core::HeaderValueOption {
    core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: name.to_owned(),
            value,
            ..Default::default()
        }),
        append_action: action.into(),
        ..Default::default()
    }
}
