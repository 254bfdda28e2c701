//! TLS: what clients and servers of the mesh show and demand, and the secrets that the agent serves for it.

use std::sync::Arc;

use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::extensions::transport_sockets::{raw_buffer, tls::v3 as tls};
use envoy_api::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_api::pack;
use ir::model::{ServerName, TrustDomains};
use ir::{MeshTls, Servers, UpstreamProtocol};
use tls::common_tls_context::ValidationContextType;
use tls::subject_alt_name_matcher::SanType;
use tls::tls_parameters::TlsProtocol;

use crate::alpn;
use crate::proto::{never, string_matcher};

/// The agent's cluster for secrets, from the bootstrap.
pub const SDS_CLUSTER: &str = "sds-grpc";
/// The workload's certificate and key.
pub const WORKLOAD_SECRET: &str = "default";
/// The roots that the mesh trusts.
pub const ROOT_SECRET: &str = "ROOTCA";
/// The roots of the machine, under the name that Istio's agent serves them by.
const SYSTEM_ROOTS: &str = "system";
/// The longest SNI that Envoy takes, in bytes.
const MAX_SNI: usize = 255;
/// Istio's cipher suites for TLS 1.2.
const CIPHER_SUITES: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
];

/// Plaintext, named as a choice among others.
pub(crate) fn plaintext_socket() -> core::TransportSocket {
    socket(
        "envoy.transport_sockets.raw_buffer",
        pack(&raw_buffer::v3::RawBuffer::default()),
    )
}

/// Mutual TLS to a server of the mesh, which must be who the endpoints say it is (SEC 38).
pub(crate) fn mesh_client(mesh: &MeshTls, protocol: UpstreamProtocol) -> core::TransportSocket {
    let names = match &mesh.server {
        Servers::Identities(identities) if identities.is_empty() => vec![nobody()],
        Servers::Identities(identities) => identities
            .iter()
            .map(|identity| san(SanType::Uri, MatchPattern::Exact(identity.to_string())))
            .collect(),
        Servers::Names(names) => subject_alt_names(names),
    };
    client(&tls::UpstreamTlsContext {
        common_tls_context: Some(tls::CommonTlsContext {
            alpn_protocols: owned(alpn::of_cluster(protocol)),
            ..mesh_context(names)
        }),
        sni: sni(&mesh.sni),
        ..Default::default()
    })
}

/// TLS that the server alone authenticates, or mutual TLS with a certificate and key in files beside the proxy.
pub(crate) fn file_client(
    server: &ServerName,
    certificate: Option<(&str, &str)>,
) -> core::TransportSocket {
    let certificates = certificate
        .into_iter()
        .map(|(chain, key)| file_secret(format!("file-cert:{chain}~{key}")))
        .collect();
    client(&tls::UpstreamTlsContext {
        common_tls_context: Some(tls::CommonTlsContext {
            tls_params: Some(versions()),
            tls_certificate_sds_secret_configs: certificates,
            validation_context_type: validation(server),
            ..Default::default()
        }),
        sni: server.sni.as_deref().map(sni).unwrap_or_default(),
        ..Default::default()
    })
}

/// Mutual TLS from a client of one of these trust domains.
pub(crate) fn mesh_server(domains: &TrustDomains) -> core::TransportSocket {
    let prefix = |domain| MatchPattern::Prefix(format!("spiffe://{domain}/"));
    let callers = domains
        .iter()
        .map(|domain| san(SanType::Uri, prefix(domain)));
    let context = tls::DownstreamTlsContext {
        common_tls_context: Some(tls::CommonTlsContext {
            // Never Istio's own names: the negotiated one decides how Envoy reads the bytes.
            alpn_protocols: owned(&["h2", "http/1.1"]),
            tls_params: Some(tls::TlsParameters {
                cipher_suites: owned(&CIPHER_SUITES),
                ..versions()
            }),
            ..mesh_context(callers.collect())
        }),
        require_client_certificate: Some(true),
        // On a resumed session Envoy does not verify the client again and says so: a principal of RBAC would match
        // nobody, so that an ALLOW refuses and a DENY lets in.
        disable_stateful_session_resumption: true,
        session_ticket_keys_type: Some(
            tls::downstream_tls_context::SessionTicketKeysType::DisableStatelessSessionResumption(
                true,
            ),
        ),
        ..Default::default()
    };
    socket("envoy.transport_sockets.tls", pack(&context))
}

/// The workload's certificate, and a peer that the mesh's roots vouch for and that bears one of these names.
fn mesh_context(names: Vec<tls::SubjectAltNameMatcher>) -> tls::CommonTlsContext {
    let validation = tls::common_tls_context::CombinedCertificateValidationContext {
        default_validation_context: Some(tls::CertificateValidationContext {
            match_typed_subject_alt_names: names,
            ..Default::default()
        }),
        validation_context_sds_secret_config: Some(mesh_secret(ROOT_SECRET)),
        ..Default::default()
    };
    tls::CommonTlsContext {
        tls_params: Some(versions()),
        tls_certificate_sds_secret_configs: vec![mesh_secret(WORKLOAD_SECRET)],
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(validation)),
        ..Default::default()
    }
}

