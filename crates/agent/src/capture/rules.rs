//! The rules themselves, one address family at a time: Istio's, in Istio's order.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::tables::{Rules, Table};
use super::{CaptureArguments, Selection};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl FromStr for Family {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "4" => Ok(Self::V4),
            "6" => Ok(Self::V6),
            _ => Err("write 4 or 6"),
        }
    }
}

impl Family {
    fn has(self, address: IpAddr) -> bool {
        matches!(
            (self, address),
            (Self::V4, IpAddr::V4(_)) | (Self::V6, IpAddr::V6(_))
        )
    }

    fn loopback(self) -> &'static str {
        match self {
            Self::V4 => "127.0.0.1/32",
            Self::V6 => "::1/128",
        }
    }

    /// What Envoy's connections to the app are bound to, so that they are not captured again.
    fn inbound_source(self) -> &'static str {
        match self {
            Self::V4 => "127.0.0.6/32",
            Self::V6 => "::6/128",
        }
    }
}

/// Connection tracking sees a lookup twice with the same addresses: the app's, and the agent's of the same server. Zones
/// keep them apart.
const AGENT_ZONE: u8 = 1;
const APP_ZONE: u8 = 2;

/// All rules of a family. `servers` are the name servers of the pod.
pub(super) fn rules(
    arguments: &CaptureArguments,
    family: Family,
    servers: &BTreeSet<IpAddr>,
) -> Rules {
    let lookups = Lookups::new(arguments, family, servers);
    let mut nat = Table::new("nat");
    redirects(&mut nat, arguments);
    inbound(&mut nat, arguments);
    outbound(&mut nat, arguments, family, &lookups);
    let mut rules = Rules::default();
    if !lookups.0.is_empty() {
        lookups_nat(&mut nat, arguments, &lookups);
        rules.tables.push(nat);
        rules.tables.push(lookups_raw(arguments, &lookups));
    } else {
        rules.tables.push(nat);
    }
    rules
}

/// For each server whose lookups are captured, the match of packets to it and of packets from it.
struct Lookups(Vec<(String, String)>);

impl Lookups {
    fn new(arguments: &CaptureArguments, family: Family, servers: &BTreeSet<IpAddr>) -> Self {
        let servers = servers.iter().filter(|server| family.has(**server));
        let matches = |server: &IpAddr| {
            let range = IpNet::from(*server);
            (format!("-d {range} "), format!("-s {range} "))
        };
        Self(match (arguments.redirect_dns, arguments.capture_all_dns) {
            (false, _) => Vec::new(),
            (true, true) => vec![(String::new(), String::new())],
            (true, false) => servers.map(matches).collect(),
        })
    }
}

/// The chains that end a packet's way at Envoy.
fn redirects(nat: &mut Table, arguments: &CaptureArguments) {
    nat.add(
        "ISTIO_REDIRECT",
        &format!("-p tcp -j REDIRECT --to-ports {}", arguments.envoy_port),
    );
    let inbound = arguments.inbound_capture_port;
    nat.add(
        "ISTIO_IN_REDIRECT",
        &format!("-p tcp -j REDIRECT --to-ports {inbound}"),
    );
}

fn inbound(nat: &mut Table, arguments: &CaptureArguments) {
    const CHAIN: &str = "ISTIO_INBOUND";
    for interface in &arguments.reroute_virtual_interfaces {
        // What a guest sends enters here, and is on its way out.
        nat.add(CHAIN, &format!("-i {interface} -p tcp -j ISTIO_REDIRECT"));
    }
    for interface in &arguments.istio_exclude_interfaces {
        nat.add(CHAIN, &format!("-i {interface} -j RETURN"));
    }
    nat.add(
        CHAIN,
        &format!("-p tcp --dport {} -j RETURN", arguments.inbound_tunnel_port),
    );
    match &arguments.istio_inbound_ports {
        Selection::All => {
            for port in &arguments.istio_local_exclude_ports.0 {
                nat.add(CHAIN, &format!("-p tcp --dport {port} -j RETURN"));
            }
            nat.add(CHAIN, "-p tcp -j ISTIO_IN_REDIRECT");
        }
        Selection::Only(ports) => {
            for port in ports {
                nat.add(
                    CHAIN,
                    &format!("-p tcp --dport {port} -j ISTIO_IN_REDIRECT"),
                );
            }
        }
    }
    nat.jump("PREROUTING", "-p tcp", CHAIN);
}

