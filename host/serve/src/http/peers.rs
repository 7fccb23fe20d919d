//! The connections of each peer address.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::shares::{Share, Shares};

/// Minimum time between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_mins(1);

/// Below this limit on all connections, a single peer may use all of them.
const SHARED: usize = 8;

/// Counts the connections of each peer, so that one peer leaves some to others.
pub(super) struct Peers {
    open: Arc<Shares<IpAddr>>,
    /// The time of the last warning.
    warned: Mutex<Option<Instant>>,
}

impl Peers {
    /// Returns a counter for a service with this limit on all connections.
    pub(super) fn new(connections: usize) -> Self {
        let most = if connections < SHARED { connections } else { connections - connections / 4 };
        Self { open: Shares::new(most), warned: Mutex::default() }
    }

    /// Counts a connection, unless its peer has too many.
    pub(super) fn connect(&self, address: IpAddr) -> Option<Share<IpAddr>> {
        let address = network(address);
        let connection = self.open.take(address)?;
        if connection.number == self.open.most {
            self.warn(address);
        }
        Some(connection)
    }

    /// Warns of a peer, at most once a minute.
    fn warn(&self, address: IpAddr) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|warned| warned.elapsed() >= WARNING_INTERVAL) {
            *warned = Some(Instant::now());
            let connections = self.open.most;
            tracing::warn!(%address, connections, "a peer has as many connections as one may have; more are closed");
        }
    }
}

/// Returns the address that stands for a peer: of IPv6, the network of 64 bits that a single host gets.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_leaves_a_quarter_of_the_connections_to_others() {
        let peers = Peers::new(8);
        let connect = |address: &str| peers.connect(address.parse().expect("an address"));
        let mut open: Vec<_> = (0..6).map(|n| connect(&format!("2001:db8::{n}")).expect("it may connect")).collect();
        assert!(connect("2001:db8::99").is_none(), "one host has the whole network");
        assert!(connect("2001:db8:0:1::99").is_some() && connect("192.0.2.1").is_some());
        open.pop();
        assert!(connect("2001:db8::99").is_some());
        drop(open);
        assert!(peers.open.are_free());
    }
}
