//! The address families that a proxy speaks.

use std::net::IpAddr;

/// The families of a workload's addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Families {
    /// IPv4 only, and where no address is known.
    #[default]
    V4,
    /// IPv6 only.
    V6,
    /// Both (dual stack).
    Dual,
}

impl Families {
    /// The families of these addresses.
    #[must_use]
    pub fn of(addresses: &[IpAddr]) -> Self {
        let has_v6 = addresses.iter().any(IpAddr::is_ipv6);
        match (addresses.iter().any(IpAddr::is_ipv4), has_v6) {
            (_, false) => Self::V4,
            (false, true) => Self::V6,
            (true, true) => Self::Dual,
        }
    }

    /// Whether an address is of one of them.
    #[must_use]
    pub fn has(self, address: &IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
            Self::Dual => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_of_addresses() {
        let (v4, v6): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap());
        assert_eq!(Families::of(&[]), Families::V4);
        assert_eq!(Families::of(&[v4, v4]), Families::V4);
        assert_eq!(Families::of(&[v6]), Families::V6);
        assert_eq!(Families::of(&[v6, v4]), Families::Dual);
        assert!(Families::V6.has(&v6) && !Families::V6.has(&v4) && Families::Dual.has(&v4));
    }
}
