//! The server's end of a websocket (RFC 6455): every message is answered by who got it.

use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::app::echo::{At, Body, Echo};

/// The answer to a request that wants to be a websocket; none: it does not.
pub fn accepted(request: &Request<Incoming>) -> Option<Response<Body>> {
    let is_wanted = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    request
        .headers()
        .get(header::UPGRADE)
        .filter(|value| is_wanted(value))?;
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY)?;
    let accept = derive_accept_key(key.as_bytes()).parse().ok()?;
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Some(response)
}

/// Answers messages until the caller leaves.
pub async fn serve(request: Request<Incoming>, at: Arc<At>, echo: Arc<Echo>) {
    let Ok(stream) = hyper::upgrade::on(request).await else {
        return;
    };
    let stream = TokioIo::new(stream);
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else {
            continue;
        };
        let Ok(answer) = serde_json::to_string(&echo.message(&text, &at)) else {
            return;
        };
        if socket.send(answer.into()).await.is_err() {
            return;
        }
    }
}
