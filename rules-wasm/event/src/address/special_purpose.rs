//! IANA's special-purpose networks, which decide whether an address is public.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::IpNet;

/// Whether an address is globally reachable according to IANA's registries. The most specific entry of
/// [`SPECIAL_PURPOSE`] decides. An IPv4-mapped IPv6 address is judged as the IPv4 address.
#[must_use]
pub fn is_global(address: IpAddr) -> bool {
    /// All addresses as numbers, cut into ranges: the first address of each range, and whether the range is global.
    /// IPv4 addresses are those of IPv4-mapped IPv6.
    static RANGES: LazyLock<Vec<(u128, bool)>> = LazyLock::new(|| {
        let networks: Vec<(IpNet, bool)> = SPECIAL_PURPOSE
            .iter()
            .map(|(network, global)| (network.parse().expect("a network of the table"), *global))
            .collect();
        let is_global = |address: IpAddr| {
            let around = networks.iter().filter(|(network, _)| network.contains(&address));
            around.max_by_key(|(network, _)| network.prefix_len()).is_none_or(|(_, global)| *global)
        };
        let begin = [IpAddr::from([0_u16; 8]), IpAddr::from([0; 4])];
        let beginnings =
            networks.iter().flat_map(|(network, _)| [Some(network.network()), behind(network.broadcast())]);
        // The first address of IPv6 after all of IPv4.
        let on = IpAddr::from(Ipv6Addr::from(number(IpAddr::from([255; 4])) + 1));
        let mut ranges: Vec<(u128, bool)> = Vec::new();
        for address in begin.into_iter().chain(beginnings.flatten()).chain([on]) {
            let first = number(address);
            // Inserted in order, because the code of a sort would be a twentieth of a detector.
            if let Err(place) = ranges.binary_search_by_key(&first, |(first, _)| *first) {
                ranges.insert(place, (first, is_global(address.to_canonical())));
            }
        }
        ranges
    });
    let number = number(address);
    let next = RANGES.partition_point(|(first, _)| *first <= number);
    RANGES[next - 1].1
}

/// Returns an address as a number. An IPv4 address counts as IPv4-mapped IPv6.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// Returns the address after the last one of a network, if there is one.
fn behind(last: IpAddr) -> Option<IpAddr> {
    match last {
        IpAddr::V4(last) => u32::from(last).checked_add(1).map(|next| Ipv4Addr::from(next).into()),
        IpAddr::V6(last) => u128::from(last).checked_add(1).map(|next| Ipv6Addr::from(next).into()),
    }
}

/// The special-purpose networks, and whether each is globally reachable.
///
/// Source: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and its updates), column *Globally
/// Reachable*. More specific entries refine `192.0.0.0/24` and `2001::/23`. In addition to the registries, multicast
/// (RFC 5771, RFC 4291) and site-local addresses (RFC 3879) are not globally reachable. `2002::/16` (6to4), for which
/// the column says N/A, is not either. The deprecated `192.88.99.0/24` is.
pub const SPECIAL_PURPOSE: &[(&str, bool)] = &[
    ("0.0.0.0/8", false),
    ("10.0.0.0/8", false),
    ("100.64.0.0/10", false),
    ("127.0.0.0/8", false),
    ("169.254.0.0/16", false),
    ("172.16.0.0/12", false),
    ("192.0.0.0/24", false),
    ("192.0.0.9/32", true),
    ("192.0.0.10/32", true),
    ("192.0.2.0/24", false),
    ("192.31.196.0/24", true),
    ("192.52.193.0/24", true),
    ("192.88.99.0/24", true),
    ("192.168.0.0/16", false),
    ("192.175.48.0/24", true),
    ("198.18.0.0/15", false),
    ("198.51.100.0/24", false),
    ("203.0.113.0/24", false),
    ("224.0.0.0/4", false),
    ("240.0.0.0/4", false),
    ("::/128", false),
    ("::1/128", false),
    ("64:ff9b::/96", true),
    ("64:ff9b:1::/48", false),
    ("100::/64", false),
    ("100:0:0:1::/64", false),
    ("2001::/23", false),
    ("2001:1::1/128", true),
    ("2001:1::2/128", true),
    ("2001:1::3/128", true),
    ("2001:3::/32", true),
    ("2001:4:112::/48", true),
    ("2001:20::/28", true),
    ("2001:30::/28", true),
    ("2001:db8::/32", false),
    ("2002::/16", false),
    ("2620:4f:8000::/48", true),
    ("3fff::/20", false),
    ("5f00::/16", false),
    ("fc00::/7", false),
    ("fe80::/10", false),
    ("fec0::/10", false),
    ("ff00::/8", false),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_specific_entry_wins() {
        for (address, global) in [
            ("1.2.3.4", true),
            ("10.255.255.255", false),
            ("11.0.0.0", true),
            ("100.63.255.255", true),
            ("100.64.0.0", false),
            ("100.128.0.0", true),
            ("172.15.255.255", true),
            ("172.31.255.255", false),
            ("192.0.0.8", false),
            ("192.0.0.9", true),
            ("192.0.0.10", true),
            ("192.0.0.11", false),
            ("192.88.99.1", true),
            ("223.255.255.255", true),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::ffff:100.64.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("64:ff9b::1", true),
            ("64:ff9b:1::1", false),
            ("100::1", false),
            ("100:0:0:1::1", false),
            ("100:0:0:2::1", true),
            ("2001::1", false),
            ("2001:1::3", true),
            ("2001:1::4", false),
            ("2001:2::1", false),
            ("2001:3::1", true),
            ("2001:4:112::1", true),
            ("2001:4:113::1", false),
            ("2001:10::1", false),
            ("2001:20::1", true),
            ("2001:3f:ffff::", true),
            ("2001:40::", false),
            ("2001:200::", true),
            ("2002::1", false),
            ("2606:4700::1111", true),
            ("3fff:fff::1", false),
            ("3fff:1000::1", true),
            ("5f00::1", false),
            ("fdff::1", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_global(address.parse().expect(address)), global, "{address}");
        }
    }
}
