//! `extensionProviders` of MeshConfig: the external authorizers, by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use istio_api::OTHER_PROVIDERS;

use super::authorization_policy::patterns;
use super::notes::{At, Notes};
use super::value::{MILLISECOND, UNSIGNED, text};
use crate::{
    AuthorizerProtocol, CheckedBody, Code, ExternalAuthorizer, Hostname, HttpCheck, Namespace, Port,
};

/// Istio's default of `timeout`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// The field of MeshConfig.
const FIELD: At<'static> = At::root("extensionProviders");

/// The providers that authorize. The others log and trace, which only Telemetry asks for.
pub(super) fn read(
    wire: Vec<istio_api::MeshExtensionProvider>,
    notes: &mut Notes<'_>,
) -> BTreeMap<Arc<str>, ExternalAuthorizer> {
    let mut names = BTreeSet::new();
    let mut found = BTreeMap::new();
    for (index, wire) in wire.into_iter().enumerate() {
        let at = FIELD.item(index);
        let istio_api::MeshExtensionProvider {
            name,
            envoy_ext_authz_http,
            envoy_ext_authz_grpc,
            rest,
        } = wire;
        let name: Arc<str> = name.unwrap_or_default().into();
        if name.is_empty() {
            notes.missing(&at.field("name"), "policies call the provider by its name");
        } else if !names.insert(Arc::clone(&name)) {
            let message = format!("a provider {name:?} stands here already");
            notes.refuse(&at.field("name"), message, "give each a name of its own");
        }
        let ways = usize::from(envoy_ext_authz_http.is_some())
            + usize::from(envoy_ext_authz_grpc.is_some())
            + others(&rest, &at, notes);
        if ways != 1 {
            let message = format!("the provider has {ways} ways to be asked");
            let hint = "set one of them, such as envoyExtAuthzHttp or envoyExtAuthzGrpc";
            notes.refuse(&at, message, hint);
        }
        let http = envoy_ext_authz_http
            .and_then(|wire| read_http(wire, &at.field("envoyExtAuthzHttp"), notes));
        let grpc = envoy_ext_authz_grpc
            .and_then(|wire| read_grpc(wire, &at.field("envoyExtAuthzGrpc"), notes));
        if let Some(authorizer) = http.or(grpc) {
            found.insert(name, authorizer);
        }
    }
    found
}

/// How many other ways there are; each is noted.
fn others(rest: &BTreeMap<String, serde_json::Value>, at: &At<'_>, notes: &mut Notes<'_>) -> usize {
    let mut ways = 0;
    for name in rest.keys() {
        let at = at.field(name);
        if OTHER_PROVIDERS.contains(&name.as_str()) {
            ways += 1;
            let hint = "it has no effect";
            let message = format!("`{name}` is asked for by Telemetry only");
            notes.info(&at, Code::NotYet, message, hint);
        } else {
            let message = format!("there is no provider of the kind `{name}`");
            notes.error(
                &at,
                message,
                "such as envoyExtAuthzHttp or envoyExtAuthzGrpc",
            );
        }
    }
    ways
}

