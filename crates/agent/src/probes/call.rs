//! One question to the app: does it answer HTTP, does it accept a connection, does it say that it serves.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::admin::Answer;

/// What is kept of the app's answer, as the kubelet does.
const MAX_BODY: usize = 10 << 10;
/// How often the app may send the caller elsewhere.
const MAX_REDIRECTS: usize = 10;
/// `grpc.health.v1.HealthCheckResponse.SERVING`
const SERVING: i32 = 1;

/// Connects from the address whose traffic the capture leaves alone.
async fn connect(app: IpAddr, port: u16) -> io::Result<TcpStream> {
    let (socket, from) = match app {
        IpAddr::V4(_) => (
            TcpSocket::new_v4()?,
            IpAddr::from(Ipv4Addr::new(127, 0, 0, 6)),
        ),
        IpAddr::V6(_) => (
            TcpSocket::new_v6()?,
            IpAddr::from(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6)),
        ),
    };
    // Without a capture nobody needs it, and a pod may lack it.
    if let Err(error) = socket.bind(SocketAddr::new(from, 0)) {
        tracing::debug!(%from, %error, "a probe comes from another address");
    }
    socket.connect(SocketAddr::new(app, port)).await
}

/// Whether the app accepts connections.
pub(super) async fn tcp(app: IpAddr, port: u16) -> io::Result<Answer> {
    connect(app, port).await.map(|_| Answer {
        status: StatusCode::OK,
        body: Bytes::new(),
    })
}

/// What the app answers. Redirects within the app are followed; one that leads elsewhere is an answer that the app is
/// alive.
pub(super) async fn http(
    app: IpAddr,
    port: u16,
    is_https: bool,
    path: &str,
    headers: &HeaderMap,
) -> io::Result<Answer> {
    let invalid = |error: http::uri::InvalidUri| io::Error::new(io::ErrorKind::InvalidInput, error);
    let mut target: PathAndQuery = path.parse().map_err(invalid)?;
    for _ in 0..=MAX_REDIRECTS {
        let response = get(app, port, is_https, &target, headers).await?;
        if !response.status().is_redirection() {
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
            // A long body is no failure; nobody reads it to the end.
            let body = body
                .map(http_body_util::Collected::to_bytes)
                .unwrap_or_default();
            return Ok(Answer { status, body });
        }
        match next(&response, app, port) {
            Some(path) => target = path,
            None => {
                return Ok(Answer {
                    status: StatusCode::OK,
                    body: Bytes::new(),
                });
            }
        }
    }
    Err(io::Error::other(format!(
        "the app redirects more than {MAX_REDIRECTS} times"
    )))
}

/// Where a redirect leads, if that is the app.
fn next(response: &http::Response<Incoming>, app: IpAddr, port: u16) -> Option<PathAndQuery> {
    let location: Uri = response
        .headers()
        .get(header::LOCATION)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    let is_app = match location.authority() {
        None => true,
        Some(authority) => {
            let host = authority
                .host()
                .trim_start_matches('[')
                .trim_end_matches(']');
            host.parse() == Ok(app) && authority.port_u16() == Some(port)
        }
    };
    is_app.then(|| location.path_and_query().cloned()).flatten()
}

async fn get(
    app: IpAddr,
    port: u16,
    is_https: bool,
    target: &PathAndQuery,
    headers: &HeaderMap,
) -> io::Result<http::Response<Incoming>> {
    let mut request = Request::builder()
        .method(Method::GET)
        .uri(target.clone())
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    *request.headers_mut() = forwarded(headers, app, port)?;
    let stream = connect(app, port).await?;
    if is_https {
        let config = Arc::new(unverified()?);
        let name = ServerName::IpAddress(app.into());
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        send(stream, request).await
    } else {
        send(stream, request).await
    }
}

/// The caller's headers. Its host is the agent; the app's is the same with the app's port, unless the probe names one.
fn forwarded(headers: &HeaderMap, app: IpAddr, port: u16) -> io::Result<HeaderMap> {
    let mut headers = headers.clone();
    headers.remove(header::CONNECTION);
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let uri: Option<Uri> = host.and_then(|host| host.parse().ok());
    let asked = uri.as_ref().and_then(Uri::authority);
    let host = match asked {
        // The probe's own header.
        Some(authority) if authority.port().is_none() => authority.to_string(),
        Some(authority) => format!("{}:{port}", authority.host()),
        None => SocketAddr::new(app, port).to_string(),
    };
    let host = HeaderValue::try_from(host).map_err(io::Error::other)?;
    headers.insert(header::HOST, host);
    Ok(headers)
}

async fn send<S>(stream: S, request: Request<Empty<Bytes>>) -> io::Result<http::Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(io::Error::other)?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(io::Error::other)
}

/// The request of `grpc.health.v1.Health/Check`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// Its response.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Whether the app says by gRPC's health protocol that it serves.
pub(super) async fn grpc(app: IpAddr, port: u16, service: &str) -> io::Result<Answer> {
    let message = HealthCheckRequest {
        service: service.to_owned(),
    };
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!(
            "http://{}/grpc.health.v1.Health/Check",
            SocketAddr::new(app, port)
        ))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::new(frame(&message)))
        .map_err(io::Error::other)?;
    let stream = connect(app, port).await?;
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(io::Error::other)?;
    tokio::spawn(connection);
    let response = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    let headers = response.headers().clone();
    let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
    let body = body.map_err(io::Error::other)?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let status = trailers
        .get("grpc-status")
        .or_else(|| headers.get("grpc-status"));
    if status.is_none_or(|status| status != "0") {
        let text = format!("the app answers health checks with gRPC status {status:?}");
        return Err(io::Error::other(text));
    }
    let body = body.to_bytes();
    // One byte says whether it is compressed, four how long it is.
    let message = body.get(5..).unwrap_or_default();
    let answer = HealthCheckResponse::decode(message).map_err(io::Error::other)?;
    if answer.status == SERVING {
        Ok(Answer {
            status: StatusCode::OK,
            body: Bytes::new(),
        })
    } else {
        Err(io::Error::other(format!(
            "the app says that it does not serve: {}",
            answer.status
        )))
    }
}

fn frame(message: &impl Message) -> Bytes {
    let mut framed = BytesMut::from(&[0][..]);
    let length = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message.encode_to_vec());
    framed.freeze()
}

/// TLS that takes any certificate, as the kubelet's probes do: the app proves nothing by it, it only has to answer.
fn unverified() -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(config
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth())
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
