//! Takes connections and finds out by their first bytes what they speak: TLS, HTTP/1.1, HTTP/2 without TLS, or else
//! lines of text, each after a header of the PROXY protocol or without. So one server fits every port, whatever the mesh
//! believes it to be. It is a proxy too: a tunnel that CONNECT opens ends here, in lines of text; so do websockets, in
//! messages.

use std::fs;
use std::io;
use std::net::Ipv6Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf,
};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::app::echo::{At, Echo};
use crate::app::{tls, websocket};

/// Serves a port until the process ends.
///
/// # Errors
/// The port cannot be bound.
pub async fn listen(port: u16, echo: Arc<Echo>) -> io::Result<()> {
    let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind(("0.0.0.0", port)).await?,
    };
    let acceptor = tls::acceptor()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            begin(stream, port, &echo, &acceptor);
        }
    });
    Ok(())
}

/// Serves a Unix socket, for every user, until the process ends.
///
/// # Errors
/// The socket cannot be bound.
pub fn listen_at(path: &Path, echo: Arc<Echo>) -> io::Result<()> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    let acceptor = tls::acceptor()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            begin(stream, 0, &echo, &acceptor);
        }
    });
    Ok(())
}

fn begin<S>(stream: S, port: u16, echo: &Arc<Echo>, acceptor: &TlsAcceptor)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (echo, acceptor) = (echo.clone(), acceptor.clone());
    tokio::spawn(async move {
        // A connection that breaks is the caller's business.
        let _ = accept(stream, port, echo, acceptor).await;
    });
}

async fn accept<S>(stream: S, port: u16, echo: Arc<Echo>, acceptor: TlsAcceptor) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (spoken, proxied, stream) = first_bytes(stream).await?;
    let at = At {
        port,
        proxied: proxied.map(str::to_owned),
        connection: echo.count_connection(),
        ..At::default()
    };
    match spoken {
        Spoken::Tls => {
            let stream = acceptor.accept(stream).await?;
            let name = stream
                .get_ref()
                .1
                .server_name()
                .unwrap_or_default()
                .to_owned();
            http(
                stream,
                At {
                    tls: Some(name),
                    ..at
                },
                echo,
            )
            .await
        }
        Spoken::Http => http(stream, at, echo).await,
        Spoken::Lines => lines(stream, at, echo).await,
    }
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Tls,
    Http,
    Lines,
}

/// What the bytes so far say; none: not enough.
fn spoken(bytes: &[u8]) -> Option<Spoken> {
    const METHODS: [&[u8]; 10] = [
        b"GET ",
        b"POST ",
        b"PUT ",
        b"DELETE ",
        b"HEAD ",
        b"OPTIONS ",
        b"PATCH ",
        b"CONNECT ",
        b"TRACE ",
        b"PRI ",
    ];
    match bytes.first() {
        None => None,
        Some(0x16) => Some(Spoken::Tls),
        Some(_) if METHODS.iter().any(|method| bytes.starts_with(method)) => Some(Spoken::Http),
        Some(_) if METHODS.iter().any(|method| method.starts_with(bytes)) => None,
        Some(_) => Some(Spoken::Lines),
    }
}

/// A header of the PROXY protocol at the very beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    /// There is none.
    Absent,
    /// It has not come to its end.
    Part,
    /// Its version and its length.
    Whole(&'static str, usize),
}

fn header(bytes: &[u8]) -> Header {
    const TEXT: &[u8] = b"PROXY ";
    const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    if bytes.starts_with(TEXT) {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n");
        return end.map_or(Header::Part, |end| Header::Whole("V1", end + 2));
    }
    if bytes.starts_with(BINARY) {
        let Some(&[high, low]) = bytes.get(14..16) else {
            return Header::Part;
        };
        let length = 16 + usize::from(u16::from_be_bytes([high, low]));
        return match bytes.len() < length {
            true => Header::Part,
            false => Header::Whole("V2", length),
        };
    }
    match bytes.is_empty() || TEXT.starts_with(bytes) || BINARY.starts_with(bytes) {
        true => Header::Part,
        false => Header::Absent,
    }
}

async fn first_bytes<S: AsyncRead + Unpin>(
    mut stream: S,
) -> io::Result<(Spoken, Option<&'static str>, Rewound<S>)> {
    let mut bytes = Vec::with_capacity(64);
    let mut proxied = None;
    loop {
        let found = match proxied {
            Some(_) => Header::Absent,
            None => header(&bytes),
        };
        if let Header::Whole(version, length) = found {
            proxied = Some(version);
            bytes.drain(..length);
        }
        if let Some(spoken) = spoken(&bytes).filter(|_| found != Header::Part) {
            let stream = Rewound {
                bytes,
                at: 0,
                stream,
            };
            return Ok((spoken, proxied, stream));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn http<S>(stream: S, at: At, echo: Arc<Echo>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let at = Arc::new(at);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (echo, at) = (echo.clone(), at.clone());
        async move {
            if request.method() == Method::CONNECT {
                tokio::spawn(tunnel(request, At::clone(&at), echo));
                return Ok(Response::new(
                    Empty::new().map_err(|never| match never {}).boxed_unsync(),
                ));
            }
            match websocket::accepted(&request) {
                Some(accepted) => {
                    tokio::spawn(websocket::serve(request, at, echo));
                    Ok(accepted)
                }
                None => echo.http(request, at).await,
            }
        }
    });
    auto::Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}

/// A tunnel, once the caller has been told that it is open.
async fn tunnel(request: Request<Incoming>, at: At, echo: Arc<Echo>) {
    let at = At {
        tunnel: Some(request.uri().to_string()),
        ..at
    };
    if let Ok(stream) = hyper::upgrade::on(request).await {
        // A tunnel that breaks is the caller's business.
        let _ = lines(TokioIo::new(stream), at, echo).await;
    }
}

async fn lines<S>(stream: S, at: At, echo: Arc<Echo>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite,
{
    let (read, mut write) = tokio::io::split(stream);
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let mut answer = serde_json::to_vec(&echo.line(line, &at))?;
        answer.push(b'\n');
        write.write_all(&answer).await?;
    }
    Ok(())
}

/// A stream of which the first bytes have been read already.
struct Rewound<S> {
    bytes: Vec<u8>,
    at: usize,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let part = rest.get(..buf.remaining()).unwrap_or(rest);
        let taken = part.len();
        buf.put_slice(part);
        self.at += taken;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_say_what_is_spoken() {
        assert_eq!(spoken(b""), None);
        assert_eq!(spoken(b"GE"), None);
        assert_eq!(spoken(b"GET / HTTP/1.1"), Some(Spoken::Http));
        assert_eq!(spoken(b"PRI * HTTP/2.0"), Some(Spoken::Http));
        assert_eq!(spoken(&[0x16, 3, 1]), Some(Spoken::Tls));
        assert_eq!(spoken(b"GETAWAY\n"), Some(Spoken::Lines));
        assert_eq!(spoken(b"hello\n"), Some(Spoken::Lines));
    }

    #[test]
    fn a_header_of_the_proxy_protocol_is_told_from_what_follows() {
        assert_eq!(header(b"GET /"), Header::Absent);
        assert_eq!(header(b"PRO"), Header::Part);
        assert_eq!(
            header(b"PROXY TCP4 198.18.0.1 198.18.0.2 1 2\r\nhello"),
            Header::Whole("V1", 38)
        );
        let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x02ab";
        assert_eq!(header(binary), Header::Whole("V2", 18));
        assert_eq!(header(&binary[..17]), Header::Part);
    }
}
