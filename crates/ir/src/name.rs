//! The names of Envoy resources, as values. Their `Display` is the text that Istio's users and tools know;
//! nothing ever reads such a text again.

use std::fmt;
use std::net::IpAddr;

use model::{Families, Hostname, Port, SubsetName};

/// The name of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterName {
    /// `outbound|80|v1|host`: a port of a service, or a subset of it.
    Outbound {
        /// The service's port.
        port: Port,
        /// The subset of a DestinationRule.
        subset: Option<SubsetName>,
        /// The service.
        host: Hostname,
    },
    /// `inbound|8080||`: the app's own port.
    Inbound(Port),
    /// `BlackHoleCluster`: nowhere.
    BlackHole,
    /// `PassthroughCluster`: where the caller addressed it.
    Passthrough,
    /// `AllowAnyDynamicDNSCluster`: to the host that the request names.
    AllowAnyDynamicDns,
    /// `InboundPassthroughCluster`: to the app, on a port that no service declares.
    InboundPassthrough,
}

impl ClusterName {
    /// Istio's SNI for mutual TLS to this cluster: `outbound_.80_.v1_.host`.
    #[must_use]
    pub fn sni(&self) -> String {
        match self {
            Self::Outbound { port, subset, host } => {
                format!("outbound_.{port}_.{}_.{host}", text(subset))
            }
            other @ (Self::Inbound(_)
            | Self::BlackHole
            | Self::Passthrough
            | Self::AllowAnyDynamicDns
            | Self::InboundPassthrough) => other.to_string(),
        }
    }
}

fn text(subset: &Option<SubsetName>) -> &str {
    subset.as_ref().map_or("", SubsetName::as_str)
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outbound { port, subset, host } => {
                write!(f, "outbound|{port}|{}|{host}", text(subset))
            }
            Self::Inbound(port) => write!(f, "inbound|{port}||"),
            Self::BlackHole => f.write_str("BlackHoleCluster"),
            Self::Passthrough => f.write_str("PassthroughCluster"),
            Self::AllowAnyDynamicDns => f.write_str("AllowAnyDynamicDNSCluster"),
            Self::InboundPassthrough => f.write_str("InboundPassthroughCluster"),
        }
    }
}

/// The name of a route table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteTableName {
    /// `80`: every HTTP service on this port.
    Port(Port),
    /// `host:80`: one service whose protocol is found out per connection.
    Service(Hostname, Port),
}

impl RouteTableName {
    /// The port that callers address.
    #[must_use]
    pub fn port(&self) -> Port {
        match self {
            Self::Port(port) | Self::Service(_, port) => *port,
        }
    }
}

impl fmt::Display for RouteTableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "{port}"),
            Self::Service(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// The name of an outbound listener: `0.0.0.0_80` or `10.0.0.1_80`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerName {
    /// The address that callers address; none: every address.
    pub address: Option<IpAddr>,
    /// The port that callers address.
    pub port: Port,
}

impl ListenerName {
    /// Its text for a proxy of these families: `::_80` is for every address where there is IPv6 only.
    #[must_use]
    pub fn text(&self, families: Families) -> String {
        match (self.address, families) {
            (None, Families::V6) => format!("::_{}", self.port),
            (None, Families::V4 | Families::Dual) | (Some(_), _) => self.to_string(),
        }
    }
}

impl fmt::Display for ListenerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{address}_{}", self.port),
            None => write!(f, "0.0.0.0_{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_istios() {
        let host: Hostname = "cart.shop.svc.cluster.local".parse().unwrap();
        let port = Port::new(80).unwrap();
        let v1 = ClusterName::Outbound {
            port,
            subset: "v1".parse().ok(),
            host: host.clone(),
        };
        assert_eq!(v1.to_string(), "outbound|80|v1|cart.shop.svc.cluster.local");
        assert_eq!(v1.sni(), "outbound_.80_.v1_.cart.shop.svc.cluster.local");
        assert_eq!(ClusterName::Inbound(port).to_string(), "inbound|80||");
        assert_eq!(
            RouteTableName::Service(host, port).to_string(),
            "cart.shop.svc.cluster.local:80"
        );
        assert_eq!(
            ListenerName {
                address: None,
                port
            }
            .to_string(),
            "0.0.0.0_80"
        );
    }
}