/// What is asked of a server outside the mesh. None: nothing, as the user wished (`insecureSkipVerify`).
fn validation(server: &ServerName) -> Option<ValidationContextType> {
    if server.insecure_skip_verify {
        return None;
    }
    let roots = server.ca_certificates.as_deref().unwrap_or(SYSTEM_ROOTS);
    let roots = file_secret(format!("file-root:{roots}"));
    if server.subject_alt_names.is_empty() && server.revoked.is_none() {
        return Some(ValidationContextType::ValidationContextSdsSecretConfig(
            roots,
        ));
    }
    Some(ValidationContextType::CombinedValidationContext(
        tls::common_tls_context::CombinedCertificateValidationContext {
            default_validation_context: Some(tls::CertificateValidationContext {
                match_typed_subject_alt_names: subject_alt_names(&server.subject_alt_names),
                crl: server.revoked.as_deref().map(file),
                ..Default::default()
            }),
            validation_context_sds_secret_config: Some(roots),
            ..Default::default()
        },
    ))
}

/// A file beside the proxy, which Envoy reads by itself.
fn file(path: &str) -> core::DataSource {
    core::DataSource {
        specifier: Some(core::data_source::Specifier::Filename(path.to_owned())),
        ..Default::default()
    }
}

/// TLS 1.2 and 1.3. Said aloud, because Envoy's clients otherwise stop at 1.2.
fn versions() -> tls::TlsParameters {
    tls::TlsParameters {
        tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
        tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
        ..Default::default()
    }
}

/// A name as the user wrote it: a URI, an address, a mailbox or a DNS name, by its look.
fn subject_alt_names(names: &[Arc<str>]) -> Vec<tls::SubjectAltNameMatcher> {
    let kind = |name: &str| {
        if name.contains("://") {
            SanType::Uri
        } else if name.parse::<std::net::IpAddr>().is_ok() {
            SanType::IpAddress
        } else if name.contains('@') {
            SanType::Email
        } else {
            SanType::Dns
        }
    };
    names
        .iter()
        .map(|name| san(kind(name), MatchPattern::Exact(name.to_string())))
        .collect()
}

/// Matches no server: without a matcher Envoy would accept any that the roots vouch for. No certificate bears this
/// URI, for no SPIFFE ID is empty.
fn nobody() -> tls::SubjectAltNameMatcher {
    san(SanType::Uri, MatchPattern::Exact("spiffe://".to_owned()))
}

/// A subject alternative name of one type.
pub(crate) fn san(kind: SanType, pattern: MatchPattern) -> tls::SubjectAltNameMatcher {
    tls::SubjectAltNameMatcher {
        san_type: kind.into(),
        matcher: Some(string_matcher(pattern)),
        ..Default::default()
    }
}

/// A secret without which nothing works: it is waited for.
fn mesh_secret(name: &str) -> tls::SdsSecretConfig {
    secret(name.to_owned(), never())
}

/// A secret from files that may be missing: after Envoy's 15 s its cluster fails alone.
fn file_secret(name: String) -> tls::SdsSecretConfig {
    secret(name, None)
}

fn secret(name: String, timeout: Option<prost_types::Duration>) -> tls::SdsSecretConfig {
    let grpc = core::GrpcService {
        target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(
            core::grpc_service::EnvoyGrpc {
                cluster_name: SDS_CLUSTER.to_owned(),
                ..Default::default()
            },
        )),
        ..Default::default()
    };
    let source = core::ApiConfigSource {
        api_type: core::api_config_source::ApiType::Grpc.into(),
        transport_api_version: core::ApiVersion::V3.into(),
        grpc_services: vec![grpc],
        set_node_on_first_message_only: true,
        ..Default::default()
    };
    tls::SdsSecretConfig {
        name,
        sds_config: Some(core::ConfigSource {
            initial_fetch_timeout: timeout,
            resource_api_version: core::ApiVersion::V3.into(),
            config_source_specifier: Some(
                core::config_source::ConfigSourceSpecifier::ApiConfigSource(source),
            ),
            ..Default::default()
        }),
    }
}

/// An SNI that Envoy takes. Nothing in the mesh is routed by one so long, so its end may be cut.
fn sni(text: &str) -> String {
    let fits = |&(start, c): &(usize, char)| start + c.len_utf8() <= MAX_SNI;
    text.char_indices()
        .take_while(fits)
        .map(|(_, c)| c)
        .collect()
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn client(context: &tls::UpstreamTlsContext) -> core::TransportSocket {
    socket("envoy.transport_sockets.tls", pack(context))
}

fn socket(name: &str, config: envoy_api::Any) -> core::TransportSocket {
    core::TransportSocket {
        name: name.to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(config)),
    }
}
