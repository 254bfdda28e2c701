//! `lateen-agent wait` and `lateen-agent request`: what other containers' hooks ask of the agent of their pod.

use std::io;
use std::time::Duration;

use http::{StatusCode, Uri};
use tokio::time::Instant;

use crate::admin::call;
use crate::args::{RequestArguments, WaitArguments};

/// Why an answer is not there.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The argument cannot be used.
    #[error("--url {0:?}: write http://localhost:PORT/PATH")]
    Url(String),
    /// The proxy is not ready in time.
    #[error("the proxy is not ready after {0:?}: {1}")]
    NotReady(Duration, String),
    /// The agent cannot be reached.
    #[error("no answer from the agent on port {0}: {1}")]
    NoAnswer(u16, io::Error),
    /// The agent refuses.
    #[error("the agent answers {0}")]
    Refused(StatusCode),
}

/// Waits until the proxy is ready.
///
/// # Errors
/// [`AskError`].
pub async fn wait(arguments: &WaitArguments) -> Result<(), AskError> {
    let wrong = || AskError::Url(arguments.url.clone());
    let url: Uri = arguments.url.parse().map_err(|_| wrong())?;
    let is_here = matches!(url.host(), Some("localhost" | "127.0.0.1"));
    let port = url.port_u16().filter(|_| is_here).ok_or_else(wrong)?;
    let patience = Duration::from_secs(arguments.timeout_seconds);
    let end = Instant::now() + patience;
    let timeout = Duration::from_millis(arguments.request_timeout_millis);
    loop {
        let missing = match call(http::Method::GET, port, url.path(), timeout).await {
            Ok(answer) if answer.status == StatusCode::OK => return Ok(()),
            Ok(answer) => String::from_utf8_lossy(&answer.body).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= end {
            return Err(AskError::NotReady(patience, missing));
        }
        tokio::time::sleep(Duration::from_millis(arguments.period_millis)).await;
    }
}

/// Asks the agent, and says what it answers.
///
/// # Errors
/// [`AskError`].
pub async fn request(arguments: &RequestArguments) -> Result<String, AskError> {
    const TIMEOUT: Duration = Duration::from_secs(10);
    let port = arguments.debug_port;
    let path = format!("/{}", arguments.path.trim_start_matches('/'));
    let answer = call(arguments.method.clone(), port, &path, TIMEOUT).await;
    let answer = answer.map_err(|error| AskError::NoAnswer(port, error))?;
    if answer.status.is_success() {
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    } else {
        Err(AskError::Refused(answer.status))
    }
}
