//! The servers that know all other names: those of `/etc/resolv.conf`, or given ones.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

const FILE: &str = "/etc/resolv.conf";
/// How long a server has to answer before the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// As many servers as the C library asks.
const MAX_SERVERS: usize = 3;
/// The largest answer over UDP.
const MAX_ANSWER: usize = 16 << 10;
/// The header of a message; its first two bytes are its number.
const HEADER: usize = 12;

/// Other servers, in the order in which they are asked, and the domains that callers' resolvers try behind a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
    /// The search list.
    pub search: Vec<String>,
}

impl Resolver {
    /// Reads `/etc/resolv.conf`. `servers` stand instead of those there, `search` for when it has no search list. Never
    /// asks `own`, the address of the server that asks.
    #[must_use]
    pub fn new(servers: &[SocketAddr], search: Vec<String>, own: SocketAddr) -> Self {
        Self::of(
            &std::fs::read_to_string(FILE).unwrap_or_default(),
            servers,
            search,
            own,
        )
    }

    fn of(file: &str, servers: &[SocketAddr], search: Vec<String>, own: SocketAddr) -> Self {
        let file_search = file.lines().rev().find_map(|line| {
            let mut words = line.split_whitespace();
            matches!(words.next(), Some("search" | "domain"))
                .then(|| words.map(str::to_owned).collect())
        });
        let mut servers = match servers {
            [] => nameservers(file)
                .into_iter()
                .map(|address| (address, 53).into())
                .collect(),
            given => given.to_vec(),
        };
        servers.retain(|server| *server != own);
        servers.truncate(MAX_SERVERS);
        Self {
            servers,
            search: file_search.unwrap_or(search),
        }
    }

    /// Asks one server after the other over UDP; none when no one answers.
    pub(super) async fn ask_udp(&self, question: &[u8]) -> Option<Vec<u8>> {
        for server in &self.servers {
            match tokio::time::timeout(PATIENCE, ask_udp(*server, question)).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => tracing::debug!(%server, %error, "DNS"),
                Err(_) => tracing::debug!(%server, "DNS: no answer"),
            }
        }
        None
    }

    /// The same over TCP.
    pub(super) async fn ask_tcp(&self, question: &[u8]) -> Option<Vec<u8>> {
        for server in &self.servers {
            match tokio::time::timeout(PATIENCE, ask_tcp(*server, question)).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => tracing::debug!(%server, %error, "DNS over TCP"),
                Err(_) => tracing::debug!(%server, "DNS over TCP: no answer"),
            }
        }
        None
    }
}

/// The name servers of a resolv.conf. A scope (`fe80::1%eth0`) is not an address and is left out.
pub(crate) fn nameservers(file: &str) -> Vec<IpAddr> {
    let words = file.lines().map(|line| {
        let mut words = line.split_whitespace();
        (words.next(), words.next())
    });
    words
        .filter_map(|(keyword, address)| {
            (keyword == Some("nameserver")).then(|| address?.parse().ok())?
        })
        .collect()
}

/// The name servers of this pod.
pub(crate) fn pod_nameservers() -> Vec<IpAddr> {
    nameservers(&std::fs::read_to_string(FILE).unwrap_or_default())
}

/// A socket and a number of its own for each question: an answer that fits neither is forged.
async fn ask_udp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let (original, rest) = question
        .split_at_checked(2)
        .ok_or(io::ErrorKind::InvalidData)?;
    let number = rand::random::<u16>().to_be_bytes();
    socket.send(&[&number, rest].concat()).await?;
    let mut buffer = vec![0; MAX_ANSWER];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some((got, answer)) = buffer
            .get(..length)
            .and_then(|answer| answer.split_at_checked(2))
            && got == number
            && length >= HEADER
        {
            return Ok([original, answer].concat());
        }
    }
}

async fn ask_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&framed(question)?).await?;
    read_framed(&mut stream).await
}

/// A message as TCP carries it: behind its length.
pub(super) fn framed(message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes(), message].concat())
}

/// Reads such a message.
pub(super) async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_the_c_library_reads_it() {
        let own: SocketAddr = "127.0.0.1:15053".parse().unwrap();
        let file = "# comment\nsearch old\nnameserver 198.18.0.10\nnameserver fe80::1%eth0\nnameserver fd00::10\n\
                    search shop.svc.cluster.local svc.cluster.local\noptions ndots:5\n";
        let resolver = Resolver::of(file, &[], vec!["default".to_owned()], own);
        let servers: [SocketAddr; 2] = [
            "198.18.0.10:53".parse().unwrap(),
            "[fd00::10]:53".parse().unwrap(),
        ];
        assert_eq!(resolver.servers, servers);
        assert_eq!(
            resolver.search,
            ["shop.svc.cluster.local", "svc.cluster.local"]
        );
        let given = Resolver::of("", &[own, servers[0]], vec!["default".to_owned()], own);
        assert_eq!(
            (given.servers, given.search),
            (vec![servers[0]], vec!["default".to_owned()])
        );
    }
}
