//! Routes that answer by themselves: `redirect` and `directResponse` of `spec.http[]`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::notes::{At, Notes};
use crate::{
    Body, Code, HttpAction, HttpRedirect, RedirectCode, RedirectPath, RedirectPort, RedirectScheme,
};

/// The longest body that Istio takes, in bytes.
const MAX_BODY: usize = 1 << 20;
/// From here on Istio warns of a body.
const LARGE_BODY: usize = 100 << 10;

/// Reads `redirect`.
pub(super) fn redirect(
    wire: istio_api::HttpRedirect,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> HttpRedirect {
    let istio_api::HttpRedirect {
        uri,
        prefix_rewrite,
        authority,
        port,
        derive_port,
        scheme,
        redirect_code,
    } = wire;
    let uri = notes.header_text(&at.field("uri"), uri.as_deref());
    let prefix = notes.header_text(&at.field("prefixRewrite"), prefix_rewrite.as_deref());
    let authority = notes.header_text(&at.field("authority"), authority.as_deref());
    if uri.is_some() && prefix.is_some() {
        let message = "`uri` and `prefixRewrite` exclude each other";
        notes.refuse(at, message, "keep one of them");
    }
    let path = uri.map(RedirectPath::Whole);
    let path = path.or(prefix.map(RedirectPath::Prefix));
    let says_port = port.is_some() || derive_port.is_some();
    let port = redirect_port(port, derive_port, at, notes);
    let scheme = redirect_scheme(scheme.as_deref(), &at.field("scheme"), notes);
    let says_something = path.is_some() || authority.is_some() || says_port || scheme.is_some();
    if !says_something && !notes.has_error_under(at) {
        let message = "the redirect leads to the request's own address";
        notes.refuse(at, message, "write `uri`, `authority`, `scheme` or `port`");
    }
    HttpRedirect {
        path,
        authority,
        scheme,
        port,
        code: code(redirect_code, &at.field("redirectCode"), notes),
    }
}

fn redirect_port(
    port: Option<i64>,
    derive: Option<istio_api::RedirectPortSelection>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> RedirectPort {
    use istio_api::RedirectPortSelection as Selection;
    if port.is_some() && derive.is_some() {
        let message = "`port` and `derivePort` exclude each other";
        notes.refuse(at, message, "keep one of them");
    }
    let number = notes.port(&at.field("port"), port);
    match (number, derive) {
        (Some(port), _) => RedirectPort::Number(port),
        (None, Some(Selection::FromRequestPort)) => RedirectPort::OfRequest,
        (None, Some(Selection::FromProtocolDefault) | None) => RedirectPort::OfScheme,
    }
}

fn redirect_scheme(
    text: Option<&str>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<RedirectScheme> {
    match text? {
        "" => None,
        "http" => Some(RedirectScheme::Http),
        "https" => Some(RedirectScheme::Https),
        other => {
            let message = format!("{other:?} is not a scheme that one can be redirected to");
            notes.refuse(at, message, "write `http` or `https`");
            None
        }
    }
}

fn code(number: Option<i64>, at: &At<'_>, notes: &mut Notes<'_>) -> RedirectCode {
    match number {
        None | Some(0 | 301) => RedirectCode::MovedPermanently,
        Some(302) => RedirectCode::Found,
        Some(303) => RedirectCode::SeeOther,
        Some(307) => RedirectCode::TemporaryRedirect,
        Some(308) => RedirectCode::PermanentRedirect,
        Some(other) => {
            let message = format!("integer `{other}` is not the status of a redirect");
            notes.refuse(at, message, "write 301, 302, 303, 307 or 308");
            RedirectCode::MovedPermanently
        }
    }
}

/// Reads `directResponse`.
pub(super) fn direct_response(
    wire: istio_api::HttpDirectResponse,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> HttpAction {
    let istio_api::HttpDirectResponse { status, body } = wire;
    let body = body.map(|wire| read_body(wire, &at.field("body"), notes));
    let at = at.field("status");
    if status.is_none() {
        notes.missing(&at, "write the status of the answer, 200 to 599");
    }
    let status = notes.http_status(&at, status);
    HttpAction::DirectResponse {
        status: status.unwrap_or(503),
        body: body.unwrap_or_default(),
    }
}

fn read_body(wire: istio_api::HttpBody, at: &At<'_>, notes: &mut Notes<'_>) -> Body {
    let istio_api::HttpBody { string, bytes } = wire;
    if string.is_some() && bytes.is_some() {
        let message = "`string` and `bytes` exclude each other";
        notes.refuse(at, message, "keep one of them");
    }
    let body = match (string, bytes) {
        (Some(string), _) => string.into_bytes(),
        (None, Some(bytes)) => {
            let decoded = STANDARD.decode(&bytes).or_else(|_| URL_SAFE.decode(&bytes));
            decoded.unwrap_or_else(|_| {
                let hint = "write the body in base64, or as `string`";
                notes.refuse(&at.field("bytes"), "the body is not base64", hint);
                Vec::new()
            })
        }
        (None, None) => Vec::new(),
    };
    let length = body.len();
    let hint = "let a service answer with it: every sidecar holds this body";
    if length > MAX_BODY {
        let message = format!("the body has {length} bytes; at most {MAX_BODY} are allowed");
        notes.refuse(at, message, hint);
    } else if length > LARGE_BODY {
        let message = format!("the body has {length} bytes, which is much for a configuration");
        notes.warn(at, Code::SchemaWarning, message, hint);
    }
    body.into()
}

impl Notes<'_> {
    /// A status with which Envoy can answer.
    pub(super) fn http_status(&mut self, at: &At<'_>, number: Option<i64>) -> Option<u16> {
        let number = self.number(at, number, &(200..=599))?;
        u16::try_from(number).ok()
    }
}
