//! Who calls: `from` of a rule. Only the URI of a certificate that was verified counts, so plaintext callers are nobody.

use envoy::principal::Identifier;
use envoy_api::envoy::config::core::v3::TypedExtensionConfig;
use envoy_api::envoy::config::rbac::v3 as envoy;
use envoy_api::envoy::extensions::rbac::principals::mtls_authenticated::v3::Config;
use envoy_api::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_api::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_api::pack;
use ir::model::{AccountPattern, Source, StringPattern};

use super::{Action, Outcome};
use crate::proto::{quote, regex};
use crate::tls::san;

/// What every identity begins with.
const SCHEME: &str = "spiffe://";

/// Anybody, with a certificate or without.
pub(super) fn any() -> envoy::Principal {
    principal(Identifier::Any(true))
}

/// One of these sources; none given: anybody.
pub(super) fn any_of(sources: &[Source], action: Action) -> Outcome<Vec<envoy::Principal>> {
    if sources.is_empty() {
        return Outcome::Is(vec![any()]);
    }
    let known: Vec<envoy::Principal> = sources
        .iter()
        .filter(|source| !source.unknown || action == Action::Deny)
        .map(all_of)
        .collect();
    if known.is_empty() {
        Outcome::Never
    } else {
        Outcome::Is(known)
    }
}

/// Every field that is set must hold.
fn all_of(source: &Source) -> envoy::Principal {
    let Source {
        principals,
        not_principals,
        namespaces,
        not_namespaces,
        service_accounts,
        not_service_accounts,
        unknown: _, // see `any_of`
    } = source;
    let mut all = Vec::new();
    all.extend(one_of(principals, identity));
    all.extend(one_of(not_principals, identity).map(not));
    all.extend(one_of(namespaces, namespace));
    all.extend(one_of(not_namespaces, namespace).map(not));
    all.extend(one_of(service_accounts, account));
    all.extend(one_of(not_service_accounts, account).map(not));
    match all.len() {
        0 => any(),
        _ => principal(Identifier::AndIds(envoy::principal::Set { ids: all })),
    }
}

fn one_of<T>(patterns: &[T], matches: impl Fn(&T) -> MatchPattern) -> Option<envoy::Principal> {
    let ids: Vec<envoy::Principal> = patterns
        .iter()
        .map(|pattern| authenticated(matches(pattern)))
        .collect();
    (!ids.is_empty()).then(|| principal(Identifier::OrIds(envoy::principal::Set { ids })))
}

fn not(id: envoy::Principal) -> envoy::Principal {
    principal(Identifier::NotId(Box::new(id)))
}

/// `principals` name identities without `spiffe://`.
fn identity(pattern: &StringPattern) -> MatchPattern {
    match pattern {
        StringPattern::Exact(text) => MatchPattern::Exact(format!("{SCHEME}{text}")),
        StringPattern::Prefix(text) => MatchPattern::Prefix(format!("{SCHEME}{text}")),
        // Not a suffix matcher: what stands before the suffix must be `spiffe://` and more.
        StringPattern::Suffix(text) => whole(&format!("{SCHEME}.*{}", quote(text))),
        StringPattern::Present => MatchPattern::Prefix(SCHEME.to_owned()),
    }
}

/// `namespaces`, in any trust domain, as in Istio.
fn namespace(pattern: &StringPattern) -> MatchPattern {
    let namespace = match pattern {
        StringPattern::Exact(text) => quote(text),
        StringPattern::Prefix(text) => format!("{}[^/]*", quote(text)),
        StringPattern::Suffix(text) => format!("[^/]*{}", quote(text)),
        StringPattern::Present => "[^/]+".to_owned(),
    };
    whole(&format!("{SCHEME}[^/]+/ns/{namespace}/.*"))
}

/// `serviceAccounts`, in any trust domain, as in Istio.
fn account(pattern: &AccountPattern) -> MatchPattern {
    let AccountPattern { namespace, account } = pattern;
    let (namespace, account) = (quote(namespace.as_str()), quote(account.as_str()));
    whole(&format!("{SCHEME}[^/]+/ns/{namespace}/sa/{account}"))
}

fn whole(expression: &str) -> MatchPattern {
    MatchPattern::SafeRegex(regex(expression))
}

fn authenticated(pattern: MatchPattern) -> envoy::Principal {
    principal(Identifier::Custom(TypedExtensionConfig {
        name: "envoy.rbac.principals.mtls_authenticated".to_owned(),
        typed_config: Some(pack(&Config {
            san_matcher: Some(san(SanType::Uri, pattern)),
            any_validated_client_certificate: false,
        })),
    }))
}

fn principal(identifier: Identifier) -> envoy::Principal {
    envoy::Principal {
        identifier: Some(identifier),
    }
}