fn outbound(nat: &mut Table, arguments: &CaptureArguments, family: Family, lookups: &Lookups) {
    const CHAIN: &str = "ISTIO_OUTPUT";
    nat.jump("OUTPUT", "-p tcp", CHAIN);
    for interface in &arguments.istio_exclude_interfaces {
        nat.add(CHAIN, &format!("-o {interface} -j RETURN"));
    }
    // Before connections of a pod to itself are led back.
    for port in &arguments.istio_local_outbound_ports_exclude.0 {
        nat.add(CHAIN, &format!("-p tcp --dport {port} -j RETURN"));
    }
    nat.add(
        CHAIN,
        &format!("-s {} -o lo -j RETURN", family.inbound_source()),
    );
    for owner in owners(arguments) {
        own_traffic(nat, arguments, family, &owner, !lookups.0.is_empty());
    }
    for (to, _) in &lookups.0 {
        nat.add(
            CHAIN,
            &format!(
                "{to}-p tcp --dport 53 -j REDIRECT --to-ports {}",
                arguments.dns_port
            ),
        );
    }
    // Who says localhost means it.
    nat.add(CHAIN, &format!("-d {} -j RETURN", family.loopback()));
    for range in in_family(&arguments.istio_service_exclude_cidr.0, family) {
        nat.add(CHAIN, &format!("-d {range} -j RETURN"));
    }
    for port in &arguments.istio_outbound_ports.0 {
        nat.add(CHAIN, &format!("-p tcp --dport {port} -j ISTIO_REDIRECT"));
    }
    match &arguments.istio_service_cidr {
        Selection::All => nat.add(CHAIN, "-j ISTIO_REDIRECT"),
        Selection::Only(ranges) => {
            for range in in_family(ranges, family) {
                nat.add(CHAIN, &format!("-d {range} -j ISTIO_REDIRECT"));
            }
        }
    }
}

/// The match of each user and group whose traffic is Envoy's own, without `-m owner`.
fn owners(arguments: &CaptureArguments) -> Vec<String> {
    let users = arguments
        .proxy_uid
        .iter()
        .map(|uid| format!("--uid-owner {uid}"));
    let groups = arguments
        .proxy_gid
        .iter()
        .map(|gid| format!("--gid-owner {gid}"));
    users.chain(groups).collect()
}

fn own_traffic(
    nat: &mut Table,
    arguments: &CaptureArguments,
    family: Family,
    owner: &str,
    has_lookups: bool,
) {
    const CHAIN: &str = "ISTIO_OUTPUT";
    let tunnel = arguments.inbound_tunnel_port;
    let (back, not_lookups) = if has_lookups {
        (
            format!("-m multiport ! --dports 53,{tunnel}"),
            "-p tcp ! --dport 53 ",
        )
    } else {
        (format!("! --dport {tunnel}"), "")
    };
    // Envoy calls a service that is this very pod: its inbound side must see it.
    let loopback = family.loopback();
    nat.add(
        CHAIN,
        &format!("! -d {loopback} -o lo -p tcp {back} -m owner {owner} -j ISTIO_IN_REDIRECT"),
    );
    // The app calls itself.
    nat.add(
        CHAIN,
        &format!("-o lo {not_lookups}-m owner ! {owner} -j RETURN"),
    );
    // Envoy calls others.
    nat.add(CHAIN, &format!("-m owner {owner} -j RETURN"));
}

fn in_family(ranges: &[IpNet], family: Family) -> impl Iterator<Item = &IpNet> {
    ranges.iter().filter(move |range| family.has(range.addr()))
}

fn lookups_nat(nat: &mut Table, arguments: &CaptureArguments, lookups: &Lookups) {
    const CHAIN: &str = "ISTIO_OUTPUT_DNS";
    nat.jump("OUTPUT", "-p udp", CHAIN);
    for owner in owners(arguments) {
        nat.add(
            CHAIN,
            &format!("-p udp --dport 53 -m owner {owner} -j RETURN"),
        );
    }
    for (to, _) in &lookups.0 {
        nat.add(
            CHAIN,
            &format!(
                "{to}-p udp --dport 53 -j REDIRECT --to-ports {}",
                arguments.dns_port
            ),
        );
    }
}

fn lookups_raw(arguments: &CaptureArguments, lookups: &Lookups) -> Table {
    const OUT: &str = "ISTIO_OUTPUT_DNS";
    const IN: &str = "ISTIO_INBOUND";
    let mut raw = Table::new("raw");
    raw.jump("OUTPUT", "-p udp", OUT);
    raw.jump("PREROUTING", "-p udp", IN);
    for owner in owners(arguments) {
        raw.add(
            OUT,
            &format!("-p udp --dport 53 -m owner {owner} -j CT --zone {AGENT_ZONE}"),
        );
        let from = arguments.dns_port;
        raw.add(
            OUT,
            &format!("-p udp --sport {from} -m owner {owner} -j CT --zone {APP_ZONE}"),
        );
    }
    for (to, from) in &lookups.0 {
        raw.add(
            OUT,
            &format!("{to}-p udp --dport 53 -j CT --zone {APP_ZONE}"),
        );
        raw.add(
            IN,
            &format!("{from}-p udp --sport 53 -j CT --zone {AGENT_ZONE}"),
        );
    }
    raw
}
