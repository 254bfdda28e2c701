//! The pod's DNS server: names of the mesh from its name table, everything else from the servers of the pod.
//!
//! Everything is bounded: questions that wait for another server, connections, the time that each may take.

mod resolver;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};

use crate::metrics::Metrics;
use crate::names::{Found, Names};
pub use resolver::Resolver;
pub(crate) use resolver::pod_nameservers;

/// Istio's, in seconds: an address of the mesh changes rarely, and never without need.
const TTL: u32 = 30;
/// Questions over UDP that may wait for other servers.
const MAX_FORWARDED: usize = 512;
/// Connections.
const MAX_CONNECTIONS: usize = 128;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// The largest question over UDP.
const MAX_QUESTION: usize = 4096;
/// What we say that we take over UDP.
const PAYLOAD: u16 = 4096;

/// The server.
#[derive(Clone, Debug)]
pub struct Dns {
    names: watch::Receiver<Arc<Names>>,
    resolver: Arc<Resolver>,
    metrics: Arc<Metrics>,
    forwarded: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    turn: Arc<AtomicUsize>,
}

/// By what a question came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
}

/// The addresses that a server listens on.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// For UDP.
    pub udp: SocketAddr,
    /// For TCP.
    pub tcp: SocketAddr,
}

impl Dns {
    /// Answers from `names`, and for all others as `resolver` does.
    #[must_use]
    pub fn new(
        names: watch::Receiver<Arc<Names>>,
        resolver: Resolver,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            names,
            resolver: Arc::new(resolver),
            metrics,
            forwarded: Arc::new(Semaphore::new(MAX_FORWARDED)),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            turn: Arc::default(),
        }
    }

    /// Listens on UDP and TCP until the runtime ends. The loopback of IPv4 stands for that of IPv6 too, where there is
    /// one.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn serve(&self, address: SocketAddr) -> io::Result<Bound> {
        if address.ip() == Ipv4Addr::LOCALHOST && address.port() != 0 {
            // A pod without IPv6 needs no server there.
            let _ = self
                .listen((Ipv6Addr::LOCALHOST, address.port()).into())
                .await;
        }
        self.listen(address).await
    }

    async fn listen(&self, address: SocketAddr) -> io::Result<Bound> {
        let udp = UdpSocket::bind(address).await?;
        let tcp = TcpListener::bind(address).await?;
        let bound = Bound {
            udp: udp.local_addr()?,
            tcp: tcp.local_addr()?,
        };
        tokio::spawn(self.clone().serve_udp(Arc::new(udp)));
        tokio::spawn(self.clone().serve_tcp(tcp));
        Ok(bound)
    }

    async fn serve_udp(self, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; MAX_QUESTION];
        loop {
            // Errors here are those of answers that found nobody.
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                continue;
            };
            let bytes = buffer.get(..length).unwrap_or_default();
            let Some(question) = self.question(bytes) else {
                continue;
            };
            if let Some(answer) = self.own_answer(&question, Transport::Udp) {
                let _ = socket.send_to(&answer, from).await;
                continue;
            }
            let Ok(permit) = Arc::clone(&self.forwarded).try_acquire_owned() else {
                continue; // the caller asks again
            };
            let (server, socket, bytes) = (self.clone(), Arc::clone(&socket), bytes.to_vec());
            tokio::spawn(async move {
                if let Some(answer) = server.forward(&bytes, &question, Transport::Udp).await {
                    let _ = socket.send_to(&answer, from).await;
                }
                drop(permit);
            });
        }
    }

    async fn serve_tcp(self, listener: TcpListener) {
        loop {
            let Ok(permit) = Arc::clone(&self.connections).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let server = self.clone();
                    tokio::spawn(async move {
                        let _ = server.serve_stream(stream).await;
                        drop(permit);
                    });
                }
                // Out of files: wait for some to be closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn serve_stream(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let bytes = tokio::time::timeout(IDLE, resolver::read_framed(&mut stream)).await??;
            let Some(question) = self.question(&bytes) else {
                return Ok(());
            };
            let answer = match self.own_answer(&question, Transport::Tcp) {
                Some(answer) => Some(answer),
                None => self.forward(&bytes, &question, Transport::Tcp).await,
            };
            let Some(answer) = answer else {
                return Ok(());
            };
            let framed = resolver::framed(&answer)?;
            tokio::time::timeout(IDLE, stream.write_all(&framed)).await??;
        }
    }

    fn question(&self, bytes: &[u8]) -> Option<Message> {
        let message = Message::from_vec(bytes).ok()?;
        if message.metadata.message_type != MessageType::Query {
            return None;
        }
        self.metrics.dns_requests.add();
        Some(message)
    }

    /// The answer for a name of the mesh; none when others must be asked.
    fn own_answer(&self, question: &Message, transport: Transport) -> Option<Vec<u8>> {
        let [query] = question.queries.as_slice() else {
            return None;
        };
        let is_address = matches!(query.query_type(), RecordType::A | RecordType::AAAA);
        let is_question =
            question.metadata.op_code == OpCode::Query && query.query_class() == DNSClass::IN;
        if !(is_address && is_question) {
            return None;
        }
        let names = self.names.borrow().clone();
        let found = names.find(&query.name().to_ascii(), &self.resolver.search)?;
        let mut answer = response(question, ResponseCode::NoError);
        answer.metadata.authoritative = true;
        answer.add_answers(self.records(query, &found));
        let limit = match transport {
            Transport::Udp => question.max_payload(),
            Transport::Tcp => u16::MAX,
        };
        fit(&answer, limit)
    }

    /// The addresses of the family that was asked for, each time beginning with another one; none is an answer, too.
    fn records(&self, query: &Query, found: &Found) -> Vec<Record> {
        let owner = query.name().clone();
        let canonical = found
            .canonical
            .as_ref()
            .and_then(|name| Name::from_ascii(format!("{name}.")).ok());
        let target = canonical.clone().unwrap_or_else(|| owner.clone());
        let alias = canonical.map(|name| Record::from_rdata(owner, TTL, RData::CNAME(CNAME(name))));
        let addresses =
            found
                .addresses
                .iter()
                .filter_map(|address| match (address, query.query_type()) {
                    (IpAddr::V4(v4), RecordType::A) => Some(RData::A(A(*v4))),
                    (IpAddr::V6(v6), RecordType::AAAA) => Some(RData::AAAA(AAAA(*v6))),
                    _ => None,
                });
        let mut addresses: Vec<_> = addresses
            .map(|address| Record::from_rdata(target.clone(), TTL, address))
            .collect();
        if !addresses.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len();
            addresses.rotate_left(turn);
        }
        alias.into_iter().chain(addresses).collect()
    }

    async fn forward(
        &self,
        bytes: &[u8],
        question: &Message,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        self.metrics.dns_upstream_requests.add();
        let answered = match transport {
            Transport::Udp => self.resolver.ask_udp(bytes).await,
            Transport::Tcp => self.resolver.ask_tcp(bytes).await,
        };
        answered.or_else(|| {
            self.metrics.dns_upstream_failures.add();
            response(question, ResponseCode::ServFail).to_vec().ok()
        })
    }
}

fn response(question: &Message, code: ResponseCode) -> Message {
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata.response_code = code;
    answer.metadata.recursion_desired = question.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.add_queries(question.queries.iter().cloned());
    if question.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        answer.set_edns(edns);
    }
    answer
}

/// Encodes an answer; one that the caller cannot take becomes the advice to ask over TCP.
fn fit(answer: &Message, limit: u16) -> Option<Vec<u8>> {
    let bytes = answer.to_vec().ok()?;
    if bytes.len() <= usize::from(limit) {
        return Some(bytes);
    }
    answer.truncate().to_vec().ok()
}
