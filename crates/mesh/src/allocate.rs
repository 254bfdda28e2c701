//! Stable addresses for services that have none: one of 240.240.0.0/16 and one of 2001:2::/48, which no network routes.
//!
//! A host's address is the hash of its name. Where two collide, they are probed in the order of their
//! names, so that the result depends on the set of hosts alone (Istio: `PILOT_IP_AUTOALLOCATE_IPV4_PREFIX` and its like).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use imbl::OrdMap;
use model::Hostname;
use xxhash_rust::xxh3::xxh3_64;

/// Usable addresses: neither the network's own nor the broadcast address.
const SLOTS: u32 = 0xFFFE;

/// The addresses that a host is given, one of each family.
pub type Allocated = [IpAddr; 2];

/// The addresses of each host.
#[must_use]
pub fn allocate<'a>(hosts: impl Iterator<Item = &'a Hostname>) -> OrdMap<Hostname, Allocated> {
    let mut taken = BTreeSet::new();
    let in_order: BTreeSet<&Hostname> = hosts.collect();
    in_order
        .into_iter()
        .filter_map(|host| Some((host.clone(), addresses(free_slot(host, &mut taken)?))))
        .collect()
}

fn free_slot(host: &Hostname, taken: &mut BTreeSet<u32>) -> Option<u32> {
    let first = u32::try_from(xxh3_64(host.as_str().as_bytes()) % u64::from(SLOTS)).ok()?;
    (0..SLOTS)
        .map(|step| (first + step) % SLOTS)
        .find(|slot| taken.insert(*slot))
}

fn addresses(slot: u32) -> Allocated {
    let v6 = Ipv6Addr::from_bits((0x2001_0002 << 96) + u128::from(slot) + 1);
    let v4 = Ipv4Addr::from_bits(0xF0F0_0001 + slot);
    [v4.into(), v6.into()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(count: u32) -> Vec<Hostname> {
        (0..count)
            .map(|i| format!("s{i}.shop.svc.cluster.local").parse().unwrap())
            .collect()
    }

    #[test]
    fn addresses_are_distinct_and_stay() {
        let (few, many) = (hosts(1000), hosts(2000));
        let (before, after) = (allocate(few.iter()), allocate(many.iter()));
        let distinct: BTreeSet<&IpAddr> = after.values().flatten().collect();
        assert_eq!(distinct.len(), 4000);
        let moved = few
            .iter()
            .filter(|host| before.get(*host) != after.get(*host))
            .count();
        assert!(moved < 40, "{moved} of 1000 moved");
        let first = IpAddr::V4(Ipv4Addr::new(240, 240, 0, 0));
        let last = IpAddr::V4(Ipv4Addr::new(240, 240, 255, 255));
        assert!(after.values().all(|[v4, _]| *v4 > first && *v4 < last));
        let prefix = "2001:2::".parse::<std::net::Ipv6Addr>().unwrap();
        let net = ir::IpNet::new(prefix.into(), 48).unwrap();
        assert!(after.values().all(|[_, v6]| net.contains(v6)));
    }

    #[test]
    fn order_of_arrival_does_not_matter() {
        let list = hosts(500);
        assert_eq!(allocate(list.iter()), allocate(list.iter().rev()));
    }
}
