//! What of a request or a connection is hashed, where the same caller is to reach the same endpoint.

use envoy::hash_policy::{
    ConnectionProperties, Cookie, CookieAttribute, Header, PolicySpecifier, QueryParameter,
};
use envoy_api::envoy::config::route::v3::route_action as envoy;
use envoy_api::envoy::r#type::v3 as tcp;
use ir::model::{HashCookie, HashKey};

use crate::proto::duration;

/// What of a request is hashed.
pub(crate) fn hash_policy(key: &HashKey) -> envoy::HashPolicy {
    envoy::HashPolicy {
        policy_specifier: Some(match key {
            HashKey::Header(name) => PolicySpecifier::Header(Header {
                header_name: name.to_string(),
                ..Default::default()
            }),
            HashKey::Cookie(cookie) => PolicySpecifier::Cookie(of_cookie(cookie)),
            HashKey::SourceIp => {
                PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })
            }
            HashKey::QueryParameter(name) => PolicySpecifier::QueryParameter(QueryParameter {
                name: name.to_string(),
            }),
        }),
        ..Default::default()
    }
}

fn of_cookie(cookie: &HashCookie) -> Cookie {
    let HashCookie {
        name,
        path,
        ttl,
        attributes,
    } = cookie;
    Cookie {
        name: name.to_string(),
        ttl: ttl.map(duration),
        path: path.as_deref().unwrap_or_default().to_owned(),
        attributes: attributes
            .iter()
            .map(|(name, value)| CookieAttribute {
                name: name.to_string(),
                value: value.to_string(),
            })
            .collect(),
    }
}

/// The caller's address, of a connection.
pub(crate) fn source_address() -> tcp::HashPolicy {
    tcp::HashPolicy {
        policy_specifier: Some(tcp::hash_policy::PolicySpecifier::SourceIp(
            tcp::hash_policy::SourceIp {},
        )),
    }
}