fn read_http(
    wire: istio_api::ExtAuthzHttp,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<ExternalAuthorizer> {
    let istio_api::ExtAuthzHttp {
        service,
        port,
        timeout,
        path_prefix,
        fail_open,
        clear_route_cache,
        status_on_error,
        include_headers_in_check,
        include_request_headers_in_check,
        include_additional_headers_in_check,
        include_request_body_in_check,
        headers_to_upstream_on_allow,
        headers_to_downstream_on_allow,
        headers_to_downstream_on_deny,
    } = wire;
    let path_prefix = text(path_prefix);
    if path_prefix
        .as_ref()
        .is_some_and(|path| !path.starts_with('/'))
    {
        let message = "the prefix of a path begins with `/`";
        notes.refuse(&at.field("pathPrefix"), message, "such as /check");
    }
    let mut list = |name: &'static str, list: &[String]| patterns(list, &at.field(name), notes);
    let request_headers = if include_request_headers_in_check.is_empty() {
        list("includeHeadersInCheck", &include_headers_in_check)
    } else {
        list(
            "includeRequestHeadersInCheck",
            &include_request_headers_in_check,
        )
    };
    let check = HttpCheck {
        path_prefix,
        request_headers,
        to_upstream: list("headersToUpstreamOnAllow", &headers_to_upstream_on_allow),
        to_downstream_on_allow: list(
            "headersToDownstreamOnAllow",
            &headers_to_downstream_on_allow,
        ),
        to_downstream_on_deny: list("headersToDownstreamOnDeny", &headers_to_downstream_on_deny),
        additional_headers: additional(include_additional_headers_in_check, at, notes),
    };
    let whom = Whom {
        service,
        port,
        timeout,
        fail_open,
        clear_route_cache,
        status_on_error,
        body: include_request_body_in_check,
    };
    authorizer(whom, AuthorizerProtocol::Http(check), at, notes)
}

fn read_grpc(
    wire: istio_api::ExtAuthzGrpc,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<ExternalAuthorizer> {
    let istio_api::ExtAuthzGrpc {
        service,
        port,
        timeout,
        fail_open,
        clear_route_cache,
        status_on_error,
        include_request_body_in_check,
    } = wire;
    let whom = Whom {
        service,
        port,
        timeout,
        fail_open,
        clear_route_cache,
        status_on_error,
        body: include_request_body_in_check,
    };
    authorizer(whom, AuthorizerProtocol::Grpc, at, notes)
}

/// What both ways have.
struct Whom {
    service: Option<String>,
    port: Option<i64>,
    timeout: Option<String>,
    fail_open: Option<bool>,
    clear_route_cache: Option<bool>,
    status_on_error: Option<String>,
    body: Option<istio_api::ExtAuthzBody>,
}

fn authorizer(
    whom: Whom,
    protocol: AuthorizerProtocol,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<ExternalAuthorizer> {
    let Whom {
        service,
        port,
        timeout,
        fail_open,
        clear_route_cache,
        status_on_error,
        body,
    } = whom;
    let service = service_of(service, &at.field("service"), notes);
    let port_at = at.field("port");
    if port.is_none() {
        notes.missing(&port_at, "name the port of the service");
    }
    let port: Option<Port> = notes.port(&port_at, port);
    let timeout = notes.duration(&at.field("timeout"), timeout.as_deref(), MILLISECOND);
    let status_on_error = status(status_on_error, &at.field("statusOnError"), notes);
    let body =
        body.and_then(|body| checked_body(body, &at.field("includeRequestBodyInCheck"), notes));
    let (namespace, host) = service?;
    Some(ExternalAuthorizer {
        host,
        namespace,
        port: port?,
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        fail_open: fail_open.unwrap_or_default(),
        clear_route_cache: clear_route_cache.unwrap_or_default(),
        status_on_error,
        body,
        protocol,
    })
}

/// `[namespace/]host`.
fn service_of(
    service: Option<String>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<(Option<Namespace>, Hostname)> {
    let Some(service) = text(service) else {
        notes.missing(at, "name the service that is asked: [namespace/]host");
        return None;
    };
    let (namespace, host) = match service.split_once('/') {
        Some((namespace, host)) => (Some(notes.name(at, namespace)?), host),
        None => (None, &*service),
    };
    let host = notes.name(at, host)?;
    Some((namespace, host))
}

fn status(written: Option<String>, at: &At<'_>, notes: &mut Notes<'_>) -> Option<u16> {
    let written = text(written)?;
    let status = written.parse().ok().filter(|code| is_status(*code));
    if status.is_none() {
        let message = format!("{written:?} is not an HTTP status that Envoy answers with");
        notes.refuse(at, message, "such as \"403\" or \"503\"");
    }
    status
}

/// The values of Envoy's `type.v3.StatusCode`.
fn is_status(code: u16) -> bool {
    match code {
        418..=420 | 425 | 427 | 430 | 509 => false,
        100 | 200..=208 | 226 | 300..=305 | 307 | 308 | 400..=417 | 421..=431 | 500..=511 => true,
        _ => false,
    }
}

fn checked_body(
    wire: istio_api::ExtAuthzBody,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<CheckedBody> {
    let istio_api::ExtAuthzBody {
        max_request_bytes,
        allow_partial_message,
        pack_as_bytes,
    } = wire;
    let at = at.field("maxRequestBytes");
    // Envoy takes no buffer of nothing.
    let least = 1..=*UNSIGNED.end();
    if max_request_bytes.is_none() {
        notes.missing(&at, "say how many bytes are buffered at most");
    }
    Some(CheckedBody {
        max_bytes: notes.number(&at, max_request_bytes, &least)?,
        partial: allow_partial_message.unwrap_or_default(),
        as_bytes: pack_as_bytes.unwrap_or_default(),
    })
}

fn additional(
    wire: BTreeMap<String, String>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Arc<[(Arc<str>, Arc<str>)]> {
    let at = at.field("includeAdditionalHeadersInCheck");
    let is_text = |text: &str| !text.contains(['\0', '\r', '\n']);
    let mut found = Vec::with_capacity(wire.len());
    for (name, value) in wire {
        if name.is_empty() || !is_text(&name) || !is_text(&value) {
            let message = format!("{name:?}: {value:?} is not a header");
            notes.refuse(&at, message, "write a name and a value of one line");
            continue;
        }
        found.push((name.into(), value.into()));
    }
    found.into()
}
