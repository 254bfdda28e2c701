//! Who calls, told by the client's proxy to the server's in a header that no app ever sends or sees.
//!
//! Istio exchanges it by filters of its own. Here the client's proxy writes it from its environment, over whatever the
//! app wrote, and not on routes that lead out of the mesh; the server's proxy believes it on mutual TLS only.

use std::sync::LazyLock;

use core::header_value_option::HeaderAppendAction;
use envoy_api::envoy::config::common::mutation_rules::v3::{
    HeaderMutation, header_mutation::Action,
};
use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::extensions::filters::http::{
    header_mutation::v3 as mutation, header_to_metadata::v3 as to_metadata,
};
use envoy_api::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use envoy_api::{Any, pack};
use ir::PeerMetadata;

use crate::proto::regex;
use crate::telemetry::{env, environment, key};

/// The filter's name, Istio's: users' EnvoyFilters and the routes name it.
pub(crate) const NAME: &str = "istio.metadata_exchange";
/// The header: workload, namespace, canonical service, canonical revision and cluster, joined by `;`.
pub(crate) const HEADER: &str = "x-lateen-peer";
/// The fields in the header, in order: where they stand on the server and where the client has them from.
const FIELDS: [(&str, &str); 5] = [
    (key::WORKLOAD, env::WORKLOAD_NAME),
    (key::WORKLOAD_NAMESPACE, env::NAMESPACE),
    (key::CANONICAL_SERVICE, env::CANONICAL_SERVICE),
    (key::CANONICAL_REVISION, env::CANONICAL_REVISION),
    (key::CLUSTER, env::CLUSTER_ID),
];

/// The filter's configuration.
pub(crate) fn config(side: PeerMetadata) -> Any {
    match side {
        PeerMetadata::Send | PeerMetadata::Drop => pack(&mutation::HeaderMutation {
            mutations: Some(remove()),
            // A cluster's word stands above its route table's.
            most_specific_header_mutations_wins: true,
        }),
        PeerMetadata::Trust => pack(&to_metadata::Config {
            request_rules: (0..FIELDS.len()).map(rule).collect(),
            ..Default::default()
        }),
    }
}

/// What a route table does with all of its requests: it stands there once, not in every route.
pub(crate) fn send() -> Any {
    static SEND: LazyLock<Any> = LazyLock::new(|| {
        let value = FIELDS.map(|(_, variable)| environment(variable)).join(";");
        let header = core::HeaderValueOption {
            header: Some(core::HeaderValue {
                key: HEADER.to_owned(),
                value,
                ..Default::default()
            }),
            append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
            ..Default::default()
        };
        per_route(request(Action::Append(header)))
    });
    SEND.clone()
}

/// What a route or share does that leads out of the mesh: nobody there is told who calls.
pub(crate) fn withhold() -> Any {
    static WITHHOLD: LazyLock<Any> = LazyLock::new(|| per_route(remove()));
    WITHHOLD.clone()
}

fn per_route(mutations: mutation::Mutations) -> Any {
    pack(&mutation::HeaderMutationPerRoute {
        mutations: Some(mutations),
    })
}

/// Takes the header out of the copy of a request.
pub(crate) fn withheld_from_copy() -> HeaderMutation {
    HeaderMutation {
        action: Some(Action::Remove(HEADER.to_owned())),
    }
}

fn remove() -> mutation::Mutations {
    request(Action::Remove(HEADER.to_owned()))
}

fn request(action: Action) -> mutation::Mutations {
    mutation::Mutations {
        request_mutations: vec![HeaderMutation {
            action: Some(action),
        }],
        ..Default::default()
    }
}

/// Reads one field; the last rule takes the header out.
fn rule(index: usize) -> to_metadata::config::Rule {
    let field = FIELDS.get(index).map_or("", |(field, _)| field);
    let pattern = format!("^{}([^;]*)(;.*)?$", "[^;]*;".repeat(index));
    to_metadata::config::Rule {
        header: HEADER.to_owned(),
        on_header_present: Some(to_metadata::config::KeyValuePair {
            metadata_namespace: key::PEER.to_owned(),
            key: field.to_owned(),
            regex_value_rewrite: Some(RegexMatchAndSubstitute {
                pattern: Some(regex(pattern)),
                substitution: r"\1".to_owned(),
            }),
            ..Default::default()
        }),
        remove: index + 1 == FIELDS.len(),
        ..Default::default()
    }
}
