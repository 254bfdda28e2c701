//! Who calls: `from` of a rule, and the conditions of `when` on the caller and on its request. Of identities only the URI
//! of a certificate that was verified counts, so plaintext callers are nobody.

use envoy::principal::Identifier;
use envoy_api::envoy::config::core::v3::TypedExtensionConfig;
use envoy_api::envoy::config::rbac::v3 as envoy;
use envoy_api::envoy::extensions::rbac::principals::mtls_authenticated::v3::Config;
use envoy_api::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_api::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_api::pack;
use ir::model::{AccountPattern, Condition, Source, StringPattern, TrustDomains, Values};
use ir::{AuthorizationLayer as Layer, IpNet};

use super::permission::header;
use super::{Outcome, Unknown, metadata, trust_domain};
use crate::proto::{cidr, quote, regex};
use crate::tls::san;

/// What every identity begins with.
const SCHEME: &str = "spiffe://";

/// Anybody, with a certificate or without.
pub(super) fn any() -> envoy::Principal {
    principal(Identifier::Any(true))
}

/// One of these sources, or anybody if there are none, where the conditions hold. On TCP a rule that asks for something
/// of HTTP is never an ALLOW; what refuses keeps what is left of it.
pub(super) fn any_of(
    sources: &[Source],
    when: &[Condition],
    domains: &TrustDomains,
    unknown: Unknown,
    layer: Layer,
) -> Outcome<Vec<envoy::Principal>> {
    let closed = unknown == Unknown::NeverHolds;
    let asks_for_tokens = |source: &Source| !source.request_principals.is_empty();
    let of_http = sources.iter().any(asks_for_tokens) || when.iter().any(is_of_http);
    if layer == Layer::Tcp && closed && of_http {
        return Outcome::Never;
    }
    let conditions: Vec<envoy::Principal> = when
        .iter()
        .filter(|condition| layer == Layer::Http || !is_of_http(condition))
        .flat_map(|found| condition(found, domains))
        .collect();
    if sources.is_empty() {
        return Outcome::Is(vec![all(conditions)]);
    }
    let known: Vec<envoy::Principal> = sources
        .iter()
        .filter(|source| !(source.unknown && closed))
        .map(|source| {
            let mut ids = all_of(source, domains, layer);
            ids.extend(conditions.iter().cloned());
            all(ids)
        })
        .collect();
    if known.is_empty() {
        Outcome::Never
    } else {
        Outcome::Is(known)
    }
}

/// Every field that is set must hold.
fn all_of(source: &Source, domains: &TrustDomains, layer: Layer) -> Vec<envoy::Principal> {
    let Source {
        principals,
        request_principals,
        namespaces,
        service_accounts,
        trust_domains,
        ip_blocks,
        remote_ip_blocks,
        unknown: _, // see `any_of`
    } = source;
    let mut ids = each(principals, |pattern| identities(pattern, domains));
    if layer == Layer::Http {
        ids.extend(each(request_principals, |p| vec![token(p)]));
    }
    ids.extend(each(namespaces, |p| vec![authenticated(namespace(p))]));
    ids.extend(each(service_accounts, |p| vec![authenticated(account(p))]));
    ids.extend(each(trust_domains, |p| of_domains(p, domains)));
    ids.extend(each(ip_blocks, |block| vec![direct(block)]));
    ids.extend(each(remote_ip_blocks, |block| vec![remote(block)]));
    ids
}

/// The conditions that are about the caller and its request; the others are about the destination.
fn condition(condition: &Condition, domains: &TrustDomains) -> Vec<envoy::Principal> {
    match condition {
        Condition::Header(name, values) => each(values, |pattern| {
            vec![principal(Identifier::Header(header(name, pattern, false)))]
        }),
        Condition::SourceIp(values) => each(values, |block| vec![direct(block)]),
        Condition::RemoteIp(values) => each(values, |block| vec![remote(block)]),
        Condition::Namespace(values) => each(values, |p| vec![authenticated(namespace(p))]),
        Condition::Principal(values) => each(values, |pattern| identities(pattern, domains)),
        Condition::ServiceAccount(values) => each(values, |p| vec![authenticated(account(p))]),
        Condition::TrustDomain(values) => each(values, |p| of_domains(p, domains)),
        Condition::RequestPrincipal(values) => each(values, |p| vec![token(p)]),
        Condition::Claim(path, values) => lists(values, |patterns| {
            principal(Identifier::SourcedMetadata(metadata::claim(path, patterns)))
        }),
        Condition::DestinationIp(_)
        | Condition::DestinationPort(_)
        | Condition::Sni(_)
        | Condition::Metadata { .. } => Vec::new(),
    }
}

