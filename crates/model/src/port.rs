//! Ports and the protocols that are spoken on them.

use std::fmt;
use std::num::NonZeroU16;

use crate::PortName;

/// A TCP port, 1 to 65535.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(NonZeroU16);

impl Port {
    /// The port of this number, unless it is 0 or above 65535.
    #[must_use]
    pub fn new(number: i64) -> Option<Self> {
        u16::try_from(number)
            .ok()
            .and_then(NonZeroU16::new)
            .map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What is spoken on a port, as Istio's protocol selection finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/1.1 (`http`).
    Http,
    /// HTTP/2 without TLS (`http2`, `kubernetes.io/h2c`).
    Http2,
    /// gRPC, hence HTTP/2 (`grpc`).
    Grpc,
    /// gRPC-Web (`grpc-web`).
    GrpcWeb,
    /// TLS that carries HTTP (`https`): routed by SNI, never terminated.
    Https,
    /// Any TLS (`tls`): routed by SNI, never terminated.
    Tls,
    /// Any bytes (`tcp`).
    Tcp,
    /// MongoDB (`mongo`): bytes for us.
    Mongo,
    /// Redis (`redis`): bytes for us.
    Redis,
    /// MySQL (`mysql`): bytes for us, the server speaks first.
    MySql,
    /// Datagrams (`udp`): not proxied.
    Udp,
    /// Undeclared: found out from the first bytes of each connection.
    Auto,
}

/// How the proxy treats the connections of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Requests are routed.
    Http,
    /// Connections are routed.
    Tcp,
    /// The first bytes decide.
    Detect,
}

/// Ports on which the server speaks first; undeclared, they are TCP (Istio: 25, 53, 3306, 27017).
const SERVER_FIRST: [u16; 4] = [25, 53, 3306, 27017];

impl Protocol {
    /// Istio's protocol selection: `appProtocol`, then the port name's prefix before the first `-`,
    /// then the well-known server-first ports, else found out per connection.
    #[must_use]
    pub fn select(app_protocol: Option<&str>, name: Option<&PortName>, port: Port) -> Self {
        let declared = app_protocol.and_then(Self::of_app_protocol);
        let named = || name.and_then(|name| Self::of_name(name.as_str()));
        declared
            .or_else(named)
            .unwrap_or(if SERVER_FIRST.contains(&port.get()) {
                Self::Tcp
            } else {
                Self::Auto
            })
    }

    fn of_app_protocol(text: &str) -> Option<Self> {
        match text {
            "kubernetes.io/h2c" => Some(Self::Http2),
            "kubernetes.io/ws" => Some(Self::Http),
            "kubernetes.io/wss" => Some(Self::Https),
            other => Self::of_word(other),
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        if name.to_ascii_lowercase().starts_with("grpc-web") {
            return Some(Self::GrpcWeb);
        }
        Self::of_word(name.split('-').next().unwrap_or(name))
    }

    /// The protocol of a word such as `http2` or `HTTP2` (ServiceEntry `spec.ports[].protocol`).
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "http" => Some(Self::Http),
            "http2" => Some(Self::Http2),
            "grpc" => Some(Self::Grpc),
            "grpc-web" => Some(Self::GrpcWeb),
            "https" => Some(Self::Https),
            "tls" => Some(Self::Tls),
            "tcp" => Some(Self::Tcp),
            "mongo" => Some(Self::Mongo),
            "redis" => Some(Self::Redis),
            "mysql" => Some(Self::MySql),
            "udp" => Some(Self::Udp),
            _ => None,
        }
    }

    /// How the proxy treats this protocol.
    #[must_use]
    pub fn layer(self) -> Layer {
        match self {
            Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb => Layer::Http,
            Self::Https
            | Self::Tls
            | Self::Tcp
            | Self::Mongo
            | Self::Redis
            | Self::MySql
            | Self::Udp => Layer::Tcp,
            Self::Auto => Layer::Detect,
        }
    }

    /// Whether requests go upstream as HTTP/2 whatever the caller speaks.
    #[must_use]
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(app: Option<&str>, name: &str, port: i64) -> Protocol {
        Protocol::select(app, name.parse().ok().as_ref(), Port::new(port).unwrap())
    }

    #[test]
    fn app_protocol_beats_the_name_beats_the_number() {
        assert_eq!(
            select(Some("kubernetes.io/h2c"), "tcp-x", 80),
            Protocol::Http2
        );
        assert_eq!(select(Some("example.com/own"), "tcp-x", 80), Protocol::Tcp);
        assert_eq!(select(None, "grpc-web-x", 80), Protocol::GrpcWeb);
        assert_eq!(select(None, "http", 3306), Protocol::Http);
        assert_eq!(select(None, "db", 3306), Protocol::Tcp);
        assert_eq!(select(None, "httpx", 80), Protocol::Auto);
    }
}
