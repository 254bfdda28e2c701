//! Envoy's external authorization by gRPC: an echo server that is asked about a request does as the query of that request
//! says. Connections have no query: those of the service account `guest` are refused.

use bytes::{BufMut as _, Bytes, BytesMut};
use envoy_api::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_api::envoy::service::auth::v3 as auth;
use envoy_api::envoy::r#type::v3::HttpStatus;
use envoy_api::google::rpc::Status;
use prost::Message as _;

/// The method that Envoy calls.
pub const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// gRPC's code for what may not be.
const PERMISSION_DENIED: i32 = 7;
/// A frame of gRPC: whether it is compressed, its length, then the message.
const FRAME: usize = 5;

/// What Envoy wants to know.
#[derive(Debug, Default)]
pub struct Question {
    /// The path of the request, with the query; empty for a connection.
    pub path: String,
    /// The caller's identity.
    principal: String,
}

impl Question {
    /// Reads the one message of a call; what cannot be read is empty.
    #[must_use]
    pub fn read(body: &Bytes) -> Self {
        let message = body.get(FRAME..).unwrap_or_default();
        let request = auth::CheckRequest::decode(message).unwrap_or_default();
        let attributes = request.attributes.unwrap_or_default();
        let http = attributes.request.unwrap_or_default().http;
        Self {
            path: http.unwrap_or_default().path,
            principal: attributes.source.unwrap_or_default().principal,
        }
    }

    /// The answer: yes with this header for the app, or no with this status.
    #[must_use]
    pub fn answer(&self, status: u16, header: Option<(&str, &str)>) -> Bytes {
        let guest = self.path.is_empty() && self.principal.ends_with("/sa/guest");
        let response = if status != 200 || guest {
            denied(status)
        } else {
            allowed(header)
        };
        let message = response.encode_to_vec();
        let mut frame = BytesMut::with_capacity(FRAME + message.len());
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len()).unwrap_or(0));
        frame.put_slice(&message);
        frame.freeze()
    }
}

fn denied(status: u16) -> auth::CheckResponse {
    let denied = auth::DeniedHttpResponse {
        status: Some(HttpStatus {
            code: status.into(),
        }),
        ..Default::default()
    };
    response(
        PERMISSION_DENIED,
        auth::check_response::HttpResponse::DeniedResponse(denied),
    )
}

fn allowed(header: Option<(&str, &str)>) -> auth::CheckResponse {
    let headers = header.map(|(key, value)| HeaderValueOption {
        header: Some(HeaderValue {
            key: key.to_owned(),
            value: value.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    });
    let ok = auth::OkHttpResponse {
        headers: headers.into_iter().collect(),
        ..Default::default()
    };
    response(0, auth::check_response::HttpResponse::OkResponse(ok))
}

fn response(code: i32, response: auth::check_response::HttpResponse) -> auth::CheckResponse {
    auth::CheckResponse {
        status: Some(Status {
            code,
            ..Default::default()
        }),
        http_response: Some(response),
        ..Default::default()
    }
}