fn is_of_http(condition: &Condition) -> bool {
    match condition {
        Condition::Header(..) | Condition::RequestPrincipal(_) | Condition::Claim(..) => true,
        Condition::SourceIp(_)
        | Condition::RemoteIp(_)
        | Condition::Namespace(_)
        | Condition::Principal(_)
        | Condition::ServiceAccount(_)
        | Condition::TrustDomain(_)
        | Condition::DestinationIp(_)
        | Condition::DestinationPort(_)
        | Condition::Sni(_)
        | Condition::Metadata { .. } => false,
    }
}

fn each<T>(
    values: &Values<T>,
    matches: impl Fn(&T) -> Vec<envoy::Principal>,
) -> Vec<envoy::Principal> {
    lists(values, |list| {
        principal(Identifier::OrIds(envoy::principal::Set {
            ids: list.iter().flat_map(&matches).collect(),
        }))
    })
}

/// One of the values must match, if there are any, and none of the others may.
fn lists<T>(
    values: &Values<T>,
    one_of: impl Fn(&[T]) -> envoy::Principal,
) -> Vec<envoy::Principal> {
    let Values { any, none } = values;
    let given = |list: &[T]| (!list.is_empty()).then(|| one_of(list));
    let not = |id| principal(Identifier::NotId(Box::new(id)));
    given(any).into_iter().chain(given(none).map(not)).collect()
}

fn all(ids: Vec<envoy::Principal>) -> envoy::Principal {
    if ids.is_empty() {
        return any();
    }
    principal(Identifier::AndIds(envoy::principal::Set { ids }))
}

fn identities(pattern: &StringPattern, domains: &TrustDomains) -> Vec<envoy::Principal> {
    trust_domain::in_all(pattern, domains)
        .iter()
        .map(|pattern| authenticated(identity(pattern)))
        .collect()
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
    whole(&format!("{SCHEME}[^/]+/ns/{}/.*", segment(pattern)))
}

/// `serviceAccounts`, in any trust domain, as in Istio.
fn account(pattern: &AccountPattern) -> MatchPattern {
    let AccountPattern { namespace, account } = pattern;
    let (namespace, account) = (quote(namespace.as_str()), quote(account.as_str()));
    whole(&format!("{SCHEME}[^/]+/ns/{namespace}/sa/{account}"))
}

fn of_domains(pattern: &StringPattern, domains: &TrustDomains) -> Vec<envoy::Principal> {
    trust_domain::all_of(pattern, domains)
        .iter()
        .map(|domain| authenticated(whole(&format!("{SCHEME}{}/.*", segment(domain)))))
        .collect()
}

/// One segment of an identity.
fn segment(pattern: &StringPattern) -> String {
    match pattern {
        StringPattern::Exact(text) => quote(text),
        StringPattern::Prefix(text) => format!("{}[^/]*", quote(text)),
        StringPattern::Suffix(text) => format!("[^/]*{}", quote(text)),
        StringPattern::Present => "[^/]+".to_owned(),
    }
}

fn whole(expression: &str) -> MatchPattern {
    MatchPattern::SafeRegex(regex(expression))
}

/// `issuer/subject` of a token; the subject is behind the last `/`, since issuers are URLs.
fn token(pattern: &StringPattern) -> envoy::Principal {
    let (issuer, subject) = issuer_and_subject(pattern);
    let claim = |name, pattern| {
        principal(Identifier::SourcedMetadata(metadata::claim_is(
            name, pattern,
        )))
    };
    all(vec![claim("iss", &issuer), claim("sub", &subject)])
}

fn issuer_and_subject(pattern: &StringPattern) -> (StringPattern, StringPattern) {
    use StringPattern::{Exact, Prefix, Present, Suffix};
    match pattern {
        Present => (Present, Present),
        Exact(text) => match text.rsplit_once('/') {
            Some((issuer, subject)) => (Exact(issuer.into()), Exact(subject.into())),
            None => (Exact(text.clone()), Exact("".into())),
        },
        Suffix(text) => match text.rsplit_once('/') {
            Some(("", subject)) => (Present, Exact(subject.into())),
            Some((issuer, subject)) => (Suffix(issuer.into()), Exact(subject.into())),
            None => (Present, Suffix(text.clone())),
        },
        Prefix(text) => match text.rsplit_once('/') {
            Some((issuer, "")) => (Exact(issuer.into()), Present),
            Some((issuer, subject)) => (Exact(issuer.into()), Prefix(subject.into())),
            None => (Prefix(text.clone()), Present),
        },
    }
}

/// The other end of the connection.
fn direct(block: &IpNet) -> envoy::Principal {
    principal(Identifier::DirectRemoteIp(cidr(block)))
}

/// The original client, as Envoy trusts it.
fn remote(block: &IpNet) -> envoy::Principal {
    principal(Identifier::RemoteIp(cidr(block)))
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
