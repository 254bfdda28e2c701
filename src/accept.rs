//! Connections, bounded in number and in patience (SEC 29): whoever holds one must have finished its TLS handshake and
//! begun to speak before the deadline.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ca::PeerCertificates;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// How long a client may take for the TLS handshake, and again until it has begun to speak.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many bytes are a beginning: the preface of HTTP/2.
const PREFACE: usize = 24;
/// How long to wait when the system gives no connection (it has no descriptors left, say).
const RELIEF: Duration = Duration::from_millis(100);
/// Connections that are open but wait to be taken.
const QUEUE: usize = 64;

/// Accepts on its own task; the receiver yields what is ready to be spoken to. Ends when the receiver is dropped.
pub fn accept(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    most: usize,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (ready, connections) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let (tls, room) = (tls.map(TlsAcceptor::from), Arc::new(Semaphore::new(most)));
        while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
            let accepted = tokio::select! {
                () = ready.closed() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => {
                    let (tls, ready) = (tls.clone(), ready.clone());
                    tokio::spawn(async move {
                        match open(socket, tls, peer, permit).await {
                            Ok(connection) => drop(ready.send(Ok(connection)).await),
                            Err(error) => tracing::debug!(%peer, "no connection: {error}"),
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!("no connection was accepted: {error}");
                    sleep(RELIEF).await;
                }
            }
        }
    });
    connections
}

async fn open(
    socket: TcpStream,
    tls: Option<TlsAcceptor>,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
) -> io::Result<Connection> {
    socket.set_nodelay(true)?;
    let local = socket.local_addr()?;
    let socket = match tls {
        Some(tls) => {
            let late =
                || io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long");
            Socket::Tls(Box::new(
                timeout(PATIENCE, tls.accept(socket))
                    .await
                    .map_err(|_| late())??,
            ))
        }
        None => Socket::Plain(socket),
    };
    let beginning = Some(Beginning {
        read: 0,
        deadline: Box::pin(sleep(PATIENCE)),
    });
    Ok(Connection {
        socket,
        peer,
        local,
        beginning,
        _permit: permit,
    })
}

#[derive(Debug)]
enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

#[derive(Debug)]
struct Beginning {
    read: usize,
    deadline: Pin<Box<Sleep>>,
}

/// A connection that is ready to be spoken to.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    peer: SocketAddr,
    local: SocketAddr,
    /// Until the client has begun to speak.
    beginning: Option<Beginning>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
}

/// What is known of a connection, for every request on it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Who is at the other end.
    pub remote: SocketAddr,
    /// Which of our addresses it called.
    pub local: SocketAddr,
    /// The certificates that it presented; empty without TLS.
    pub certificates: PeerCertificates,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        let certificates = match &self.socket {
            Socket::Plain(_) => None,
            Socket::Tls(stream) => stream.get_ref().1.peer_certificates().map(<[_]>::to_vec),
        };
        let certificates = PeerCertificates(certificates.unwrap_or_default());
        Peer {
            remote: self.peer,
            local: self.local,
            certificates,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let polled = match &mut this.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Socket::Tls(socket) => Pin::new(socket).poll_read(context, buffer),
        };
        let Some(beginning) = &mut this.beginning else {
            return polled;
        };
        beginning.read += buffer.filled().len() - before;
        if beginning.read >= PREFACE {
            this.beginning = None;
        } else if polled.is_pending() {
            ready!(beginning.deadline.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Socket::Tls(socket) => Pin::new(socket).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Socket::Tls(socket) => Pin::new(socket).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Plain(socket) => socket.is_write_vectored(),
            Socket::Tls(socket) => socket.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_flush(context),
            Socket::Tls(socket) => Pin::new(socket).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Socket::Tls(socket) => Pin::new(socket).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test(start_paused = true)]
    async fn sec_29_who_does_not_begin_to_speak_is_let_go() {
        let (listener, address) = listener().await;
        let mut connections = accept(listener, None, 1);
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(&[0; PREFACE - 1]).await.unwrap();
        let mut connection = connections.recv().await.unwrap().unwrap();
        let mut read = Vec::new();
        let ended = connection.read_to_end(&mut read).await.unwrap_err();
        assert_eq!(
            (ended.kind(), read.len()),
            (io::ErrorKind::TimedOut, PREFACE - 1)
        );
        drop(connection);

        // There is room for one only: this is its place.
        let mut speaking = TcpStream::connect(address).await.unwrap();
        speaking.write_all(&[0; PREFACE]).await.unwrap();
        let mut connection = connections.recv().await.unwrap().unwrap();
        connection.read_exact(&mut [0; PREFACE]).await.unwrap();
        let hour = Duration::from_secs(3600);
        assert!(
            timeout(hour, connection.read_u8()).await.is_err(),
            "a stream may be silent"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn sec_29_a_tls_handshake_has_a_deadline() {
        let (listener, address) = listener().await;
        let serving = crate::tls::tests::serving();
        let mut connections = accept(listener, Some(serving.config().unwrap()), 1);
        let mut silent = TcpStream::connect(address).await.unwrap();
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0, "it is closed");
        assert!(connections.try_recv().is_err());
    }
}
